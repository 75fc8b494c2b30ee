package persist

import (
	"iter"
	"slices"
)

// A Point is an event before which power may fail, and all that may be left
// then: any combination of what its lines may hold and of how far a label write
// came. It is valid until the next, but for its Names.
type Point struct {
	p    *point
	last map[place]*contents // of the point before
}

// EachPoint visits the points of the search with all their legal states. It
// sets what the search says was found, but for the states that were visited.
func (s *Search) EachPoint(j *Journal) iter.Seq[*Point] {
	return func(yield func(*Point) bool) {
		s.begin(j)
		last := map[place]*contents{}
		for r := range s.events(j) {
			p := r.point()
			s.count(p)
			if !yield(&Point{p, last}) {
				return
			}
			last = map[place]*contents{}
			for i, l := range p.lines {
				last[place{l.medium, l.n}] = p.known[i]
			}
			r.fresh = r.fresh[:0]
		}
	}
}

// Event is the number of the event before which the power fails.
func (v *Point) Event() int { return v.p.r.at }

// Decided visits lines that hold what they hold for certain, and did not, or
// held something else, at the point before.
func (v *Point) Decided(visit func(d *Medium, n uint64, bytes *[LineSize]byte)) {
	undecided := map[place]bool{}
	for _, l := range v.p.lines {
		undecided[place{l.medium, l.n}] = true
	}
	seen := map[place]bool{}
	tell := func(at place) {
		if !undecided[at] && !seen[at] {
			seen[at] = true
			visit(v.p.r.j.media[at.medium.index], at.n, (*[LineSize]byte)(at.medium.mem.Line(at.n)))
		}
	}
	for _, at := range v.p.r.fresh {
		tell(at)
	}
	for at := range v.last {
		tell(at)
	}
}

// Undecided visits the lines that may hold several contents, unless these are
// those of the point before. They are at least as many as there are lines of
// contents: the first without what is not guaranteed, the last with all. Writers
// is the same for lines that the same instructions stored to.
func (v *Point) Undecided(visit func(d *Medium, n uint64, contents [][LineSize]byte, writers uint64)) {
	for i, l := range v.p.lines {
		known := v.p.known[i]
		if v.last[place{l.medium, l.n}] == known {
			continue
		}
		list := make([][LineSize]byte, len(known.list))
		for k := range known.list {
			list[k] = known.list[k].bytes
		}
		visit(v.p.r.j.media[l.medium.index], l.n, list, l.writers())
	}
}

// writers is a hash of the instructions that stored to the line, and how.
func (l *line) writers() uint64 {
	var seen [][2]uint64
	sum := uint64(0)
	for i := range l.ops {
		o := &l.ops[i]
		if at := [2]uint64{o.pc, uint64(o.kind)}; !slices.Contains(seen, at) {
			seen = append(seen, at)
			g := generator(o.pc ^ uint64(o.kind)<<56)
			sum += g.next()
		}
	}
	return sum
}

// Label is the label area to which a write is in progress, and all that the
// area may hold, from before the write to after it; -1 and nothing if there is
// none.
func (v *Point) Label() (area int, contents [][]byte) {
	w := v.p.label
	if w == nil {
		return -1, nil
	}
	for k := range v.p.tears() {
		now := slices.Clone(v.p.r.labels[w.area])
		copy(now[w.off:], w.data[:min(k*atomBytes, len(w.data))])
		contents = append(contents, now)
	}
	return w.area, contents
}

// LabelArea is what a label area holds before the event.
func (v *Point) LabelArea(i int) []byte { return v.p.r.labels[i] }

// Names gives the ids of a point's states.
type Names struct {
	event       int
	reading     Reading
	none, every hash
	torn        []hash // what a prefix of the label write changes
}

// Names may be kept.
func (v *Point) Names(s *Search) *Names {
	p := v.p
	n := &Names{event: p.r.at, reading: s.Reading, none: p.hash(p.all(false)), every: p.hash(p.all(true))}
	if p.label != nil {
		for k := range p.tears() {
			n.torn = append(n.torn, p.r.labelChange(*p.label, min(k*atomBytes, len(p.label.data))))
		}
	}
	return n
}

// An Edit is a line in which a state differs from an extreme, or the label
// write.
type Edit struct {
	Label   bool
	Medium  int // its number
	N       uint64
	Extreme *[LineSize]byte // what the line holds there
	Bytes   *[LineSize]byte // and what instead
	Content int             // its number, if it is torn; of the label write how far it came
}

// ID is the id of the state in which everything survived, or nothing more, but
// for some edits, by media and lines.
func (n *Names) ID(all bool, edits []Edit) string {
	m := name{event: n.event, method: 'n', Reading: n.reading}
	h, tear := n.none, 0
	if all {
		m.method, h, tear = 'e', n.every, len(n.torn)-1
	}
	for _, e := range edits {
		m.edits = append(m.edits, edit{e.Label, e.Medium, e.N, e.Content})
		if e.Label {
			tear = e.Content
			continue
		}
		h = h.xor(hashLine(e.Medium, e.N, e.Extreme)).xor(hashLine(e.Medium, e.N, e.Bytes))
	}
	if len(n.torn) > 0 { // none and every are those of prefix 0
		h = h.xor(n.torn[0]).xor(n.torn[tear])
	}
	return m.id(h)
}

// Lines lists the lines that the journal's machine wrote to, or that were
// undecided when it began, as they were then.
func (j *Journal) Lines() []Line {
	var list []Line
	for i, o := range j.base {
		o.all(func(l *original) { list = append(list, Line{j.media[i], l.n, l.bytes}) })
	}
	return list
}

// LabelAreas is the number of label areas.
func (j *Journal) LabelAreas() int { return len(j.labels) }

// LabelArea is what a label area held when the journal began. It must not be changed.
func (j *Journal) LabelArea(i int) []byte { return j.labels[i].start }

// Number is the number of a medium of the journal, -1 if it is none.
func (j *Journal) Number(d *Medium) int { return slices.Index(j.media, d) }

// Event is the number of the event before which the power fails.
func (n *Names) Event() int { return n.event }
