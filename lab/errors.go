package lab

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unicode/utf8"

	"nvlab/nvdimm/backend"
)

// A Class says whose fault an error is. It decides how a run reports it and
// with which status it ends.
type Class int

const (
	ClassScenario Class = iota // refused configuration, failed command: the test fails
	ClassGuest                 // the guest panicked, oopsed or hung: the test fails
	ClassBoot                  // the guest never answered
	ClassHost                  // no image, no engine, a lost backend, the wall-clock guard
	ClassBug                   // a defect in nvlab
)

func (c Class) String() string {
	switch c {
	case ClassGuest:
		return "guest"
	case ClassBoot:
		return "boot"
	case ClassHost:
		return "infrastructure"
	case ClassBug:
		return "bug in nvlab"
	}
	return "scenario"
}

// Error is an error with a class. Its text is that of Err.
type Error struct {
	Class   Class
	Err     error
	Console string // the last lines of the guest's console, if it matters
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// ClassOf is the class of the nearest Error that err wraps. Without one it is
// ClassHost if the host lacks what nobody asked it to lack, else ClassScenario.
func ClassOf(err error) Class {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Class
	case errors.Is(err, backend.ErrTruncated), errors.Is(err, backend.ErrUnreachable):
		return ClassHost
	}
	for _, errno := range hostErrors {
		if errors.Is(err, errno) {
			return ClassHost
		}
	}
	return ClassScenario
}

// hostErrors are what system calls say when the host has no more of something,
// or is broken.
var hostErrors = []syscall.Errno{
	syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EIO, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.ESTALE,
}

func classed(c Class, format string, args ...any) *Error {
	return &Error{Class: c, Err: fmt.Errorf(format, args...)}
}

// ErrClosed says that a handle was used after its test.
var ErrClosed = errors.New("used after its test ended")

// CommandError says that a guest command ended badly.
type CommandError struct {
	Command string
	Result  *Result
}

func (e *CommandError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Command, e.Result.ending())
	stream(&b, "stdout", e.Result.Stdout)
	stream(&b, "stderr", e.Result.Stderr)
	return b.String()
}

// A failure shows so many bytes and lines of a stream: its end says most.
const (
	streamLimit = 4 << 10
	streamLines = 100
)

func stream(b *strings.Builder, name string, data []byte) {
	text := strings.TrimRight(strings.ToValidUTF8(string(data), "\ufffd"), "\n")
	if text == "" {
		return
	}
	fmt.Fprintf(b, "\n%s:", name)
	cut := len(text) - streamLimit
	if lines := strings.Count(text, "\n") + 1; lines > streamLines {
		cut = max(cut, nthLine(text, lines-streamLines))
	}
	if cut > 0 {
		for cut < len(text) && !utf8.RuneStart(text[cut]) {
			cut++
		}
		fmt.Fprintf(b, " (its last %d of %d bytes)", len(text)-cut, len(data))
		text = text[cut:]
	}
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString("\n    " + line)
	}
}

// nthLine is where the line of that number begins, from 0.
func nthLine(text string, n int) int {
	at := 0
	for range n {
		at += strings.IndexByte(text[at:], '\n') + 1
	}
	return at
}
