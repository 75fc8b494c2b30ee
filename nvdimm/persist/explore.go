package persist

import (
	"cmp"
	"fmt"
	"iter"
	"math/big"
	"slices"
)

// maxExhaustive is the number of states of one point up to which all are
// visited. Beyond it as many are, chosen by the seed.
const maxExhaustive = 4096

// A Search chooses crash states of a journal.
type Search struct {
	At    What // the events before which power may fail
	Limit int  // of states, shared between the events; 0 for none
	Seed  uint64
	Reading

	// What was found, when the states ran out.
	Points     int      // events looked at, with states of their own
	Visited    int      // distinct states
	Duplicates int      // states whose image was visited before
	Sampled    int      // points of which not all states were visited
	Legal      *big.Int // states of all points, duplicates included
	Cut        bool     // the limit left states out
	AtLeast    bool     // there are more legal states than Legal, of lines with too many
	Joined     int      // stores whose own states were given up for space: see maxOps
	Spilled    int      // stores taken for written back, for space: see maxUndecided

	left int // events to look at
}

// A State is what a power failure may leave.
type State struct {
	ID         string
	Event      int  // the power fails before this one
	At         What // what it is
	Seq, PC    uint64
	Process    uint32 // see Journal.Process
	Kept, Lost []Op   // of the stores that were undecided
	Torn       int    // bytes of a label write that were done, -1 without one

	j       *Journal
	reading Reading
	changes []change
	label   *labelWrite
}

// change is a line that the state decides.
type change struct {
	medium int
	n      uint64
	bytes  [LineSize]byte
}

// point is an event and what may be left before it.
type point struct {
	r     *replay
	lines []*line
	lists [][]content
	label *labelWrite // in progress
	whole bool        // lists are complete
	rest  hash        // of all that the state does not decide
	total *big.Int
}

// settle ends string instructions, but for one that goes on with the next
// event.
func (r *replay) settle() {
	for i := range r.model.cpus {
		c := &r.model.cpus[i]
		if r.more {
			if e := &r.event; e.what == AtStore && r.model.slot(&e.At) == i && e.Group == c.group {
				continue
			}
		}
		r.model.endString(c)
	}
}

func (r *replay) point() *point {
	r.settle()
	tear := r.model.Config.TearVectors
	p := &point{r: r, whole: true, total: big.NewInt(1), rest: r.hash}
	n := 0
	for _, d := range r.model.media {
		n += d.Undecided()
	}
	most := lineStates(n)
	for _, d := range r.model.media {
		p.rest = p.rest.xor(d.hash)
		for _, l := range d.sorted() {
			known := l.contents(tear, most)
			p.whole = p.whole && known.whole
			p.lines, p.lists = append(p.lines, l), append(p.lists, known.list)
			p.rest = p.rest.xor(known.durable)
			p.total.Mul(p.total, big.NewInt(int64(len(known.list))))
		}
	}
	if r.more && r.event.what == AtLabel {
		w := r.j.writes[r.event.number]
		p.label = &w
		p.total.Mul(p.total, big.NewInt(int64(p.tears())))
	}
	return p
}

// tears is the number of prefixes of the label write.
func (p *point) tears() int {
	if p.label == nil {
		return 1
	}
	return (len(p.label.data)+atomBytes-1)/atomBytes + 1
}

// choice is the index of a content per line, and of the label's prefix.
type choice struct {
	lines []int
	tear  int
}

// nth is state k of all, in mixed radix.
func (p *point) nth(k int) choice {
	c := choice{lines: make([]int, len(p.lists))}
	c.tear, k = k%p.tears(), k/p.tears()
	for i, list := range p.lists {
		c.lines[i], k = k%len(list), k/len(list)
	}
	return c
}

// sample is state k of those that stand for too many: none, all, all but one
// line, one line alone, and then by the seed.
func (p *point) sample(k int, seed uint64) choice {
	c := choice{lines: make([]int, len(p.lists))}
	last := func(i int) { c.lines[i] = len(p.lists[i]) - 1 }
	n := len(p.lists)
	switch {
	case k == 0:
	case k < 2+n:
		for i := range n {
			if k != 2+i {
				last(i)
			}
		}
	case k < 2+2*n:
		last(k - 2 - n)
	default:
		g := generator(seed ^ uint64(p.r.at)<<32 ^ uint64(k))
		g.next()
		for i, list := range p.lists {
			c.lines[i] = int(g.below(uint64(len(list))))
		}
		c.tear = int(g.below(uint64(p.tears())))
	}
	return c
}

func (p *point) hash(c choice) hash {
	h := p.rest
	for i := range p.lines {
		h = h.xor(p.lists[i][c.lines[i]].hash)
	}
	if p.label != nil {
		h = h.xor(p.r.labelChange(*p.label, min(c.tear*atomBytes, len(p.label.data))))
	}
	return h
}

func (p *point) state(id string, x Reading, c choice) *State {
	s := &State{ID: id, reading: x, Event: p.r.at, At: AtEnd, Torn: -1, j: p.r.j}
	if p.r.more {
		e := &p.r.event
		s.At, s.Seq, s.PC, s.Process = e.what, e.Seq, e.PC, e.process
	}
	for i, l := range p.lines {
		chosen := &p.lists[i][c.lines[i]]
		s.changes = append(s.changes, change{l.medium.index, l.n, chosen.bytes})
		var lost []int
		for k := range l.ops {
			if !slices.Contains(chosen.kept, k) {
				lost = append(lost, k)
			}
		}
		s.Kept = append(s.Kept, p.live(l.report(chosen.kept))...)
		s.Lost = append(s.Lost, p.live(l.report(lost))...)
	}
	if p.label != nil {
		w := *p.label
		w.data = w.data[:min(c.tear*atomBytes, len(w.data))]
		s.label, s.Torn = &w, len(w.data)
	}
	return s
}

// live gives ops the media of the machine instead of the copies.
func (p *point) live(ops []Op) []Op {
	for i := range ops {
		ops[i].Medium = p.r.j.media[ops[i].Medium.index]
	}
	return ops
}

// wants says that power may fail before the next event, and that the states
// there are not all among those of a later one.
func (s *Search) wants(r *replay) bool {
	if !r.more {
		return true
	}
	e := &r.event
	if r.at > 0 && e.within(&r.last, r.model.Config.TearVectors) {
		return false
	}
	switch {
	case s.At == AtFence:
		switch e.what {
		case AtFence, AtOrder:
			return r.model.pending(&e.At, e.order)
		case AtStore, AtFlush:
			return len(r.model.cpu(r.model.slot(&e.At)).clf) > 0 // R2
		case AtHint, AtLabel:
			return true
		}
		return false
	case s.At == AtAny:
		return true
	}
	return e.what == s.At
}

// within says that power failure cannot come between the event before and e.
func (e *event) within(before *event, tear bool) bool {
	if e.what != AtStore || before.what != AtStore || e.Group != before.Group || e.Offset/LineSize != before.Offset/LineSize {
		return false
	}
	o := op{kind: e.Kind}
	return o.whole(tear)
}

// States visits the distinct states in order.
func (s *Search) States(j *Journal) iter.Seq[*State] {
	return func(yield func(*State) bool) {
		for v := range s.Views(j) {
			if !yield(v.State()) {
				return
			}
		}
	}
}

// Views visits the same states as States does, at less cost.
func (s *Search) Views(j *Journal) iter.Seq[*View] {
	return func(yield func(*View) bool) {
		s.Points, s.Visited, s.Duplicates, s.Sampled, s.Joined, s.Spilled, s.Legal, s.Cut, s.AtLeast = 0, 0, 0, 0, 0, 0, new(big.Int), false, false
		seen := map[hash]bool{}
		if s.left = 0; s.Limit > 0 {
			r := j.replayAs(s.Reading)
			for ; r.more; r.step() {
				if s.wants(r) {
					s.left++
				}
			}
			s.left++ // the end
		}
		for r := j.replayAs(s.Reading); ; r.step() {
			if s.wants(r) && !s.visit(r, seen, yield) || !r.more {
				return
			}
		}
	}
}

func (s *Search) visit(r *replay, seen map[hash]bool, yield func(*View) bool) bool {
	p := r.point()
	s.Points++
	s.Joined, s.Spilled = 0, 0
	for _, d := range r.model.media {
		s.Joined += d.Truncated
		s.Spilled += d.Spilled
	}
	s.Legal.Add(s.Legal, p.total)
	n, method := maxExhaustive, 'r'
	if p.total.IsInt64() && p.total.Int64() <= maxExhaustive {
		n, method = int(p.total.Int64()), 'x'
	}
	if method == 'r' || !p.whole {
		s.Sampled++
	}
	share := n
	if s.Limit > 0 {
		share = (s.Limit - s.Visited + s.left - 1) / s.left
		s.left--
		if share < n && method == 'x' {
			method = 'r'
			s.Cut = s.Cut || n > 2 // none and all are everything, or the walk misses some
		}
	}
	s.AtLeast = s.AtLeast || !p.whole
	visited := 0
	order := func(i int) int { return i }
	if share < n {
		order = p.walk(n, s.Seed)
	}
	v := &View{p: p}
	for i := range n {
		if visited == share {
			s.Cut = true
			break
		}
		k := order(i)
		c, seed := p.choose(method, k, s.Seed)
		h := p.hash(c)
		if seen[h] {
			s.Duplicates++
			continue
		}
		seen[h] = true
		s.Visited++
		visited++
		v.c, v.name, v.hash = c, name{r.at, method, k, seed, s.Reading}, h
		if !yield(v) {
			return false
		}
		v.later = true
	}
	if v.later {
		r.fresh = r.fresh[:0]
	}
	return true
}

// walk is an order of n states of which a limit leaves most out: with seed 0 the
// plainest first, else as the seed says, each once, by a step prime to n.
func (p *point) walk(n int, seed uint64) func(i int) int {
	if seed == 0 {
		return func(i int) int { return i }
	}
	g := generator(seed ^ uint64(p.r.at)<<32)
	g.next()
	first, stride := int(g.below(uint64(n))), n
	for gcd(stride, n) != 1 {
		stride = 1 + int(g.below(uint64(n)))
	}
	return func(i int) int { return (first + i*stride) % n }
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// choose is state k by a method, and the seed if that counts.
func (p *point) choose(method rune, k int, seed uint64) (choice, uint64) {
	switch method {
	case 'x':
		return p.nth(k), 0
	case 't':
		c := p.nth(0)
		c.tear = k
		return c, 0
	}
	c := p.sample(k, seed)
	if k < 2+2*len(p.lists) {
		seed = 0
	}
	return c, seed
}

// Find is the state of an id.
func (j *Journal) Find(id string) (*State, error) {
	n, ok := parseID(id)
	if !ok {
		return nil, fmt.Errorf("state %q: want the id of a crash state, such as 12.x3-0123abcd", id)
	}
	if n.event > j.events.n {
		return nil, fmt.Errorf("state %q: the trace has %d events", id, j.events.n)
	}
	r := j.replayAs(n.Reading)
	for r.at < n.event && r.more {
		r.step()
	}
	p := r.point()
	if n.method == 'x' && p.total.Cmp(big.NewInt(int64(n.k))) <= 0 || n.method == 't' && n.k >= p.tears() {
		return nil, fmt.Errorf("state %q: before event %d the trace has only %v", id, n.event, p.total)
	}
	c, seed := p.choose(n.method, n.k, n.seed)
	n.seed = seed
	if got := n.id(p.hash(c)); got != id {
		return nil, fmt.Errorf("state %q: here it is %q: the run that named it was another", id, got)
	}
	return p.state(id, n.Reading, c), nil
}

// A Line is a line of a medium as a state leaves it.
type Line struct {
	Medium *Medium
	N      uint64
	Bytes  [LineSize]byte
}

// Image lists the lines that the journal's machine wrote to, as the state
// leaves them, and the label areas. All else is as it was at the beginning.
func (s *State) Image() (lines []Line, labels [][]byte) {
	r := s.j.replayAs(s.reading)
	for r.at < s.Event {
		r.step()
	}
	r.settle()
	decided := map[place]*change{}
	for i := range s.changes {
		c := &s.changes[i]
		decided[place{s.j.media[c.medium], c.n}] = c
	}
	for i, d := range r.model.media {
		live := s.j.media[i]
		for n, bytes := range d.mem.(copies) {
			l := Line{live, n, *bytes}
			if c := decided[place{live, n}]; c != nil {
				l.Bytes = c.bytes
			}
			lines = append(lines, l)
		}
	}
	slices.SortFunc(lines, func(x, y Line) int {
		return cmp.Or(cmp.Compare(slices.Index(s.j.media, x.Medium), slices.Index(s.j.media, y.Medium)), cmp.Compare(x.N, y.N))
	})
	if s.label != nil {
		copy(r.labels[s.label.area][s.label.off:], s.label.data)
	}
	return lines, r.labels
}
