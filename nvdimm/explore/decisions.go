package explore

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// deciding is a Decision by what the versions of lines add, so that it can be said of any
// state how it is decided.
type deciding struct {
	constant uint64
	lines    []adding // in their order
}

// adding is what a line adds to a value.
type adding struct {
	line  int
	bytes uint64   // that matter
	adds  []uint64 // by version
}

// The classes of a decision.
const (
	notZero int32 = iota
	zero
)

// deciding is what a decision tells; nil if it tells no states apart.
func (t *tree) deciding(d *Decision) *reading {
	if by, ok := t.decisions[d]; ok {
		return by
	}
	on := &deciding{constant: d.constant}
	for i := range d.lines {
		s := &d.lines[i]
		a := adding{line: s.line, bytes: s.bytes}
		varies := false
		for v := range t.lines[s.line].versions {
			a.adds = append(a.adds, s.of(&t.lines[s.line].versions[v]))
			varies = varies || a.adds[v] != a.adds[0]
		}
		first := a.adds[0]
		on.constant ^= first
		if varies {
			for v := range a.adds {
				a.adds[v] ^= first
			}
			on.lines = append(on.lines, a)
		}
	}
	if t.decisions == nil {
		t.decisions, t.alike = map[*Decision]*reading{}, map[string]*reading{}
	}
	if len(on.lines) == 0 {
		return nil
	}
	key := on.key()
	by := t.alike[key]
	if by == nil {
		own := &Decision{constant: d.constant} // without what made it
		by = &reading{Read: Read{Line: -1, Decision: own}, on: on}
		t.alike[key], t.decisions[own] = by, by
	}
	return by
}

// key is the same for decisions that are equal in all states.
func (d *deciding) key() string {
	b := binary.LittleEndian.AppendUint64(nil, d.constant)
	for _, a := range d.lines {
		b = binary.LittleEndian.AppendUint64(b, uint64(a.line))
		b = binary.LittleEndian.AppendUint64(b, a.bytes)
		for _, v := range a.adds {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	return string(b)
}

// class is how a state is decided.
func (d *deciding) class(s *State) int32 {
	v := d.constant
	for i := range d.lines {
		v ^= d.lines[i].adds[s.version(d.lines[i].line)]
	}
	return classOf(v)
}

func classOf(v uint64) int32 {
	if v == 0 {
		return zero
	}
	return notZero
}

// classOf is what a read finds in a state.
func (by *reading) classOf(s *State) int32 {
	if by.on != nil {
		return by.on.class(s)
	}
	return by.classes[s.version(by.Line)]
}

// maxSearched bounds the states that are looked at for the plainest one that is decided
// otherwise.
const maxSearched = 1 << 22

// searchable says that all states within what is asked for can be looked at for how they
// are decided.
func (t *tree) searchable(d *deciding) bool {
	if t.depth < 0 {
		return false
	}
	contents, spans := 0.0, 0.0
	for _, a := range d.lines {
		most := 0
		for i := range t.lines[a.line].spans {
			most = max(most, len(t.lines[a.line].spans[i].legal)-1)
		}
		contents += float64(most)
		spans += float64(len(t.lines[a.line].spans))
	}
	return 2*spans*math.Pow(contents, float64(max(t.depth-1, 1))) <= maxSearched // the last of the lines is looked up
}

// decides turns a decision that the execution of s told into what the tree has: itself, the
// bytes that it is made of, those that are not seen yet, or nothing.
func (t *tree) decides(list []Read, s *State, d *Decision, seen map[int]uint64) ([]Read, error) {
	for _, share := range d.lines {
		if share.line < 0 || share.line >= len(t.lines) {
			return nil, fmt.Errorf("a decision on line %d: the space has %d", share.line, len(t.lines))
		}
	}
	by := t.deciding(d)
	if by == nil {
		return list, nil
	}
	if (by.on.class(s) == zero) != d.Zero {
		return nil, fmt.Errorf("%w: a value that is computed of %d lines is not what these make of it", ErrNotDeterministic, len(d.lines))
	}
	if len(by.on.lines) > maxRead && t.searchable(by.on) {
		for _, a := range by.on.lines {
			if a.bytes&^seen[a.line] != 0 {
				return append(list, by.Read), nil
			}
		}
		return list, nil
	}
	for _, share := range d.lines {
		r := Read{Line: share.line, Bytes: share.bytes &^ seen[share.line]}
		if seen[r.Line] |= r.Bytes; t.reading(r).tells() {
			list = append(list, r)
		}
	}
	return list, nil
}

// A search looks for states that take a walk in which something is decided. Lines of which
// nothing is decided are as they are in the plainest state.
type search struct {
	tree  *tree
	steps map[int][]step // reads, by line
	on    []step         // decisions
	lines []int          // of these, in their order
	rest  []int          // others that are read

	point  int
	all    bool
	forced []choice // lines that cannot be as they are in the extreme
	free   []choice
	// If a decision is that a value is zero, the options of free by what they add to that value.
	pivot  int // of on, or -1
	adding map[uint64][]chosen

	within func(cost) bool
	found  func(cost, []Change)
}

// choice is a line with the contents that it may have instead of the extreme's.
type choice struct {
	line    int
	options []option
}

// chosen is an option of a choice.
type chosen struct{ choice, option int }

type option struct {
	content int
	price   cost
	adds    []uint64 // to the values that decisions are of, next to the extreme's
}

// searching is the search for states that take the walk and then the next step, if there is one.
func (w *walk) searching(next *step) *search {
	s := &search{tree: w.tree, steps: map[int][]step{}, on: w.on[:len(w.on):len(w.on)]}
	for n, steps := range w.steps {
		s.steps[n] = steps
	}
	switch {
	case next == nil:
	case next.by.on != nil:
		s.on = append(s.on, *next)
	default:
		before := s.steps[next.by.Line]
		s.steps[next.by.Line] = append(before[:len(before):len(before)], *next)
	}
	decided := map[int]bool{}
	for _, o := range s.on {
		for _, a := range o.by.on.lines {
			if !decided[a.line] {
				decided[a.line] = true
				s.lines = append(s.lines, a.line)
			}
		}
	}
	for n, steps := range s.steps {
		if len(steps) > 0 && !decided[n] {
			s.rest = append(s.rest, n)
		}
	}
	slices.Sort(s.lines)
	slices.Sort(s.rest)
	return s
}

// starts are the points from which on, up to the next, lines of the search may have the
// same contents.
func (s *search) starts() []int {
	var list []int
	for _, lines := range [][]int{s.lines, s.rest} {
		for _, n := range lines {
			for i := range s.tree.lines[n].spans {
				list = append(list, s.tree.lines[n].spans[i].from)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// add is what a version of a line adds to the value of a decision.
func (d *deciding) add(line int, version int32) uint64 {
	i, ok := slices.BinarySearchFunc(d.lines, line, func(a adding, line int) int { return a.line - line })
	if !ok {
		return 0
	}
	return d.lines[i].adds[version]
}

// choose lists what lines of decisions may be at a point, next to the content at extreme.
func (s *search) choose(n int) choice {
	c := choice{line: n}
	at := s.tree.lines[n].at(s.point)
	extreme := 0
	if s.all {
		extreme = len(at.legal) - 1
	}
	steps := s.steps[n]
	for i, v := range at.legal {
		if i == extreme || !agrees(v, steps) {
			continue
		}
		o := option{content: i, price: at.price(i, s.all), adds: make([]uint64, len(s.on))}
		if o.price == 0 {
			continue // the same as the extreme
		}
		for k := range s.on {
			d := s.on[k].by.on
			o.adds[k] = d.add(n, v) ^ d.add(n, at.legal[extreme])
		}
		c.options = append(c.options, o)
	}
	return c
}

// run calls found for all states of the entry whose costs are within what is to be found.
func (s *search) run(paid cost) {
	s.forced, s.free = s.forced[:0], s.free[:0]
	least := paid
	var open []int
	for _, n := range s.lines {
		at := s.tree.lines[n].at(s.point)
		if agrees(at.extreme(s.all), s.steps[n]) {
			open = append(open, n)
			continue
		}
		c := s.choose(n)
		if len(c.options) == 0 {
			return
		}
		s.forced = append(s.forced, c)
		if least += oneLine; !s.within(least) {
			return
		}
	}
	if s.within(least + oneLine) {
		for _, n := range open {
			if c := s.choose(n); len(c.options) > 0 {
				s.free = append(s.free, c)
			}
		}
	}
	values := make([]uint64, len(s.on))
	for k := range s.on {
		d := s.on[k].by.on
		values[k] = d.constant
		for i := range d.lines {
			values[k] ^= d.lines[i].adds[s.tree.lines[d.lines[i].line].at(s.point).extreme(s.all)]
		}
	}
	s.pivot = slices.IndexFunc(s.on, func(o step) bool { return o.class == zero })
	if s.pivot >= 0 {
		s.adding = map[uint64][]chosen{}
		for i := range s.free {
			for k := range s.free[i].options {
				v := s.free[i].options[k].adds[s.pivot]
				s.adding[v] = append(s.adding[v], chosen{i, k})
			}
		}
	}
	s.choices(0, paid, values, nil)
}

// choices tries what is left to choose, from line i on: first of the forced, then of the free.
func (s *search) choices(i int, paid cost, values []uint64, changes []Change) {
	forced := i < len(s.forced)
	if !forced && s.decided(values) {
		s.found(paid, changes)
	}
	own := make([]uint64, len(values))
	try := func(i int, c *choice, o *option) {
		if !s.within(paid + o.price) {
			return
		}
		for k := range own {
			own[k] = values[k] ^ o.adds[k]
		}
		s.choices(i+1, paid+o.price, own, append(changes[:len(changes):len(changes)], Change{c.line, o.content}))
	}
	if forced {
		for o := range s.forced[i].options {
			try(i, &s.forced[i], &s.forced[i].options[o])
		}
		return
	}
	i -= len(s.forced)
	switch {
	case !s.within(paid + oneLine):
	case s.pivot >= 0 && !s.within(paid+2*oneLine): // the last has to make the value zero
		for _, c := range s.adding[values[s.pivot]] {
			if c.choice >= i {
				try(len(s.forced)+c.choice, &s.free[c.choice], &s.free[c.choice].options[c.option])
			}
		}
	default:
		for ; i < len(s.free); i++ {
			for o := range s.free[i].options {
				try(len(s.forced)+i, &s.free[i], &s.free[i].options[o])
			}
		}
	}
}

// decided says that values are those of the steps.
func (s *search) decided(values []uint64) bool {
	for k := range values {
		if classOf(values[k]) != s.on[k].class {
			return false
		}
	}
	return true
}

// plain are the changes of lines of which nothing is decided, and what they cost.
func (s *search) plain() (changes []Change, paid cost) {
	for _, n := range s.rest {
		at := s.tree.lines[n].at(s.point)
		best, least := 0, illegal
		for i, v := range at.legal {
			if p := at.price(i, s.all); p < least && agrees(v, s.steps[n]) {
				best, least = i, p
			}
		}
		switch {
		case least == illegal:
			return nil, illegal
		case least > 0:
			changes, paid = append(changes, Change{n, best}), paid+least
		}
	}
	return changes, paid
}

// plainest is the plainest state within what is asked for that takes the walk and then a
// step; false if there is none.
func (w *walk) plainest(next step) (m missing, ok bool) {
	s := w.searching(&next)
	var best []Change
	m.cost = illegal
	for _, s.point = range s.starts() {
		for _, s.all = range []bool{false, true} {
			e := entry(s.point, s.all)
			if w.costs[e] == illegal {
				continue
			}
			rest, paid := s.plain()
			if paid == illegal {
				continue
			}
			s.within = func(c cost) bool { return c <= m.cost && w.tree.within(c) }
			s.found = func(c cost, changes []Change) {
				all := slices.Concat(rest, changes)
				slices.SortFunc(all, Change.compare)
				if c < m.cost || c == m.cost && m.entry == e && slices.CompareFunc(all, best, Change.compare) < 0 {
					m, best = missing{class: next.class, cost: c, entry: e}, all
				}
			}
			if s.within(paid) {
				s.run(paid)
			}
		}
	}
	if m.cost == illegal {
		return m, false
	}
	m.found = w.tree.space.state(m.entry/2, m.entry&1 != 0, best)
	return m, true
}

// within says that what costs so much is asked for.
func (t *tree) within(c cost) bool {
	return c != illegal && (t.depth < 0 || c.lines() <= t.depth) && (t.torn < 0 || c.torn() <= t.torn)
}

// contents is how many contents lines of decisions may have at the point, together.
func (s *search) contents() (n int) {
	for _, line := range s.lines {
		n += len(s.tree.lines[line].at(s.point).legal) - 1
	}
	return n
}

// isDecided says that there is a decision on the way to an execution.
func (c *chain) isDecided() bool {
	return slices.ContainsFunc(c.path(len(c.steps)), func(s step) bool { return s.by.on != nil })
}

// combinations is in how many ways lines of decisions can be at a point so that the walk is
// taken, as far as that is known: those that differ from an extreme in few lines.
func (s *search) combinations() (n int) {
	const most = 1 << 12
	depth := s.tree.depth
	for contents := s.contents(); depth > 1 && math.Pow(float64(contents), float64(depth)) > most; {
		depth--
	}
	s.within = func(c cost) bool { return c.lines() <= depth }
	var last int // lines that have another content in the other extreme
	for _, s.all = range []bool{false, true} {
		last = 0
		if s.all {
			for _, n := range s.lines {
				if len(s.tree.lines[n].at(s.point).legal) > 1 {
					last++
				}
			}
		}
		s.found = func(_ cost, changes []Change) {
			differ := last
			for _, c := range changes {
				if c.Content == 0 {
					differ--
				}
			}
			if !s.all || differ > depth { // or it was counted
				n++
			}
		}
		s.run(0)
	}
	return n
}
