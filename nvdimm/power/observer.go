package power

import (
	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

var _ observe.StreamObserver = (*Tracker)(nil)

// owner is the slot of the DIMM at an offset of an observed region, and the
// offset there.
func (t *Tracker) owner(base, offset uint64) (slot int, at uint64) {
	d, at, ok := t.root.Locate(base + offset)
	if !ok {
		return noSlot, 0
	}
	return d.Slot(), at
}

// Store is a store about to take effect.
func (t *Tracker) Store(e *observe.Store) {
	if t.failure != nil {
		t.failure.cut.Touch(t.failure.model, e)
		return
	}
	if t.armed != nil && t.armed.Event == Store {
		slot, offset := t.owner(e.Base, e.Offset)
		if t.strikes(Store, slot, offset, uint64(e.Size)) {
			t.model.Abandon(e)
			t.past.Abandon(t.model, e)
			t.Fail(t.armed.Keep, t.armed.Unsaved)
			t.failure.cut.Touch(t.failure.model, e)
			return
		}
	}
	if t.watcher != nil {
		t.watcher.Store(e)
	}
	if t.recording != nil {
		t.recording.Journal.Store(e)
	}
	t.past.Store(t.model, e)
	t.model.Store(e)
}

// Streams says that stores may be told after they took effect: nobody has to see
// one by one.
func (t *Tracker) Streams() bool {
	return t.armed == nil || t.armed.Event != Store
}

// Stream is stores that took effect already.
func (t *Tracker) Stream(s *observe.Stream) {
	if t.failure != nil {
		t.failure.cut.TouchStream(t.failure.model, s)
		return
	}
	if t.watcher != nil {
		t.watcher.Stream(s)
	}
	if t.recording != nil {
		t.recording.Journal.Stream(s)
	}
	t.past.Stream(t.model, s)
	t.model.Stream(s)
}

// Flush is a flush about to execute.
func (t *Tracker) Flush(e *observe.Flush) {
	if t.failure != nil {
		return
	}
	if t.armed != nil && t.armed.Event == Flush {
		slot, offset := t.owner(e.Base, e.Offset)
		if t.strikes(Flush, slot, offset, persist.LineSize) {
			t.Fail(t.armed.Keep, t.armed.Unsaved)
			return
		}
	}
	if t.recording != nil {
		t.recording.Journal.Flush(e)
	}
	t.past.Flush(t.model, e)
	t.model.Flush(e)
}

// Fence is a fence about to complete. What other instructions ordered before
// it comes first.
func (t *Tracker) Fence(e *observe.Fence) {
	if t.failure != nil {
		return
	}
	if explicit := e.Order & observe.Explicit; explicit != 0 && e.Order != explicit {
		before, own := *e, *e
		before.Order, own.Order = e.Order&^explicit, explicit
		t.fence(&before)
		e = &own
	}
	t.fence(e)
}

func (t *Tracker) fence(e *observe.Fence) {
	if e.Order&(observe.SFENCE|observe.MFENCE) != 0 && t.strikes(Fence, noSlot, 0, 0) {
		t.Fail(t.armed.Keep, t.armed.Unsaved)
		return
	}
	if t.recording != nil {
		t.recording.Journal.Fence(e)
	}
	t.past.Fence(e)
	t.model.Fence(e)
}

// Flushed is a flush request of a virtio-pmem device, which counts as a store to
// a flush hint.
func (t *Tracker) Flushed(d *nvdimm.DIMM) { t.hint(d) }

// hint is a store to a flush hint of a DIMM.
func (t *Tracker) hint(d *nvdimm.DIMM) {
	if t.model == nil || t.failure != nil {
		return
	}
	if t.strikes(FlushHint, d.Slot(), 0, 0) {
		t.Fail(t.armed.Keep, t.armed.Unsaved)
		return
	}
	t.endEpoch(d)
	i := t.of(d.Slot())
	if i < 0 {
		return
	}
	told := map[int]bool{}
	for _, p := range t.media[i].Parts {
		if told[p.Slot] {
			continue
		}
		told[p.Slot] = true
		n := t.of(p.Slot)
		if t.recording != nil {
			t.recording.Journal.Hint(t.model.Media()[n], t.now())
		}
		t.past.Hint(n)
		t.model.Hint(t.model.Media()[n])
	}
}

func (t *Tracker) now() observe.At { return observe.At{Seq: t.host.Instructions()} }

// call sees every _DSM call before it takes effect.
func (t *Tracker) call(c *nvdimm.Call) {
	if t.failure != nil {
		c.Status = nvdimm.StatusFailed
		return
	}
	slot := noSlot
	if c.DIMM != nil {
		slot = c.DIMM.Slot()
		if t.watcher != nil {
			t.watcher.Call(slot)
		}
	}
	if c.Data != "" && t.strikes(LabelWrite, slot, uint64(c.Offset), uint64(c.Length)) {
		c.Status = nvdimm.StatusFailed
		if t.armed.Keep == persist.KeepRandom {
			// Power may fail between any two of its pieces.
			c.Torn = uint32(t.host.Seed() % uint64(len(c.Data)/8+1) * 8)
		}
		t.Fail(t.armed.Keep, t.armed.Unsaved)
		return
	}
	t.inject(slot, c)
	if c.Data != "" && t.recording != nil {
		data := c.Data
		if c.Status != 0 {
			data = data[:min(int(c.Torn), len(data))]
		}
		t.recording.label(slot, uint64(c.Offset), []byte(data), t.now())
	}
}
