package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"nvlab/nvdimm/explore"
	"nvlab/nvdimm/persist"
)

// ExploreOptions are what Trace.Explore looks at. The zero value is all events
// that are about to make stores durable, and states without a deviation.
type ExploreOptions struct {
	persist.Search // events and reading; its limit and seed are not used

	// Base is what recovering VMs are forked from: a VM with NVDIMMs like the
	// trace's, which has not looked at what may differ. If nil, one is booted.
	Base *VMSnapshot

	Depth   int  // lines that differ from "nothing more survived" or from "everything did"
	Limit   int  // executions; 0 for no limit
	NoPrune bool // run each state

	Progress func(*explore.Result) // called now and then; nil if nobody looks
}

// An Exploration is what recoveries came to.
type Exploration struct {
	*explore.Result
	Booted bool // each execution booted: a boot reads what may differ
}

// Explore runs a recovery in a VM that finds itself at each crash state, or on
// enough of them to know what it would come to on the others (see package
// explore). The recovery returns its answer; the VM is not to be used by anybody
// else, nor after it returns. An error of the recovery ends the exploration.
func (t *Trace) Explore(ctx context.Context, o ExploreOptions, recovery func(context.Context, *VM) (string, error)) (*Exploration, error) {
	if t.vm.x.closed {
		return nil, ErrClosed
	}
	x := &explorer{trace: t, space: explore.OfJournal(t.Journal, o.Search, nil), media: map[int]*persist.Medium{}, areas: map[int]int{}}
	for m, d := range t.names {
		x.media[d.Slot()] = m
	}
	for i, d := range t.areas {
		x.areas[d.Slot()] = i
	}
	defer x.end()
	if err := x.prepare(ctx, o.Base); err != nil {
		return nil, err
	}
	run := func(ctx context.Context, s *explore.State) (explore.Execution, error) { return x.run(ctx, s, recovery) }
	r, err := explore.Explore(ctx, x.space.Space, run, explore.Options{
		Depth: o.Depth, Torn: -1, NoPrune: o.NoPrune, Limit: o.Limit, Workers: 1, Progress: o.Progress,
	})
	if r == nil {
		return nil, err
	}
	return &Exploration{r, x.base.machine == nil}, err
}

// explorer runs recoveries, one at a time.
type explorer struct {
	trace *Trace
	space *explore.Trace
	media map[int]*persist.Medium // by slot
	areas map[int]int             // by slot
	v     *VM
	base  *VMSnapshot // of v, with what the NVDIMMs held when the trace began
	saved []*VMSnapshot
}

// end leaves nothing of the VM to the experiment.
func (x *explorer) end() {
	for _, s := range x.saved {
		s.vm.x.saved = slices.DeleteFunc(s.vm.x.saved, func(o *VMSnapshot) bool { return o == s })
		s.close()
	}
	if x.v == nil {
		return
	}
	x.v.off()
	e := x.v.x
	e.vms = slices.DeleteFunc(e.vms, func(v *VM) bool { return v == x.v })
	for _, d := range x.v.dimms {
		e.backends = slices.DeleteFunc(e.backends, func(b *Backend) bool { return b == d.backend })
		d.backend.b.Close()
	}
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
	boot := base == nil
	if boot {
		if base, err = x.snapshot(x.trace.vm); err != nil {
			return err
		}
	}
	if x.v, err = base.Fork(ctx, nil); err != nil {
		return err
	}
	if boot && x.v.state != Off {
		x.v.off()
	}
	if err := x.rewind(); err != nil {
		return err
	}
	if x.base, err = x.snapshot(x.v); err != nil || !boot {
		return err
	}
	reads, err := x.watch()
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
		if x.space.Varies(r.Line) {
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

// run runs the recovery at a state.
func (x *explorer) run(ctx context.Context, s *explore.State, recovery func(context.Context, *VM) (string, error)) (explore.Execution, error) {
	var e explore.Execution
	if err := x.v.watchReads(nil); err != nil {
		return e, err
	}
	if err := x.v.Restore(ctx, x.base); err != nil {
		return e, err
	}
	for m, l := range x.space.Image(s) {
		d := x.v.inSlot(x.trace.names[m].Slot())
		if err := x.v.poke(d, l.N*persist.LineSize, l.Bytes[:]); err != nil {
			return e, err
		}
	}
	for i, d := range x.trace.areas {
		own := x.v.inSlot(d.Slot())
		if own.backend.ReadOnly() || !x.space.Varies(x.space.Area(i)) {
			continue
		}
		if err := x.v.poke(own, own.backend.Size()-own.LabelSize(), x.space.Label(s, i)); err != nil {
			return e, err
		}
	}
	reads, err := x.watch()
	if err != nil {
		return e, err
	}
	if x.v.state == Off {
		var failed *Error
		if err := x.v.Boot(ctx, DefaultTimeout); errors.As(err, &failed) && failed.Class == ClassBoot {
			return explore.Execution{Answer: "the guest does not boot: " + failed.Err.Error(), Reads: reads.List()}, nil
		} else if err != nil {
			return e, err
		}
	}
	e.Answer, err = recovery(ctx, x.v)
	e.Reads = reads.List()
	return e, err
}

// watch has the VM note what it reads from now on.
func (x *explorer) watch() (*explore.Reads, error) {
	w := &readWatch{v: x.v, space: x.space, media: x.media, areas: x.areas}
	w.reads = explore.NewReads(w.line)
	return w.reads, x.v.watchReads(w)
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
	for _, r := range v.regions() {
		if end := offset + uint64(len(p)); r.slot == d.Slot() && offset < r.offset+uint64(len(r.Mem)) && r.offset < end {
			from, to := max(offset, r.offset), min(end, r.offset+uint64(len(r.Mem)))
			v.m.Wrote(r.Base+from-r.offset, to-from)
		}
	}
	return nil
}
