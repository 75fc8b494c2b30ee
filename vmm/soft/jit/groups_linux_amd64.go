package jit

import (
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// Where a block reads and writes memory at several distances from one value,
// all of it is on one page as a rule: the first such access looks the whole
// range up in the TLB, and the others take what it found. An access range that
// straddles two pages, or part of which may not be written, leaves code as a
// miss does; a block to which this happens often gets a clone without groups, in
// which it goes on.

const (
	// maxRange bounds the bytes of a group: longer ones straddle pages too
	// often.
	maxRange = 256

	// maxGuardFailures is how often the access ranges of a block fail to be on one page
	// before it gets a clone.
	maxGuardFailures = 16
)

// accessRange is memory that is accessed: the bytes from low up to high, distances
// from base+index<<scale.
type accessRange struct {
	base, index    value
	scale          uint8
	since          uint32 // see values
	low, high      int64
	write, aligned bool
	align          int64 // if aligned: a distance that is to be a multiple of 16 bytes
	alone          bool  // it joins no group
}

// group is the accesses that one look into the TLB serves.
type group struct {
	accessRange
	first, last int // ops
	spill       uintptr
	loaded      bool // spill is
	unspilled   bool // it need not be stored: hB has it as long as anybody wants it
}

// grouping is the accesses of a block, and the groups made of them.
type grouping struct {
	accesses []accessRange // by op; those without have none
	others   []bool        // op may leave for more than its access
	groups   []group
	of       []int16 // by op: number of its group and 1, or 0
	certain  []bool  // op finds its memory where an earlier op found its own, and never leaves
	entries  []int   // by op that leads a group elsewhere: where a clone is entered; nil if this is none
}

func (g *grouping) reset(ops int) {
	if cap(g.accesses) < ops {
		g.accesses, g.others, g.of, g.certain = make([]accessRange, 2*ops), make([]bool, 2*ops), make([]int16, 2*ops), make([]bool, 2*ops)
	}
	g.accesses, g.others, g.of, g.certain = g.accesses[:ops], g.others[:ops], g.of[:ops], g.certain[:ops]
	clear(g.accesses)
	clear(g.others)
	clear(g.of)
	clear(g.certain)
	g.groups = g.groups[:0]
	g.entries = nil
}

// leads returns the group whose first access is op i's, or nil.
func (g *grouping) leads(i int) *group {
	if n := g.of[i]; n != 0 && g.groups[n-1].first == i {
		return &g.groups[n-1]
	}
	return nil
}

// make makes groups, and says whether there are any.
func (g *grouping) make() bool {
	for i := range g.accesses {
		a := &g.accesses[i]
		if a.high == a.low {
			continue
		}
		k := 0
		for k < len(g.groups) && !g.groups[k].join(i, a) {
			k++
		}
		if k == len(g.groups) {
			g.groups = append(g.groups, group{accessRange: *a, first: i, last: i})
		}
		g.of[i] = int16(k + 1)
	}
	var busy [abi.MaxGroups]int // up to which op
	made := false
	for k := range g.groups {
		x := &g.groups[k]
		for n := range busy {
			if x.first != x.last && busy[n] <= x.first {
				busy[n] = x.last
				x.spill = offNear + 8*uintptr(n)
				made = true
				break
			}
		}
		if x.aligned {
			x.low -= (x.low - x.align) & 15
		}
	}
	for i, n := range g.of {
		switch {
		case n == 0:
		case g.groups[n-1].spill == 0:
			g.of[i] = 0
		default:
			g.certain[i] = g.groups[n-1].first != i && !g.others[i]
		}
	}
	return made
}

// join takes a, op i's, in.
func (g *group) join(i int, a *accessRange) bool {
	low, high := min(g.low, a.low), max(g.high, a.high)
	switch {
	case g.alone || a.alone || g.since != a.since || g.base != a.base || g.index != a.index || g.scale != a.scale || high-low > maxRange:
		return false
	case g.constant() && !onePage(low, high):
		return false
	case g.aligned && a.aligned && (g.align-a.align)&15 != 0:
		return false
	case a.aligned && !g.aligned:
		g.aligned, g.align = true, a.align
	}
	g.low, g.high, g.write, g.last = low, high, g.write || a.write, i
	return true
}

// constant says that the distances are addresses.
func (s *accessRange) constant() bool { return s.base.id == 0 && s.index.id == 0 }

func onePage(low, high int64) bool { return low&^x86.PageMask == (high-1)&^x86.PageMask }

// access is what op i does at operand o.
func (t *translator) access(o *ir.Op, size uint8, write, aligned bool) accessRange {
	base, index := t.values.slots[o.Base], t.values.slots[o.Index]
	scale := o.Scale & 3
	at := base.off + index.off<<scale + int64(o.Disp)
	base.off, index.off = 0, 0
	s := accessRange{base: base, index: index, scale: scale, since: t.since, low: at, high: at + int64(size), write: write, aligned: aligned, align: at}
	if s.constant() {
		s.alone = !onePage(s.low, s.high) || aligned && at&15 != 0
	} else {
		s.alone = o.Disp >= 1<<30 || o.Disp < -1<<30 // so that what is near can be said as well
	}
	s.alone = s.alone || t.streams(o)
	return s
}

// locate looks o's memory operand of op i up in the TLB, and returns where the
// host has it. It uses hA and hB, and the flags of EFLAGS.
func (t *translator) locate(i int, o *ir.Op, size uint8, write, aligned bool) asm.Arg {
	a := &t.asm
	own := t.access(o, size, write, aligned)
	s := own
	if n := t.of[i]; n != 0 {
		g := &t.groups[n-1]
		if g.first != i {
			if t.held != n || a.Touched {
				t.unspill(n)
				t.held, a.Touched = n, false
			}
			return t.at(o)
		}
		s = g.accessRange
	}
	t.accesses[i] = s
	if s.constant() && !s.alone {
		t.lookUpConstant(i, &s, &own)
	} else {
		t.lookUp(i, o, &s, &own)
	}
	if g := t.leads(i); g != nil {
		if !g.unspilled || t.edgeStub {
			a.Store(8, hB, t.crossing(g.spill))
		}
		t.held, a.Touched = t.of[i], false
	}
	return t.at(o)
}

// unspill makes hB what group n-1 found.
func (t *translator) unspill(n int16) {
	g := &t.groups[n-1]
	t.asm.Load(8, hB, t.crossing(g.spill))
	g.loaded = true
}

// unspilled finds the groups whose spill nobody loads, and says if there are any.
func (g *grouping) unspilled() bool {
	any := false
	for k := range g.groups {
		x := &g.groups[k]
		if x.spill != 0 && !x.loaded {
			x.unspilled, any = true, true
		}
	}
	return any
}

// tlbTag is where the entries of the TLB have the tag for s.
func (t *translator) tlbTag(s *accessRange) uintptr {
	if s.write {
		return t.tlb(offWriteTag)
	}
	return t.tlb(offReadTag)
}

// lookUp makes hB the distance from the guest's to the host's addresses of s.
// The access of op i, at operand o, is own.
func (t *translator) lookUp(i int, o *ir.Op, s, own *accessRange) {
	a := &t.asm
	m := miss{start: a.Pos, write: own.write, tag: s.write}
	simple := t.simple(o)
	first := t.address(o)
	last := first
	length, mask := s.high-s.low-1, int64(-x86.PageSize)
	if s.aligned { // all 16 bytes there are on one page, and no page's address has these bits
		length &^= 15
		mask |= 15
	}
	first.Disp += int32(s.low - own.low)
	last.Disp += int32(s.low - own.low + length)
	if simple {
		a.Lea(hB, first)
		a.Lea(hA, last)
	} else {
		a.Lea(hA, first)
		a.Load(8, hB, asm.Reg(hA))
	}
	if !simple && length > 0 {
		a.AluImm(x86.AluADD, 8, asm.Reg(hA), length)
	}
	a.ShiftImm(5, 8, hB, x86.PageShift-abi.TLBShift)
	a.AluImm(x86.AluAND, 4, asm.Reg(hB), abi.TLBIndex)
	a.AluImm(x86.AluAND, 8, asm.Reg(hA), mask)
	a.Alu(x86.AluCMP, 8, hA, asm.Arg{Mem: true, Reg: hCPU, Index: hB, Disp: int32(t.tlbTag(s))})
	t.miss(i, a.Jcc(5), m)
	a.Load(8, hB, asm.Arg{Mem: true, Reg: hCPU, Index: hB, Disp: int32(t.tlb(offAddend))})
}

// lookUpConstant is lookUp of addresses that are known, all on one page.
func (t *translator) lookUpConstant(i int, s, own *accessRange) {
	a := &t.asm
	m := miss{start: a.Pos, write: own.write, tag: s.write, known: true, page: s.low &^ x86.PageMask}
	page := s.low &^ x86.PageMask
	entry := uintptr(page>>x86.PageShift&(abi.TLBSize-1)) << abi.TLBShift
	if page == int64(int32(page)) {
		a.AluImm(x86.AluCMP, 8, inCPU(t.tlbTag(s)+entry), page)
	} else {
		a.MovImm(hA, uint64(page))
		a.Alu(x86.AluCMP, 8, hA, inCPU(t.tlbTag(s)+entry))
	}
	t.miss(i, a.Jcc(5), m)
	a.Load(8, hB, inCPU(t.tlb(offAddend)+entry))
}

// at is operand o, for which hB is the distance from the guest's to the host's
// addresses.
func (t *translator) at(o *ir.Op) asm.Arg {
	a := &t.asm
	base, index := t.slot(o.Base), t.slot(o.Index)
	m := asm.Arg{Mem: true, Reg: base.Reg, Index: index.Reg, Scale: o.Scale & 3}
	switch {
	case o.Base == x86.SlotZero && o.Index == x86.SlotZero:
		return asm.Mem(hB, o.Disp)
	case o.Index == x86.SlotZero:
		return asm.Arg{Mem: true, Reg: t.into(hA, o.Base), Index: hB, Disp: o.Disp}
	case o.Base != x86.SlotZero && base.Mem && index.Mem:
		a.Load(8, hA, index)
		if o.Scale&3 != 0 {
			a.ShiftImm(4, 8, hA, o.Scale&3)
		}
		a.Alu(x86.AluADD, 8, hA, base)
		return asm.Arg{Mem: true, Reg: hA, Index: hB, Disp: o.Disp}
	case index.Mem:
		a.Load(8, hA, index)
		m.Index = hA
	}
	switch {
	case o.Base == x86.SlotZero:
		m.Reg = asm.None
	case base.Mem:
		a.Load(8, hA, base)
		m.Reg = hA
	}
	a.Lea(hA, m)
	return asm.Arg{Mem: true, Reg: hA, Index: hB, Disp: o.Disp}
}

// GuardFailed notes that the first access of a group found its page and not the
// others': they are on another, or may not be written. Where that is usual, the
// block gets a clone.
func (n *Compiler) GuardFailed(header uint32) {
	h := n.code.Header(header)
	if h.Guards++; h.Guards == maxGuardFailures && !n.Full() {
		n.deoptimise(header)
	}
}

// deoptimise translates a block once more, without groups. There it goes on where
// the first access of a group is not good for all.
func (n *Compiler) deoptimise(header uint32) {
	t := n.begin(header)
	a := assemble(n.write, 0)
	own := map[uint32]edge{}
	for k := range uint32(len(t.ops)) {
		if e, ok := n.edges[t.first+k]; ok {
			own[t.first+k] = e
		}
	}
	entries := make([]int, len(t.ops))
	t.entries = entries
	if !t.code() {
		return
	}
	n.end(t)
	n.Count.Clones++
	for k, e := range own {
		if its, ok := n.edges[k]; ok {
			a.Patch(int(its.jump), int(e.jump)-2) // as the block does, also when that will be linked
		}
		n.edges[k] = e
	}
	for i, entry := range entries {
		if site := &n.misses[header+1+uint32(i)]; *site != 0 {
			a.Patch(int(*site), entry)
			*site = 0
		}
	}
}

// enterClone makes a clone's op a place to go on at, with the flags in the word.
func (t *translator) enterClone(i int) {
	if t.entries != nil && t.n.misses[t.first+uint32(i)] != 0 {
		t.toWord()
		t.writeBack()
		t.flags, t.cached = inWord, cachedSlot{}
		t.entries[i] = t.asm.Pos
	}
}
