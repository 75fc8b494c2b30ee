package soft

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
	var busy [maxGroups]int // up to which op
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

func onePage(low, high int64) bool { return low&^pageMask == (high-1)&^pageMask }

// access is what op i does at operand o.
func (t *translator) access(o *op, size uint8, write, aligned bool) accessRange {
	base, index := t.values.slots[o.base], t.values.slots[o.index]
	scale := o.scale & 3
	at := base.off + index.off<<scale + int64(o.disp)
	base.off, index.off = 0, 0
	s := accessRange{base: base, index: index, scale: scale, since: t.since, low: at, high: at + int64(size), write: write, aligned: aligned, align: at}
	if s.constant() {
		s.alone = !onePage(s.low, s.high) || aligned && at&15 != 0
	} else {
		s.alone = o.disp >= 1<<30 || o.disp < -1<<30 // so that what is near can be said as well
	}
	return s
}

// locate looks o's memory operand of op i up in the TLB, and returns where the
// host has it. It uses hA and hB, and the flags of EFLAGS.
func (t *translator) locate(i int, o *op, size uint8, write, aligned bool) arg {
	a := &t.asm
	own := t.access(o, size, write, aligned)
	s := own
	if n := t.of[i]; n != 0 {
		g := &t.groups[n-1]
		if g.first != i {
			if t.held != n || a.touched {
				a.load(8, hB, inCPU(g.spill))
				t.held, a.touched = n, false
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
		a.store(8, hB, inCPU(g.spill))
		t.held, a.touched = t.of[i], false
	}
	return t.at(o)
}

// tlbTag is where the entries of the TLB have the tag for s.
func (t *translator) tlbTag(s *accessRange) uintptr {
	if s.write {
		return offWriteTag + uintptr(t.set)*tlbSetSize
	}
	return offReadTag + uintptr(t.set)*tlbSetSize
}

// lookUp makes hB the distance from the guest's to the host's addresses of s.
// The access of op i, at operand o, is own.
func (t *translator) lookUp(i int, o *op, s, own *accessRange) {
	a := &t.asm
	m := miss{start: a.pos, write: own.write, tag: s.write}
	simple := t.simple(o)
	first := t.address(o)
	last := first
	first.disp += int32(s.low - own.low)
	last.disp += int32(s.high - own.low - 1)
	if simple {
		a.lea(hB, first)
		a.lea(hA, last)
	} else {
		a.lea(hA, first)
		a.load(8, hB, inReg(hA))
	}
	if s.aligned {
		a.insn(0xf6, 1, 0, inReg(hB)) // test r15b, 15
		a.byte(15)
		t.bail(i, a.jcc(5))
	}
	if !simple && s.high-s.low > 1 {
		a.aluImm(aluADD, 8, inReg(hA), s.high-s.low-1)
	}
	a.shiftImm(5, 8, hB, pageShift-tlbShift)
	a.aluImm(aluAND, 4, inReg(hB), tlbIndex)
	a.aluImm(aluAND, 8, inReg(hA), -pageSize)
	a.alu(aluCMP, 8, hA, arg{mem: true, reg: hCPU, index: hB, disp: int32(t.tlbTag(s))})
	t.miss(i, a.jcc(5), m)
	a.load(8, hB, arg{mem: true, reg: hCPU, index: hB, disp: int32(offAddend + uintptr(t.set)*tlbSetSize)})
}

// lookUpConstant is lookUp of addresses that are known, all on one page.
func (t *translator) lookUpConstant(i int, s, own *accessRange) {
	a := &t.asm
	m := miss{start: a.pos, write: own.write, tag: s.write, known: true, page: s.low &^ pageMask}
	page := s.low &^ pageMask
	entry := uintptr(page>>pageShift&(tlbSize-1)) << tlbShift
	if page == int64(int32(page)) {
		a.aluImm(aluCMP, 8, inCPU(t.tlbTag(s)+entry), page)
	} else {
		a.movImm(hA, uint64(page))
		a.alu(aluCMP, 8, hA, inCPU(t.tlbTag(s)+entry))
	}
	t.miss(i, a.jcc(5), m)
	a.load(8, hB, inCPU(offAddend+uintptr(t.set)*tlbSetSize+entry))
}

// at is operand o, for which hB is the distance from the guest's to the host's
// addresses.
func (t *translator) at(o *op) arg {
	a := &t.asm
	base, index := t.slot(o.base), t.slot(o.index)
	m := arg{mem: true, reg: base.reg, index: index.reg, scale: o.scale & 3}
	switch {
	case o.base == slotZero && o.index == slotZero:
		return inMem(hB, o.disp)
	case o.index == slotZero:
		return arg{mem: true, reg: t.into(hA, o.base), index: hB, disp: o.disp}
	case o.base != slotZero && base.mem && index.mem:
		a.load(8, hA, index)
		if o.scale&3 != 0 {
			a.shiftImm(4, 8, hA, o.scale&3)
		}
		a.alu(aluADD, 8, hA, base)
		return arg{mem: true, reg: hA, index: hB, disp: o.disp}
	case index.mem:
		a.load(8, hA, index)
		m.index = hA
	}
	switch {
	case o.base == slotZero:
		m.reg = hNo
	case base.mem:
		a.load(8, hA, base)
		m.reg = hA
	}
	a.lea(hA, m)
	return arg{mem: true, reg: hA, index: hB, disp: o.disp}
}

// guardFailed notes that the first access of a group found its page and not the
// others': they are on another, or may not be written. Where that is usual, the
// block gets a clone.
func (n *compiler) guardFailed(header uint32) {
	h := &n.cache.ops[header]
	if h.more++; h.more == maxGuardFailures && !n.full() {
		n.deoptimise(header)
	}
}

// deoptimise translates a block once more, without groups. There it goes on where
// the first access of a group is not good for all.
func (n *compiler) deoptimise(header uint32) {
	t := n.begin(header)
	a := assembler{b: n.write, ok: true}
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
	n.count.clones++
	for k, e := range own {
		if its, ok := n.edges[k]; ok {
			a.patch(int(its.jump), int(e.jump)-2) // as the block does, also when that will be linked
		}
		n.edges[k] = e
	}
	for i, entry := range entries {
		if site := &n.misses[header+1+uint32(i)]; *site != 0 {
			a.patch(int(*site), entry)
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
		t.entries[i] = t.asm.pos
	}
}
