package lab

import (
	"fmt"
	"slices"
	"time"

	"nvlab/internal/units"
	"nvlab/nvdimm"
	"nvlab/nvdimm/firmware"
)

// A Happening is what a guest or its machine did, or what was done to it, at a time of
// its own: what a call brought about while it lasted. It is plain data.
type Happening struct {
	At    time.Duration // the guest's clock, which starts anew with each boot
	Last  time.Duration // when it happened last, if several times in a row
	Times int
	Kind  Kind
	What  string

	Printed int // bytes that were on the console, of those since the call or the boot began

	Label *labelAccess `json:",omitempty"` // of a label write
}

// labelAccess is where a label write goes to. Writes in a row that follow each other
// are one.
type labelAccess struct {
	Slot           int
	Offset, Length uint32 // within the label area, in bytes
}

// Kind is what a Happening is of.
type Kind string

const (
	KindPower    Kind = "power"    // on, off, reset, failure
	KindPlug     Kind = "plug"     // a device came or went, or the guest looks for it
	KindLabel    Kind = "label"    // the guest writes to a label area
	KindFirmware Kind = "firmware" // the guest calls a function of an NVDIMM, or of their root device
	KindScrub    Kind = "scrub"    // an address range scrub begins or ends
	KindError    Kind = "error"    // poison was read, or the kernel failed
	KindNotify   Kind = "notify"   // the guest is told of something
)

// happeningsLimit bounds what is kept: a guest that calls firmware for ever must not
// fill the host.
const happeningsLimit = 10_000

// A timeline is what happened to a VM, over all boots. A restore of a snapshot takes
// nothing away.
type timeline struct {
	list  []Happening
	apart int           // what comes is not one with what is before this place
	scrub time.Duration // when the scrub under way ends; 0 if there is none
	fault string        // the first line of the kernel's fault that was noted last
}

// happened is how many things happened. None that comes is one with those.
func (v *VM) happened() int {
	v.endScrub()
	v.timeline.apart = len(v.timeline.list)
	return v.timeline.apart
}

// Happened is the number of things that happened by now, for HappenedSince.
func (v *VM) Happened() int { return v.happened() }

// HappenedSince are those from the nth on, in their order; printed is how many bytes
// were on the console then.
func (v *VM) HappenedSince(n, printed int) []Happening {
	out := v.happenedSince(n, printed)
	for i := range out {
		h := &out[i]
		if l := h.Label; l != nil {
			h.What, h.Label = v.labelWritten(l), nil
		}
	}
	return out
}

func (v *VM) happenedSince(n, printed int) []Happening {
	if n >= v.happened() {
		return nil // as it is read from a state
	}
	out := slices.Clone(v.timeline.list[n:])
	for i := range out {
		out[i].Printed = max(0, out[i].Printed-printed)
	}
	return out
}

// happenAgain is for a machine that became what another came to, to which that
// happened since so many bytes were on the console.
func (v *VM) happenAgain(list []Happening, printed int) {
	room := max(0, happeningsLimit-len(v.timeline.list))
	for _, h := range list[:min(room, len(list))] {
		h.Printed += printed
		v.timeline.list = append(v.timeline.list, h)
	}
	v.takeScrub()
}

// labelWritten tells of a label write.
func (v *VM) labelWritten(l *labelAccess) string {
	d := v.inSlot(l.Slot)
	if d == nil {
		return fmt.Sprintf("%d bytes at %#x of the labels in slot %d", l.Length, l.Offset, l.Slot)
	}
	area := d.backend.Size() - d.LabelSize()
	what, last := d.backend.What(area+uint64(l.Offset)), ""
	if l.Length > 0 {
		if last = d.backend.What(area + uint64(l.Offset+l.Length) - 1); last != what {
			what += " to " + last
		}
	}
	return fmt.Sprintf("%s: %d bytes at %#x of the label area, %s", d.ID(), l.Length, l.Offset, what)
}

// note notes what happens now.
func (v *VM) note(kind Kind, what string) {
	v.endScrub()
	v.add(Happening{At: v.Clock(), Kind: kind, What: what})
}

func (v *VM) add(h Happening) {
	h.Last, h.Times, h.Printed = h.At, 1, len(v.console.text)
	t := &v.timeline
	if n := len(t.list); n > t.apart {
		if last := &t.list[n-1]; last.join(&h) {
			last.Last, last.Times = h.At, last.Times+1
			return
		}
	}
	if len(t.list) < happeningsLimit {
		t.list = append(t.list, h)
	}
}

// join takes up what follows, if it is more of the same.
func (h *Happening) join(next *Happening) bool {
	if h.Kind != next.Kind || h.What != next.What || next.At < h.Last || (h.Label == nil) != (next.Label == nil) {
		return false
	}
	if l, n := h.Label, next.Label; l != nil {
		if l.Slot != n.Slot || l.Offset+l.Length != n.Offset {
			return false
		}
		h.Label = &labelAccess{l.Slot, l.Offset, l.Length + n.Length}
	}
	return true
}

// noteCall notes a call of firmware that was decided on, and is yet to be obeyed. What
// only reads labels, and questions for what there is, are not worth it.
func (v *VM) noteCall(c *nvdimm.Call) {
	failed := ""
	if c.Status != 0 {
		failed = fmt.Sprintf(", which fails with status %#x", c.Status)
		if v.power.Failed() {
			failed = ", before which the power fails"
		}
	}
	switch {
	case c.Handle == nvdimm.FITHandle && c.Function == nvdimm.FuncReadFIT && c.Offset == 0:
		v.note(KindPlug, "the guest reads what is plugged (_FIT)"+failed)
	case c.Data != "" && c.Status == 0:
		v.endScrub()
		v.add(Happening{At: v.Clock(), Kind: KindLabel, Label: &labelAccess{c.DIMM.Slot(), c.Offset, c.Length}})
	case c.Data != "":
		v.note(KindLabel, fmt.Sprintf("%s: %d bytes at %#x of the label area%s", c.DIMM.ID(), c.Length, c.Offset, failed))
	case c.Function == nvdimm.FuncQuery || c.OfLabels() && failed == "":
	default:
		if name := c.Name(); name != "" {
			v.note(KindFirmware, name+failed)
		}
	}
}

// takeScrub is for a machine that became another: a scrub may be under way.
func (v *VM) takeScrub() {
	v.timeline.scrub, v.timeline.fault = 0, ""
	if s := v.root.Scrub(); s.Stage == firmware.ARSRunning {
		v.timeline.scrub = s.Until
	}
}

// noteScrub notes that a scrub was begun.
func (v *VM) noteScrub() {
	s := v.root.Scrub()
	if s.Stage != firmware.ARSRunning || s.Until == v.timeline.scrub {
		return
	}
	v.note(KindScrub, fmt.Sprintf("of %s at %#x, until %v", units.Size(s.Length), s.From, s.Until))
	v.timeline.scrub = s.Until
}

// endScrub notes the end of a scrub, if that has come.
func (v *VM) endScrub() {
	if at := v.timeline.scrub; at > 0 && v.Clock() >= at {
		v.timeline.scrub = 0
		v.add(Happening{At: at, Kind: KindScrub, What: "it is over"})
	}
}

// noteFault notes a fault of the kernel, once.
func (v *VM) noteFault(f *kernelFault) {
	if f != nil && f.line != v.timeline.fault {
		v.timeline.fault = f.line
		v.note(KindError, f.line)
	}
}
