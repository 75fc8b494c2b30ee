package nvstar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"nvlab/lab"
	"nvlab/starlark/guard"
)

// A Class says what kind of failure ended a test. It decides how the failure
// is reported and the run's exit status.
type Class int

const (
	Check       Class = iota // a check failed
	Scenario                 // a Starlark error, a refused configuration, a failed command, the time limit
	Guest                    // the guest panicked, oopsed or hung
	Syntax                   // the file cannot be loaded
	Boot                     // the guest never answered
	Host                     // no image, no engine, a lost backend, the wall-clock guard
	Bug                      // a defect in nvlab
	Interrupted              // somebody stopped the run
)

// Exit is the status of a run that ended with a failure of this class.
func (c Class) Exit() int {
	switch c {
	case Syntax:
		return 2
	case Boot, Host:
		return 3
	case Bug:
		return 4
	case Interrupted:
		return 130
	}
	return 1
}

func (c Class) String() string {
	switch c {
	case Check:
		return "check failed"
	case Scenario:
		return "error"
	case Guest:
		return "guest failed"
	case Syntax:
		return "cannot load"
	case Boot:
		return "boot failed"
	case Host:
		return "host failed"
	case Bug:
		return "bug in nvlab"
	}
	return "interrupted"
}

// ErrInterrupted is the cause of a context that a signal ended.
var ErrInterrupted = errors.New("interrupted")

// A TimeoutError says that the run's time limit passed.
type TimeoutError struct{ Limit string }

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("the run took longer than -timeout %s", e.Limit)
}

// A skipError ends a test that does not apply.
type skipError struct{ reason string }

func (e *skipError) Error() string { return "skipped: " + e.reason }

// A checkError is a failed check: a headline and lines that explain it.
type checkError struct {
	head   string
	detail []string
}

func (e *checkError) Error() string {
	return strings.Join(append([]string{e.head}, e.detail...), "\n")
}

// A Failure is why a test failed, or why a file could not be loaded.
type Failure struct {
	Class   Class
	Message string // one line
	Text    string // all of it: message, source, values, traceback
	Stack   string // the Go stack of a Bug, if there is one

	cut bool // the run's time limit struck, which says nothing of the test
}

// classify says what kind of failure an error is.
func classify(err error) Class {
	var check *checkError
	var steps *stepLimitError
	var memory *memoryLimitError
	switch {
	case errors.Is(err, ErrInterrupted):
		return Interrupted
	case errors.As(err, new(*TimeoutError)), errors.As(err, &steps), errors.As(err, &memory):
		return Scenario
	}
	switch lab.ClassOf(err) {
	case lab.ClassGuest:
		return Guest
	case lab.ClassBoot:
		return Boot
	case lab.ClassHost:
		return Host
	case lab.ClassBug:
		return Bug
	}
	if errors.As(err, &check) {
		return Check
	}
	return Scenario
}

// uncatchable says that check.fails and t.run must pass an error on: it ends
// the test, whatever the scenario thinks of it.
func uncatchable(thread *starlark.Thread, err error) bool {
	return activityOf(thread).ctx.Err() != nil || errors.As(err, new(*skipError)) || classify(err) == Bug ||
		errors.Is(err, context.Canceled)
}

// failureOf describes an error of a test or, with class Syntax, of a file.
func (s *sources) failureOf(class Class, err error) *Failure {
	f := &Failure{Class: class}
	var p *panicError
	if errors.As(err, &p) {
		f.Stack = string(p.stack)
	}
	f.Text = clipped(s.describe(class, err))
	f.Message, _, _ = strings.Cut(f.Text, "\n")
	return f
}

// describe prints the three families of Starlark's errors, and plain ones.
func (s *sources) describe(class Class, err error) string {
	var stopped *stoppedError
	if errors.As(err, &stopped) {
		return s.traced(class, "", stopped.Error(), stopped.stack, "")
	}
	if inner := loadError(err); inner != nil {
		text := s.describe(class, inner)
		return text + "\n" + loadedFrom(err)
	}
	switch e := err.(type) {
	case syntax.Error:
		return s.located(e.Pos, class, e.Msg)
	case resolve.ErrorList:
		slices.SortStableFunc(e, func(a, b resolve.Error) int { return cmp.Compare(a.Pos.Line, b.Pos.Line) })
		var texts []string
		for _, e := range e {
			texts = append(texts, s.located(e.Pos, class, e.Msg))
		}
		return strings.Join(texts, "\n")
	case *starlark.EvalError:
		return s.traced(class, raiser(e), message(e), e.CallStack, hintOf(e))
	}
	return class.String() + ": " + err.Error()
}

// message is an error's text without the name of its built-in in front, which
// the caller prints.
func message(e *starlark.EvalError) string {
	msg := e.Msg
	if name := raiser(e); name != "" {
		msg = strings.TrimPrefix(msg, name+": ")
	}
	return msg
}

func isBuiltin(f starlark.CallFrame) bool { return f.Pos.Filename() == "<builtin>" }

// named is a message behind the name of the built-in it is of, if there is one.
func named(name, msg string) string {
	switch {
	case msg == "" || strings.HasPrefix(msg, "\n"): // a check without a message
		return name + msg
	case name != "":
		return name + ": " + msg
	}
	return msg
}

// raiser is the built-in that raised an error, "" if the scenario did.
func raiser(e *starlark.EvalError) string {
	if n := len(e.CallStack); n > 0 && isBuiltin(e.CallStack[n-1]) && !guard.Hidden(e.CallStack[n-1].Name) {
		return e.CallStack[n-1].Name
	}
	return ""
}

// traced is a message with the position, source and stack it has.
func (s *sources) traced(class Class, name, msg string, stack starlark.CallStack, hint string) string {
	frames := make([]starlark.CallFrame, 0, len(stack))
	for _, f := range stack {
		if !isBuiltin(f) {
			frames = append(frames, f)
		}
	}
	msg = named(name, msg)
	if len(frames) == 0 {
		return class.String() + ": " + msg
	}
	at := frames[len(frames)-1].Pos
	head, rest, more := strings.Cut(msg, "\n")
	var b strings.Builder
	if class == Syntax { // "cannot load ./other.star: ..." as it is
		head = strings.TrimPrefix(head, Syntax.String()+" ")
	}
	if head = class.String() + ": " + head; class == Interrupted {
		head = class.String()
	}
	fmt.Fprintf(&b, "%s: %s\n", at, head)
	for _, line := range s.excerpt(at) {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	if more {
		fmt.Fprintln(&b, rest)
	}
	if class == Bug {
		fmt.Fprintln(&b, "this is a defect of nvlab, not of the scenario")
	}
	if hint == "" {
		hint = runHint(msg)
	}
	for _, f := range frames {
		if taker := s.tooEarly(f.Pos); taker != "" {
			hint = fmt.Sprintf("%s calls the function itself: write %s(lambda: ...), so that it is not called before", taker, taker)
		}
	}
	if hint != "" {
		fmt.Fprintf(&b, "hint: %s\n", hint)
	}
	b.WriteString("Traceback (most recent call last):")
	for _, f := range frames {
		fmt.Fprintf(&b, "\n  %s: in %s", f.Pos, f.Name)
	}
	return b.String()
}

// located is an error at one place of the source, with its line and a caret.
func (s *sources) located(at syntax.Position, class Class, msg string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s", at, class, msg)
	line := s.line(at)
	if line != "" {
		shown, col := around(line, int(at.Col))
		fmt.Fprintf(&b, "\n    %s\n    %s^", shown, indentTo(shown, col))
	}
	hint := s.files[at.Filename()].hint(msg, line)
	if hint != "" {
		fmt.Fprintf(&b, "\nhint: %s", hint)
	}
	return b.String()
}

// hint is what may help with an error of a file that cannot be loaded, "" if
// nothing is known. The file may be unknown, nil.
func (src *source) hint(msg, line string) string {
	hint := loadHint(msg, line)
	if hint == "" && src != nil && indentError.MatchString(msg) && src.mixes() {
		hint = "tabs and spaces are mixed in this file, and a tab reaches to the next multiple of 8 columns: indent with spaces only"
	}
	return hint
}

// indentTo is white space as wide as the line before a column.
func indentTo(line string, col int) string {
	var b strings.Builder
	for i, r := range []rune(line) {
		if i >= col-1 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}

// loadError is the error of a loaded file that is the cause of err, or nil.
func loadError(err error) error {
	outer, ok := err.(*starlark.EvalError)
	if !ok {
		return nil
	}
	for e := errors.Unwrap(outer); e != nil; e = errors.Unwrap(e) {
		switch e.(type) {
		case syntax.Error, resolve.ErrorList, *starlark.EvalError, *stoppedError:
			return e
		}
	}
	return nil
}

func loadedFrom(err error) string {
	stack := err.(*starlark.EvalError).CallStack
	if len(stack) == 0 {
		return ""
	}
	return fmt.Sprintf("loaded by %s", stack[len(stack)-1].Pos)
}

// ExitOf is the exit status for an error outside of any test.
func ExitOf(err error) int { return classify(err).Exit() }
