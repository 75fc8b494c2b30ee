package jit

import (
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// A translator makes host code of one block's ops. Every op it does not know,
// and every access the TLB does not answer, leaves to the interpreter at that
// op, with the op not begun.
type translator struct {
	asm      asm.Assembler
	n        *Compiler
	cpu      *abi.Layout
	ops      []ir.Op // of the block, the last one a branch
	first    uint32
	header   uint32
	page     uint64
	relative bool // the page is what ir.SlotPage holds, and 0 here
	set      int  // privilege
	sse      bool // SSE instructions do not fault
	masked   bool // nor do their results
	watch    bool // stores may be observed

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
	back    int   // of a jumpMiss: where to go on, or 0
	held    int16 // of a place to go on: the group whose find hB is to have, or 0
	flags   flagState
	cached  cachedSlot
	vectors bool
}

// unlinked is an edge that has yet to find where it leads to.
type unlinked struct {
	sites  [2]int // the branches taken then, or 0
	op     int
	link   int // of an edge to another page
	cached cachedSlot
}

// slot is a guest register as an operand.
func (t *translator) slot(s uint8) asm.Arg {
	switch {
	case s == x86.RSP:
		return asm.Reg(hSP)
	case s < ownRegister:
		return asm.Reg(s)
	}
	if s == t.cached.slot {
		return asm.Reg(hCached)
	}
	return t.memorySlot(s)
}

// into returns a host register that holds a slot: its own, or r.
func (t *translator) into(r, s uint8) uint8 {
	x := t.slot(s)
	if !x.Mem {
		return x.Reg
	}
	t.asm.Load(8, r, x)
	return r
}

// target returns the register in which to make a slot's new value: its own, or
// r; finish then stores it.
func (t *translator) target(r, s uint8) uint8 {
	if x := t.slot(s); !x.Mem {
		return x.Reg
	}
	return r
}

// modified is target for a value that is made of the slot's own, which is there.
func (t *translator) modified(r, s uint8) uint8 {
	d := t.target(r, s)
	if d == r {
		t.asm.Load(8, r, t.slot(s))
	}
	return d
}

func (t *translator) finish(r, s uint8) {
	if x := t.slot(s); x.Mem {
		t.asm.Store(8, r, x)
	}
}

// address is o's memory operand, in registers; slots in memory go to hA and
// hB.
func (t *translator) address(o *ir.Op) asm.Arg {
	m := asm.Arg{Mem: true, Reg: asm.None, Index: asm.None, Scale: o.Scale & 3, Disp: o.Disp}
	if o.Base != x86.SlotZero {
		m.Reg = t.into(hA, o.Base)
	}
	if o.Index != x86.SlotZero {
		m.Index = t.into(hB, o.Index)
	}
	return m
}

// simple says that an address needs no scratch register.
func (t *translator) simple(o *ir.Op) bool {
	return (o.Base == x86.SlotZero || !t.slot(o.Base).Mem) && (o.Index == x86.SlotZero || !t.slot(o.Index).Mem) && o.Disp < 1<<31-16
}

// bail makes the branch at site leave before op i.
func (t *translator) bail(i, site int) {
	t.others[i] = true
	t.stubs = append(t.stubs, stub{site: site, op: i, flags: t.flags, cached: t.cached, vectors: t.vectors})
}

// leave leaves before op i, always.
func (t *translator) leave(i int) {
	t.finishVector(&t.ops[i])
	t.toWord()
	t.prepare(i, true)
	t.exit(i, t.n.offBail)
}

// exit leaves at op i.
func (t *translator) exit(i, to int) {
	a := &t.asm
	t.writeBack()
	a.StoreImm(4, t.crossing(offExitOp), int64(t.first)+int64(i))
	a.StoreImm(4, t.crossing(offExitHeader), int64(t.header))
	a.JmpTo(to)
}

// entrySize is the length of what every block starts with.
const entrySize = 10

// block translates; it returns false if nothing is gained. What accesses there
// are is known only when all is translated: if groups can be made of them, it
// is done again, and for loops once more if what some groups find is never loaded.
func (t *translator) block() bool {
	start := t.asm.Pos
	again := func() bool {
		t.asm.Pos = start
		t.stubs, t.unlinked, t.resumes, t.jumpMisses = t.stubs[:0], t.unlinked[:0], t.resumes[:0], t.jumpMisses[:0]
		t.rare = t.n.rare
		return t.code()
	}
	switch {
	case !t.code():
		return false
	case !t.grouping.make():
		return true
	case !again():
		return false
	}
	return !t.unrolled() || !t.grouping.unspilled() || again()
}

// unrolled says that the block is several passes of a loop.
func (t *translator) unrolled() bool {
	for i := range t.ops[1:] {
		if t.ops[i+1].PC < t.ops[i].PC && t.ops[i+1].PC == t.ops[0].PC {
			return true
		}
	}
	return false
}

func (t *translator) code() bool {
	t.analyse()
	a := &t.asm
	n := t.ops[len(t.ops)-1].N
	start := a.Pos
	a.AluImm(x86.AluCMP, 8, asm.Reg(hLeft), int64(n)-ir.MaxBlock)
	enter := a.Jcc(12)
	if a.Pos-start != entrySize {
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
		if o.Code != ir.OpGENERIC {
			break
		}
		// The executor comes back here.
		t.flags, t.cached = inWord, cachedSlot{}
		t.n.code.Ops[t.first+uint32(i)].Link = uint32(a.Pos)
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
	a.Here(enter)
	t.notEntered()
	t.ahead(back)
	return a.OK
}

// whole translates op i with all that goes with it, or says that it cannot.
func (t *translator) whole(i int, o *ir.Op) bool {
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
	t.asm.StoreImm(4, t.crossing(offExitHeader), int64(t.header))
	t.asm.JmpTo(t.n.offEnter)
}

// resume makes a place to go on at after op i was done in Go: instructions of the
// executor, and stores that somebody is told of, which are those to observed
// memory and to paging structures. There is none if later ops rely on what code
// found for it.
func (t *translator) resume(i int, o *ir.Op) {
	told := ir.PlainStore(o.Code) && (t.watch || t.set == 0)
	if o.Code != ir.OpGENERIC && o.Code != ir.OpCLAC && !told {
		return
	}
	if t.leads(i) != nil || t.certain[i] {
		t.n.code.Ops[t.first+uint32(i)].Link = 0
		return
	}
	s := stub{site: t.asm.Pos, op: i, flags: t.flags, cached: t.cached, vectors: t.vectors}
	switch {
	case t.watch || !told:
		t.held = 0
	case !t.asm.Touched:
		s.held = t.held // the TLB is as it was, or code is not entered there
	}
	t.resumes = append(t.resumes, s)
}

// edges writes what taken branches of the block lead to.
func (t *translator) edges() {
	for _, s := range t.stubs {
		if s.edge {
			t.asm.Here(s.site)
			t.flags, t.cached, t.vectors = s.flags, s.cached, s.vectors
			t.edge(s.op, s.site)
		}
	}
}

// aside goes on writing where code is that rarely runs, so that what often does
// lies close together: it is much, and a host reads it all. ahead goes back.
func (t *translator) aside() (back int) {
	back = t.asm.Pos
	if back > rareCode {
		t.asm.OK = false
	}
	t.asm.Pos = t.rare
	return back
}

func (t *translator) ahead(back int) { t.rare, t.asm.Pos = t.asm.Pos, back }

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
		a.Here(s.site)
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
		t.n.code.Ops[t.first+uint32(s.op)].Link = uint32(a.Pos)
		if s.vectors {
			t.haveVectors()
		}
		t.cached = s.cached
		t.reload()
		if !s.flags.word && s.flags.host != 0 {
			t.restore()
		}
		if s.held != 0 {
			t.unspill(s.held)
		}
		a.JmpTo(s.site)
	}
}

// edge takes the direct branch of op i, to which the conditional branch at
// site leads, if it is not 0.
func (t *translator) edge(i, site int) {
	a := &t.asm
	o := &t.ops[i]
	k := t.first + uint32(i)
	e := edge{site: int32(site), start: int32(a.Pos), word: t.flags.word, lazyFlags: t.flags.lazyFlags, cached: t.cached, vectors: t.vectors}
	t.toWord()
	t.writeBack()
	u := unlinked{op: i, cached: t.cached}
	if o.Sel == ir.GenSame {
		a.AluImm(x86.AluSUB, 8, asm.Reg(hLeft), int64(o.N))
		jump := a.Jcc(9)
		a.Here(jump)
		u.sites[0] = a.Jmp()
		e.jump = int32(jump)
		t.n.edges[k] = e
		t.unlinked = append(t.unlinked, u)
		return
	}
	if o.Sel == ir.GenNever {
		t.toTarget(o)
		t.jump(i)
		return
	}
	u.link = t.n.linkOf(k)
	if o.Sel == ir.GenPage {
		u.sites = t.checkPage(o, u.link)
	} else {
		a.Load(4, hA, inCPU(t.cpu.Gens+4*uintptr(o.Sel)))
		a.Alu(x86.AluCMP, 4, hA, asm.InCode(u.link))
		u.sites[0] = a.Jcc(5)
	}
	a.AluImm(x86.AluSUB, 8, asm.Reg(hLeft), int64(o.N))
	a.Insn(0xff, 4, 4, asm.InCode(u.link+8))
	t.unlinked = append(t.unlinked, u)
}

// checkPage looks whether the page that a branch leads to has its generation's
// place, with the generation of the link at an offset of the code, and returns
// the branches taken if not. The block's page becomes that.
func (t *translator) checkPage(o *ir.Op, link int) (misses [2]int) {
	a := &t.asm
	t.pageAnd(o.Imm >> 32 &^ x86.PageMask)
	a.Load(4, hB, asm.Reg(hA))
	t.toPlace(hB)
	a.Alu(x86.AluCMP, 8, hA, t.placePage(hB))
	misses[0] = a.Jcc(5)
	a.Load(4, hB, t.placeGen(hB))
	a.Alu(x86.AluCMP, 4, hB, asm.InCode(link))
	misses[1] = a.Jcc(5)
	a.Store(8, hA, t.memorySlot(ir.SlotPage))
	return misses
}

// toTarget makes hA the address that the direct branch of an op leads to.
func (t *translator) toTarget(o *ir.Op) {
	t.pageAnd(o.Imm >> 32)
}

// pageAnd makes hA the address at a distance from the block's page.
func (t *translator) pageAnd(off int64) {
	if t.relative {
		t.asm.Lea(hA, asm.Mem(t.into(hA, ir.SlotPage), int32(off)))
		return
	}
	t.asm.MovImm(hA, t.page+uint64(off))
}

// findTarget leaves for what an edge leads to.
func (t *translator) findTarget(u unlinked) {
	a := &t.asm
	o := &t.ops[u.op]
	t.cached = u.cached
	for _, site := range u.sites {
		if site != 0 {
			a.Here(site)
		}
	}
	if u.link == 0 {
		a.AluImm(x86.AluADD, 8, asm.Reg(hLeft), int64(o.N))
		t.exit(u.op, t.n.offTaken)
		return
	}
	a.Lea(hA, asm.InCode(u.link))
	a.Store(8, hA, t.crossing(offSpill))
	t.toTarget(o)
	t.exit(u.op, t.n.offLink[t.set])
}

// branch takes op i's edge if cc holds.
func (t *translator) branch(i int, cc uint8) {
	t.stubs = append(t.stubs, stub{site: t.asm.Jcc(cc), op: i, edge: true, flags: t.flags, cached: t.cached, vectors: t.vectors})
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
		t.live[i] = before || e&ir.EffEdge != 0
		t.sets[i] = e&ir.EffSets != 0
		t.leaves[i] = e&ir.EffLeaves != 0 && !t.certain[i]
		before = t.leaves[i] || e&ir.EffReads != 0 || t.live[i] && !t.sets[i] // not liveBefore: t knows better what leaves
	}
}

// effect says what an op does to the flags.
func (t *translator) effect(o *ir.Op) ir.FlagEffect {
	switch o.Code {
	case ir.OpGENERIC:
		if d := t.direct(o); d.emit != nil {
			return d.effect
		}
		return ir.EffLeaves
	case ir.OpFP:
		if t.computes(o) {
			return 0
		}
	}
	return ir.OpTable[o.Code].Effect
}
