package ir

import (
	"nvlab/vmm/soft/x86"
)

// branch sets a direct branch's target. It is false for one out of reach. An
// instruction at the end of the page may reach into the next one: then that
// one's mapping matters, as for a target there.
func (t *lowering) branch(o *Op, target uint64) bool {
	d := int64(target - t.page)
	if d != int64(int32(d)) || !x86.Canonical(target) {
		return false
	}
	o.Imm = o.Imm&0xffffffff | d<<32
	o.Gen = NoGen
	switch {
	case target&^x86.PageMask == t.page && !straddles(target):
		o.Sel = GenSame
	case t.relative && straddles(target), !t.relative && t.user && Anywhere(ModeUser, target):
		o.Sel = GenNever
	case t.relative:
		o.Sel = GenPage
	default:
		o.Sel = GuardOf(target)
	}
	return true
}

// jump emits a direct branch that is always taken.
func (t *lowering) jump(in *x86.Inst, o Op) bool {
	if !t.branch(&o, t.page+uint64(t.pc)+uint64(in.Len)+in.Imm) {
		return false
	}
	t.emit(o)
	t.done = true
	return true
}

func (t *lowering) lowerJcc(in *x86.Inst) bool {
	cc, target := t.unroll(in.Opcode&15, t.pc+uint16(in.Len), in.Imm)
	o := Op{Code: OpOf(KindJcc, FormNone, 0, cc)}
	if !t.branch(&o, target) {
		return false
	}
	t.emit(o)
	return true
}

// unroll is the condition and the target of a conditional branch, whose
// instruction ends at end. If the branch goes back to where the block starts,
// and there is room, the block goes on there for another pass of the loop, and
// the contrary leaves it. That a block starts there means that the loop had a
// second pass: blocks do not start behind branches that were never taken.
func (t *lowering) unroll(cc uint8, end uint16, distance uint64) (uint8, uint64) {
	behind := t.page + uint64(end)
	target := behind + distance
	if target != t.page+uint64(t.start) || t.unrolled == maxUnroll || end >= x86.PageSize {
		return cc, target
	}
	pass := t.n - t.passStart
	if int(t.n)+int(pass) >= MaxBlock {
		return cc, target
	}
	t.unrolled++
	t.passStart = t.n
	t.jumped, t.target = true, t.start
	return cc ^ 1, behind
}

func (t *lowering) indirect(in *x86.Inst, code Opcode) bool {
	a := *in
	a.Size = 8
	src, ok := t.source(&a)
	if !ok {
		return false
	}
	t.emit(Op{Code: code, Src: src, Imm: int64(t.pc) + int64(in.Len)})
	t.done = true
	return true
}

func isJcc(in *x86.Inst) bool {
	return in.Op&^15 == 0x70 || in.Op&^15 == 0x180
}

// fusable says whether in may be fused with a branch after it.
func fusable(in *x86.Inst) bool {
	switch in.Op {
	case 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x84, 0x85, 0xa8, 0xa9:
		return true
	case 0x80, 0x81, 0x83:
		return in.ModRM>>3&7 == x86.AluCMP
	case 0xf6, 0xf7:
		return in.ModRM>>3&7 < 2
	}
	return false
}

// fuse makes one op of comparison in and branch j.
func (t *lowering) fuse(in, j *x86.Inst) bool {
	cc := j.Opcode & 15
	if cc < 2 || cc == 10 || cc == 11 { // overflow and parity
		return false
	}
	start := len(t.code.Ops)
	if !t.lower(in) {
		return false
	}
	last := t.code.Ops[len(t.code.Ops)-1]
	o := last
	o.Imm = last.Imm & 0xffffffff
	old := *t
	t.n++
	cc, target := t.unroll(cc, t.pc+uint16(in.Len)+uint16(j.Len), j.Imm)
	code := fusedCode(last.Code, cc)
	if code == 0 || !t.branch(&o, target) {
		*t = old
		t.code.Ops = t.code.Ops[:start]
		return false
	}
	o.Code = code
	o.More = 1
	t.code.Ops = t.code.Ops[:len(t.code.Ops)-1]
	t.emit(o)
	return true
}

// fusedCode is the code of a comparison with a branch, or 0. After TEST, CF is
// 0: branches on it are not worth one.
func fusedCode(code Opcode, cc uint8) Opcode {
	c := &OpTable[code]
	if c.Kind == KindTest {
		return OpOf(KindTestJump, c.Form, c.Size, cc)
	}
	return OpOf(KindCmpJump, c.Form, c.Size, cc)
}
