package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"time"

	"nvlab/internal/units"
	"nvlab/nvdimm/explore"
	"nvlab/nvdimm/persist"
)

// ExploreOptions are what Trace.Explore looks at. The zero value is all events
// that are about to make stores durable, and states without a deviation.
type ExploreOptions struct {
	persist.Search // events and reading; its limit is not used, and its seed for Verify only

	// Base is what recovering VMs are forked from: a VM with NVDIMMs like the
	// trace's, which has not looked at what may differ. If nil, one is booted.
	Base *VMSnapshot

	Depth   int  // lines that differ from "nothing more survived" or from "everything did"
	Alike   int  // of the values missing behind an execution, how many of one shape are run; 0 for all
	Limit   int  // executions; 0 for no limit
	NoPrune bool // run each state
	Shard   explore.Shard

	// Budget is wall time for listing states, half of it at most, and for
	// executions, after which none begins and those under way end; 0 for no limit.
	Budget time.Duration
	// Workers are executions at a time; 0 for as many as the host has
	// processors, the run's options allow and the host's memory has room for.
	Workers int

	// Check, if not nil, looks at what a recovery left.
	Check Check
	// Verify is how many states that were not run are run all the same, to see
	// that they do what is said of them: an exploration.ErrNotDeterministic if not.
	Verify int
	// Bad says that an answer is wrong. Of each one that is, up to some number,
	// a state is looked for with as few lines lost as possible. Nil for none.
	Bad func(answer string) bool

	// Ran is called with the id and the answer of each state that was run and counts, in an
	// order that does not depend on the workers, and Progress now and then. Both
	// are called from the goroutine of Explore, and may be nil.
	Ran      func(id, answer string)
	Progress func(explore.Progress)
}

// An Exploration is what recoveries came to.
type Exploration struct {
	*explore.Result
	Booted  bool   // each execution booted: a boot reads what may differ
	Ended   string // why it ended before all was run, if somebody or the budget ended it
	Checked int    // states that were run to see whether the others are right
	// Minimal has for a bad answer the id of a state which gives it and in which
	// no lost line can be left out.
	Minimal map[string]string
}

// maxMinimised is for how many bad answers a minimal state is looked for.
const maxMinimised = 16

// A Recovery runs in a VM that finds itself at the crash state of an id, and
// returns its answer. What it uses of the VM before its first call it settles it for (see
// VM.Settle). The VM is not to be used by anybody else, nor after it returns. Several
// recoveries run at once, but only their guests do so at the same time: what a
// recovery does between two calls that run its guest, no other sees.
type Recovery func(ctx context.Context, state string, v *VM) (answer string, err error)

// Explore runs a recovery at each crash state, or on enough of them to know what
// it would come to on the others (see package explore). An error of the recovery
// ends the exploration. If ctx is done or the budget is spent, what was found
// until then is the result, and no error.
func (t *Trace) Explore(ctx context.Context, o ExploreOptions, recovery Recovery) (*Exploration, error) {
	began := time.Now()
	listing, cancel := budgeted(ctx, o.Budget, o.Budget/2)
	defer cancel()
	x := t.explorer(listing, &o, recovery)
	defer x.end()
	left := o.Budget - time.Since(began)
	if ctx.Err() == nil {
		if err := x.prepare(ctx, o.Base); err != nil {
			return nil, err
		}
		x.opens = x.base.machine != nil && t.vm.x.lab.opts.GDB == nil
	}
	running, cancel := budgeted(ctx, o.Budget, left)
	defer cancel()
	r, err := explore.Explore(running, x.space.Space, x.run, explore.Options{
		Depth: o.Depth, Torn: -1, NoPrune: o.NoPrune, Alike: o.Alike, Limit: o.Limit, Workers: cmp.Or(o.Workers, t.vm.workers()), Shard: o.Shard,
		Ran: o.Ran, Progress: o.Progress,
	})
	if r == nil {
		return nil, err
	}
	e := &Exploration{Result: r, Booted: x.base != nil && x.base.machine == nil, Minimal: map[string]string{}}
	if err == nil {
		err = x.after(running, e, o)
	}
	unlisted := ""
	if s := x.space.Search; s.Ended {
		unlisted = fmt.Sprintf("the states from event %d on were not listed", s.Next)
	}
	switch {
	case running.Err() == nil:
		e.Ended = unlisted
		if o.Limit > 0 && len(e.Leaves) >= o.Limit && !e.Exhaustive() {
			e.Ended = fmt.Sprintf("its limit of %s is reached", units.Count(o.Limit, "execution"))
		}
		return e, err
	case ctx.Err() != nil:
		e.Ended = "it was ended: " + context.Cause(ctx).Error()
	default:
		e.Ended = fmt.Sprintf("its budget of %v is spent", o.Budget)
	}
	return e, nil
}

// budgeted is a context that ends after a time of a budget, 0 for none.
func budgeted(ctx context.Context, budget, time time.Duration) (context.Context, context.CancelFunc) {
	if budget == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time)
}

// after looks for minimal states of bad answers, and checks what was not run.
func (x *explorer) after(ctx context.Context, e *Exploration, o ExploreOptions) error {
	for _, a := range e.Answers() {
		if o.Bad == nil || !o.Bad(a.Text) || len(e.Minimal) == maxMinimised {
			continue
		}
		s, err := x.space.State(a.Plainest.Point, a.Plainest.All, a.Plainest.Changes...)
		if err != nil {
			return err
		}
		least, _, err := e.Minimise(ctx, x.run, s, true, func(answer string) bool { return answer == a.Text })
		if err != nil {
			return err
		}
		e.Minimal[a.Text] = least.ID()
		if least.Same(s) { // one name in what is told
			defer func() { a.Plainest.ID = least.ID() }() // but Check knows executions by their names
		}
	}
	if o.Verify == 0 {
		return nil
	}
	if x.checks != nil {
		x.checks.anew = true
	}
	var err error
	e.Checked, err = e.Check(ctx, x.run, o.Verify, o.Seed)
	return err
}

// Recover runs a recovery at one crash state, as Explore would.
func (t *Trace) Recover(ctx context.Context, o ExploreOptions, s *persist.State, recovery Recovery) (answer string, booted bool, err error) {
	x := t.explorer(ctx, &o, recovery)
	defer x.end()
	if err := x.prepare(ctx, o.Base); err != nil {
		return "", false, err
	}
	lines, labels := s.Image()
	e, err := x.execute(ctx, s.ID, leaving{
		lines: func(yield func(*persist.Medium, persist.Line) bool) {
			for _, l := range lines {
				if !yield(l.Medium, l) {
					return
				}
			}
		},
		label: func(i int) []byte { return labels[i] },
	})
	return e.Answer, x.base.machine == nil, err
}

// workers is how many recoveries there is room for at a time.
func (v *VM) workers() int {
	n := runtime.GOMAXPROCS(0)
	if most := v.x.lab.opts.Parallel; most > 0 {
		n = min(n, most)
	}
	return max(1, min(n, int(v.x.lab.memory.room()/max(int64(v.opts.Memory), 1))))
}

// explorer runs recoveries. Its turn is held by whoever uses the experiment: all
// but a guest that runs.
type explorer struct {
	trace    *Trace
	space    *spaceLines
	recovery Recovery
	checks   *checker // nil for none
	follows  bool     // what is computed of what is read
	opening  *opening // nil if there is none, or none yet
	opens    bool     // it is to be looked for in the next execution of v
	turn     sync.Mutex
	v        *VM         // the first of the VMs
	base     *VMSnapshot // of v, with what the NVDIMMs held when the trace began
	saved    []*VMSnapshot
	vms      []*VM        // all, and
	idle     []*VM        // those that run nothing
	rewound  map[*VM]bool // that are what the base is of: nothing was done with them since
}

// explorer lists the states of the trace, as far as it gets until ctx is done.
func (t *Trace) explorer(ctx context.Context, o *ExploreOptions, recovery Recovery) *explorer {
	s := o.Search
	s.Stop = func() bool { return ctx.Err() != nil }
	x := &explorer{trace: t, recovery: recovery, rewound: map[*VM]bool{}, space: &spaceLines{explore.OfJournal(t.Journal, s), map[int]*persist.Medium{}, map[int]labelArea{}}}
	for m, d := range t.names {
		x.space.media[d.Slot()] = m
	}
	for i, d := range t.areas {
		x.space.areas[d.Slot()] = labelArea{i, d.Size() - d.LabelSize()}
	}
	x.follows = !o.NoPrune && o.Depth >= 0 // else each byte counts
	if o.Check != nil {
		x.checks = &checker{check: o.Check, known: map[string][]*checked{}, anew: o.NoPrune}
	}
	known := sync.OnceValue(func() []uint64 { return kinds(t, x.space.Trace) })
	x.space.Kind = func(line int) uint64 { return known()[line] }
	return x
}

// end leaves nothing of the VMs to the experiment.
func (x *explorer) end() {
	for _, s := range x.saved {
		s.vm.x.saved = slices.DeleteFunc(s.vm.x.saved, func(o *VMSnapshot) bool { return o == s })
		s.close()
	}
	for _, v := range x.vms {
		x.endForks(v)
	}
	for _, v := range x.vms {
		v.drop()
	}
}

// endForks ends what a recovery made of its VM: forks, and snapshots of all of
// them.
func (x *explorer) endForks(v *VM) {
	mine := func(o *VM) bool {
		for o != nil && o != v && !slices.Contains(x.vms, o) {
			o = o.origin
		}
		return o == v
	}
	e := v.x
	for _, o := range slices.Clone(e.vms) {
		if o != v && mine(o) {
			o.drop()
		}
	}
	e.saved = slices.DeleteFunc(e.saved, func(s *VMSnapshot) bool {
		own := mine(s.vm) && !slices.Contains(x.saved, s)
		if own {
			s.close()
		}
		return own
	})
}

// drop ends a VM of an exploration. Its experiment knows nothing of it any more.
func (v *VM) drop() {
	v.off()
	v.turn = nil
	e := v.x
	e.vms = slices.DeleteFunc(e.vms, func(o *VM) bool { return o == v })
	for _, d := range v.dimms {
		e.backends = slices.DeleteFunc(e.backends, func(b *Backend) bool { return b == d.backend })
		d.backend.b.Close()
	}
}

// Exploring says that the VM is a recovery's: the one that it was given, or a
// fork of that.
func (v *VM) Exploring() bool { return v.turn != nil }

// Exploring says that the snapshot is of such a VM.
func (s *VMSnapshot) Exploring() bool { return s.vm.Exploring() }

// Exploring says that the backend is a recovering VM's.
func (b *Backend) Exploring() bool { return b.vm != nil && b.vm.Exploring() }

// fork makes another VM, for one recovery at a time.
func (x *explorer) fork(ctx context.Context, from *VMSnapshot) (*VM, error) {
	v, err := from.Fork(ctx, nil)
	if err != nil {
		return nil, err
	}
	v.turn = &x.turn
	x.vms = append(x.vms, v)
	return v, nil
}

// snapshot is of a VM, until end.
func (x *explorer) snapshot(v *VM) (*VMSnapshot, error) {
	s, err := v.Snapshot()
	if err == nil {
		x.saved = append(x.saved, s)
	}
	return s, err
}

// prepare makes the VM, and what it goes back to before each execution.
func (x *explorer) prepare(ctx context.Context, base *VMSnapshot) (err error) {
	if x.trace.vm.x.closed {
		return ErrClosed
	}
	x.turn.Lock()
	defer x.turn.Unlock()
	defer func() { x.idle = append(x.idle, x.v) }()
	boot := base == nil
	if boot {
		if base, err = x.snapshot(x.trace.vm); err != nil {
			return err
		}
	}
	if x.v, err = x.fork(ctx, base); err != nil {
		return err
	}
	if boot && x.v.state != Off {
		x.v.off()
	}
	if err := x.rewind(); err != nil {
		return err
	}
	x.v.power.Clean() // the power has failed since: what a crash state leaves is durable
	if x.base, err = x.snapshot(x.v); err != nil || !boot {
		return err
	}
	reads, err := x.v.watch(x.space)
	if err != nil {
		return err
	}
	if err := x.v.Boot(ctx, DefaultTimeout); err != nil {
		return err
	}
	if err := x.v.watchReads(nil); err != nil {
		return err
	}
	for _, r := range reads.List() {
		if x.space.Changes(r.Line) {
			return nil // a boot sees which state it is
		}
	}
	x.base, err = x.snapshot(x.v)
	return err
}

// rewind has the NVDIMMs hold what they did when the trace began.
func (x *explorer) rewind() error {
	for _, d := range x.trace.dimms {
		own := x.v.inSlot(d.Slot())
		if own == nil || own.Size() != d.Size() || own.LabelSize() != d.LabelSize() {
			return fmt.Errorf("the base has no NVDIMM like the trace's %q in slot %d: recoveries run in a VM with the same ones", d.ID(), d.Slot())
		}
		const step = 1 << 20
		was, is := make([]byte, step), make([]byte, step)
		for off := uint64(0); off < d.backend.Size(); off += step {
			n := min(step, d.backend.Size()-off)
			if _, err := x.trace.snapshots[d.backend].ReadAt(was[:n], int64(off)); err != nil {
				return err
			}
			if _, err := own.backend.ReadAt(is[:n], int64(off)); err != nil {
				return err
			}
			if bytes.Equal(was[:n], is[:n]) {
				continue
			}
			for at := uint64(0); at < n; at += persist.LineSize {
				line := was[at:min(at+persist.LineSize, n)]
				if !bytes.Equal(line, is[at:at+uint64(len(line))]) {
					if err := x.v.poke(own, off+at, line); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// leaving is what a crash state leaves: lines that are not as they were when the
// trace began, maybe among others, and label areas by number.
type leaving struct {
	lines iter.Seq2[*persist.Medium, persist.Line]
	label func(i int) []byte
}

// run is the explore.Runner.
func (x *explorer) run(ctx context.Context, s *explore.State) (explore.Execution, error) {
	return x.execute(ctx, s.ID(), leaving{x.space.Image(s), func(i int) []byte { return x.space.Label(s, i) }})
}

// execute runs the recovery at a state, in a VM that is idle or another one.
func (x *explorer) execute(ctx context.Context, id string, state leaving) (explore.Execution, error) {
	x.turn.Lock()
	defer x.turn.Unlock()
	var v *VM
	if n := len(x.idle); n > 0 {
		v, x.idle = x.idle[n-1], x.idle[:n-1]
	} else {
		var err error
		if v, err = x.fork(ctx, x.base); err != nil {
			return explore.Execution{}, err
		}
	}
	defer func() { x.idle = append(x.idle, v) }()
	return x.executeIn(ctx, v, id, state)
}

func (x *explorer) executeIn(ctx context.Context, v *VM, id string, state leaving) (explore.Execution, error) {
	var e explore.Execution
	from, w := x.base, newReadWatch(v, x.space)
	if x.follows {
		w.reads.Follow()
	}
	b := &beginning{opening: x.opening}
	b.back = func() error { return x.place(ctx, v, x.base, state, w) }
	var look *firstLook
	if x.opening != nil {
		from = x.opening.snapshot
	} else if v == x.v && x.opens {
		x.opens, look = false, &firstLook{spaceLines: x.space, v: v}
		w.of = look
	}
	if err := x.place(ctx, v, from, state, w); err != nil {
		return e, err
	}
	v.beginning = b
	var err error
	if e.Answer, err = v.bootIfOff(ctx); err == nil && e.Answer == "" {
		e.Answer, err = x.recovery(ctx, id, v)
		v.beginning = nil
		x.endForks(v)
		if err == nil && x.checks != nil {
			e.Answer, x.rewound[v], err = x.check(ctx, v, id, e.Answer, w)
		}
	}
	e.Reads = w.reads.List()
	if err == nil && look != nil && look.seen && b.first != nil {
		x.rewound[v] = false
		err = x.open(ctx, v, b.first, look.at-b.start)
	}
	return e, err
}

// place has a VM be what a snapshot is of, but for what a crash state leaves, and watches
// what it reads of that.
func (x *explorer) place(ctx context.Context, v *VM, from *VMSnapshot, state leaving, w *readWatch) error {
	if err := v.watchReads(nil); err != nil {
		return err
	}
	if !x.rewound[v] || from != x.base {
		if err := v.Restore(ctx, from); err != nil {
			return err
		}
	}
	x.rewound[v] = false
	for m, l := range state.lines {
		d := v.inSlot(x.trace.names[m].Slot())
		if err := v.poke(d, l.N*persist.LineSize, l.Bytes[:]); err != nil {
			return err
		}
	}
	for i, d := range x.trace.areas {
		own := v.inSlot(d.Slot())
		if own.backend.ReadOnly() || !x.space.Changes(x.space.Area(i)) {
			continue
		}
		if err := v.poke(own, own.backend.Size()-own.LabelSize(), state.label(i)); err != nil {
			return err
		}
	}
	return v.watchReads(w)
}

// watch has a VM note what it reads of lines from now on.
func (v *VM) watch(of watchedLines) (*explore.Reads, error) {
	w := newReadWatch(v, of)
	return w.reads, v.watchReads(w)
}

// bootIfOff boots a VM that is off. What failed is why its guest does not boot.
func (v *VM) bootIfOff(ctx context.Context) (failed string, err error) {
	if v.state != Off {
		return "", nil
	}
	err = v.Boot(ctx, DefaultTimeout)
	var e *Error
	if errors.As(err, &e) && e.Class == ClassBoot {
		return "the guest does not boot: " + e.Err.Error(), nil
	}
	return "", err
}

// inSlot is the NVDIMM in a slot, nil if there is none.
func (v *VM) inSlot(slot int) *NVDIMM {
	for _, d := range v.dimms {
		if d.Slot() == slot {
			return d
		}
	}
	return nil
}

// poke changes bytes of a DIMM, behind the guest's back if there is one: what
// has never been looked at was always so.
func (v *VM) poke(d *NVDIMM, offset uint64, p []byte) error {
	if err := d.backend.b.Put(p, int64(offset)); err != nil {
		return &Error{Class: ClassHost, Err: err}
	}
	if v.m == nil {
		return nil
	}
	v.wrote(d, offset, uint64(len(p)))
	return nil
}
