package nvstar

import (
	"context"
	"fmt"
	"slices"

	"go.starlark.net/starlark"
)

// An activity is what a Starlark thread does for nvlab: load a file, run a
// test, run what the test deferred. Its context ends every blocking built-in
// and every loop.
type activity struct {
	ctx    context.Context
	stop   context.CancelCauseFunc
	limit  uint64 // steps the thread may take
	print  func(thread *starlark.Thread, text string)
	t      *T       // nil while a file loads
	chain  []string // files being loaded, outermost first
	sample *sample
	given  origins
	latest *result // of a command of any VM

	recovers bool // it is a recovery of an exploration
	catching int  // functions under way whose errors check.fails takes
	paused   bool // somebody looked at its failure, or looks by it
}

// A recoveryError is what a recovery must not do.
type recoveryError string

func (e recoveryError) Error() string { return string(e) }

const (
	errOutside = recoveryError("a recovery uses the VM that it is called with, and what is made of that: this belongs to the test around it, and is not at the crash state")
	errLeft    = recoveryError("a recovery leaves nothing on the host, where others would find it: vm.read_file gives what is in a file of its guest")
	errSkips   = recoveryError("a recovery is about one crash state, and a test is not skipped because of one: return an answer, or skip before trace.explore")
)

// may says why what the thread does must not call a method of a handle.
func (a *activity) may(h handle, method string) error {
	if !a.recovers {
		return nil
	}
	within := true
	switch h := h.(type) {
	case *T:
		if method == "skip" {
			return errSkips
		}
		within = slices.Contains([]string{"log", "pause", "needs"}, method)
	case *vm:
		if method == "pull" {
			return errLeft
		}
		within = h.v.Exploring()
	case *vmSnapshot:
		within = h.s.Exploring()
	case *dimm:
		within = h.vm.v.Exploring()
	case *memoryDevice:
		within = h.vm.v.Exploring()
	case *backend:
		within = h.b.Exploring()
	case *state:
		within = false
	}
	if !within {
		return errOutside
	}
	return nil
}

// origins are the latest lists that commands of a guest gave, and which
// commands these were. Lists are few and errors rare.
type origins []struct {
	value   starlark.Value
	command string
}

const originsLimit = 64

func (a *activity) gave(v starlark.Value, command string) {
	if _, ok := v.(*starlark.List); !ok {
		return
	}
	if len(a.given) == originsLimit {
		a.given = append(a.given[:0], a.given[originsLimit/2:]...)
	}
	a.given = append(a.given, struct {
		value   starlark.Value
		command string
	}{v, command})
}

// origin is the command that gave a list, "" if it is not known.
func (a *activity) origin(list starlark.Value) string {
	for _, g := range a.given {
		if g.value == list {
			return g.command
		}
	}
	return ""
}

// DefaultSteps is how many steps a test may take unless the run says
// otherwise: about 10 s of work.
const DefaultSteps = 400_000_000

// stride is how many steps pass between two looks at the context: some 15 ms.
const stride = 1 << 19

// callDepth is how many calls may be within each other when the thread is
// looked at. No function calls itself, but a file may have very many.
const callDepth = 10_000

var errCalls = fmt.Errorf("more than %d calls are within each other", callDepth)

const activityKey = "nvlab.activity"

func activityOf(thread *starlark.Thread) *activity {
	return thread.Local(activityKey).(*activity)
}

func newActivity(ctx context.Context, limit uint64) *activity {
	a := &activity{limit: limit}
	a.ctx, a.stop = context.WithCancelCause(ctx)
	return a
}

// newThread makes the thread of an activity.
func (a *activity) newThread(name string) *starlark.Thread {
	thread := &starlark.Thread{Name: name, OnMaxSteps: a.steps}
	thread.Print = func(thread *starlark.Thread, msg string) {
		if a.print != nil {
			a.print(thread, msg)
		}
	}
	thread.SetLocal(activityKey, a)
	thread.SetMaxExecutionSteps(min(stride, a.limit))
	a.watch(thread)
	return thread
}

// A stepLimitError says that a scenario computed for too long.
type stepLimitError struct {
	limit  uint64
	inTest bool
}

func (e *stepLimitError) Error() string {
	text := fmt.Sprintf("the scenario took more than %d steps: does a loop never end?", e.limit)
	if e.inTest {
		text += " (--max-steps sets the limit)"
	}
	return text
}

// steps is called by the interpreter before each step from the thread's
// maximum on. When the activity has to stop it lets the thread take some more
// steps and watches where it is, as the interpreter itself knows a position
// only for steps that can fail.
func (a *activity) steps(thread *starlark.Thread) {
	if a.sample != nil {
		if a.sample.take(thread) {
			thread.Cancel(context.Cause(a.ctx).Error())
		}
		return
	}
	if a.ctx.Err() == nil && thread.Steps >= a.limit {
		a.stop(&stepLimitError{a.limit, a.t != nil})
	}
	if a.ctx.Err() == nil && thread.CallStackDepth() > callDepth {
		a.stop(errCalls)
	}
	if a.ctx.Err() != nil {
		a.sample = &sample{left: 200}
		return
	}
	thread.SetMaxExecutionSteps(min(thread.Steps+stride, a.limit))
}

// A sample collects where a thread is over some steps.
type sample struct {
	left  int
	stack starlark.CallStack
}

// take looks once, and reports whether it has seen enough. The position kept
// is the last one below its function's first line.
func (s *sample) take(thread *starlark.Thread) bool {
	frame := thread.DebugFrame(0)
	if fn, ok := frame.Callable().(*starlark.Function); s.stack == nil || ok && frame.Position().Line > fn.Position().Line {
		s.stack = thread.CallStack()
	}
	s.left--
	return s.left <= 0
}

// ended is the error of an activity that had to stop, with the position that
// was sampled; else err.
func (a *activity) ended(err error) error {
	if err == nil || a.ctx.Err() == nil {
		return err
	}
	cause := context.Cause(a.ctx)
	ev, ok := err.(*starlark.EvalError)
	if !ok {
		return cause
	}
	stack := ev.CallStack
	if a.sample != nil && a.sample.stack != nil {
		stack = a.sample.stack
	}
	return &stoppedError{cause, stack}
}

// A stoppedError is why an activity had to stop, and where it was.
type stoppedError struct {
	cause error
	stack starlark.CallStack
}

func (e *stoppedError) Error() string { return e.cause.Error() }
func (e *stoppedError) Unwrap() error { return e.cause }
