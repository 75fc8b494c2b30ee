package nvstar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"nvlab/lab"
)

// Env is what a test needs of the run it belongs to.
type Env struct {
	Lab     *lab.Lab
	Watcher Watcher
	Verbose bool                            // tell of what a user may want to know, besides what fails
	Steps   uint64                          // a test may take; 0 is DefaultSteps
	Repeat  func(test, state string) string // the command that runs a test again, with one crash state; may be nil
	State   string                          // id of the one crash state to look at; "" for all
}

// A Watcher is told what happens in a test and its subtests, named
// "test_x/sub". Start and End of one name enclose all else of it.
type Watcher interface {
	Match(name string) bool          // whether a subtest was asked for
	Dir(name string) (string, error) // makes the fresh directory of a test
	Start(name string)
	Output(name, text string) // whole lines
	// End is called while the test's machines and directory are still there.
	End(name string, o *Outcome, x *lab.Experiment)
	// Gone is called when they are not. The failure, if there is one, is what
	// went wrong at their end.
	Gone(name, dir string, f *Failure)
}

// Status of a test that ended.
type Status int

const (
	Passed Status = iota
	Failed
	Skipped
)

func (s Status) String() string { return [...]string{"pass", "fail", "skip"}[s] }

// An Outcome is how a test ended.
type Outcome struct {
	Status   Status
	Reason   string     // of a skip, or of a failure that was expected
	Failures []*Failure // its own, not its subtests'
	Elapsed  time.Duration
	State    string // id of the latest crash state that was applied, if the test failed
	Finding  string // what it is
}

// Run runs a test and its subtests. The cause of ctx's end, if it ends, is
// ErrInterrupted or a *TimeoutError.
func (test *Test) Run(ctx context.Context, env Env) *Outcome {
	if env.Steps == 0 {
		env.Steps = DefaultSteps
	}
	t := &T{env: env, name: test.Name, sources: &test.File.loader.sources}
	return t.execute(ctx, nil, test.fn)
}

// execute runs fn as the test t: on a thread of its own, or on the thread that
// called t.run.
func (t *T) execute(ctx context.Context, thread *starlark.Thread, fn starlark.Callable) *Outcome {
	start := time.Now()
	t.env.Watcher.Start(t.name)
	if err := t.open(); err != nil {
		t.fail(&lab.Error{Class: lab.ClassHost, Err: err})
	} else {
		t.body(ctx, thread, fn)
		t.cleanUp(ctx)
		if err := guarded(t.x.GuestFault); err != nil && len(t.failures) == 0 {
			t.fail(err)
		}
	}
	t.missed()
	t.outcome.Elapsed = time.Since(start)
	t.conclude()
	if t.applied != nil && len(t.failures) > 0 {
		t.outcome.State, t.outcome.Finding = t.applied.s.ID, t.applied.x.t.Describe(t.applied.s)
	}
	t.env.Watcher.End(t.name, &t.outcome, t.x)
	t.ended = true
	var broken *Failure
	if t.x != nil {
		if err := guarded(t.x.Close); err != nil {
			broken = t.sources.failureOf(classify(err), fmt.Errorf("closing the machines: %w", err))
		}
	}
	t.env.Watcher.Gone(t.name, t.dir, broken)
	return &t.outcome
}

func (t *T) open() error {
	dir, err := t.env.Watcher.Dir(t.name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	t.dir = dir
	t.x = t.env.Lab.Experiment(t.name, dir)
	return nil
}

func (t *T) body(ctx context.Context, thread *starlark.Thread, fn starlark.Callable) {
	a := newActivity(ctx, t.env.Steps)
	defer a.stop(nil)
	a.t, a.print = t, t.print
	if thread == nil {
		thread = a.newThread(t.name)
	} else {
		a = activityOf(thread)
		defer func(outer *T) { a.t = outer }(a.t)
		a.t = t
	}
	t.fail(a.ended(callFunction(thread, fn, starlark.Tuple{t})))
}

// cleanUp runs what the test deferred, last first, unless the run ends now.
// It has a thread of its own: the test's may have been stopped.
func (t *T) cleanUp(ctx context.Context) {
	for len(t.deferred) > 0 && ctx.Err() == nil {
		last := len(t.deferred) - 1
		fn := t.deferred[last]
		t.deferred = t.deferred[:last]
		a := newActivity(ctx, t.env.Steps)
		a.t, a.print = t, t.print
		t.fail(a.ended(callFunction(a.newThread(t.name), fn, nil)))
		a.stop(nil)
	}
}

func callFunction(thread *starlark.Thread, fn starlark.Callable, args starlark.Tuple) error {
	return guarded(func() error {
		v, err := starlark.Call(thread, fn, args, nil)
		if b, ok := v.(*starlark.Builtin); ok && err == nil { // as of lambda: vm.kill
			if form := callable(lastName(b.Name())); form != "" {
				err = fmt.Errorf("the function returns %s and does not call it: write %[1]s%s", b.Name(), form)
			}
		}
		return err
	})
}

func lastName(dotted string) string { return dotted[strings.LastIndexByte(dotted, '.')+1:] }

// guarded calls f, and turns a panic below it into an error of class bug.
func guarded(f func() error) (err error) {
	defer recoverBug(&err)
	return f()
}

// fail notes an error as the outcome asks: a skip, or a failure.
func (t *T) fail(err error) {
	if err == nil {
		return
	}
	var skip *skipError
	if errors.As(err, &skip) {
		t.skipped, t.outcome.Reason = true, skip.reason
		return
	}
	t.failures = append(t.failures, t.sources.failureOf(classify(err), err))
}

// conclude decides the status. An expected failure is a skip; it never covers
// what is no judgement of the test: a host that failed, a bug, an interrupt.
func (t *T) conclude() {
	o := &t.outcome
	o.Failures = t.failures
	expected := t.expected()
	failed := len(t.failures) > 0 || t.subFailed
	switch {
	case failed && expected == "":
		o.Status = Failed
	case failed:
		for _, f := range t.failures {
			if f.Class.Exit() != 1 {
				o.Status = Failed
				return
			}
		}
		o.Status, o.Reason = Skipped, "failed as expected: "+expected
		t.failedAsExpected()
	case t.skipped:
		o.Status = Skipped
	case t.xfail != "" && !t.sawExpected:
		o.Status = Failed
		o.Failures = []*Failure{{Class: Check, Message: "unexpected pass", Text: "unexpected pass: the test was expected to fail: " + t.xfail}}
	}
}

// expected is why t or a test around it is expected to fail.
func (t *T) expected() string {
	for ; t != nil; t = t.parent {
		if t.xfail != "" {
			return t.xfail
		}
	}
	return ""
}

func (t *T) failedAsExpected() {
	for ; t != nil; t = t.parent {
		t.sawExpected = true
	}
}
