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

// unsaved is a model of the machine in which media promise no more than flush
// hints. Few ask for it, so that it is made of the past when somebody does.
func (t *Tracker) unsaved() *persist.Model {
	var media []*persist.Medium
	for _, d := range t.model.Media() {
		media = append(media, unsavedMedium(d))
	}
	return t.past.Model(t.model, media)
}

func unsavedMedium(of *persist.Medium) *persist.Medium {
	switch of.Platform {
	case persist.ADR, persist.EADR:
		m := persist.NewMedium(of.Name, persist.Hints, of.Memory())
		m.Drain(Drain)
		return m
	}
	return persist.NewMedium(of.Name, of.Platform, of.Memory())
}

// Drained is how many stores would count as on the medium, though nothing says
// that they are, if the platform failed to save: the oldest.
func (t *Tracker) Drained() int {
	if t.past == nil {
		return 0
	}
	n := t.past.Forgotten()
	for _, m := range t.unsaved().Media() {
		n += m.Drained
	}
	return n
}
