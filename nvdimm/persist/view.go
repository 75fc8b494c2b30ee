package persist

import "iter"

// A View is a crash state for a judge that keeps an image of its own: what is
// visible at the event, and the lines in which the state differs from that. It
// is valid until the next.
type View struct {
	p     *point
	c     *choice
	name  name
	hash  hash
	later bool // the event has been told of
}

// Event is the number of the event before which the power fails.
func (v *View) Event() int { return v.p.r.at }

// Fresh visits the lines that were stored to since the event that was visited
// before, as they are visible: once an event, with its first state. A line may
// come twice.
func (v *View) Fresh(visit func(d *Medium, n uint64, visible []byte)) {
	if v.later {
		return
	}
	for _, p := range v.p.r.fresh {
		visit(v.p.r.j.media[p.medium.index], p.n, p.medium.mem.Line(p.n))
	}
}

// Undecided visits the lines that the state decides: as they are visible, and
// as the state leaves them. Key stands for the latter, and is another for any
// other contents or line.
func (v *View) Undecided(visit func(d *Medium, n uint64, visible, left []byte, key uint64)) {
	for i, l := range v.p.lines {
		chosen := v.p.content(v.c, i)
		visit(v.p.r.j.media[l.medium.index], l.n, l.medium.mem.Line(l.n), chosen.bytes[:], chosen.hash[0])
	}
}

// State is the state with all that is to say of it.
func (v *View) State() *State {
	return v.p.state(v.name.id(v.hash), v.name.Reading, v.c)
}

// Stored visits the lines that were stored to, in order, each as it is visible
// after stores to it that no store to another line came between.
func (j *Journal) Stored() iter.Seq2[*Medium, Line] {
	return func(yield func(*Medium, Line) bool) {
		r := j.replay()
		tell := func() bool {
			for _, p := range r.fresh {
				m := j.media[p.medium.index]
				if !yield(m, Line{m, p.n, [LineSize]byte(p.medium.mem.Line(p.n))}) {
					return false
				}
			}
			r.fresh = r.fresh[:0]
			return true
		}
		for r.more {
			if r.at > 0 && r.last.what != AtStore && !tell() {
				return
			}
			r.step()
		}
		tell()
	}
}
