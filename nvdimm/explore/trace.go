package explore

import (
	"encoding/binary"
	"iter"

	"nvlab/nvdimm/persist"
)

// A Trace is the crash states of a journal as a space. Its lines are those that
// the machine stored to, or that were undecided when the journal began, and then
// the label areas, each of which counts as one line.
type Trace struct {
	*Space
	Search *persist.Search // with what is to say of the points

	journal *persist.Journal
	places  []place
	index   map[place]int
	start   []Content // of lines: what they held when the journal began
	areas   [][]byte  // what label areas hold, by the numbers that are their contents
	names   []*persist.Names
}

type place struct {
	medium *persist.Medium
	n      uint64
}

// OfJournal makes the space of the points and the reading of a search. Where the
// search is stopped, the space has the points before.
func OfJournal(j *persist.Journal, s persist.Search) *Trace {
	t := &Trace{Space: &Space{}, Search: &s, journal: j, index: map[place]int{}}
	t.Space.Name = t.id
	for _, l := range j.Lines() {
		at := place{l.Medium, l.N}
		t.index[at] = t.Line()
		t.places = append(t.places, at)
		t.start = append(t.start, l.Bytes)
	}
	labels := t.Lines()
	for range j.LabelAreas() {
		t.Line()
	}
	numbers := map[string]int{}
	area := func(bytes []byte) Content {
		n, ok := numbers[string(bytes)]
		if !ok {
			n = len(t.areas)
			numbers[string(bytes)] = n
			t.areas = append(t.areas, append([]byte(nil), bytes...))
		}
		var c Content
		binary.LittleEndian.PutUint64(c[:], uint64(n))
		return c
	}
	for i := range j.LabelAreas() {
		t.start = append(t.start, area(j.LabelArea(i)))
	}
	for p := range s.EachPoint(j) {
		set := map[int]bool{}
		p.Decided(func(d *persist.Medium, n uint64, bytes *[LineSize]byte) {
			i := t.index[place{d, n}]
			t.Set(i, []Content{*bytes}, 0)
			set[i] = true
		})
		p.Undecided(func(d *persist.Medium, n uint64, contents [][LineSize]byte, writers uint64) {
			i := t.index[place{d, n}]
			list := make([]Content, len(contents))
			for k := range contents {
				list[k] = contents[k]
			}
			t.Set(i, list, writers)
			set[i] = true
		})
		if t.Points() == 0 {
			for i := range t.places {
				if !set[i] {
					t.Set(i, []Content{t.start[i]}, 0)
				}
			}
		}
		writes, torn := p.Label()
		for i := range j.LabelAreas() {
			contents := []Content{}
			if i == writes {
				for _, bytes := range torn {
					contents = append(contents, area(bytes))
				}
			} else {
				contents = append(contents, area(p.LabelArea(i)))
			}
			t.Set(labels+i, contents, 0)
		}
		t.names = append(t.names, p.Names(t.Search))
		t.Point()
	}
	t.AtLeast = s.AtLeast
	return t
}

// id is the id that persist.Journal.Find knows.
func (t *Trace) id(s *State) string {
	edits := make([]persist.Edit, 0, len(s.changes))
	for _, c := range s.changes {
		l := &t.lines[c.Line]
		at := l.at(s.Point)
		e := persist.Edit{Label: c.Line >= len(t.places), Content: c.Content}
		if !e.Label {
			if c.Content == 0 || c.Content == len(at.legal)-1 {
				e.Content = 0
			}
			e.Medium, e.N = t.journal.Number(t.places[c.Line].medium), t.places[c.Line].n
			e.Extreme, e.Bytes = (*[LineSize]byte)(&l.versions[at.extreme(s.All)]), (*[LineSize]byte)(s.Content(c.Line))
		}
		edits = append(edits, e)
	}
	return t.names[s.Point].ID(s.All, edits)
}

// Event is the number of the event before which the power of a state fails.
func (t *Trace) Event(s *State) int { return t.names[s.Point].Event() }

// LineOf is the number of a line of a medium, if it is one of the space.
func (t *Trace) LineOf(d *persist.Medium, n uint64) (int, bool) {
	i, ok := t.index[place{d, n}]
	return i, ok
}

// Area is the number of the line that stands for a label area. All of its bytes
// are read where a part of the area is.
func (t *Trace) Area(i int) int { return len(t.places) + i }

// Place is the medium and the line that a line of the space is; nil for a label
// area.
func (t *Trace) Place(line int) (d *persist.Medium, n uint64) {
	if line >= len(t.places) {
		return nil, uint64(line - len(t.places))
	}
	return t.places[line].medium, t.places[line].n
}

// Image lists the lines that a state does not leave as they were when the
// journal began.
func (t *Trace) Image(s *State) iter.Seq2[*persist.Medium, persist.Line] {
	return func(yield func(*persist.Medium, persist.Line) bool) {
		for i, at := range t.places {
			if c := s.Content(i); *c != t.start[i] && !yield(at.medium, persist.Line{Medium: at.medium, N: at.n, Bytes: *c}) {
				return
			}
		}
	}
}

// Label is what a state leaves in a label area. It must not be changed.
func (t *Trace) Label(s *State, i int) []byte {
	return t.areas[binary.LittleEndian.Uint64(s.Content(t.Area(i))[:])]
}

// Changes says that a line of some state is not as it was when the journal began. That of
// all states may have one content, which is another one.
func (t *Trace) Changes(n int) bool {
	list := t.lines[n].versions
	return len(list) > 1 || len(list) == 1 && list[0] != t.start[n]
}

// Watched lists the lines that change: whoever reads them learns of the state, or at least
// that it is one.
func (t *Trace) Watched() iter.Seq2[*persist.Medium, uint64] {
	return func(yield func(*persist.Medium, uint64) bool) {
		for i, at := range t.places {
			if t.Changes(i) && !yield(at.medium, at.n) {
				return
			}
		}
	}
}
