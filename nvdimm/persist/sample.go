package persist

import (
	"cmp"
	"slices"
)

// choose is state k of the point by a method, which ids of states name:
//
//	x  the kth of all
//	t  what is guaranteed, with the kth prefix of the label write
//	l  all but the kth line
//	p  a sample in which each line survives wholly or not at all
//	r  a sample of any legal states
func (p *point) choose(method rune, k int) *choice {
	switch method {
	case 'x':
		return p.nth(k)
	case 't':
		c := p.all(false)
		c.tear = k
		return c
	case 'l':
		c := p.all(true)
		p.set(c, k, 0)
		return c
	}
	return p.sample(k, method == 'p')
}

// choice is the one to make now, in place of the one before. Each of its lines
// has to be put.
func (p *point) choice() *choice {
	if p.now.lines == nil {
		p.now.lines = make([]pick, len(p.lines))
		p.ends = make([]ends, len(p.lines))
		for i, k := range p.known {
			last := len(k.list) - 1
			p.ends[i] = ends{[2]hash{k.list[0].hash, k.list[last].hash}, pick(last)}
		}
	}
	p.now.sum, p.now.tear, p.drawn = hash{}, 0, p.drawn[:0]
	return &p.now
}

// all is the choice in which every line has all its ops, or none. The states
// that differ from it in a line or two are many, and should cost no more than
// those lines.
func (p *point) all(survive bool) *choice {
	c, from := p.choice(), &p.none
	if survive {
		from = &p.every
	}
	if from.lines == nil {
		from.lines = make([]pick, len(p.lines))
		for i := range from.lines {
			p.end(from, i, survive)
		}
	}
	copy(c.lines, from.lines)
	c.sum = from.sum
	return c
}

// extreme is line i with all its ops, or with none.
func (p *point) extreme(i int, survive bool) pick {
	if survive {
		return p.ends[i].last
	}
	return 0
}

// nth is state k of all, in mixed radix.
func (p *point) nth(k int) *choice {
	c := p.choice()
	c.tear, k = k%p.tears(), k/p.tears()
	for i, l := range p.known {
		n := len(l.list)
		p.put(c, i, pick(k%n))
		k /= n
	}
	return c
}

// classes of states take turns in a sample, after none and all.
const (
	lostAlone = iota // all but a line
	keptAlone        // one line alone
	someLines        // each line wholly or not at all
	anyStates        // any content of each line
	classes
)

// class is the class of state k of a sample, and the state's number in it.
func class(k int, plain bool) (which, n int) {
	count := classes
	if plain {
		count = anyStates
	}
	return (k - 2) % count, (k - 2) / count
}

// apart is how many lines a sample has lost alone, and kept alone, with the
// states up to this one.
func (p *point) apart(n name) int {
	if n.k < 2 {
		return 0
	}
	if which, i := class(n.k, n.method == 'p'); which == keptAlone {
		return i + 1
	}
	return 0
}

// sample is state k of those that stand for too many. It depends on nothing
// but k and the seed.
func (p *point) sample(k int, plain bool) *choice {
	if k < 2 || len(p.lines) == 0 {
		c := p.all(k == 1)
		if k > 1 {
			g := p.generator(k)
			c.tear = int(g.below(uint64(p.tears())))
		}
		return c
	}
	which, n := class(k, plain)
	g := p.generator(k)
	switch {
	case which == lostAlone || which == keptAlone:
		c := p.all(which == lostAlone)
		at := p.byInterest()[n%len(p.lines)]
		if n < len(p.lines) {
			p.set(c, at, p.extreme(at, which == keptAlone))
			return c
		}
		// Each line had its turn: now they are torn, or two together.
		if p.set(c, at, p.any(at, &g)); plain {
			p.set(c, at, p.extreme(at, which == keptAlone))
			other := int(g.below(uint64(len(p.lines))))
			p.set(c, other, p.extreme(other, which == keptAlone))
		}
		return c
	case which == someLines && (plain || len(p.lines) > 1):
		c := p.choice()
		for i := range c.lines {
			p.end(c, i, g.below(2) != 0)
		}
		c.tear = int(g.below(uint64(p.tears())))
		return c
	}
	c := p.choice()
	for i := range c.lines {
		p.put(c, i, p.any(i, &g))
	}
	c.tear = int(g.below(uint64(p.tears())))
	return c
}

// generator is the one of state k.
func (p *point) generator(k int) generator {
	g := generator(p.seed ^ uint64(p.r.at)<<32 ^ uint64(k))
	g.next()
	return g
}

// maxDrawn is how many lines of a state are drawn, about, of those whose
// contents are too many to list: the others survive wholly or not at all.
const maxDrawn = 8

// any is any content of line i.
func (p *point) any(i int, g *generator) pick {
	if k := p.known[i]; k.whole {
		return pick(g.below(uint64(len(k.list))))
	}
	if p.crowded > maxDrawn && g.below(uint64(p.crowded)) >= maxDrawn {
		return p.extreme(i, g.below(2) != 0)
	}
	if cap(p.drawn) == 0 {
		p.drawn = make([]content, 0, len(p.lines))
	}
	p.drawn = p.drawn[:len(p.drawn)+1]
	at := len(p.drawn) - 1
	p.lines[i].draw(p.known[i].units, g, &p.drawn[at])
	return ^pick(at)
}

// byInterest orders the lines for a sample: those that were stored to since
// the journal began, the latest first, and then those that were undecided
// before. A seed shuffles each of the two.
func (p *point) byInterest() []int {
	if p.order != nil {
		return p.order
	}
	p.order = make([]int, len(p.lines))
	for i := range p.order {
		p.order[i] = i
	}
	slices.SortStableFunc(p.order, func(x, y int) int { return cmp.Compare(p.lines[y].newest(), p.lines[x].newest()) })
	if p.seed != 0 {
		since := slices.IndexFunc(p.order, func(i int) bool { return p.lines[i].newest() < p.r.j.start.nextID })
		if since < 0 {
			since = len(p.order)
		}
		g := p.generator(0)
		g.shuffle(p.order[:since])
		g.shuffle(p.order[since:])
	}
	return p.order
}

func (g *generator) shuffle(list []int) {
	for i := len(list) - 1; i > 0; i-- {
		k := g.below(uint64(i + 1))
		list[i], list[k] = list[k], list[i]
	}
}
