package explore

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// LineSize is the size of a line in bytes.
const LineSize = 64

// Content is what a line holds.
type Content [LineSize]byte

// A Space is the legal crash states of a trace. It is made by Line, Point and
// Set, and is not changed once it is explored. Several explorations may share
// it.
type Space struct {
	// AtLeast says that there are more legal states than the space has.
	AtLeast bool
	// Name, if set, names states. Without it an id is the point and the
	// changes.
	Name func(*State) string
	// Kind, if set, is the same for lines of one structure: see Set.
	Kind func(line int) uint64

	lines  []line
	points []*big.Int // how many states each has
	total  *big.Int   // of the next point
}

// line is a line with all contents that it may have at any point.
type line struct {
	versions []Content
	numbers  map[Content]int32
	spans    []span // by their first point
}

// span is what a line may hold from one point on to the next span.
type span struct {
	from  int
	legal []int32 // versions: the first is nothing, the last everything
	shape uint64
}

// Line adds a line, before the first point.
func (s *Space) Line() int {
	if len(s.points) > 0 {
		panic("a line that is added after a point")
	}
	s.lines = append(s.lines, line{numbers: map[Content]int32{}})
	return len(s.lines) - 1
}

// Set says what a line may hold at the next point, and at those after it
// until it is set again: nothing more than is guaranteed first, everything
// last. Lines of equal shapes have the same writers; they are alike if they are
// of one kind, too.
func (s *Space) Set(n int, contents []Content, shape uint64) {
	if s.total == nil {
		s.total = big.NewInt(1)
	}
	l := &s.lines[n]
	legal := make([]int32, len(contents))
	for i := range contents {
		v, ok := l.numbers[contents[i]]
		if !ok {
			v = int32(len(l.versions))
			l.numbers[contents[i]] = v
			l.versions = append(l.versions, contents[i])
		}
		legal[i] = v
	}
	next := span{len(s.points), legal, shape}
	if k := len(l.spans) - 1; k >= 0 {
		last := &l.spans[k]
		if slices.Equal(last.legal, legal) && last.shape == shape {
			return
		}
		s.total.Div(s.total, big.NewInt(int64(len(last.legal))))
		if last.from == next.from {
			l.spans = l.spans[:k]
		}
	}
	s.total.Mul(s.total, big.NewInt(int64(len(legal))))
	l.spans = append(l.spans, next)
}

// Point adds a point, at which every line has to be set.
func (s *Space) Point() {
	if s.total == nil {
		s.total = big.NewInt(1)
	}
	for i := range s.lines {
		if len(s.lines[i].spans) == 0 {
			panic(fmt.Sprintf("line %d is not set at the first point", i))
		}
	}
	s.points = append(s.points, new(big.Int).Set(s.total))
}

// Legal is the number of states, of which several may have equal contents.
func (s *Space) Legal() *big.Int {
	sum := new(big.Int)
	for _, n := range s.points {
		sum.Add(sum, n)
	}
	return sum
}

// Points is the number of points.
func (s *Space) Points() int { return len(s.points) }

// Lines is the number of lines.
func (s *Space) Lines() int { return len(s.lines) }

// Varies says that not all states have the same content of a line: reads of
// others need not be told.
func (s *Space) Varies(n int) bool { return len(s.lines[n].versions) > 1 }

// at is what the line may hold at a point.
func (l *line) at(point int) *span {
	i, _ := slices.BinarySearchFunc(l.spans, point+1, func(s span, p int) int { return cmp.Compare(s.from, p) })
	return &l.spans[i-1]
}

// bounds are the points of span i.
func (s *Space) bounds(l *line, i int) (from, to int) {
	to = len(s.points)
	if i+1 < len(l.spans) {
		to = min(to, l.spans[i+1].from)
	}
	return l.spans[i].from, to
}

// extreme is the version without what is not guaranteed, or with all.
func (s *span) extreme(all bool) int32 {
	if all {
		return s.legal[len(s.legal)-1]
	}
	return s.legal[0]
}

// A Change is a line of a state that has another content than the others.
type Change struct {
	Line    int
	Content int // in what was given to Set
}

func (c Change) compare(o Change) int {
	return cmp.Or(cmp.Compare(c.Line, o.Line), cmp.Compare(c.Content, o.Content))
}

// A State is what a power failure may leave.
type State struct {
	Point int
	All   bool // everything survived, but for the changes; else nothing more

	space   *Space
	changes []Change // by line
	id      string
}

func (s *Space) state(point int, all bool, changes []Change) *State {
	slices.SortFunc(changes, Change.compare)
	x := &State{Point: point, All: all, space: s, changes: changes}
	if s.Name != nil {
		x.id = s.Name(x)
	} else {
		x.id = x.name()
	}
	return x
}

// State is the state of a point in which everything survived, or nothing
// more, but for the changes.
func (s *Space) State(point int, all bool, changes ...Change) (*State, error) {
	if point < 0 || point >= len(s.points) {
		return nil, fmt.Errorf("point %d: the space has %d", point, len(s.points))
	}
	changes = slices.Clone(changes)
	slices.SortFunc(changes, Change.compare)
	for i, c := range changes {
		if c.Line < 0 || c.Line >= len(s.lines) {
			return nil, fmt.Errorf("line %d: the space has %d", c.Line, len(s.lines))
		}
		if i > 0 && changes[i-1].Line == c.Line {
			return nil, fmt.Errorf("line %d has two contents", c.Line)
		}
		if n := len(s.lines[c.Line].at(point).legal); c.Content < 0 || c.Content >= n {
			return nil, fmt.Errorf("content %d of line %d: it has %d at point %d", c.Content, c.Line, n, point)
		}
	}
	return s.state(point, all, changes), nil
}

// ID names the state.
func (s *State) ID() string { return s.id }

// Same says that two states of a space are one: at the same point, and with the same
// in every line. Their names may differ, as nothing survived and all but one line
// survived do where that line is all there was.
func (s *State) Same(o *State) bool {
	if s.Point != o.Point {
		return false
	}
	for n := range s.space.lines {
		if s.version(n) != o.version(n) {
			return false
		}
	}
	return true
}

// Changes are the lines in which the state differs from the extreme that All
// says.
func (s *State) Changes() []Change { return s.changes }

// name is the id of a state of a space that names none.
func (s *State) name() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d.%s", s.Point, Base(s.All))
	for i, c := range s.changes {
		if i > 0 {
			b.WriteByte('+')
		}
		fmt.Fprintf(&b, "%d", c.Line)
		if n := len(s.space.lines[c.Line].at(s.Point).legal); c.Content != 0 && c.Content != n-1 {
			fmt.Fprintf(&b, "t%d", c.Content)
		}
	}
	return b.String()
}

// Base is the letter in ids for everything, or nothing more.
func Base(all bool) string {
	if all {
		return "e"
	}
	return "n"
}

// version is what a line holds in the state.
func (s *State) version(n int) int32 {
	at := s.space.lines[n].at(s.Point)
	if i, ok := slices.BinarySearchFunc(s.changes, n, func(c Change, n int) int { return cmp.Compare(c.Line, n) }); ok {
		return at.legal[s.changes[i].Content]
	}
	return at.extreme(s.All)
}

// Content is what a line holds in the state. It must not be changed.
func (s *State) Content(n int) *Content { return &s.space.lines[n].versions[s.version(n)] }

// order is the place of a state among those that are alike otherwise: without
// changes nothing comes before everything, and with changes a line lost before
// a line alone.
func (s *State) order() int {
	if s.All == (len(s.changes) > 0) {
		return 0
	}
	return 1
}

// shapeKey is what representatives are of.
type shapeKey struct {
	all   bool
	lines uint64 // the shapes of the changed lines, and whether they are torn
}

func (s *State) shape() shapeKey {
	k := shapeKey{all: s.All}
	for _, c := range s.changes {
		at := s.space.lines[c.Line].at(s.Point)
		h := at.shape*0x9e3779b97f4a7c15 + 1
		if s.space.Kind != nil {
			h = (h ^ s.space.Kind(c.Line)) * 0x94d049bb133111eb
			h ^= h >> 32
		}
		if c.Content != 0 && c.Content != len(at.legal)-1 {
			h = ^h
		}
		h ^= h >> 29
		k.lines += h * 0xbf58476d1ce4e5b9 // in any order
	}
	return k
}
