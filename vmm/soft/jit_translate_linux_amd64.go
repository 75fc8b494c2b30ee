package soft

// A translator makes host code of one block's ops. Every op it does not know,
// and every access the TLB does not answer, leaves to the interpreter at that
// op, with the op not begun.
type translator struct {
	asm    assembler
	n      *compiler
	ops    []op // of the block, the last one a branch
	first  uint32
	header uint32
	page   uint64
	set    int  // privilege
	sse    bool // SSE instructions do not fault
	masked bool // nor do their results
	watch  bool // stores may be observed

	live   []bool // somebody reads the flags after op i
	sets   []bool // op i sets all of them
	leaves []bool // op i may leave with the flags from before

	flags      flagState
	saved      bool // they were, to the word
	vectors    bool // the host has them
	edgeStub   bool // all this is an edge stub
	merge      mergePoint
	cached     cachedSlot
	named      []naming
	rare       int // where what rarely runs goes: see aside
	stubs      []stub
	unlinked   []unlinked
	resumes    []stub // site is where to go on
	jumpMisses []stub // of addresses without a landing

	values
	grouping
	held int16 // hB has what this group's first access found, unless touched
}

// stub is code out of line.
type stub struct {
	site    int // the branch to it
	op      int
	edge    bool // a taken branch; else the op is left to the interpreter
	miss    miss
	back    int // of a jumpMiss: where to go on, or 0
	flags   flagState
	cached  cachedSlot
	vectors bool
}

// unlinked is an edge that has yet to find where it leads to.
type unlinked struct {
	site   int // the branch taken then
	op     int
	link   int // of an edge to another page
	cached cachedSlot
}

// slot is a guest register as an operand.
func (t *translator) slot(s uint8) arg {
	switch {
	case s == rSP:
		return inReg(hSP)
	case s < ownRegister:
		return inReg(s)
	}
	if s == t.cached.slot {
		return inReg(hCached)
	}
	return inCPU(offR + 8*uintptr(s))
}

// into returns a host register that holds a slot: its own, or r.
func (t *translator) into(r, s uint8) uint8 {
	x := t.slot(s)
	if !x.mem {
		return x.reg
	}
	t.asm.load(8, r, x)
	return r
}

// target returns the register in which to make a slot's new value: its own, or
// r; finish then stores it.
func (t *translator) target(r, s uint8) uint8 {
	if x := t.slot(s); !x.mem {
		return x.reg
	}
	return r
}

func (t *translator) finish(r, s uint8) {
	if x := t.slot(s); x.mem {
		t.asm.store(8, r, x)
	}
}

// address is o's memory operand, in registers; slots in memory go to hA and
// hB.
func (t *translator) address(o *op) arg {
	m := arg{mem: true, reg: hNo, index: hNo, scale: o.scale & 3, disp: o.disp}
	if o.base != slotZero {
		m.reg = t.into(hA, o.base)
	}
	if o.index != slotZero {
		m.index = t.into(hB, o.index)
	}
	return m
}

// simple says that an address needs no scratch register.
func (t *translator) simple(o *op) bool {
	return (o.base == slotZero || !t.slot(o.base).mem) && (o.index == slotZero || !t.slot(o.index).mem) && o.disp < 1<<31-16
}

// bail makes the branch at site leave before op i.
func (t *translator) bail(i, site int) {
	t.others[i] = true
	t.stubs = append(t.stubs, stub{site: site, op: i, flags: t.flags, cached: t.cached, vectors: t.vectors})
}

// leave leaves before op i, always.
func (t *translator) leave(i int) {
	t.finishVector(&t.ops[i])
	t.prepare(i, true)
	t.toWord()
	t.exit(i, t.n.offBail)
}

// exit leaves at op i.
func (t *translator) exit(i, to int) {
	a := &t.asm
	t.writeBack()
	a.storeImm(4, inCPU(offExitOp), int64(t.first)+int64(i))
	a.storeImm(4, inCPU(offExitHeader), int64(t.header))
	a.jmpTo(to)
}

// entrySize is the length of what every block starts with.
const entrySize = 10

// block translates; it returns false if nothing is gained. What accesses there
// are is known only when all is translated: if groups can be made of them, it
// is done again.
func (t *translator) block() bool {
	start := t.asm.pos
	if !t.code() {
		return false
	}
	if !t.grouping.make() {
		return true
	}
	t.asm.pos = start
	t.stubs, t.unlinked, t.resumes, t.jumpMisses = t.stubs[:0], t.unlinked[:0], t.resumes[:0], t.jumpMisses[:0]
	t.rare = t.n.rare
	return t.code()
}

func (t *translator) code() bool {
	t.analyse()
	a := &t.asm
	n := t.ops[len(t.ops)-1].n
	start := a.pos
	a.aluImm(aluCMP, 8, inReg(hLeft), int64(n)-maxBlock)
	enter := a.jcc(12)
	if a.pos-start != entrySize {
		return false
	}
	t.flags, t.cached = inWord, cachedSlot{}
	t.values.forget()
	t.held = 0
	t.needVectors(0)
	t.merge = mergePoint{op: t.mergeOp()}
	known := 0
	for i := range t.ops {
		o := &t.ops[i]
		t.enterClone(i)
		if t.whole(i, o) {
			known++
			continue
		}
		t.leave(i)
		if o.code != opGENERIC {
			break
		}
		// The executor comes back here.
		t.flags, t.cached = inWord, cachedSlot{}
		t.n.cache.ops[t.first+uint32(i)].link = uint32(a.pos)
		t.needVectors(i + 1)
		t.values.forget()
		t.held = 0
	}
	if known == 0 {
		return false
	}
	t.edges()
	back := t.aside()
	t.leaving()
	a.here(enter)
	t.notEntered()
	t.ahead(back)
	return a.ok
}

// whole translates op i with all that goes with it, or says that it cannot.
func (t *translator) whole(i int, o *op) bool {
	t.chooseCached(i)
	if !t.op(i, o) {
		return false
	}
	t.cachedWritten(i)
	t.mergeHere(i)
	t.resume(i, o)
	t.values.after(o)
	return true
}

// notEntered leaves where too few instructions are left for the block.
func (t *translator) notEntered() {
	t.asm.storeImm(4, inCPU(offExitHeader), int64(t.header))
	t.asm.jmpTo(t.n.offEnter)
}

// resume makes a place to go on at after op i was done in Go. There is none if
// later ops rely on what code found for it.
func (t *translator) resume(i int, o *op) {
	if o.code != opGENERIC && (!t.watch || !plainStore(o.code)) {
		return
	}
	if t.leads(i) != nil || t.certain[i] {
		t.n.cache.ops[t.first+uint32(i)].link = 0
		return
	}
	t.resumes = append(t.resumes, stub{site: t.asm.pos, op: i, flags: t.flags, cached: t.cached, vectors: t.vectors})
	t.held = 0
}

// edges writes what taken branches of the block lead to.
func (t *translator) edges() {
	for _, s := range t.stubs {
		if s.edge {
			t.asm.here(s.site)
			t.flags, t.cached, t.vectors = s.flags, s.cached, s.vectors
			t.edge(s.op, s.site)
		}
	}
}

// aside goes on writing where code is that rarely runs, so that what often does
// lies close together: it is much, and a host reads it all. ahead goes back.
func (t *translator) aside() (back int) {
	back = t.asm.pos
	if back > rareCode {
		t.asm.ok = false
	}
	t.asm.pos = t.rare
	return back
}

func (t *translator) ahead(back int) { t.rare, t.asm.pos = t.asm.pos, back }

// leaving writes what the block branches to where it does what is unusual.
func (t *translator) leaving() {
	a := &t.asm
	for _, s := range t.jumpMisses {
		t.jumpMiss(s)
	}
	for _, s := range t.stubs {
		if s.edge {
			continue
		}
		a.here(s.site)
		t.flags, t.cached, t.vectors = s.flags, s.cached, s.vectors
		if s.miss.start != 0 {
			t.missed(&s)
			continue
		}
		t.toWord()
		t.exit(s.op, t.n.offBail)
	}
	for _, u := range t.unlinked {
		t.findTarget(u)
	}
	// After what the executor did in an op's place.
	for _, s := range t.resumes {
		t.n.cache.ops[t.first+uint32(s.op)].link = uint32(a.pos)
		if s.vectors {
			t.haveVectors()
		}
		t.cached = s.cached
		t.reload()
		if !s.flags.word && s.flags.host != 0 {
			t.restore()
		}
		a.jmpTo(s.site)
	}
}

// edge takes the direct branch of op i, to which the conditional branch at
// site leads, if it is not 0.
func (t *translator) edge(i, site int) {
	a := &t.asm
	o := &t.ops[i]
	k := t.first + uint32(i)
	e := edge{site: int32(site), start: int32(a.pos), word: t.flags.word, lazyFlags: t.flags.lazyFlags, cached: t.cached, vectors: t.vectors}
	t.toWord()
	t.writeBack()
	u := unlinked{op: i, cached: t.cached}
	if o.sel == genSame {
		a.aluImm(aluSUB, 8, inReg(hLeft), int64(o.n))
		jump := a.jcc(9)
		a.here(jump)
		u.site = a.jmp()
		e.jump = int32(jump)
		t.n.edges[k] = e
		t.unlinked = append(t.unlinked, u)
		return
	}
	u.link = t.n.linkOf(k)
	a.load(4, hA, inCPU(offGens+4*uintptr(o.sel)))
	a.alu(aluCMP, 4, hA, inCode(u.link))
	u.site = a.jcc(5)
	a.aluImm(aluSUB, 8, inReg(hLeft), int64(o.n))
	a.insn(0xff, 4, 4, inCode(u.link+8))
	t.unlinked = append(t.unlinked, u)
}

// findTarget leaves for what an edge leads to.
func (t *translator) findTarget(u unlinked) {
	a := &t.asm
	o := &t.ops[u.op]
	t.cached = u.cached
	a.here(u.site)
	if u.link == 0 {
		a.aluImm(aluADD, 8, inReg(hLeft), int64(o.n))
		t.exit(u.op, t.n.offTaken)
		return
	}
	a.lea(hA, inCode(u.link))
	a.store(8, hA, inCPU(offSpill))
	a.movImm(hA, t.page+uint64(o.imm>>32))
	t.exit(u.op, t.n.offLink[t.set])
}

// branch takes op i's edge if cc holds.
func (t *translator) branch(i int, cc uint8) {
	t.stubs = append(t.stubs, stub{site: t.asm.jcc(cc), op: i, edge: true, flags: t.flags, cached: t.cached, vectors: t.vectors})
}

// analyse finds out where the flags are needed.
func (t *translator) analyse() {
	n := len(t.ops)
	if cap(t.live) < n {
		t.live, t.sets, t.leaves = make([]bool, 2*n), make([]bool, 2*n), make([]bool, 2*n)
	}
	t.live, t.sets, t.leaves = t.live[:n], t.sets[:n], t.leaves[:n]
	before := true
	for i := n - 1; i >= 0; i-- {
		o := &t.ops[i]
		e := t.effect(o)
		t.live[i] = before || e&effEdge != 0
		t.sets[i] = e&effSets != 0
		t.leaves[i] = e&effLeaves != 0 && !t.certain[i]
		before = t.leaves[i] || e&effReads != 0 || t.live[i] && !t.sets[i] // not liveBefore: t knows better what leaves
	}
}

// effect says what an op does to the flags.
func (t *translator) effect(o *op) flagEffect {
	switch o.code {
	case opGENERIC:
		if d := t.direct(o); d.emit != nil {
			return d.effect
		}
		return effLeaves
	case opFP:
		if t.computes(o) {
			return 0
		}
	}
	return opTable[o.code].effect
}
