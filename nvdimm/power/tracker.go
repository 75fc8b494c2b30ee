// Package power fails the power of a machine's NVDIMMs: now, or right before
// the event for which a cut is armed. It keeps what each DIMM's medium would
// hold then, and knows nothing of the machine but the memory, the calls and the
// events that reach the DIMMs.
//
// A [Tracker] belongs to one machine, over all its power-ons. Its [State] is
// what a snapshot of the machine keeps of it; it names DIMMs by their slots, so
// that a fork's own DIMMs take their places.
package power

import (
	"runtime/debug"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// A Host is the machine that a Tracker belongs to.
type Host interface {
	// Attention has the processors return from Run soon.
	Attention()
	// Instructions is how many the processors retired since power-on.
	Instructions() uint64
	// Seed is that of random states, of this power-on.
	Seed() uint64
	// Lost gets a failure of the storage behind a DIMM.
	Lost(error)
}

// A Tracker knows what of a machine's DIMMs would survive if the power failed
// now. It is the machine's observer, and sees the calls and flush hints of its
// NVDIMM root device. As with these, one goroutine at a time uses it.
type Tracker struct {
	root *nvdimm.Root
	host Host

	// From power-on to power-off.
	model   *persist.Model // nil while off
	past    *persist.Past  // what the model followed: see unsaved.go
	media   []Medium       // in the model's order
	blind   error          // why single stores are not seen; nil if they are
	epochs  map[int]*backend.Snapshot
	failure *failure // nil while there is power

	armed   *Cut
	counted int // events that armed was for
	faults  []Fault

	recording *Recording
	watcher   Watcher
}

// A Watcher is told of stores to DIMMs before anything that is not a store loads
// what they store, and of calls of a DIMM's functions, which may read its label
// area.
type Watcher interface {
	Store(*observe.Store)
	Stream(*observe.Stream)
	Call(slot int)
	// Failure says that the power fails: stores may be undone.
	Failure()
}

// Watch has a watcher told; nil ends it. It is not part of a State.
func (t *Tracker) Watch(w Watcher) { t.watcher = w }

// failure is a power failure: what the machine does until it stops leaves no
// trace.
type failure struct {
	cut     *persist.Cut
	model   *persist.Model // that it is of
	toEpoch bool           // the DIMMs go back to the latest flush hint
}

// New returns the tracker of the machine that a root device belongs to. It
// takes the root's OnCall, OnFlushHint and OnZero.
func New(root *nvdimm.Root, host Host) *Tracker {
	t := &Tracker{root: root, host: host}
	root.OnCall, root.OnFlushHint, root.OnZero = t.call, t.hint, t.zeroed
	return t
}

// PowerOn is for a machine that powers on or resets, before Add is called for
// its DIMMs. What is undecided at a reset stays so. Observe attaches an
// observer to the machine; its error is why it cannot.
func (t *Tracker) PowerOn(attach func(observe.Observer) error) {
	if t.model == nil {
		t.model, t.past = persist.NewModel(persist.Config{}), &persist.Past{}
	}
	unlessLost(t.model.Reset)
	t.model.UnmapAll()
	t.past.Reset()
	t.blind = attach(t)
}

// On says that the machine is on.
func (t *Tracker) On() bool { return t.model != nil }

// Blind is why stores, flushes and fences of the machine that is on are not
// seen; nil if they are.
func (t *Tracker) Blind() error { return t.blind }

// Fail fails the power now. Until PowerOff memory is as it was. Unsaved is as in
// a Cut.
func (t *Tracker) Fail(keep persist.Keep, unsaved bool) {
	if t.watcher != nil {
		t.watcher.Failure()
	}
	if t.failure != nil {
		return
	}
	m := t.model
	unlessLost(m.Follow)
	if unsaved {
		m = t.unsaved()
		for _, d := range t.root.DIMMs() {
			d.FlushFails()
		}
	}
	t.failure = &failure{m.Cut(keep, t.host.Seed()), m, t.blind != nil && keep == persist.KeepNone}
	t.host.Attention()
}

// Failed says that the power failed since power-on.
func (t *Tracker) Failed() bool { return t.failure != nil }

// PowerOff is for a machine that is off: the DIMMs, which are still mapped, hold
// what a failure left, or all that was visible. An armed cut that was not
// before power-on is disarmed.
func (t *Tracker) PowerOff() {
	if t.model == nil {
		return
	}
	switch f := t.failure; {
	case f == nil:
		t.model.Clean()
	case f.toEpoch:
		t.revert()
	default:
		unlessLost(func() { f.cut.Apply(f.model) })
	}
	*t = Tracker{root: t.root, host: t.host, faults: t.faults}
}

// Clean makes all that is visible durable, of a machine that is on, and whose stores are
// seen: nothing is undecided any more.
func (t *Tracker) Clean() {
	if t.model != nil {
		t.model.Clean()
	}
}

// unlessLost does what touches memory whose file someone may have truncated:
// then there is nothing left to touch.
func unlessLost(f func()) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil, interface{ Addr() uintptr }:
		default:
			panic(fault)
		}
	}()
	f()
}
