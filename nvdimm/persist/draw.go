package persist

import "slices"

// draw makes c any content of the line: few of its stores, most of them, all up to
// one, or some, as the generator says.
func (l *line) draw(units []unit, random *generator, c *content) {
	n := len(units)
	if n == 0 {
		*c = l.nothing()
		return
	}
	one := int(random.below(uint64(n)))
	how := random.below(4)
	odds := 1 + random.below(3)
	wants := func(i int) bool {
		switch how {
		case 0: // it, and what it needs
			return i == one || i < one && l.needs(&units[one], &units[i])
		case 1: // all but it, and what needs it
			return i != one
		case 2: // those before it
			return i < one
		}
		return random.below(4) < odds
	}
	*c = content{bytes: l.durable}
	if l.races() {
		l.drawOrder(units, wants, random, c)
	} else {
		var o order
		for i := range units {
			u := &units[i]
			if !wants(i) || !o.allows(u) {
				o = o.after(u)
				continue
			}
			for k := u.first; k < u.end; k++ {
				l.ops[k].apply(&c.bytes)
				c.kept.add(k)
			}
		}
	}
	c.hash = hashLine(l.medium.index, l.n, &c.bytes)
}

// drawOrder lets units become visible in any order.
func (l *line) drawOrder(units []unit, wants func(int) bool, random *generator, c *content) {
	var left []int
	for i := range units {
		if wants(i) {
			left = append(left, i)
		}
	}
	at := interleaving{bytes: c.bytes}
	for len(left) > 0 {
		first := int(random.below(uint64(len(left))))
		moved := false
		for i := range left {
			k := (first + i) % len(left)
			next, early, ok := l.next(units, left[k], at)
			if !ok {
				continue
			}
			if early.done != at.done && random.below(2) != 0 {
				next = early
			}
			for u, j := &units[left[k]], units[left[k]].first; j < u.end; j++ {
				c.kept.add(j)
			}
			at, moved, left = next, true, slices.Delete(left, k, k+1)
			break
		}
		if !moved {
			break
		}
	}
	c.bytes = at.bytes
}
