package nvstar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"go.starlark.net/starlark"

	"nvlab/lab"
	"nvlab/nvdimm/explore"
	"nvlab/nvdimm/persist"
)

// Env is what a test needs of the run it belongs to.
type Env struct {
	Lab     *lab.Lab
	Watcher Watcher
	Verbose bool                            // tell of what a user may want to know, besides what fails
	Steps   uint64                          // a test may take; 0 is DefaultSteps
	Repeat  func(test, state string) string // the command that runs a test again, with one crash state; may be nil
	State   string                          // id of the one crash state to look at; "" for all
	// Reached is what to do at State instead, which ends the test; may be nil.
	Reached func(context.Context, *Reached) error
	// Snapshot is the id of a snapshot at which the test ends, after AtSnapshot had
	// its VM; "" for none.
	Snapshot   string
	AtSnapshot func(context.Context, *lab.VM) error
	Place      *Place        // where the test is; may be nil
	Inputs     *lab.Inputs   // notes what the test takes from outside; may be nil
	Shard      explore.Shard // what of each exploration is run; the zero value is all

	// Exploring is told how explorations go on; nil if nobody wants to know. Tests
	// that run in parallel call it at the same time.
	Exploring func(Exploring)
	// Explored is told what they came to, before the test's output is.
	Explored func(Explored)
	// Recovered is told what the console of each recovery's VM had in the end; one at
	// a time within a test. Nil if nobody wants to know.
	Recovered func(test, console string)
	// Pause is called where a test fails, if a call does, before anything of it ends;
	// nil if nobody wants to look.
	Pause    func(*Paused)
	Detailed bool // what a report shows of explorations is made
	// Called is told of calls that have to do with a VM, but for those of
	// recoveries; nil if nobody wants to know.
	Called func(Called)
}

// Reached is the crash state that the run asked for. The VM is off, and its
// NVDIMMs hold what the power failure left.
type Reached struct {
	Test  string
	VM    *lab.VM
	Trace *lab.Trace
	State *persist.State
}

// A Place is what a test is about, for somebody who waits for its end.
type Place struct{ call atomic.Pointer[string] }

// Call is the name of the call into nvlab that the test is in, such as "vm.run";
// "" if the scenario itself computes.
func (p *Place) Call() string {
	if name := p.call.Load(); name != nil {
		return *name
	}
	return ""
}

// enter notes that a call begins, "" for the scenario itself, and returns what
// to do at its end.
func (p *Place) enter(name string) (leave func()) {
	if p == nil {
		return func() {}
	}
	outer := p.call.Swap(&name)
	return func() { p.call.Store(outer) }
}

// A Watcher is told what happens in a test and its subtests, named
// "test_x/sub". Start and End of one name enclose all else of it.
type Watcher interface {
	Match(name string) bool          // whether a subtest was asked for
	Dir(name string) (string, error) // makes the fresh directory of a test
	Start(name string)
	Output(name, text string) // whole lines
	// Opened is called with a file that was there before the test, and that it
	// may change.
	Opened(ctx context.Context, path string) error
	// Closing is called before the test's machines and directory go, with how
	// the test ended so far: to keep what may explain it. x is nil if there are
	// none. ctx is the run's.
	Closing(ctx context.Context, name string, o *Outcome, x *lab.Experiment)
	// End is called when nothing of the test is left, with how it ended.
	End(name, dir string, o *Outcome)
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
	Cached   bool   // it is what an earlier run came to
	State    string // id of the latest crash state that was applied, if the test failed
	Finding  string // what it is
	NotRun   bool   // it was chosen, and the run ended before its turn
	Evidence Evidence

	Unchecked bool // it passed, and no check ran
}

// Run runs a test and its subtests. The cause of ctx's end, if it ends, is
// ErrInterrupted or a *TimeoutError.
func (test *Test) Run(ctx context.Context, env Env) *Outcome {
	if env.Steps == 0 {
		env.Steps = DefaultSteps
	}
	t := &T{ctx: ctx, env: env, name: test.Name, sources: &test.File.loader.sources, kwargs: test.kwargs}
	return t.execute(nil, test.fn)
}

// execute runs fn as the test t: on a thread of its own, or on the thread that
// called t.run. Its states, in their order:
//
//	started    the directory is made; if that fails, the test has failed
//	body       fn(t); the run's end, a limit, a skip or an error end it
//	clean-up   the deferred functions, last first, whatever ended the body;
//	           those that the run's end prevents are a failure
//	closing    what may explain a failure is kept, then the machines end
//	ended      the outcome is told, once, and the directory goes
//
// A panic in any of them is a failure of class Bug, and the next one follows.
func (t *T) execute(thread *starlark.Thread, fn starlark.Callable) *Outcome {
	start := time.Now()
	t.env.Watcher.Start(t.name)
	if err := t.open(); err != nil {
		t.fail(&lab.Error{Class: lab.ClassHost, Err: err})
	} else {
		t.body(thread, fn)
		t.cleanUp()
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
	t.outcome.Evidence = t.evidence()
	if err := guarded(t.close); err != nil {
		t.fail(fmt.Errorf("at the test's end: %w", err))
		t.conclude()
	}
	t.env.Watcher.End(t.name, t.dir, &t.outcome)
	return &t.outcome
}

// close keeps what may explain a failure, and ends the machines.
func (t *T) close() error {
	defer t.env.Place.enter("the end of the test")()
	kept := guarded(func() error { t.env.Watcher.Closing(t.ctx, t.name, &t.outcome, t.x); return nil })
	t.ended = true
	if t.x == nil {
		return kept
	}
	return errors.Join(kept, guarded(t.x.Close))
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
	t.x.Record(t.env.Inputs)
	return nil
}

func (t *T) body(thread *starlark.Thread, fn starlark.Callable) {
	defer t.env.Place.enter("")()
	if thread == nil {
		t.call(fn, starlark.Tuple{t}, t.kwargs)
		return
	}
	a := activityOf(thread)
	defer func(outer *T, paused bool) { a.t, a.paused = outer, paused }(a.t, a.paused)
	a.t = t
	t.fail(a.ended(callFunction(thread, fn, starlark.Tuple{t}, nil)))
}

// call calls a function of the test on a thread of its own, with a test's
// budget.
func (t *T) call(fn starlark.Callable, args starlark.Tuple, kwargs []starlark.Tuple) {
	a := newActivity(t.ctx, t.env.Steps)
	defer a.stop(nil)
	a.t, a.print = t, t.print
	t.fail(a.ended(callFunction(a.newThread(t.name), fn, args, kwargs)))
}

// cleanUp runs what the test deferred, last first, until the run ends. The
// test's own thread may have been stopped.
func (t *T) cleanUp() {
	defer t.env.Place.enter("")()
	t.cleaning = true
	for len(t.deferred) > 0 && t.ctx.Err() == nil {
		last := len(t.deferred) - 1
		fn := t.deferred[last]
		t.deferred = t.deferred[:last]
		t.call(fn, nil, nil)
	}
	if n := len(t.deferred); n > 0 {
		t.deferred = nil
		t.fail(&unrunError{context.Cause(t.ctx), n})
	}
}

// An unrunError says that a test ended without what it deferred.
type unrunError struct {
	cause error
	n     int
}

func (e *unrunError) Unwrap() error { return e.cause }

func (e *unrunError) Error() string {
	text := plural(e.n, "deferred function") + " did not run"
	if e.cause == ErrInterrupted {
		return text
	}
	return e.cause.Error() + ": " + text
}

// maxRedeferred is how many functions a test's deferred functions may defer.
const maxRedeferred = 1000

// later defers a function.
func (t *T) later(fn starlark.Callable) error {
	if t.cleaning {
		if t.redeferred++; t.redeferred > maxRedeferred {
			return fmt.Errorf("deferred functions deferred more than %d others: does one defer itself?", maxRedeferred)
		}
	}
	t.deferred = append(t.deferred, fn)
	return nil
}

func callFunction(thread *starlark.Thread, fn starlark.Callable, args starlark.Tuple, kwargs []starlark.Tuple) error {
	return guarded(func() error {
		v, err := starlark.Call(thread, fn, args, kwargs)
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
	f := t.sources.failureOf(classify(err), err)
	f.cut = errors.As(err, new(*TimeoutError))
	t.failures = append(t.failures, f)
}

// conclude decides the status. An expected failure is a skip; it never covers
// what is no judgement of the test: a host that failed, a bug, the run's end.
func (t *T) conclude() {
	o := &t.outcome
	o.Failures, o.Unchecked = t.failures, false
	expected := t.expected()
	failed := len(t.failures) > 0 || t.subFailed
	switch {
	case failed && expected == "":
		o.Status = Failed
	case failed:
		for _, f := range t.failures {
			if f.Class.Exit() != 1 || f.cut {
				o.Status, o.Reason = Failed, ""
				return
			}
		}
		o.Status, o.Reason = Skipped, "failed as expected: "+expected
		t.failedAsExpected()
	case t.skipped:
		o.Status = Skipped
	case t.parent == nil && t.xfail == "" && !t.judged:
		o.Unchecked = true
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
