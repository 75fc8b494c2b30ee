package explore

import (
	"fmt"
	"math"
	"math/big"
	"slices"
)

// step is a read and the value that it found: that of a class of versions.
type step struct {
	by    *reading
	class int32
}

// chain is an execution: a path from where it left those before it to its
// leaf. Later executions leave it in turn.
type chain struct {
	parent   *chain
	at       int    // the step of the parent that found another value
	steps    []step // the first is that step with its own value, unless it is the root
	branches map[int][]*chain
	answer   string
	cost     cost   // of the state, which is the plainest that has the first step, if it is one of an exploration
	state    *State // that was run
	found    map[searchKey]missing
	scanned  int // levels of which is known what is missing
}

// searchKey is another value of a step.
type searchKey struct {
	at    int
	class int32
}

// tree is what is known of a recovery.
type tree struct {
	space  *Space
	depth  int // and torn: what is asked for, see Options
	torn   int
	lines  []classed
	root   *chain
	chains []*chain

	decisions map[*Decision]*reading
	alike     map[string]*reading // the same, by what they decide
}

func newTree(s *Space, depth, torn int) *tree {
	t := &tree{space: s, depth: depth, torn: torn, lines: make([]classed, len(s.lines))}
	for i := range t.lines {
		t.lines[i].line = &s.lines[i]
	}
	return t
}

// branch is the chain that leaves c at a step with the value of a class.
func (c *chain) branch(at int, class int32) *chain {
	for _, b := range c.branches[at] {
		if b.steps[0].class == class {
			return b
		}
	}
	return nil
}

// find is the execution that decides a state. If there is none, it is nil, and
// the edge is where the state leaves the tree.
func (t *tree) find(s *State) (*chain, *edge) {
	c := t.root
	if c == nil {
		return nil, &edge{state: s}
	}
	for i := 0; i < len(c.steps); i++ {
		at := &c.steps[i]
		class := at.by.classOf(s)
		if class == at.class {
			continue
		}
		b := c.branch(i, class)
		if b == nil {
			return nil, &edge{chain: c, at: i, class: class, state: s}
		}
		c, i = b, 0
	}
	return c, nil
}

// add adds the execution of a state, which leaves the tree at an edge.
func (t *tree) add(e *edge, s *State, reads []Read, answer string) (*chain, error) {
	c := &chain{parent: e.chain, at: e.at, answer: answer, cost: e.cost, state: s}
	n := 0
	if e.chain != nil {
		path := e.chain.path(e.at + 1)
		if err := follows(s, reads, path); err != nil {
			return nil, err
		}
		n = len(path) - 1
	}
	for _, r := range reads[n:] {
		by := t.reading(r)
		c.steps = append(c.steps, step{by, by.classOf(s)})
	}
	if e.chain == nil {
		t.root = c
	} else {
		if e.chain.branches == nil {
			e.chain.branches = map[int][]*chain{}
		}
		e.chain.branches[e.at] = append(e.chain.branches[e.at], c)
	}
	t.chains = append(t.chains, c)
	return c, nil
}

// follows checks that an execution read what one read that found the same.
func follows(s *State, reads []Read, path []step) error {
	for i, known := range path {
		switch {
		case i >= len(reads):
			return fmt.Errorf("%w: state %s read %d values as one before it, and then nothing, not %v", ErrNotDeterministic, s.ID(), i, known.by.Read)
		case reads[i] != known.by.Read:
			return fmt.Errorf("%w: state %s read %d values as one before it, and then %v, not %v", ErrNotDeterministic, s.ID(), i, reads[i], known.by.Read)
		}
	}
	return nil
}

// telling are the reads of the execution of a state that tell states apart, each byte once.
func (t *tree) telling(s *State, list []Read) (_ []Read, err error) {
	kept := make([]Read, 0, len(list))
	seen := map[int]uint64{}
	for _, r := range list {
		if r.Decision != nil {
			if kept, err = t.decides(kept, s, r.Decision, seen); err != nil {
				return nil, err
			}
			continue
		}
		if r.Line < 0 || r.Line >= len(t.lines) {
			return nil, fmt.Errorf("a read of line %d: the space has %d", r.Line, len(t.lines))
		}
		r.Bytes &^= seen[r.Line]
		if seen[r.Line] |= r.Bytes; t.reading(r).tells() {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// first is the first step that the parent does not have: step 0 stands for one
// of the parent's.
func (c *chain) first() int {
	if c.parent == nil {
		return 0
	}
	return 1
}

// path is what leads to step end of the chain.
func (c *chain) path(end int) []step {
	var parts [][]step
	for ; c != nil; end, c = c.at, c.parent {
		parts = append(parts, c.steps[:end])
	}
	var list []step
	for i := len(parts) - 1; i >= 0; i-- {
		list = append(list, parts[i]...)
	}
	return list
}

// cost is how many lines of a state differ from an extreme, times 2^16, and how
// many of them are torn.
type cost uint64

const (
	oneLine  cost = 1 << 32
	tornLine cost = oneLine + 1
	illegal  cost = math.MaxUint64
)

func (c cost) lines() int { return int(c >> 32) }
func (c cost) torn() int  { return int(uint32(c)) }
func (c cost) level() int { return c.lines() + c.torn() }

// price is what one line adds to the cost of a state of a span: of one in which
// nothing more survived, and of one in which everything did.
type price [2]cost

// price is that of a content of the span.
func (s *span) price(content int, all bool) cost {
	last := len(s.legal) - 1
	own := 0
	if all {
		own = last
	}
	switch v := s.legal[content]; {
	case v == s.legal[own]:
		return 0
	case v == s.legal[0], v == s.legal[last]:
		return oneLine
	}
	return tornLine
}

// agrees says that a version has the values that were read.
func agrees(version int32, steps []step) bool {
	for i := range steps {
		if steps[i].by.classes[version] != steps[i].class {
			return false
		}
	}
	return true
}

// walk is a way into the tree, with what each state costs that takes it.
type walk struct {
	tree  *tree
	steps map[int][]step // reads, by line
	on    []step         // decisions
	costs []cost         // of the plainest state of a point and an extreme, by entry, but for decisions
	least cost           // of them
	floor cost           // of the plainest state, if there are decisions
	from  int            // the first step of the chain that the walk has not taken
	index []int          // by class: in what missing lists, plus 1; less than 0 for what is known
}

// entry is a point and an extreme.
func entry(point int, all bool) int {
	if all {
		return 2*point + 1
	}
	return 2 * point
}

func (t *tree) start() *walk {
	return &walk{tree: t, steps: map[int][]step{}, costs: make([]cost, 2*len(t.space.points))}
}

// pathTo is the walk to the first step of a chain that its parent does not
// have.
func (t *tree) pathTo(c *chain) *walk {
	w := t.start()
	w.from, w.floor = c.first(), c.cost
	for _, s := range c.path(w.from) {
		w.follow(s)
	}
	return w
}

// paid is what a line costs that steps were taken of.
func paid(at *span, steps []step) price {
	if len(steps) == 0 {
		return price{}
	}
	p := price{illegal, illegal}
	for i, v := range at.legal {
		if agrees(v, steps) {
			p[0], p[1] = min(p[0], at.price(i, false)), min(p[1], at.price(i, true))
		}
	}
	return p
}

// prices are those of the values that a read may find in span i of its line.
func (w *walk) prices(by *reading, i int) []classPrice {
	if before := w.steps[by.Line]; len(before) > 0 {
		return by.pricesOf(&by.line.spans[i], before)
	}
	return by.prices[i]
}

// follow takes a step.
func (w *walk) follow(s step) {
	if s.by.on != nil {
		w.on, w.least = append(w.on, s), w.floor
		return
	}
	l := s.by.line
	before := w.steps[s.by.Line]
	for i := range l.spans {
		old, now := paid(&l.spans[i], before), price{illegal, illegal}
		for _, p := range w.prices(s.by, i) {
			if p.class == s.class {
				now = p.price
			}
		}
		if old == now {
			continue
		}
		from, to := w.tree.space.bounds(l.line, i)
		for e := entry(from, false); e < entry(to, false); e++ {
			w.costs[e] = replace(w.costs[e], old[e&1], now[e&1])
		}
	}
	w.steps[s.by.Line] = append(before[:len(before):len(before)], s)
	if w.least = slices.Min(w.costs); len(w.on) > 0 {
		w.least = w.floor
	}
}

// replace is a cost with another price of one of its lines.
func replace(c, old, now cost) cost {
	if c == illegal || now == illegal {
		return illegal
	}
	return c - old + now
}

// missing is a value of which nothing is known, and the plainest state that
// has it.
type missing struct {
	class int32
	cost  cost
	entry int
	found *State // nil if it has not been looked for
}

// missing lists the other values that step i of the chain, which is next, may
// find and of which nothing is known, with costs.
func (w *walk) missing(c *chain, i int) []missing {
	by := c.steps[i].by
	switch {
	case by.on != nil:
		other := zero + notZero - c.steps[i].class
		if len(c.branches[i]) > 0 {
			return nil
		}
		return w.exactly(c, i, []missing{{class: other}})
	case len(w.on) > 0:
		return w.exactly(c, i, w.missingReads(c, i))
	}
	return w.missingReads(c, i)
}

// exactly has what is missing be exact where something was decided.
func (w *walk) exactly(c *chain, i int, list []missing) []missing {
	if c.found == nil {
		c.found = map[searchKey]missing{}
	}
	exact := list[:0]
	for _, m := range list {
		if !w.tree.within(m.cost) {
			continue
		}
		k := searchKey{i, m.class}
		known, ok := c.found[k]
		if !ok {
			known, _ = w.plainest(step{c.steps[i].by, m.class})
			c.found[k] = known
		}
		if known.found != nil {
			exact = append(exact, known)
		}
	}
	return exact
}

// missingReads is missing for a read, where nothing was decided before.
func (w *walk) missingReads(c *chain, i int) []missing {
	by := c.steps[i].by
	l := by.line
	w.index = append(w.index[:0], make([]int, len(l.versions))...)
	w.index[c.steps[i].class] = -1
	for _, b := range c.branches[i] {
		w.index[b.steps[0].class] = -1
	}
	var list []missing
	for k := range l.spans {
		from, to := w.tree.space.bounds(l.line, k)
		cheapest := price{illegal, illegal}
		where := [2]int{}
		for e := entry(from, false); e < entry(to, false); e++ {
			if w.costs[e] < cheapest[e&1] {
				cheapest[e&1], where[e&1] = w.costs[e], e
			}
		}
		if cheapest == (price{illegal, illegal}) {
			continue
		}
		old := paid(&l.spans[k], w.steps[by.Line])
		for _, p := range w.prices(by, k) {
			n := w.index[p.class]
			if n < 0 {
				continue
			}
			for b := range cheapest {
				c := replace(cheapest[b], old[b], p.price[b])
				if c == illegal {
					continue
				}
				if n == 0 {
					list = append(list, missing{class: p.class, cost: illegal})
					n = len(list)
					w.index[p.class] = n
				}
				if m := &list[n-1]; c < m.cost || c == m.cost && where[b] < m.entry {
					m.cost, m.entry = c, where[b]
				}
			}
		}
	}
	return list
}

// state is the plainest state that takes the walk and then finds a value that is missing at a
// read.
func (w *walk) state(m missing, by *reading) *State {
	if m.found != nil {
		return m.found
	}
	entry, next := m.entry, step{by, m.class}
	point, all := entry/2, entry&1 != 0
	var changes []Change
	change := func(n int, steps []step) {
		at := w.tree.lines[n].at(point)
		best, least := 0, illegal
		for i, v := range at.legal {
			if p := at.price(i, all); p < least && agrees(v, steps) {
				best, least = i, p
			}
		}
		if least > 0 {
			changes = append(changes, Change{n, best})
		}
	}
	for n, steps := range w.steps {
		if n != next.by.Line {
			change(n, steps)
		}
	}
	before := w.steps[next.by.Line]
	change(next.by.Line, append(before[:len(before):len(before)], next))
	return w.tree.space.state(point, all, changes)
}

// states is the number of states that an execution decides; of those that something is
// decided of on its way, at least as many.
func (t *tree) states(c *chain) *big.Int {
	w := t.start()
	for _, s := range c.path(len(c.steps)) {
		if s.by.on != nil {
			w.on = append(w.on, s)
		} else {
			w.steps[s.by.Line] = append(w.steps[s.by.Line], s)
		}
	}
	var decided *search
	var starts []int
	if len(w.on) > 0 {
		decided = w.searching(nil)
		starts = decided.starts()
	}
	points := len(t.space.points)
	left, of := make([]product, points), make([]product, points)
	dead := make([]bool, points)
	for i, from := range starts {
		to := points
		if i+1 < len(starts) {
			to = starts[i+1]
		}
		decided.point = from
		n := decided.combinations()
		for p := from; p < to; p++ {
			if n == 0 {
				dead[p] = true
				continue
			}
			left[p].times(n)
			for _, line := range decided.lines {
				of[p].times(len(t.lines[line].at(p).legal))
			}
		}
	}
	for n, steps := range w.steps {
		if decided != nil && slices.Contains(decided.lines, n) {
			continue
		}
		l := &t.lines[n]
		for i := range l.spans {
			agree := 0
			for _, v := range l.spans[i].legal {
				if agrees(v, steps) {
					agree++
				}
			}
			from, to := t.space.bounds(l.line, i)
			for p := from; p < to; p++ {
				switch {
				case agree == 0:
					dead[p] = true
				case !dead[p] && len(l.spans[i].legal) > 1:
					left[p].times(agree)
					of[p].times(len(l.spans[i].legal))
				}
			}
		}
	}
	sum := new(big.Int)
	for p, n := range t.space.points {
		if !dead[p] {
			k := new(big.Int).Mul(n, left[p].value())
			sum.Add(sum, k.Div(k, of[p].value()))
		}
	}
	if sum.Sign() == 0 { // it is far from both extremes
		sum.SetInt64(1)
	}
	return sum
}

// product is a product of small numbers.
type product struct {
	big  *big.Int
	rest uint64 // 0 for 1
}

func (p *product) times(n int) {
	p.rest = max(p.rest, 1)
	if p.rest > math.MaxUint64/uint64(n) {
		*p = product{p.value(), 1}
	}
	p.rest *= uint64(n)
}

func (p *product) value() *big.Int {
	v := new(big.Int).SetUint64(max(p.rest, 1))
	if p.big != nil {
		v.Mul(v, p.big)
	}
	return v
}
