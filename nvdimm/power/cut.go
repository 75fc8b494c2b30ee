package power

import (
	"fmt"

	"nvlab/nvdimm/persist"
)

// An Event is what a power cut can strike before.
type Event string

// The events. A fence is an SFENCE or MFENCE.
const (
	LabelWrite Event = "label_write"
	Store      Event = "store"
	Flush      Event = "flush"
	Fence      Event = "fence"
	FlushHint  Event = "flush_hint"
)

// A Cut strikes before an event takes effect.
type Cut struct {
	Event  Event
	Nth    int // from 1
	Keep   persist.Keep
	Slot   int    // of the DIMM; Any for all
	Offset uint64 // of the bytes of the DIMM that count, or of its label area
	Length uint64 // 0 for all from Offset on

	// Unsaved has the platform fail to save what it promised: see unsaved.go.
	Unsaved bool
}

// String is the event that the cut strikes before, such as "store 2".
func (c *Cut) String() string { return fmt.Sprintf("%s %d", c.Event, c.Nth) }

// Any stands for the slots of all DIMMs.
const Any = -1

// noSlot is that of an event which concerns no DIMM, or one that is not known.
const noSlot = -1

// matches says whether an event of n bytes counts.
func (c *Cut) matches(event Event, slot int, offset, n uint64) bool {
	switch {
	case c == nil || c.Event != event:
		return false
	case c.Slot == Any && c.Offset == 0 && c.Length == 0:
		return true
	case slot == noSlot || c.Slot != Any && c.Slot != slot:
		return false
	}
	return offset+n > c.Offset && (c.Length == 0 || offset < c.Offset+c.Length)
}

// Arm has a cut strike before the nth such event from now on. One that was
// armed before is disarmed. One that is armed while the machine is off counts
// from power-on.
func (t *Tracker) Arm(c Cut) { t.armed, t.counted = &c, 0 }

// Armed is the cut that was armed, whether it struck or not; nil if there is
// none.
func (t *Tracker) Armed() *Cut { return t.armed }

// Struck is the armed cut if the power failed by it, nil otherwise.
func (t *Tracker) Struck() *Cut {
	if t.failure == nil || t.armed == nil || t.counted != t.armed.Nth {
		return nil
	}
	return t.armed
}

// Missed is the error of an armed cut that has not struck; nil if it has, or none
// is armed.
func (t *Tracker) Missed() error {
	if t.armed == nil || t.failure != nil {
		return nil
	}
	return fmt.Errorf("%v did not strike: such events came %d times", t.armed, t.counted)
}

// strikes counts an event, and says whether the armed cut comes before it.
func (t *Tracker) strikes(event Event, slot int, offset, n uint64) bool {
	if !t.armed.matches(event, slot, offset, n) {
		return false
	}
	t.counted++
	return t.counted == t.armed.Nth
}
