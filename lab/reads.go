package lab

import (
	"nvlab/nvdimm/explore"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// A readWatch notes what a VM, and the host, reads of an exploration's lines.
type readWatch struct {
	v     *VM
	space *explore.Trace
	media map[int]*persist.Medium // of the trace, by slot
	areas map[int]int             // numbers of label areas of the trace, by slot
	reads *explore.Reads
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

// armReads is for a machine that is new.
func (v *VM) armReads() error {
	switch {
	case v.m == nil:
		return nil
	case v.reads == nil:
		return v.m.WatchLoads(nil, nil)
	}
	v.reads.reads.ReadCopies() // in the memory of a machine that is reset
	w, regions := &observe.Watch{}, v.regions()
	for m, n := range v.reads.space.Watched() {
		offset := n * persist.LineSize
		for _, r := range regions {
			if v.reads.media[r.slot] == m && offset-r.offset < uint64(len(r.Mem)) {
				w.Add(r.Base + offset - r.offset)
				break
			}
		}
	}
	return v.m.WatchLoads(w, v.reads)
}

// line is the line of the space at an offset of a DIMM's memory.
func (w *readWatch) line(base, offset uint64) (int, bool) {
	at, in, ok := w.v.root.Locate(base + offset)
	if !ok {
		return 0, false
	}
	i, ok := w.space.LineOf(w.media[at.Slot()], in/persist.LineSize)
	return i, ok && w.space.Varies(i)
}

// Load is a load of the guest.
func (w *readWatch) Load(e *observe.Load) (done bool) { return w.reads.Load(e) }

// Copy is a copy that the guest makes, and Overwritten a store to one.
func (w *readWatch) Copy(e *observe.Copy) (lines uint64)       { return w.reads.Copy(e) }
func (w *readWatch) Overwritten(addr, n uint64) (lines uint64) { return w.reads.Overwritten(addr, n) }

// Store is a store of the guest, and Stream several.
func (w *readWatch) Store(e *observe.Store)   { w.reads.Store(e) }
func (w *readWatch) Stream(s *observe.Stream) { w.reads.Stream(s) }

// Call is a call of a DIMM's functions: it may read the label area.
func (w *readWatch) Call(slot int) {
	if i, ok := w.areas[slot]; ok {
		w.reads.Read(w.space.Area(i), explore.AllBytes)
	}
}

// Failure brings back what was stored over: all is read from then on.
func (w *readWatch) Failure() {
	for _, d := range w.v.dimms {
		w.host(d, 0, d.backend.Size())
	}
}

// host is a look at n bytes of a DIMM's backend.
func (w *readWatch) host(d *NVDIMM, offset, n uint64) {
	if offset+n > d.Backend().Size()-d.LabelSize() {
		w.Call(d.Slot())
	}
	if n == 0 {
		return
	}
	w.reads.ReadCopies() // whoever looks may have forked the machine
	medium := w.media[d.Slot()]
	for m, l := range w.space.Watched() {
		if m == medium && l*persist.LineSize < offset+n && offset < (l+1)*persist.LineSize {
			if i, ok := w.space.LineOf(m, l); ok {
				w.reads.Read(i, explore.AllBytes)
			}
		}
	}
}
