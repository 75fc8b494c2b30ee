package lab

import (
	"iter"

	"nvlab/nvdimm/explore"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// A readWatch notes what a VM, and the host, reads of lines of NVDIMMs before it is
// overwritten.
type readWatch struct {
	v     *VM
	of    watchedLines
	reads *explore.Reads
}

// watchedLines are the lines that a readWatch is for. Line n of an NVDIMM is that of the
// bytes from 64·n on.
type watchedLines interface {
	// number is what explore.Reads calls line n of the NVDIMM in a slot, if it is
	// one of them.
	number(slot int, n uint64) (line int, ok bool)
	// within are the numbers of those in n bytes of an NVDIMM.
	within(slot int, offset, n uint64) iter.Seq[int]
	// watch adds those that are in the memory of an NVDIMM.
	watch(w *observe.Watch, d *NVDIMM)
	// look is told of reads, maybe of none of them.
	look(slot int, offset, n uint64)
}

func newReadWatch(v *VM, of watchedLines) *readWatch {
	w := &readWatch{v: v, of: of}
	w.reads = explore.NewReads(w.line)
	return w
}

// watchReads begins to note them; nil ends it. A machine that is switched on, or
// comes from a snapshot, is watched from its first instruction.
func (v *VM) watchReads(w *readWatch) error {
	v.reads = w
	for _, d := range v.dimms {
		d.backend.reads = nil
		if w != nil {
			d.backend.reads = func(offset, n uint64) { w.host(d, offset, n) }
		}
	}
	if w == nil {
		v.power.Watch(nil)
	} else {
		v.power.Watch(w)
	}
	return v.armReads()
}

// armReads is for a machine, or memory of an NVDIMM, that is new. Who tracks the power
// forgets who watches when that is off.
func (v *VM) armReads() error {
	switch {
	case v.m == nil:
		return nil
	case v.reads == nil:
		return v.m.WatchLoads(nil, nil)
	}
	v.power.Watch(v.reads)
	v.reads.reads.ReadCopies() // in the memory of a machine that is reset
	w := &observe.Watch{}
	for _, d := range v.dimms {
		v.reads.of.watch(w, d)
	}
	return v.m.WatchLoads(w, v.reads)
}

// line is the number of the line at an offset of a DIMM's memory.
func (w *readWatch) line(base, offset uint64) (int, bool) {
	at, in, ok := w.v.root.Locate(base + offset)
	if !ok {
		return 0, false
	}
	return w.of.number(at.Slot(), in/persist.LineSize)
}

// look tells of a read of n bytes of guest-physical memory, within a page.
func (w *readWatch) look(addr, n uint64) {
	if at, in, ok := w.v.root.Locate(addr); ok {
		w.of.look(at.Slot(), in, n)
	}
}

// Load is a load of the guest.
func (w *readWatch) Load(e *observe.Load) (done bool) {
	w.look(e.Base+e.Offset, uint64(e.Size))
	return w.reads.Load(e)
}

// Copy is a copy that the guest makes, and Overwritten a store to one.
func (w *readWatch) Copy(e *observe.Copy) (lines uint64) {
	w.look(e.Base+e.Offset, e.Size)
	return w.reads.Copy(e)
}

// Overwritten is a store to a copy.
func (w *readWatch) Overwritten(addr, n uint64) (lines uint64) { return w.reads.Overwritten(addr, n) }

// Store is a store of the guest, and Stream several.
func (w *readWatch) Store(e *observe.Store)   { w.reads.Store(e) }
func (w *readWatch) Stream(s *observe.Stream) { w.reads.Stream(s) }

// Call is a call of a DIMM's functions: it may read the label area.
func (w *readWatch) Call(slot int) {
	if d := w.v.inSlot(slot); d != nil {
		w.read(d, d.backend.Size()-d.LabelSize(), d.LabelSize())
	}
}

// Failure brings back what was stored over: all is read from then on.
func (w *readWatch) Failure() {
	for _, d := range w.v.dimms {
		w.undone(d)
	}
}

// undone tells that a DIMM may hold again what it did at first.
func (w *readWatch) undone(d *NVDIMM) {
	size := d.backend.Size()
	w.host(d, 0, size)
	for i := range w.of.within(d.Slot(), 0, size) {
		w.reads.Undone(i)
	}
}

// host is a look at n bytes of a DIMM's backend.
func (w *readWatch) host(d *NVDIMM, offset, n uint64) {
	w.reads.ReadCopies() // whoever looks may have forked the machine
	w.read(d, offset, n)
}

func (w *readWatch) read(d *NVDIMM, offset, n uint64) {
	if n == 0 {
		return
	}
	w.of.look(d.Slot(), offset, n)
	for i := range w.of.within(d.Slot(), offset, n) {
		w.reads.Read(i, explore.AllBytes)
	}
}

// spaceLines are the lines in which states of an exploration differ from each other, or
// from the beginning of the trace, as the base has it.
type spaceLines struct {
	*explore.Trace
	media map[int]*persist.Medium // by slot
	areas map[int]labelArea       // by slot
}

// A labelArea is a label area of a trace: its number, and where it begins in the backend.
type labelArea struct {
	number int
	start  uint64
}

func (s *spaceLines) number(slot int, n uint64) (int, bool) {
	i, ok := s.LineOf(s.media[slot], n)
	return i, ok && s.Changes(i)
}

func (s *spaceLines) within(slot int, offset, n uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		if a, ok := s.areas[slot]; ok && offset+n > a.start && !yield(s.Area(a.number)) {
			return
		}
		medium := s.media[slot]
		for m, l := range s.Watched() {
			if m != medium || l*persist.LineSize >= offset+n || offset >= (l+1)*persist.LineSize {
				continue
			}
			if i, ok := s.LineOf(m, l); ok && !yield(i) {
				return
			}
		}
	}
}

func (s *spaceLines) watch(w *observe.Watch, d *NVDIMM) {
	medium := s.media[d.Slot()]
	for m, n := range s.Watched() {
		if m != medium {
			continue
		}
		for addr := range d.Addresses(n*persist.LineSize, persist.LineSize) {
			w.Add(addr)
		}
	}
}

// look does nothing: what else there is states have as the base has it.
func (*spaceLines) look(slot int, offset, n uint64) {}

// What the guest computes of what it loads: see observe.ValueObserver.

func (w *readWatch) Follows() bool { return w.reads.Follows() }

// Take is a load of the guest that is followed, or one that Load is told of.
func (w *readWatch) Take(base, offset uint64, n uint8, held uint64, first bool) observe.Value {
	v := w.reads.Take(base, offset, n, held, first)
	if v != 0 {
		w.look(base+offset, uint64(n))
	}
	return v
}

func (w *readWatch) Compute(op observe.ValueOp, a, b observe.Value, k uint64) observe.Value {
	return w.reads.Compute(op, a, b, k)
}

func (w *readWatch) Bits(v observe.Value) uint64                      { return w.reads.Bits(v) }
func (w *readWatch) Table(entries []uint64) int                       { return w.reads.Table(entries) }
func (w *readWatch) Look(v observe.Value, table int) observe.Value    { return w.reads.Look(v, table) }
func (w *readWatch) Decide(v observe.Value)                           { w.reads.Decide(v) }
func (w *readWatch) Reveal(v observe.Value)                           { w.reads.Reveal(v) }
func (w *readWatch) Put(addr uint64, n uint8, v observe.Value) uint64 { return w.reads.Put(addr, n, v) }

var _ observe.ValueObserver = (*readWatch)(nil)
