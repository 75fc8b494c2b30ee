package power

import "nvlab/nvdimm/persist"

// A platform that promises to save something when the power fails may fail to:
// a battery is flat, a capacitor is worn. Then what is on the medium for sure
// is what was there at power-on, and what a store to a flush hint put there
// since (rule R13 of package persist: the controller's queue is empty then).
// All else is as undecided as it is on a platform of flush hints only: with ADR
// what was flushed and fenced may still wait in the controller's queue, with
// eADR any store in a cache, unless it was flushed too. What of that was on its
// way longest counts as there (Drain). Where nothing but hints was promised,
// or nothing at all, there is no promise to break.

// Drain bounds, in bytes of lines that are stored to once, what a platform
// loses at most. Queues of controllers and buffers of DIMMs have some KiB;
// caches have more, but write back what is old.
const Drain = 64 << 10

// unsavedMedium is the medium of a platform that does not save what it
// promised.
func unsavedMedium(name string, promised persist.Platform, mem persist.Memory) *persist.Medium {
	switch promised {
	case persist.ADR, persist.EADR:
		m := persist.NewMedium(name, persist.Hints, mem)
		m.Drain(Drain)
		return m
	}
	return persist.NewMedium(name, promised, mem)
}

// models are the machine's two, none while it is off. Their media are the same
// ones, in the same order.
func (t *Tracker) models() []*persist.Model {
	if t.model == nil {
		return nil
	}
	return []*persist.Model{t.model, t.unsaved}
}

// Drained is how many stores would count as on the medium, though nothing says
// that they are, if the platform failed to save: the oldest.
func (t *Tracker) Drained() (n int) {
	if t.unsaved != nil {
		for _, m := range t.unsaved.Media() {
			n += m.Drained
		}
	}
	return n
}
