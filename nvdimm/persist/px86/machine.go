package px86

import "fmt"

// maxAtoms bounds the atoms of a program that the machine runs, and maxShared the pairs of them that share bytes.
const (
	maxAtoms  = 64
	maxShared = 64
	maxOwned  = 4
)

// A machine runs one program in every way: it is the same architecture as the axioms describe, told as a processor. Each CPU has a
// store buffer, first in first out, and write-combining buffers; the caches are coherent, so that what is visible is one memory;
// each line may be written back at any time.
type machine struct {
	program Program
	rules   Rules
	cells   []int
	atoms   []atom
	of      []uint64 // of each operation its atoms
	line    []uint64 // of each line its cached atoms
	local   []uint64 // of each line all of its atoms
	cpu     map[int]uint64
	shared  []pair
	overlap []uint64 // of each atom those that share bytes with it
	seen    map[state]bool
	owners  bool                // p has a WBINVD
	at      [][2]map[Image]bool // by operation: the contents before it, and within it
}

// A state of the machine. Sets of atoms and of operations are bit masks.
type state struct {
	op      int  // the number of operations that retired
	within  bool // the next has begun
	buffer  uint64
	combine uint64
	flush   uint32 // CLFLUSHes that are not done, by operation
	flopt   uint32 // CLWBs and CLFLUSHOPTs that are not done
	hint    uint32 // stores to flush hints that are not visible
	posted  uint32 // those that are, but have had no effect yet
	// visible, durable and accepted are atoms. Accepted are those that the memory controller has for certain; without flush
	// hints they are durable.
	visible, durable, accepted uint64
	// swapped are the pairs of shared of which the second was visible first.
	swapped uint64
	// owner is one more than the CPU whose cached store to a line was visible last, if a WBINVD will ask.
	owner [maxOwned]int8
	// drained is what was visible when the store buffer of each CPU was last empty, for AMD's CLFLUSH.
	drained [3]uint64
}

// Contents are the contents that memory may have: before each operation and, at the end, after the last; and within each.
type Contents struct {
	Before [][]Image
	Within [][]Image
}

// At returns the contents at a moment.
func (c Contents) At(at Point) []Image {
	if at.Within {
		return c.Within[at.Op]
	}
	return c.Before[at.Op]
}

// Machine returns what memory may hold at each moment of p, by running p in every way. It panics if p is too large; see Runs.
func (p Program) Machine(r Rules) Contents {
	if !p.Runs(r) {
		panic(fmt.Sprintf("px86: the machine has no room for %v", p))
	}
	m := &machine{program: p, rules: r, cells: p.Cells(r), seen: map[state]bool{}, cpu: map[int]uint64{},
		line: make([]uint64, p.Lines()), local: make([]uint64, p.Lines()), of: make([]uint64, len(p))}
	for i, op := range p {
		m.owners = m.owners || op.Kind == WBINVD
		for _, a := range split(i, op, r.Vector) {
			bit := uint64(1) << len(m.atoms)
			m.of[i] |= bit
			m.cpu[a.cpu] |= bit
			m.local[a.line] |= bit
			if a.class == wb {
				m.line[a.line] |= bit
			}
			m.atoms = append(m.atoms, a)
		}
	}
	m.overlap = make([]uint64, len(m.atoms))
	for i, a := range m.atoms {
		for j, b := range m.atoms[:i] {
			if a.overlaps(b) {
				m.shared = append(m.shared, pair{j, i})
				m.overlap[i] |= 1 << j
				m.overlap[j] |= 1 << i
			}
		}
	}
	for range len(p) + 1 {
		m.at = append(m.at, [2]map[Image]bool{{}, {}})
	}
	m.run(state{})
	var c Contents
	for i, at := range m.at {
		c.Before = append(c.Before, sorted(at[0]))
		if i < len(p) {
			c.Within = append(c.Within, sorted(at[1]))
		}
	}
	return c
}

// Atoms returns the number of pieces that the stores of p have.
func (p Program) Atoms(r Rules) int {
	n := 0
	for i, op := range p {
		n += len(split(i, op, r.Vector))
	}
	return n
}

// Runs says whether p is small enough for Machine. With more than eight atoms on several CPUs it takes long.
func (p Program) Runs(r Rules) bool {
	var atoms []atom
	shared := 0
	for i, op := range p {
		if op.CPU >= len(state{}.drained) {
			return false
		}
		for _, a := range split(i, op, r.Vector) {
			for _, b := range atoms {
				if a.overlaps(b) {
					shared++
				}
			}
			atoms = append(atoms, a)
		}
	}
	return len(p) <= 32 && p.Lines() <= maxOwned && len(atoms) <= maxAtoms && shared <= maxShared
}

// run visits s and all states that can follow.
func (m *machine) run(s state) {
	if m.seen[s] {
		return
	}
	m.seen[s] = true
	within := 0
	if s.within {
		within = 1
	}
	m.at[s.op][within][m.image(s)] = true
	m.drain(s)
	m.doFlushes(s)
	m.writeBack(s)
	switch {
	case s.within && m.mayRetire(s):
		m.run(m.retire(s))
	case !s.within && s.op < len(m.program):
		m.run(m.begin(s))
	}
}

// begin starts the next operation: it enters the buffers.
func (m *machine) begin(s state) state {
	op := m.program[s.op]
	s.within = true
	bit := uint32(1) << s.op
	switch op.Kind {
	case NT, NTVector:
		s.combine |= m.of[s.op]
	case CLFLUSH:
		s.flush |= bit
	case CLWB, CLFLUSHOPT:
		s.flopt |= bit
	case Hint:
		s.hint |= bit
	default:
		s.buffer |= m.of[s.op]
	}
	return s
}

// mayRetire says whether the operation that runs has waited for all that it must.
func (m *machine) mayRetire(s state) bool {
	op := m.program[s.op]
	row := op.Kind.row()
	own, earlier := m.cpu[op.CPU], uint32(1)<<s.op-1
	if (!m.rules.Buffers || op.Kind == Lock || op.Kind == DMAStore) && s.buffer&m.of[s.op] != 0 {
		return false
	}
	if !m.rules.Buffers && s.hint>>s.op&1 != 0 {
		return false
	}
	if row.store && (s.buffer&own != 0 || m.ops(s.hint&earlier, op.CPU) != 0) || row.combine && s.combine&own != 0 {
		return false
	}
	if row.flopt && m.ops(s.posted&earlier, op.CPU) != 0 {
		return false
	}
	if !m.rules.Buffers && m.rules.CLFLUSH == Intel && (op.Kind.Stores() || op.Kind == CLFLUSH) && m.earlier(s.flush, op.CPU, s.op) {
		return false
	}
	if op.Kind == WBINVD {
		for line := range m.line {
			if s.owner[line] == int8(op.CPU+1) && m.blocked(s, line, s.visible) {
				return false
			}
		}
	}
	if op.Kind == WBINVD || op.Kind == DMAStore {
		return true
	}
	flush := row.flush
	if m.rules.CLFLUSH == AMD {
		flush = op.Kind == MFENCE
	}
	return !(flush && m.ops(s.flush, op.CPU) != 0 || row.flopt && m.ops(s.flopt, op.CPU) != 0)
}

// retire ends the operation that runs.
func (m *machine) retire(s state) state {
	op := m.program[s.op]
	if op.Kind == WBINVD {
		for line := range m.line {
			if s.owner[line] == int8(op.CPU+1) {
				s = m.flushLine(s, line, s.visible)
			}
		}
	}
	if op.Kind.row().store {
		s.drained[op.CPU] = s.visible
	}
	s.op, s.within = s.op+1, false
	return s
}

// ops returns those of a set of operations that one CPU does.
func (m *machine) ops(set uint32, cpu int) uint32 {
	var own uint32
	each(uint64(set), func(i int) {
		if m.program[i].CPU == cpu {
			own |= 1 << i
		}
	})
	return own
}

// earlier says whether set has an operation of cpu before operation i.
func (m *machine) earlier(set uint32, cpu, i int) bool { return m.ops(set&(1<<i-1), cpu) != 0 }

// before returns the atoms of one CPU's operations before i.
func (m *machine) before(cpu, i int) uint64 {
	var all uint64
	for _, atoms := range m.of[:i] {
		all |= atoms
	}
	return all & m.cpu[cpu]
}

// drain makes one waiting store visible, in each way that is possible.
func (m *machine) drain(s state) {
	each(s.buffer|s.combine, func(i int) {
		a := m.atoms[i]
		bit := uint64(1) << i
		older := m.before(a.cpu, a.op)
		waiting := (s.buffer | s.combine) & older
		switch {
		case a.class == dma:
		case a.locked && (waiting != 0 || m.earlier(s.flopt|s.posted, a.cpu, a.op)):
			return
		case a.class == uc && waiting != 0:
			return
		case a.class == wb && (s.buffer&older != 0 || m.rules.Platform == EADR && waiting&m.overlap[i] != 0):
			return
		case a.class == nt && waiting&m.overlap[i] != 0:
			return
		}
		if a.class != dma && m.rules.CLFLUSH == Intel && m.earlier(s.flush, a.cpu, a.op) {
			return
		}
		if a.class != dma && a.class != nt && m.earlier(s.hint, a.cpu, a.op) {
			return
		}
		n := s
		n.buffer &^= bit
		n.combine &^= bit
		n.visible |= bit
		if m.owners && (a.class == wb || a.class == dma) {
			n.owner[a.line] = int8(a.cpu + 1)
		}
		later := m.later(s, i)
		for p, pair := range m.shared {
			if pair.before == i && s.visible>>pair.after&1 != 0 && later>>pair.after&1 == 0 || pair.after == i && later>>pair.before&1 != 0 {
				n.swapped |= 1 << p
			}
		}
		if m.rules.Platform == ADR && (a.class == nt || a.class == uc) {
			// It goes to memory, which must have what it overwrites.
			if m.overlap[i]&s.visible&^s.durable&^later != 0 {
				return
			}
			n.durable |= bit
		}
		m.run(n)
	})
}

// doFlushes does one flush or hint, in each way that is possible.
func (m *machine) doFlushes(s state) {
	each(uint64(s.flush|s.flopt|s.hint|s.posted), func(i int) {
		op, bit := m.program[i], uint32(1)<<i
		waiting := (s.buffer | s.combine) & m.before(op.CPU, i)
		line := op.Addr / LineSize
		n := s
		switch op.Kind {
		case CLFLUSH:
			n.flush &^= bit
			seen := s.drained[op.CPU]
			if m.rules.CLFLUSH == Intel {
				if waiting != 0 || m.earlier(s.flush, op.CPU, i) || m.earlier(s.hint, op.CPU, i) {
					return
				}
				seen = s.visible
			}
			if m.blocked(s, line, seen) {
				return
			}
			n = m.flushLine(n, line, seen)
		case CLWB, CLFLUSHOPT:
			if waiting&m.local[line] != 0 || m.blocked(s, line, s.visible) {
				return
			}
			n.flopt &^= bit
			n = m.flushLine(n, line, s.visible)
		case Hint:
			if s.hint&bit != 0 {
				if waiting != 0 || m.rules.CLFLUSH == Intel && m.earlier(s.flush, op.CPU, i) || m.earlier(s.hint, op.CPU, i) {
					return
				}
				n.hint &^= bit
				n.posted |= bit
				if m.rules.PostedHint {
					break
				}
			}
			// It waits for the medium to have what the controller accepted.
			for j, a := range m.atoms {
				if dimm(a.line) != dimm(line) {
					continue
				}
				accepted := s.accepted>>j&1 != 0 || s.visible>>j&1 != 0 && (a.class == nt || a.class == uc)
				if m.rules.Platform == Hints && accepted && s.durable>>j&1 == 0 {
					return
				}
			}
			n.posted &^= bit
		}
		m.run(n)
	})
}

// inOrder says whether the stores of a pair are one CPU's: the later is that of the later instruction, even if it waited in a cache for
// the other to leave its write-combining buffer.
func (m *machine) inOrder(p pair) bool {
	return m.atoms[p.before].cpu == m.atoms[p.after].cpu && m.atoms[p.before].class != dma
}

// later returns the visible atoms that hold the bytes of atom i against it, which is not visible yet: those of later instructions of its
// CPU, which wait for it, and those that became visible after one of them.
func (m *machine) later(s state, i int) uint64 {
	var all uint64
	for _, p := range m.shared {
		if p.before == i && m.inOrder(p) {
			all |= 1 << p.after
		}
	}
	all &= s.visible
	for more := all; more != 0; {
		next := uint64(0)
		each(more, func(j int) {
			for n, p := range m.shared {
				switch {
				case p.before == j && s.swapped>>n&1 == 0:
					next |= 1 << p.after
				case p.after == j && s.swapped>>n&1 != 0:
					next |= 1 << p.before
				}
			}
		})
		more = next & s.visible &^ all
		all |= more
	}
	return all
}

// blocked says whether the cached stores of a line, of those in visible, wait for a non-temporal one to the same bytes.
func (m *machine) blocked(s state, line int, visible uint64) bool {
	found := false
	for _, p := range m.shared {
		if visible&m.line[line]>>p.after&1 != 0 && m.inOrder(p) && s.visible>>p.before&1 == 0 {
			found = true
		}
	}
	return found
}

// flushLine writes back what was visible of a line.
func (m *machine) flushLine(s state, line int, visible uint64) state {
	written := visible & m.line[line]
	each(visible&m.local[line], func(i int) {
		if m.atoms[i].class == dma {
			written |= 1 << i
		}
	})
	s.accepted |= written
	if m.rules.Platform == ADR {
		s.durable |= written
	}
	return s
}

// writeBack writes back a line, or a store that no cache has, in each way that is possible.
func (m *machine) writeBack(s state) {
	if m.rules.Platform == EADR {
		return
	}
	for _, cached := range m.line {
		m.toMedium(s, s.visible&cached)
	}
	each(s.visible&^s.durable, func(i int) {
		if m.atoms[i].class != wb {
			m.toMedium(s, 1<<i)
		}
	})
}

// toMedium puts atoms on the medium, unless it lacks what they overwrite.
func (m *machine) toMedium(s state, atoms uint64) {
	atoms &^= s.durable
	lacks := atoms == 0
	each(atoms, func(i int) {
		for p, pair := range m.shared {
			earlier := pair.before
			switch {
			case pair.after == i && s.swapped>>p&1 == 0:
			case pair.before == i && s.swapped>>p&1 != 0:
				earlier = pair.after
			default:
				continue
			}
			if (s.visible>>earlier&1 != 0 || m.inOrder(pair)) && (s.durable|atoms)>>earlier&1 == 0 {
				lacks = true
			}
		}
	})
	if !lacks {
		s.durable |= atoms
		m.run(s)
	}
}

// image returns the content of memory after a power failure.
func (m *machine) image(s state) Image {
	kept := s.durable
	if m.rules.Platform == EADR {
		kept = s.visible
	}
	image := make([]byte, len(m.cells))
	for c, cell := range m.cells {
		last := -1
		each(kept, func(i int) {
			if a := m.atoms[i]; cell < a.lo || a.hi <= cell {
				return
			}
			if last < 0 || m.over(s, last, i) {
				last = i
			}
		})
		if last >= 0 {
			image[c] = byte(m.atoms[last].op + 1)
		}
	}
	return Image(image)
}

// over says whether of two visible atoms that share bytes, a < b, b was visible after a.
func (m *machine) over(s state, a, b int) bool {
	for p, pair := range m.shared {
		if pair.before == a && pair.after == b {
			return s.swapped>>p&1 == 0
		}
	}
	return true
}
