package px86

// A choice is a set of alternatives of which one holds: each that some pairs of events are in that order.
type choice [][]pair

type pair struct{ before, after int }

// search enumerates the runs of an execution that crash at one moment.
type search struct {
	*execution
	wanted  Image // the only content of interest, or ""
	durable []bool
	choices []choice // what must hold besides, for any choice of durable atoms
	shared  []pair   // of the atoms that overlap, by index
	same    [][]int  // of each atom those of shared
	// over is by which atoms each cell is written.
	over  [][]int
	yield func(Image) bool
}

// crashes calls yield with the content of memory after each run that the axioms allow, not each once, until it returns false.
func (x *execution) crashes(at Point, wanted Image, yield func(Image) bool) {
	s := &search{execution: x, wanted: wanted, yield: yield}
	n := 0 // atoms of operations that began
	for n < len(x.atoms) && (x.atoms[n].op < at.Op || x.atoms[n].op == at.Op && at.Within) {
		n++
	}
	s.durable = make([]bool, n)
	for _, cell := range x.cells {
		var over []int
		for i, a := range x.atoms[:n] {
			if a.lo <= cell && cell < a.hi {
				over = append(over, i)
			}
		}
		s.over = append(s.over, over)
	}
	s.same = make([][]int, n)
	for i, a := range x.atoms[:n] {
		for j := range i {
			if a.overlaps(x.atoms[j]) {
				s.shared = append(s.shared, pair{j, i})
				s.same[i], s.same[j] = append(s.same[i], j), append(s.same[j], i)
			}
		}
	}
	o := append(order(nil), x.ordered...)
	if at.Within {
		o.before(begin(at.Op), x.crash)
		o.before(x.crash, end(at.Op))
	} else {
		if at.Op > 0 {
			o.before(end(at.Op-1), x.crash)
		}
		if at.Op < len(x.program) {
			o.before(x.crash, begin(at.Op))
		}
	}
	for _, back := range x.backs {
		o.before(back, x.crash)
	}
	s.obligations(at)
	if o, ok := s.settle(o); ok {
		s.atom(o, 0)
	}
}

// obligations lists what flushes and hints that were done before the crash ask of the last write-back of their line.
func (s *search) obligations(at Point) {
	began := func(i int) bool { return i < at.Op || i == at.Op && at.Within }
	if s.rules.Platform == EADR {
		return
	}
	for _, f := range s.flushes {
		if !began(f.at) {
			continue
		}
		written := choice{{{f.when, s.backs[f.line]}}, {{s.crash, f.when}}}
		if f.op.Kind == WBINVD {
			written = append(written, s.elsewhere(f)...)
		}
		if s.rules.Platform == ADR {
			s.choices = append(s.choices, written)
			continue
		}
		for _, h := range s.hints {
			if began(h.at) && dimm(h.line) == dimm(f.line) {
				s.choices = append(s.choices, append(choice{{{h.when, f.when}}, {{s.crash, h.when}}}, written...))
			}
		}
	}
}

// elsewhere returns how a line may be in another cache than those of the CPU that executes a WBINVD: another CPU stored to it last.
func (s *search) elsewhere(f flush) choice {
	var all choice
	for i, a := range s.atoms[:len(s.durable)] {
		if a.line != f.line || a.class != wb && a.class != dma || a.cpu == f.op.CPU {
			continue
		}
		way := []pair{{s.visible[i], f.when}}
		for j, b := range s.atoms[:len(s.durable)] {
			if b.line == f.line && b.class == wb && b.cpu == f.op.CPU && b.op < f.at {
				way = append(way, pair{s.visible[j], s.visible[i]})
			}
		}
		all = append(all, way)
	}
	return all
}

func (o order) all(pairs []pair) bool {
	for _, p := range pairs {
		if !o.before(p.before, p.after) {
			return false
		}
	}
	return true
}

func (o order) with(pairs ...pair) (order, bool) {
	n := append(order(nil), o...)
	return n, n.all(pairs)
}

// settle adds to the order what the choices leave no choice of.
func (s *search) settle(o order) (order, bool) {
	for changed := true; changed; {
		changed = false
		for i := 0; i < len(s.choices); i++ {
			var only []pair
			open := 0
			for _, pairs := range s.choices[i] {
				possible, holds := true, true
				for _, p := range pairs {
					possible = possible && o.could(p.before, p.after)
					holds = holds && o.is(p.before, p.after)
				}
				if holds {
					open = -1
					break
				}
				if possible {
					only, open = pairs, open+1
				}
			}
			switch open {
			case 0:
				return o, false
			case 1:
				if !o.all(only) {
					return o, false
				}
				fallthrough
			case -1:
				s.choices = append(s.choices[:i:i], s.choices[i+1:]...)
				i, changed = i-1, true
			}
		}
	}
	return o, true
}

// atom decides whether atom i and those after it are on the medium.
//
// A cached store is, if and only if it was visible before the last write-back of its line. With eADR what is visible is. Other
// stores go to memory when they are visible: with ADR that is all; with flush hints they may stay in the controller, until a hint.
func (s *search) atom(o order, i int) bool {
	if i == len(s.durable) {
		return s.overlap(o, 0)
	}
	a, visible := s.atoms[i], s.visible[i]
	last := s.crash
	if a.class == wb && s.rules.Platform != EADR {
		last = s.backs[a.line]
	}
	if s.may(i, true) {
		if o, ok := o.with(pair{visible, last}); ok {
			s.durable[i] = true
			if !s.atom(o, i+1) {
				return false
			}
		}
	}
	if s.may(i, false) {
		s.durable[i] = false
		if s.rules.Platform == EADR || a.class == wb || s.rules.Platform == ADR && a.class != dma {
			if o, ok := o.with(pair{last, visible}); ok {
				return s.atom(o, i+1)
			}
			return true
		}
		kept := len(s.choices)
		s.choices = append(s.choices[:kept:kept], s.left(a, visible)...)
		more := s.atom(o, i+1)
		s.choices = s.choices[:kept]
		return more
	}
	return true
}

// left returns what must hold so that a visible store, not in a cache, is not on the medium for certain: it is visible after every
// hint that was done; what a device stored is also visible after every flush of its line.
func (s *search) left(a atom, visible int) []choice {
	var all []choice
	for _, f := range s.flushes {
		if a.class != dma || f.line != a.line {
			continue
		}
		late := choice{{{f.when, visible}}, {{s.crash, f.when}}}
		if f.op.Kind == WBINVD {
			late = append(late, s.elsewhere(f)...)
		}
		if s.rules.Platform == ADR {
			all = append(all, late)
			continue
		}
		for _, h := range s.hints {
			if dimm(h.line) == dimm(a.line) {
				all = append(all, append(choice{{{h.when, f.when}}, {{s.crash, h.when}}}, late...))
			}
		}
	}
	if a.class != dma {
		for _, h := range s.hints {
			if dimm(h.line) == dimm(a.line) {
				all = append(all, choice{{{h.when, visible}}, {{s.crash, h.when}}})
			}
		}
	}
	return all
}

// may says whether the content that is wanted, if any, may come of atom i being durable or not.
func (s *search) may(i int, durable bool) bool {
	if s.wanted == "" {
		return true
	}
	a, shown := s.atoms[i], false
	for c, cell := range s.cells {
		if cell < a.lo || a.hi <= cell {
			continue
		}
		if s.wanted[c] == byte(a.op+1) {
			shown = true
		} else if durable && len(s.over[c]) == 1 {
			return false
		}
	}
	return durable || !shown
}

// overlap orders the pairs of atoms that share bytes, from pair i on. Memory has the bytes of the later, and it has not those of the
// later without the earlier: what is on the medium of one chunk is what it held at one time. Of one CPU's stores the later is that
// of the later instruction.
func (s *search) overlap(o order, i int) bool {
	if i == len(s.shared) {
		if o, ok := s.meet(o, 0); ok {
			return s.emit(o)
		}
		return true
	}
	a, b := s.shared[i].before, s.shared[i].after
	if s.inOrder(a, b) {
		if !s.durable[b] {
			return s.overlap(o, i+1)
		}
		if !s.durable[a] {
			return true
		}
		if s.atoms[b].class == wb && s.rules.Platform != EADR {
			var ok bool
			if o, ok = o.with(pair{s.visible[a], s.backs[s.atoms[b].line]}); !ok {
				return true
			}
		}
		return s.overlap(o, i+1)
	}
	if s.durable[a] {
		if o, ok := o.with(s.precede(a, b)...); ok && !s.overlap(o, i+1) {
			return false
		}
	}
	if s.durable[b] {
		if o, ok := o.with(s.precede(b, a)...); ok && !s.overlap(o, i+1) {
			return false
		}
	}
	if !s.durable[a] && !s.durable[b] {
		return s.overlap(o, i+1)
	}
	return true
}

// precede returns what it takes for atom a to come before b, of another CPU: what a waits for, to be over the same bytes, comes before
// b as well.
func (s *search) precede(a, b int) []pair {
	way := []pair{{s.visible[a], s.visible[b]}}
	for _, u := range s.same[a] {
		if u < a && s.inOrder(u, a) {
			way = append(way, pair{s.visible[u], s.visible[b]})
		}
	}
	return way
}

// inOrder says whether of two stores to the same bytes b is the later in every run.
func (s *search) inOrder(a, b int) bool {
	return s.atoms[a].cpu == s.atoms[b].cpu && s.atoms[a].class != dma
}

// meet looks for one way to meet the choices from i on.
func (s *search) meet(o order, i int) (order, bool) {
	if i == len(s.choices) {
		return o, true
	}
	for _, pairs := range s.choices[i] {
		if o, ok := o.with(pairs...); ok {
			if o, ok := s.meet(o, i+1); ok {
				return o, true
			}
		}
	}
	return o, false
}

// emit yields the content of memory that a run leaves.
func (s *search) emit(o order) bool {
	image := make([]byte, len(s.cells))
	for c, over := range s.over {
		last := -1
		for _, i := range over {
			if s.durable[i] && (last < 0 || s.inOrder(last, i) || o.is(s.visible[last], s.visible[i])) {
				last = i
			}
		}
		if last >= 0 {
			image[c] = byte(s.atoms[last].op + 1)
		}
	}
	if s.wanted != "" && s.wanted != Image(image) {
		return true
	}
	return s.yield(Image(image))
}
