package lab

import (
	"errors"
	"fmt"

	"nvlab/internal/option"
	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
	"nvlab/nvdimm/power"
)

// Events that a power cut can strike before.
const (
	EventLabelWrite = string(power.LabelWrite)
	EventStore      = string(power.Store)
	EventFlush      = string(power.Flush)
	EventFence      = string(power.Fence)
	EventFlushHint  = string(power.FlushHint)
)

// A PowerCut strikes before an event takes effect.
type PowerCut struct {
	Event  string
	Nth    int // from 1
	Keep   persist.Keep
	NVDIMM *NVDIMM // nil for any
	Offset uint64  // of the bytes of the DIMM that count, or of its label area
	Length *uint64 // nil for all from Offset on

	// Unsaved has the platform fail to save what it promised: of what is left
	// see PowerCut.
	Unsaved bool
}

// powerHost is the VM as the tracker of its power sees it.
type powerHost struct{ v *VM }

func (h powerHost) Attention() {
	if h.v.m != nil {
		h.v.m.Attention()
	}
}

func (h powerHost) Instructions() uint64 { return h.v.m.Stats().Instructions }

func (h powerHost) Seed() uint64 {
	return bootSeed(h.v.x.lab.opts.Seed, h.v.opts.Seed, h.v.place, -h.v.boots)
}

func (h powerHost) Lost(err error) { h.v.lose(err) }

// handle is the handle of a DIMM.
func (v *VM) handle(d *nvdimm.DIMM) *NVDIMM {
	for _, h := range v.dimms {
		if h.DIMM == d {
			return h
		}
	}
	return nil
}

// canCut says why the power cannot be cut with what is to be kept.
func (v *VM) canCut(keep persist.Keep) error {
	if keep == persist.KeepAll {
		return nil
	}
	if _, ok := v.FallsBack(keep); ok {
		return v.alone()
	}
	if err := v.unseen(); err != nil {
		return fmt.Errorf(`keep="all" is all that can be had here: %w`, err)
	}
	return v.alone()
}

// alone says that no other VM stores to the same files.
func (v *VM) alone() error {
	for _, d := range v.dimms {
		if o := d.alsoIn(); o != nil {
			return fmt.Errorf(`keep="all" is all that can be had here: another running VM maps %s too, as nvdimm %q, and what it stored cannot be told from this VM's`, d.backend, o.ID())
		}
	}
	return nil
}

// alsoIn is another VM's running DIMM on the same file, nil if there is none.
func (d *NVDIMM) alsoIn() *NVDIMM {
	for _, v := range d.vm.x.vms {
		for _, o := range v.dimms {
			if v != d.vm && v.state != Off && o.backend.b.SameStorage(d.backend.b) {
				return o
			}
		}
	}
	return nil
}

// unseen says why single stores are not seen.
func (v *VM) unseen() error {
	err := v.power.Blind()
	if !v.power.On() && v.engine.Name() != "soft" {
		err = fmt.Errorf("the %s engine shows no single stores, flushes and fences", v.engine.Name())
	}
	if err != nil {
		return fmt.Errorf(`%w; engine="soft" sees them`, err)
	}
	return nil
}

// FallsBack says that a power cut which keeps so much goes back to the last
// store to a flush hint, because single stores are not seen.
func (v *VM) FallsBack(keep persist.Keep) (why string, ok bool) {
	err := v.unseen()
	if err == nil || keep != persist.KeepNone || v.opts.FlushHints == 0 && len(v.root.PMEM()) == 0 {
		return "", false
	}
	return fmt.Sprintf("%v: each NVDIMM goes back to what it held at the latest store to one of its flush hints, and label areas stay as they are", err), true
}

// PowerCut fails the power now. Unsaved has the platform fail to save what it
// promised: what no store to a flush hint put on the media may be lost, and
// at the next power-on the DIMMs tell of an unsafe shutdown.
func (v *VM) PowerCut(keep persist.Keep, unsaved bool) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state == Off:
		return errors.New("the VM is off: there is no power to cut")
	}
	if err := v.canCut(keep); err != nil {
		return err
	}
	v.power.Fail(keep, unsaved)
	v.off()
	return nil
}

// MostUnsaved is how many bytes of an NVDIMM a platform may have on their way
// to the media.
const MostUnsaved = power.Drain

// Drained is how many stores count as on the media, the oldest, if the platform
// fails to save: see MostUnsaved.
func (v *VM) Drained() int { return v.power.Drained() }

// PowerCutOn arms a cut that strikes before the nth event from now on. An
// earlier one that has not struck is disarmed. One that is armed while the VM
// is off counts from power-on.
func (v *VM) PowerCutOn(c PowerCut) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state == Crashed:
		return &StateError{State: Crashed, Next: StepRevive}
	case c.NVDIMM != nil && c.NVDIMM.vm != v:
		return fmt.Errorf("nvdimm %q is plugged into another VM", c.NVDIMM.ID())
	case c.Event == EventFlushHint && v.opts.FlushHints == 0 && len(v.root.PMEM()) == 0:
		return &option.Error{Err: errors.New("the VM has no flush hints"), Option: "flush_hints", Want: 1}
	case c.Event == EventFence && (c.NVDIMM != nil || c.Offset != 0 || c.Length != nil):
		return errors.New("a fence concerns no particular bytes: leave nvdimm, offset and length out")
	}
	if err := c.inReach(); err != nil {
		return err
	}
	err := v.canCut(c.Keep)
	if c.Event != EventLabelWrite && c.Event != EventFlushHint && err == nil {
		err = v.unseen()
	}
	if err != nil {
		return fmt.Errorf("event %q: %w", c.Event, err)
	}
	cut := power.Cut{Event: power.Event(c.Event), Nth: c.Nth, Keep: c.Keep, Slot: power.Any, Offset: c.Offset, Unsaved: c.Unsaved}
	if c.NVDIMM != nil {
		cut.Slot = c.NVDIMM.Slot()
	}
	if c.Length != nil {
		cut.Length = *c.Length
	}
	v.power.Arm(cut)
	return nil
}

// inReach refuses bytes that the DIMM named does not have.
func (c *PowerCut) inReach() error {
	if c.Length != nil && *c.Length == 0 {
		return errors.New("length=0: no event touches no bytes: give at least 1, or leave it out")
	}
	if c.NVDIMM == nil {
		return nil
	}
	if err := c.NVDIMM.vm.has(c.NVDIMM); err != nil {
		return err
	}
	size, what := c.NVDIMM.Size(), "memory"
	if c.Event == EventLabelWrite {
		size, what = c.NVDIMM.LabelSize(), "label area"
	}
	if c.Offset >= size {
		return fmt.Errorf("offset=%d lies outside of the %s of %q, which has %d bytes", c.Offset, what, c.NVDIMM.ID(), size)
	}
	return nil
}

// AssumesADR says that no capability promises anything, and that ADR is what
// a power cut goes by, as Linux does.
func (v *VM) AssumesADR() bool { return v.root.Capabilities()&3 == 0 && v.opts.FlushHints == 0 }
