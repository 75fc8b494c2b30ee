package observe

import "iter"

// A Poisoner is an engine, or a machine, whose processors report a load from a
// line that cannot be read: they raise a machine check before the instruction
// has changed anything, and tell of it.
//
// Poison says which lines these are from now on, in place of those that it was
// told before; nil for none. The Watch is not changed any more. It may be called
// from within a call to the machine's devices.
//
// Consumed gets the guest-physical address of the first such byte that an
// instruction reads, and whether the processor could report it: where machine
// checks are off, or one is being handled, it shuts down. It gets one that a
// device reads as well, which is the device's error. An engine that cannot
// stop a load gives an error.
type Poisoner interface {
	Poison(w *Watch, consumed func(addr uint64, reported bool)) error
}

// Pages lists the pages that have lines, by their addresses, in any order.
func (w *Watch) Pages() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		if w == nil {
			return
		}
		for page := range w.pages {
			if !yield(page * watchPage) {
				return
			}
		}
	}
}

// Lines is Page of a Watch that may be nil.
func (w *Watch) Lines(addr uint64) uint64 {
	if w == nil {
		return 0
	}
	return w.Page(addr)
}
