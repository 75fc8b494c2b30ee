package persist

import "nvlab/vmm/observe"

// races says that stores of several CPUs to the same bytes may become visible
// in another order than they did: then what the line holds depends on more
// than which of its ops survive.
func (l *line) races() bool {
	for i := range l.ops {
		o := &l.ops[i]
		if !o.late() {
			continue
		}
		if o.under != 0 {
			return true
		}
		for j := i + 1; j < len(l.ops); j++ {
			if p := &l.ops[j]; !p.sameCPU(o) && p.overlaps(o) {
				return true
			}
		}
	}
	return false
}

// opSet is a set of ops of a line, by index.
type opSet [maxOps / 64]uint64

func (s *opSet) has(i int) bool { return s[i/64]>>(i%64)&1 != 0 }
func (s *opSet) add(i int)      { s[i/64] |= 1 << (i % 64) }

// interleaving is a set of units that became visible in some order.
type interleaving struct {
	done  opSet // by the units' first ops
	early opSet // of these, those that came before the durable stores of other CPUs
	bytes [LineSize]byte
	since uint64 // units with smaller ids that wait in no buffer are not visible after it: see op.since
}

// maxPairs bounds how often interleave compares two units, a step of each with each.
const maxPairs = 1 << 23

// interleave lists what the line may hold, if its ops may become visible in
// several orders.
func (l *line) interleave(units []unit, most int) (list []content, whole bool) {
	e := enumeration{line: l, seen: map[hash]bool{}, most: most, left: min(64*most, maxPairs/(len(units)*len(units)))}
	visited := map[interleaving]bool{}
	var visit func(at interleaving)
	visit = func(at interleaving) {
		if visited[at] {
			return
		}
		if e.left--; e.over() {
			return
		}
		visited[at] = true
		e.kept = opSet{}
		for _, u := range units {
			for j := u.first; j < u.end && at.done.has(u.first); j++ {
				e.kept.add(j)
			}
		}
		e.add(&at.bytes)
		for i := range units {
			late, early, ok := l.next(units, i, at)
			if ok {
				visit(late)
			}
			if ok && early.done != at.done {
				visit(early)
			}
		}
	}
	visit(interleaving{bytes: l.durable})
	return e.list, !e.over()
}

// next is what is left when unit i becomes visible after those of at, if it may:
// after the durable stores of other CPUs to its bytes, or before them, which is
// at itself if it may not.
func (l *line) next(units []unit, i int, at interleaving) (late, early interleaving, ok bool) {
	u := &units[i]
	if o := &l.ops[u.first]; at.done.has(u.first) || o.kind&observe.NonTemporal == 0 && o.id < at.since {
		return at, at, false
	}
	for k := range units {
		v := &units[k]
		if done := at.done.has(v.first); !done && k < i && l.needs(u, v) || done && k > i && !l.mayFollow(u, v) {
			return at, at, false
		}
	}
	late, early = at, at
	late.done.add(u.first)
	for j := u.first; j < u.end; j++ {
		l.ops[j].apply(&late.bytes)
		late.since = max(late.since, l.ops[j].since)
	}
	for k := range units { // one order for all bytes, and for a CPU's own stores its own
		if v := &units[k]; at.done.has(v.first) && v.bytes&u.bytes != 0 && !(at.early.has(v.first) && l.ops[v.first].sameCPU(&l.ops[u.first])) {
			return late, early, true
		}
	}
	early.done.add(u.first)
	early.early.add(u.first)
	for j := u.first; j < u.end; j++ {
		l.ops[j].applyVisible(&early.bytes)
	}
	return late, early, true
}

// needs says that u survives only if v, which was visible before it, does.
func (l *line) needs(u, v *unit) bool {
	for i := u.first; i < u.end; i++ {
		for j := v.first; j < v.end; j++ {
			if l.ops[i].needs(&l.ops[j]) {
				return true
			}
		}
	}
	return false
}

// mayFollow says that u may become visible after v, though it came before it:
// one that waits after those of other CPUs, and in a set of them the parts of
// an instruction after each other.
func (l *line) mayFollow(u, v *unit) bool {
	for i := u.first; i < u.end; i++ {
		for j := v.first; j < v.end; j++ {
			o, p := &l.ops[i], &l.ops[j]
			switch {
			case !o.overlaps(p) && (o.late() || o.group == p.group):
			case !o.late() || o.sameCPU(p):
				return false
			}
		}
	}
	return true
}
