package jit

import (
	"slices"

	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// A branch within its page leads to its target over an edge stub: the target's
// first ops once more, up to the one that sets the flags. On it the flags are
// the branch's, to be had again from its operands, and need not be in the word.

// edge is the branch of an op to another block of the page, before it is
// linked.
type edge struct {
	site      int32 // the rel32 of the conditional branch to start, or 0
	start     int32 // of the code that takes the branch
	jump      int32 // the rel32 that leads to the target
	word      bool  // has the flags; else they are to be had again, if they can
	lazyFlags lazyFlags
	cached    cachedSlot
	vectors   bool // the host has them
}

// mergePoint is where a block's code goes on after op op, the first that sets the
// flags.
type mergePoint struct {
	op, pos, stubs int
	state          mergeState

	groups  []group // up to op
	of      []int16
	certain []bool // of all ops
}

// mergeState is what a translator knows there.
type mergeState struct {
	flags  flagState
	cached cachedSlot
	held   int16
}

// maxEdgeStub bounds the ops of an edge stub.
const maxEdgeStub = 12

// mergeOp finds the op after which an edge stub may end, or -1.
func (t *translator) mergeOp() int {
	for i := range t.ops[:min(len(t.ops), maxEdgeStub)] {
		o := &t.ops[i]
		switch {
		case t.sets[i]:
			return i
		case ir.OpTable[o.Code].Kind == ir.KindJcc || ir.OpTable[o.Code].Ends:
			return -1
		}
	}
	return -1
}

// mergeHere says that op i has set the flags, and all but branched.
func (t *translator) mergeHere(i int) {
	if j := &t.merge; i == j.op && j.pos == 0 {
		j.pos, j.stubs = t.asm.Pos, len(t.stubs)
		j.state = mergeState{flags: t.flags, cached: t.cached}
		if !t.asm.Touched {
			j.state.held = t.held
		}
	}
}

// keepMergePoint notes where edge stubs to the block that t translated may end.
func (n *Compiler) keepMergePoint(t *translator) {
	if j := t.merge; j.pos != 0 {
		groups := 0
		for groups < len(t.groups) && t.groups[groups].first <= j.op {
			groups++
		}
		j.groups, j.of, j.certain = slices.Clone(t.groups[:groups]), slices.Clone(t.of[:j.op+1]), slices.Clone(t.certain)
		n.mergePoints[t.header] = j
	}
}

// linkWithin makes op k's branch, within its page, lead to a block's code.
func (n *Compiler) linkWithin(k, header uint32, e *edge) {
	n.dirty = true
	to := n.edgeStub(k, header, e)
	a := assemble(n.write, int(e.start))
	a.Patch(int(e.jump), int(n.code.Header(header).Code)+entrySize) // a clone's branch may lead there
	switch {
	case to == 0:
	case e.site != 0:
		a.Patch(int(e.site), to)
	default:
		a.JmpTo(to)
	}
}

// edgeStub makes the edge stub from op k's branch to a block, and returns where it
// is, or 0 if there is none, as where the flags are in the word at its start or
// come there on the way.
func (n *Compiler) edgeStub(k, header uint32, e *edge) int {
	j, ok := n.mergePoints[header]
	if !ok || e.word || e.lazyFlags.kind == lazyNot || n.Full() || n.code.Header(header).Guards >= maxGuardFailures {
		return 0
	}
	t := n.begin(header)
	t.edgeStub, t.merge = true, mergePoint{op: j.op}
	t.groups = append(t.groups, j.groups...)
	copy(t.of, j.of)
	copy(t.certain, j.certain)
	t.analyse()
	t.values.forget()
	a := &t.asm
	t.cached = e.cached
	t.writeBack()
	t.cached = cachedSlot{}
	a.AluImm(x86.AluSUB, 8, asm.Reg(hLeft), int64(n.code.Ops[k].N))
	enter := a.Jcc(8)
	entry := flagState{lazyFlags: e.lazyFlags}
	t.flags, t.vectors = entry, e.vectors
	if !t.vectors {
		t.needVectors(0)
	}
	for i := range j.op + 1 {
		if !t.whole(i, &t.ops[i]) || t.saved {
			return 0
		}
	}
	if t.merge.state != j.state {
		return 0
	}
	// After what is done in an op's place, it is the block that goes on.
	a.Pos, t.stubs, t.resumes = t.merge.pos, t.stubs[:t.merge.stubs], nil
	a.JmpTo(j.pos)
	back := t.aside()
	t.leaving()
	a.Here(enter)
	t.flags, t.cached = entry, cachedSlot{}
	t.toWord()
	t.notEntered()
	t.ahead(back)
	if !a.OK {
		return 0
	}
	n.Count.EdgeStubs++
	at := n.pos
	n.pos, n.rare = a.Pos, t.rare
	return at
}
