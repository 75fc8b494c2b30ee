package px86

import "math/bits"

// maxEvents bounds the events of one execution.
const maxEvents = 128

type events [maxEvents / 64]uint64

func (e *events) add(i int)      { e[i/64] |= 1 << (i % 64) }
func (e *events) has(i int) bool { return e[i/64]>>(i%64)&1 != 0 }
func (e *events) union(o events) {
	for i := range e {
		e[i] |= o[i]
	}
}

// An order is a strict partial order of events, transitively closed: of each event the set of those after it.
type order []events

// before adds that a happens before b, and says whether the order is still one: whether b was not before a.
func (o order) before(a, b int) bool {
	if a == b || o[b].has(a) {
		return false
	}
	if o[a].has(b) {
		return true
	}
	after := o[b]
	after.add(b)
	for i := range o {
		if i == a || o[i].has(a) {
			o[i].union(after)
		}
	}
	return true
}

// could says whether a may happen before b.
func (o order) could(a, b int) bool { return a != b && !o[b].has(a) }

// is says whether a happens before b.
func (o order) is(a, b int) bool { return o[a].has(b) }

// each calls f with every element of mask.
func each(mask uint64, f func(i int)) {
	for ; mask != 0; mask &= mask - 1 {
		f(bits.TrailingZeros64(mask))
	}
}
