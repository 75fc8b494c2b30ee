package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"nvlab/guest/proto"
	"nvlab/vmm"
)

// A Command is what Run runs in the guest.
type Command struct {
	Shell   string   // for sh -c; or
	Args    []string // as they are
	Stdin   []byte
	Timeout time.Duration // of guest time; 0 is DefaultTimeout
	Check   bool          // a bad end is a *CommandError
	ErrExit bool          // Shell stops at its first failure, in a pipeline too
}

// commandLimit bounds what errors quote of a command.
const commandLimit = 1000

func (c Command) String() string {
	text := c.Shell
	if c.Args != nil {
		text = strings.Join(c.Args, " ")
	}
	if len(text) > commandLimit {
		text = strings.ToValidUTF8(text[:commandLimit], "") + "..."
	}
	return text
}

func (c Command) request() (*proto.Command, error) {
	switch {
	case c.Args == nil && c.ErrExit:
		return &proto.Command{Run: proto.Run{Argv: []string{"sh", "-e", "-o", "pipefail", "-c", c.Shell}}, Stdin: c.Stdin}, nil
	case c.Args == nil:
		r := proto.Shell(c.Shell)
		r.Stdin = c.Stdin
		return r, nil
	case c.ErrExit:
		return nil, errors.New("errexit is for the text of a shell, not for a list")
	case len(c.Args) == 0:
		return nil, errors.New("an empty list is no command")
	}
	return &proto.Command{Run: proto.Run{Argv: c.Args}, Stdin: c.Stdin}, nil
}

// A Result is how a command ended.
type Result struct {
	Ended          bool   // false: the machine went away first
	ExitCode       int    // if no signal ended it
	Signal         string // such as "SIGKILL"; "" if none ended it
	Stdout, Stderr []byte
}

func (r *Result) ending() string {
	switch {
	case !r.Ended:
		return "the machine went away"
	case r.Signal != "":
		return "ended by " + r.Signal
	}
	return fmt.Sprintf("exit status %d", r.ExitCode)
}

func (r *Result) ok() bool { return r.Ended && r.Signal == "" && r.ExitCode == 0 }

// Run runs a command in the guest to its end.
func (v *VM) Run(ctx context.Context, c Command) (*Result, error) {
	request, err := c.request()
	if err != nil {
		return nil, err
	}
	answer, err := v.call(ctx, request, c.String(), c.Timeout)
	if answer == nil {
		return nil, err
	}
	if err == nil && answer.Err != nil {
		return nil, fmt.Errorf("%s: %w", c, answer.Err)
	}
	r := &Result{Stdout: answer.Stdout, Stderr: answer.Stderr}
	if answer.Err == nil {
		r.Ended, r.ExitCode = true, answer.Exit.Code
		if answer.Exit.Signal != 0 {
			r.Signal = signalName(answer.Exit.Signal)
		}
	}
	var left *leftError
	switch {
	case errors.As(err, &left) && !c.Check:
	case err != nil && (!v.opts.AllowOops || ClassOf(err) != ClassGuest || c.Check):
		return nil, err
	case c.Check && !r.ok():
		return r, &CommandError{Command: c.String(), Result: r}
	}
	return r, nil
}

// ReadFile reads a whole file of the guest.
func (v *VM) ReadFile(ctx context.Context, path string) ([]byte, error) {
	answer, err := v.call(ctx, proto.ReadPath{Path: path}, "reading "+path, DefaultTimeout)
	if err != nil {
		return nil, err
	}
	return answer.Data, answer.Err
}

// WriteFile makes or replaces a file of the guest.
func (v *VM) WriteFile(ctx context.Context, path string, data []byte) error {
	answer, err := v.call(ctx, proto.WritePath{Path: path, Data: data}, "writing "+path, DefaultTimeout)
	if err != nil {
		return err
	}
	return answer.Err
}

// call gives the answer to a request: that of an earlier run if the VM is what
// it was then, or what the guest says. What the guest said up to an error comes
// with it, if it said anything.
func (v *VM) call(ctx context.Context, request proto.Request, doing string, timeout time.Duration) (*proto.Result, error) {
	if b := v.beginning; b != nil && b.opening != nil && b.opening.sameAs(request, timeout) {
		v.beginning = nil
		return v.resume(ctx, b.opening, doing)
	} else if b != nil {
		b.first, b.start = &firstCall{request, timeout}, v.Clock()
	}
	if err := v.Settle(); err != nil {
		return nil, err
	}
	if err := v.on(); err != nil {
		return nil, err
	}
	s := v.step(request, timeout)
	if s == nil {
		v.depart()
		return v.compute(ctx, request, doing, timeout)
	}
	if answer, err := s.recall(); answer != nil || err != nil {
		return answer, err
	}
	s.begin()
	answer, err := v.compute(ctx, request, doing, timeout)
	if failed := s.end(answer, err); failed != nil {
		return nil, failed
	}
	return answer, err
}

// compute sends a request and runs the guest until it is answered.
func (v *VM) compute(ctx context.Context, request proto.Request, doing string, timeout time.Duration) (*proto.Result, error) {
	return v.converse(ctx, request, doing, timeout, func(_ uint32, answered func() bool) (vmm.Stop, error) { return v.run(ctx, timeout, answered) })
}

// converse sends a request and runs the guest as wait does, which gives it timeout at
// most, until it is answered.
func (v *VM) converse(ctx context.Context, request proto.Request, doing string, timeout time.Duration, wait func(id uint32, answered func() bool) (vmm.Stop, error)) (*proto.Result, error) {
	id, err := v.send(request)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	return v.await(ctx, id, doing, timeout, wait)
}

// send begins a request.
func (v *VM) send(request proto.Request) (id uint32, err error) {
	id, bytes, err := v.client.Start(request)
	if err == nil {
		v.m.Channel().Send(bytes)
	}
	return id, err
}

// await is converse once the request is sent.
func (v *VM) await(ctx context.Context, id uint32, doing string, timeout time.Duration, wait func(id uint32, answered func() bool) (vmm.Stop, error)) (*proto.Result, error) {
	var answer *proto.Result
	answered := func() bool {
		r, ok := v.client.Result(id)
		if ok {
			answer = r
		}
		return ok || v.client.Over(id) != nil
	}
	stop, err := wait(id, answered)
	switch {
	case err != nil:
		v.crash()
		return nil, err
	case v.client.Err() != nil:
		err := &Error{Class: ClassGuest, Err: fmt.Errorf("%s: %w", doing, v.client.Err()), Console: v.console.tail(tailLines)}
		v.crash()
		return answer, err
	case v.client.Over(id) != nil:
		err := fmt.Errorf("%s: %w", doing, v.client.Over(id))
		v.cancel(ctx, id)
		return nil, err
	case answer == nil && stop == vmm.StopDeadline:
		err := soFar(v.guestError(stop, doing, timeout), v.client, id)
		v.cancel(ctx, id)
		return nil, err
	case answer == nil:
		client := v.client
		err := v.guestError(stop, doing, timeout)
		answer, _ = client.Result(id)
		var left *leftError
		if errors.As(err, &left) && stop == vmm.StopReset {
			// A guest that resets its machine comes up again.
			err = cmp.Or(v.restart(ctx), err)
		}
		return answer, err
	}
	if err := v.oops(); err != nil {
		return answer, err
	}
	return answer, v.lostFault(ctx)
}

// soFar adds to an error what a request under way has written.
func soFar(err error, client *proto.Client, id uint32) error {
	var b strings.Builder
	stdout, stderr := client.Output(id)
	stream(&b, "stdout", stdout)
	stream(&b, "stderr", stderr)
	var classed *Error
	if errors.As(err, &classed) && b.Len() > 0 {
		classed.Err = fmt.Errorf("%w%s", classed.Err, b.String())
	}
	return err
}

// cancelTime is what a command that ran out of time gets to die in.
const cancelTime = 5 * time.Second

// cancel ends a request that took too long, so that the guest is of use to
// what comes after.
func (v *VM) cancel(ctx context.Context, id uint32) {
	v.m.Channel().Send(v.client.Cancel(id))
	stop, err := v.run(ctx, cancelTime, func() bool {
		_, ok := v.client.Result(id)
		return ok
	})
	if err != nil || stop != vmm.StopDone {
		v.crash()
	}
}

// signalName is the name of a Linux signal on x86.
func signalName(n int) string {
	names := map[int]string{
		1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS",
		8: "SIGFPE", 9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE",
		14: "SIGALRM", 15: "SIGTERM", 16: "SIGSTKFLT", 17: "SIGCHLD", 18: "SIGCONT", 19: "SIGSTOP",
		20: "SIGTSTP", 21: "SIGTTIN", 22: "SIGTTOU", 23: "SIGURG", 24: "SIGXCPU", 25: "SIGXFSZ",
		26: "SIGVTALRM", 27: "SIGPROF", 28: "SIGWINCH", 29: "SIGIO", 30: "SIGPWR", 31: "SIGSYS",
	}
	if name, ok := names[n]; ok {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}
