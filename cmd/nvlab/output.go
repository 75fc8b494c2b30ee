package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	nvstar "nvlab/starlark"
)

// stdout is the standard output of all commands but run, whose report looks
// after itself. What could not be written is the command's failure.
var stdout = &output{file: os.Stdout}

type output struct {
	file *os.File
	err  error // the first
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// settle is the exit status of a command that ended with one: another if its
// output was lost. A reader that went away wanted no more.
func (o *output) settle(status int) int {
	if o.err == nil || errors.Is(o.err, syscall.EPIPE) {
		return status
	}
	fmt.Fprintf(os.Stderr, "nvlab: cannot write the output: %v\n", pathless(o.err))
	if status == exitOK {
		return exitHost
	}
	return status
}

// waitFor calls f, which may wait for the other end of a pipe, and does not
// wait for it once ctx has ended.
func waitFor[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, nvstar.ErrInterrupted
	}
}
