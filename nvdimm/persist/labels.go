package persist

import (
	"iter"
	"slices"
)

// A TornLabel is a label area as a power failure in a write to it leaves it.
type TornLabel struct {
	Area          int
	Write         int    // of the journal's label writes, from 0
	Torn          int    // bytes of the write that were done
	Offset, Size  uint64 // of the write
	Bytes         []byte // valid during the visit, as are the next
	Before, After []byte // the area before and after the write
}

// TornLabels visits the label areas after every 8 bytes of every label write,
// in order, and each after its last write.
func (j *Journal) TornLabels() iter.Seq[TornLabel] {
	return func(yield func(TornLabel) bool) {
		areas := make([][]byte, len(j.labels))
		for i, a := range j.labels {
			areas[i] = slices.Clone(a.start)
		}
		for i, w := range j.writes {
			before := slices.Clone(areas[w.area])
			area, after := areas[w.area], slices.Clone(before)
			copy(after[w.off:], w.data)
			t := TornLabel{Area: w.area, Write: i, Offset: w.off, Size: uint64(len(w.data)), Bytes: area, Before: before, After: after}
			for at := 0; at < len(w.data); at += atomBytes {
				if t.Torn = at; !yield(t) {
					return
				}
				copy(area[int(w.off)+at:], w.data[at:min(at+atomBytes, len(w.data))])
			}
			if t.Torn = len(w.data); !yield(t) {
				return
			}
		}
	}
}

// LabelState is the state in which label write n is torn and nothing else that
// was undecided survived.
func (j *Journal) LabelState(n, torn int) *State {
	r := j.replay()
	for r.more && (r.event.what != AtLabel || r.event.number != int32(n)) {
		r.step()
	}
	p := r.point()
	c := p.all(false)
	c.tear = (torn + atomBytes - 1) / atomBytes
	method := 't' // by the tear alone
	if p.small() {
		method = 'x'
	}
	return p.state(name{event: r.at, method: method, k: c.tear}.id(p.hash(c)), Reading{}, c)
}
