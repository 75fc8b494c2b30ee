package persist

import (
	"cmp"
	"maps"
	"slices"
)

// A walk goes through states of a point in the order in which a search visits
// them. The order does not depend on how many it visits.
type walk struct {
	p       *point
	reading Reading
	phases  []phase
	k       int           // of the first phase
	stale   int           // states since the latest new one
	own     map[hash]bool // those of this walk
}

// phase is states of one method.
type phase struct {
	method   rune
	n        int
	patience int   // states without a new one that end it; 0 for no end
	order    []int // of 'x'; nil if it is that of their numbers
	torn     bool  // lines may be torn, and all states where none is come before
}

// maxDraws bounds the states that are drawn of a point with more than
// maxExhaustive: of few more, many are drawn twice.
const maxDraws = 4 * maxExhaustive

// patience is how many draws without a new state show that there are no more.
const patience = 64

// walk is the walk of a search. With a limit and no seed the states in which
// no line is torn come first: hardware leaves these most often.
func (p *point) walk(s *Search) *walk {
	p.seed = s.Seed
	w := &walk{p: p, reading: s.Reading}
	any := phase{method: 'r', n: maxDraws, patience: 8*patience + 4*len(p.lines)}
	switch {
	case p.small():
		all := phase{method: 'x', n: int(p.total.Int64())}
		w.phases = []phase{all}
		if s.plainFirst() {
			order, plain := p.plainFirst()
			w.phases = []phase{
				{method: 'x', n: plain, order: order[:plain]},
				{method: 'x', n: len(order) - plain, order: order[plain:], torn: true},
			}
		} else if s.steps != nil {
			w.phases[0].order = p.stride()
		}
	case s.plainFirst():
		any.torn = true
		w.phases = []phase{{method: 'p', n: maxDraws, patience: patience + 4*len(p.lines)}, any}
		w.own = map[hash]bool{}
	default:
		w.phases = []phase{any}
		w.own = map[hash]bool{}
	}
	return w
}

// plainFirst says that no state with a torn line is visited, at any point, as
// long as there are others.
func (s *Search) plainFirst() bool { return s.Limit > 0 && s.Seed == 0 }

// plainFirst orders the states of a small point: by how many lines are torn,
// then by how many are unlike the others. In the first of them, which are
// counted, none is torn.
func (p *point) plainFirst() (order []int, plain int) {
	type rank struct{ k, torn, odd int }
	list := make([]rank, p.total.Int64())
	for k := range list {
		left, torn, kept := k/p.tears(), 0, 0
		for _, l := range p.known {
			n := len(l.list)
			switch left % n {
			case 0:
			case n - 1:
				kept++
			default:
				torn++
			}
			left /= n
		}
		list[k] = rank{k, torn, min(kept, len(p.known)-kept)}
	}
	slices.SortStableFunc(list, func(x, y rank) int { return cmp.Or(cmp.Compare(x.torn, y.torn), cmp.Compare(x.odd, y.odd)) })
	for _, r := range list {
		order = append(order, r.k)
		if r.torn == 0 {
			plain++
		}
	}
	return order, plain
}

// stride orders the states of a small point, from one that the seed chooses, in
// steps prime to their number.
func (p *point) stride() []int {
	order := make([]int, p.total.Int64())
	n := len(order)
	g := p.generator(0)
	first, stride := int(g.below(uint64(n))), n
	for gcd(stride, n) != 1 {
		stride = 1 + int(g.below(uint64(n)))
	}
	for i := range order {
		order[i] = (first + i*stride) % n
	}
	return order
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// torn says that the next state may have a torn line, if there is one.
func (w *walk) torn() bool {
	for i := range w.phases {
		if f := &w.phases[i]; i > 0 || w.k < f.n && (f.patience == 0 || w.stale < f.patience) {
			return f.torn
		}
	}
	return false
}

// next is the next state and what its id says, until there are no more.
func (w *walk) next() (*choice, name, bool) {
	for len(w.phases) > 0 {
		f := &w.phases[0]
		if w.k < f.n && (f.patience == 0 || w.stale < f.patience) {
			k := w.k
			w.k++
			n := name{event: w.p.r.at, method: f.method, k: k, Reading: w.reading}
			switch {
			case f.order != nil:
				n.k = f.order[k]
			case f.method == 'r' && k > 1:
				n.seed = w.p.seed
			}
			return w.p.choose(n.method, n.k), n, true
		}
		w.phases, w.k, w.stale = w.phases[1:], 0, 0
	}
	return nil, name{}, false
}

// fresh says that the walk had no state of this image before. It must be asked
// of each.
func (w *walk) fresh(h hash) bool {
	if w.own == nil {
		return true
	}
	if w.own[h] {
		w.stale++
		return false
	}
	w.stale = 0
	w.own[h] = true
	return true
}

// share divides the search's limit between its points, as far as they have
// states: what a point cannot use goes to others, before it or after it.
func (s *Search) share(j *Journal) {
	if s.Limit <= 0 {
		return
	}
	all := s.sizes(j)
	s.steps = make([]int, len(all))
	seen := map[hash]bool{}
	if s.plainFirst() {
		s.deal(j, slices.Clone(all), true, seen)
		s.plain = maps.Clone(seen)
	}
	s.deal(j, all, false, seen)
	s.Cut = s.leftOut(j, all, seen)
}

// leftOut says that the points have states that were not dealt.
func (s *Search) leftOut(j *Journal, sizes []int, seen map[hash]bool) bool {
	at := 0
	for r := range s.events(j) {
		if sizes[at] > 0 {
			if _, more := s.take(r.point(), s.steps[at], 0, false, seen); more {
				return true
			}
		}
		at++
	}
	return false
}

// deal gives the points of a limit what is left of it, only states in which no
// line is torn if it says so. A point that has no more of them has size 0 then.
func (s *Search) deal(j *Journal, sizes []int, plain bool, seen map[hash]bool) {
	for round := range maxRounds {
		takes := divide(s.Limit-len(seen), sizes)
		at := 0
		for r := range s.events(j) {
			if sizes[at] > 0 {
				n := takes[at]
				if round == maxRounds-1 {
					n = s.Limit - len(seen) // who comes first
				}
				var more bool
				if s.steps[at], more = s.take(r.point(), s.steps[at], n, plain, seen); !more {
					sizes[at] = 0
				}
			}
			at++
		}
		if s.Ended || len(seen) >= s.Limit || !slices.ContainsFunc(sizes, func(n int) bool { return n > 0 }) {
			break
		}
	}
}

// maxRounds bounds how often a limit is shared anew, as many states turned out
// to be those of other events. In the last round a point takes all that it can.
const maxRounds = 5

// sizes is how many states each point has, at least, up to the limit.
func (s *Search) sizes(j *Journal) (sizes []int) {
	for r := range s.events(j) {
		n := s.Limit
		if p := r.point(); p.small() {
			n = min(n, int(p.total.Int64()))
		}
		sizes = append(sizes, n)
	}
	return sizes
}

// divide gives each of the points its share of n states: as many as the others
// have, unless it has not so many.
func divide(n int, sizes []int) []int {
	takes := make([]int, len(sizes))
	order := make([]int, len(sizes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(sizes[x], sizes[y]) })
	for i, at := range order {
		takes[at] = min(sizes[at], n/(len(order)-i))
		n -= takes[at]
	}
	return takes
}

// take goes on in a walk after some steps, up to so many new states, and says
// how far it came and whether there are more: more without torn lines, if those
// are asked for.
func (s *Search) take(p *point, done, states int, plain bool, seen map[hash]bool) (steps int, more bool) {
	w := p.walk(s)
	for steps = 0; ; steps++ {
		if plain && w.torn() {
			return steps, false
		}
		c, _, ok := w.next()
		if !ok {
			return steps, false
		}
		h := p.hash(c)
		w.fresh(h)
		if steps < done || seen[h] {
			continue
		}
		if states == 0 {
			return steps, true
		}
		seen[h] = true
		states--
	}
}
