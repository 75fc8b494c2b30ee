package persist

import (
	"cmp"
	"fmt"
	"iter"
	"math/big"
	"slices"

	"nvlab/vmm/observe"
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
	// Stop is asked at least at each event before which power may fail, and ends
	// the search where it says so, from then on always. It may be nil.
	Stop func() bool

	// What was found, when the states ran out.
	Points     int      // events looked at, with states of their own
	Visited    int      // distinct states
	Duplicates int      // states whose image was visited before
	Sampled    int      // points of which not all states were visited
	Legal      *big.Int // states of all points, duplicates included
	Cut        bool     // the limit left states out
	AtLeast    bool     // there are more legal states than Legal, of lines with too many
	Truncated  int      // stores taken for written back, for space: see maxOps
	Spilled    int      // stores taken for written back, for space: see maxUndecided
	Raced      int      // non-temporal stores whose order with other CPUs' is that of the memory
	Crowd      int      // lines undecided at the point with most of those that were neither all lost alone nor kept alone
	Apart      int      // of these, those that were
	Ended      bool     // Stop ended it
	Next       int      // then the first event that was not looked at

	journal *Journal
	steps   []int         // by point: the states that a limit leaves of its walk
	plain   map[hash]bool // images that a limit leaves in states in which no line is torn
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
	r       *replay
	lines   []*line
	known   []*contents // of lines
	label   *labelWrite // in progress
	whole   bool        // the lists of known are complete
	rest    hash        // of all that the state does not decide
	total   *big.Int
	order   []int // of lines: see byInterest
	seed    uint64
	crowded int       // lines with more contents than are listed
	now     choice    // what choose made, until it makes another
	drawn   []content // in now
	none    choice    // every line without its ops, and
	every   choice    // with all of them, once somebody asked
	ends    []ends    // of each line, once a state was chosen
}

func (r *replay) point() *point {
	next := &r.event
	if !r.more {
		next = nil
	}
	r.model.endWhole(next)
	p := &point{r: r, whole: true, total: big.NewInt(1), rest: r.hash}
	n := 0
	for _, d := range r.model.media {
		n += d.Undecided()
	}
	most := lineStates(n)
	for _, d := range r.model.media {
		p.rest = p.rest.xor(d.hash)
		for _, l := range d.sorted() {
			known := l.contents(&r.model.Config, most)
			if !known.whole {
				p.whole = false
				p.crowded++
			}
			p.lines, p.known = append(p.lines, l), append(p.known, known)
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

// small says that all states of the point can be visited.
func (p *point) small() bool {
	return p.whole && p.total.IsInt64() && p.total.Int64() <= maxExhaustive
}

// choice is a content per line, and the number of the label's prefix. Lines are
// changed by put, end and set only.
type choice struct {
	lines []pick
	sum   hash // of lines
	tear  int
}

// pick is a content of a line: its place in the list of what the line may hold,
// or of one that was drawn its place in point.drawn, inverted.
type pick int32

// ends are the first and the last content of a line's list.
type ends struct {
	hash [2]hash
	last pick
}

// content is what a choice has line i hold.
func (p *point) content(c *choice, i int) *content {
	if k := c.lines[i]; k < 0 {
		return &p.drawn[^k]
	}
	return &p.known[i].list[c.lines[i]]
}

// put gives line i of a new choice a content.
func (p *point) put(c *choice, i int, to pick) {
	c.lines[i] = to
	c.sum = c.sum.xor(p.content(c, i).hash)
}

// end gives line i of a new choice all its ops, or none.
func (p *point) end(c *choice, i int, survive bool) {
	e := &p.ends[i]
	if survive {
		c.lines[i], c.sum = e.last, c.sum.xor(e.hash[1])
	} else {
		c.lines[i], c.sum = 0, c.sum.xor(e.hash[0])
	}
}

// set gives line i another content than it has.
func (p *point) set(c *choice, i int, to pick) {
	c.sum = c.sum.xor(p.content(c, i).hash)
	p.put(c, i, to)
}

func (p *point) hash(c *choice) hash {
	h := p.rest.xor(c.sum)
	if p.label != nil {
		h = h.xor(p.r.labelChange(*p.label, min(c.tear*atomBytes, len(p.label.data))))
	}
	return h
}

func (p *point) state(id string, x Reading, c *choice) *State {
	s := &State{ID: id, reading: x, Event: p.r.at, At: AtEnd, Torn: -1, j: p.r.j}
	if p.r.more {
		e := &p.r.event
		s.At, s.Seq, s.PC, s.Process = e.what, e.Seq, e.PC, e.process
	}
	for i, l := range p.lines {
		chosen := p.content(c, i)
		s.changes = append(s.changes, change{l.medium.index, l.n, chosen.bytes})
		kept, lost := l.divide(&chosen.kept)
		s.Kept = append(s.Kept, p.live(l.report(kept))...)
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
	if r.at > 0 && e.within(&r.last, &r.model.Config) {
		return false
	}
	if s.At == AtAny || s.At != AtFence && e.what == s.At {
		return true
	}
	if s.At != AtFence && s.At != AtStore {
		return false
	}
	switch e.what { // what makes stores durable
	case AtFence, AtOrder:
		return r.model.pending(&e.At, e.order) || r.model.pendingParts(e)
	case AtStore:
		return e.Kind&observe.ToUncached != 0 || e.Kind&observe.Device == 0 && (r.model.pendingCLFLUSH(&e.At) || r.model.pendingParts(e))
	case AtFlush:
		return e.flush == observe.CLFLUSH && r.model.pendingCLFLUSH(&e.At) || r.model.pendingParts(e)
	}
	return e.what == AtHint || e.what == AtLabel
}

// within says that power failure cannot come between the event before and e.
func (e *event) within(before *event, c *Config) bool {
	if e.what != AtStore || before.what != AtStore || e.Base != before.Base || e.Offset/LineSize != before.Offset/LineSize {
		return false
	}
	var o, p op
	o.set(&e.Store, 0, 0)
	p.set(&before.Store, 0, 0)
	return o.atomicWith(&p, c)
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
		s.begin(j)
		s.share(j)
		seen := map[hash]bool{}
		for r := range s.events(j) {
			if !s.visit(r, seen, yield) {
				return
			}
		}
	}
}

// events goes through the journal, and stops at the events before which power
// may fail.
func (s *Search) events(j *Journal) iter.Seq[*replay] {
	return func(yield func(*replay) bool) {
		for r := j.replayAs(s.Reading); ; r.step() {
			wanted := s.wants(r)
			if (wanted || r.at%stopEvents == 0) && s.Stop != nil && s.Stop() {
				s.Ended, s.Next, s.AtLeast = true, r.at, true
				return
			}
			if wanted && !yield(r) || !r.more {
				return
			}
		}
	}
}

// stopEvents is after how many events a search asks whether it is to stop, if
// power fails before none of them.
const stopEvents = 1 << 10

// begin forgets what was found before.
func (s *Search) begin(j *Journal) {
	*s = Search{At: s.At, Limit: s.Limit, Seed: s.Seed, Reading: s.Reading, Stop: s.Stop, Legal: new(big.Int), journal: j}
}

func (s *Search) visit(r *replay, seen map[hash]bool, yield func(*View) bool) bool {
	p := r.point()
	s.count(p)
	small := p.small()
	if !small {
		s.Sampled++
	}
	w := p.walk(s)
	v := &View{p: p}
	visited, apart := 0, 0
	for steps := 0; s.steps == nil || steps < s.steps[s.Points-1]; steps++ {
		if !small && s.steps == nil && visited == maxExhaustive {
			break
		}
		torn := w.torn()
		c, n, ok := w.next()
		if !ok {
			break
		}
		if n.method != 'x' {
			apart = max(apart, p.apart(n))
		}
		h := p.hash(c)
		fresh := w.fresh(h)
		if seen[h] || torn && s.plain[h] { // as another event leaves it with its lines whole
			if n.method == 'x' && fresh {
				s.Duplicates++
			}
			continue
		}
		seen[h] = true
		s.Visited++
		visited++
		v.c, v.name, v.hash = c, n, h
		if !yield(v) {
			return false
		}
		v.later = true
	}
	if lines := len(p.lines); !small && lines-apart > s.Crowd-s.Apart {
		s.Crowd, s.Apart = lines, min(apart, lines)
	}
	if v.later {
		r.fresh = r.fresh[:0]
	}
	return true
}

// count adds a point to what the search found.
func (s *Search) count(p *point) {
	s.Points++
	s.Truncated, s.Spilled, s.Raced = 0, 0, 0
	for _, d := range p.r.model.media {
		s.Truncated += d.Truncated
		s.Spilled += d.Spilled
		s.Raced += d.Raced
	}
	s.Legal.Add(s.Legal, p.total)
	s.AtLeast = s.AtLeast || !p.whole
}

// Find is the state of an id.
func (j *Journal) Find(id string) (*State, error) {
	n, ok := parseID(id)
	if !ok {
		return nil, CheckID(id)
	}
	if n.event > j.events.n {
		return nil, fmt.Errorf("state %q: the trace has %d events", id, j.events.n)
	}
	r := j.replayAs(n.Reading)
	for r.at < n.event && r.more {
		r.step()
	}
	p := r.point()
	p.seed = n.seed
	switch {
	case n.method == 'x' && (!p.whole || p.total.Cmp(big.NewInt(int64(n.k))) <= 0),
		n.method == 't' && n.k >= p.tears(), n.method == 'l' && n.k >= len(p.lines):
		return nil, fmt.Errorf("state %q: before event %d the trace has only %v", id, n.event, p.total)
	}
	var c *choice
	if n.method == 'n' || n.method == 'e' {
		var err error
		if c, err = p.edited(n.method == 'e', n.edits); err != nil {
			return nil, fmt.Errorf("state %q: before event %d %w", id, n.event, err)
		}
	} else {
		c = p.choose(n.method, n.k)
	}
	if got := n.id(p.hash(c)); got != id {
		return nil, fmt.Errorf("state %q: here it is %q: the run that named it was another", id, got)
	}
	return p.state(id, n.Reading, c), nil
}

// Everything is the state of the same event in which all stores survived.
func (s *State) Everything() *State {
	r := s.j.replayAs(s.reading)
	for r.at < s.Event && r.more {
		r.step()
	}
	p := r.point()
	c := p.all(true)
	c.tear = p.tears() - 1
	return p.state("", s.reading, c)
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
