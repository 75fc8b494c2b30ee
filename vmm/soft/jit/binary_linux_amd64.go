package jit

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// translations are how ops are translated, by kind. One says whether it could;
// what has none is left to the interpreter.
var translations = [ir.KindCount]func(t *translator, i int, o *ir.Op, x *ir.OpInfo) bool{
	ir.KindAlu:         (*translator).alu,
	ir.KindTest:        (*translator).test,
	ir.KindCmpJump:     (*translator).cmpJump,
	ir.KindTestJump:    (*translator).testJump,
	ir.KindMov:         (*translator).mov,
	ir.KindMovzx:       (*translator).extend,
	ir.KindMovsx:       (*translator).extend,
	ir.KindMovsx32:     (*translator).extend,
	ir.KindMovzxHigh:   (*translator).movzxHigh,
	ir.KindSetcc:       (*translator).setcc,
	ir.KindCmov:        (*translator).cmov,
	ir.KindJcc:         (*translator).jcc,
	ir.KindShift:       (*translator).shift,
	ir.KindDoubleShift: (*translator).doubleShiftImm,
	ir.KindInc:         (*translator).incDec,
	ir.KindDec:         (*translator).incDec,
	ir.KindNeg:         (*translator).negNot,
	ir.KindNot:         (*translator).negNot,
	ir.KindImul:        (*translator).imul,
	ir.KindMul:         (*translator).mul,
	ir.KindDiv:         (*translator).div,
	ir.KindBit:         (*translator).bitTest,
	ir.KindBitScan:     (*translator).bitScan,
	ir.KindLea:         (*translator).lea,
	ir.KindXchg:        (*translator).exchange,
	ir.KindXadd:        (*translator).exchangeAdd,
	ir.KindCmpxchg:     (*translator).compareExchange,
	ir.KindCmpxchg16b:  (*translator).compareExchange16,
	ir.KindBswap:       (*translator).byteSwap,
	ir.KindCdqe:        (*translator).convert,
	ir.KindCwde:        (*translator).convert,
	ir.KindCqo:         (*translator).convert,
	ir.KindCdq:         (*translator).convert,
	ir.KindClc:         (*translator).system,
	ir.KindStc:         (*translator).system,
	ir.KindCld:         (*translator).system,
	ir.KindCli:         (*translator).system,
	ir.KindSti:         (*translator).system,
	ir.KindStac:        (*translator).system,
	ir.KindClac:        (*translator).system,
	ir.KindSwapgs:      (*translator).system,
	ir.KindOrder:       (*translator).system,
	ir.KindRdtsc:       (*translator).system,
	ir.KindPush:        (*translator).stack,
	ir.KindPushImm:     (*translator).stack,
	ir.KindPushf:       (*translator).stack,
	ir.KindPush2:       (*translator).stack,
	ir.KindPop:         (*translator).stack,
	ir.KindPopf:        (*translator).stack,
	ir.KindPop2:        (*translator).stack,
	ir.KindLeave:       (*translator).stack,
	ir.KindCall:        (*translator).stack,
	ir.KindCallReg:     (*translator).stack,
	ir.KindRet:         (*translator).stack,
	ir.KindJmp:         (*translator).stack,
	ir.KindJmpReg:      (*translator).stack,
	ir.KindCopyVector:  (*translator).moveVector,
	ir.KindCopyAligned: (*translator).moveVector,
	ir.KindMovd:        (*translator).moveVector,
	ir.KindMoveLow:     (*translator).moveVector,
	ir.KindMovh:        (*translator).moveVector,
	ir.KindMovmsk:      (*translator).moveVector,
	ir.KindVector:      (*translator).vector,
	ir.KindFp:          (*translator).packed,
	ir.KindGeneric:     (*translator).generic,
}

// op translates op i, or says that it cannot.
func (t *translator) op(i int, o *ir.Op) bool {
	x := &ir.OpTable[o.Code]
	f := translations[x.Kind]
	return f != nil && f(t, i, o, x)
}

func (t *translator) generic(i int, o *ir.Op, _ *ir.OpInfo) bool {
	d := t.direct(o)
	if d.emit != nil {
		d.emit(i, &t.n.code.Insts[o.Imm])
	}
	return d.emit != nil
}

func (t *translator) test(i int, o *ir.Op, x *ir.OpInfo) bool {
	t.compare(i, o, lazyTest, x.Form, x.Size, o.Imm)
	return true
}

func (t *translator) jcc(i int, _ *ir.Op, x *ir.OpInfo) bool {
	t.branch(i, t.cond(x.Sub))
	return true
}

// alu is the eight two-operand operations.
func (t *translator) alu(i int, o *ir.Op, x *ir.OpInfo) bool {
	form, size, op := x.Form, x.Size, x.Sub
	if op == x86.AluCMP {
		t.compare(i, o, lazyCmp, form, size, o.Imm)
		return true
	}
	a := &t.asm
	logic := op == x86.AluOR || op == x86.AluAND || op == x86.AluXOR
	carry := op == x86.AluADC || op == x86.AluSBB
	shown := t.shown(i)
	g := lazyFlags{size: size, dst: o.Dst, src: o.Src}
	if form == ir.FormRI || form == ir.FormMI {
		g.src, g.imm = x86.SlotZero, o.Imm
	}
	switch {
	case logic:
		g.kind, g.src, g.imm = lazyTest, o.Dst, 0
	case carry || form != ir.FormRR && form != ir.FormRI && !shown || o.Dst == o.Src && form == ir.FormRR:
	case op == x86.AluADD:
		g.kind = lazyAdd
	case op == x86.AluSUB:
		g.kind = lazySub
	}
	if form == ir.FormRR || form == ir.FormRI || form == ir.FormRM {
		t.prepare(i, form == ir.FormRM, o.Dst)
		if carry && form == ir.FormRM {
			t.toWord()
		}
		var m asm.Arg
		switch form {
		case ir.FormRM:
			m = t.locate(i, o, size, false, false)
		case ir.FormRR:
			m = t.slot(o.Src)
		}
		if carry {
			t.carry()
		}
		d := t.target(hA, o.Dst)
		keep := form == ir.FormRM && g.kind >= lazyAdd
		if form == ir.FormRM && (d == hA || keep) {
			// hA may be part of the address.
			a.LoadLow(size, hB, m)
			m = asm.Reg(hB)
		}
		if keep {
			g.src = ir.SlotKept + 1
			a.Store(8, hB, t.slot(g.src))
		}
		if d == hA {
			a.Load(8, hA, t.slot(o.Dst))
		}
		if form == ir.FormRI {
			a.AluImm(op, size, asm.Reg(d), o.Imm)
		} else {
			a.Alu(op, size, d, m)
		}
		t.finish(d, o.Dst)
		t.define(i, logic, g)
		return true
	}
	t.prepare(i, true)
	if carry {
		t.toWord()
	}
	m := t.locate(i, o, size, true, false)
	if form == ir.FormMR {
		m = t.beside(o, o.Src, m)
	}
	if carry {
		t.carry()
	}
	if form == ir.FormMI {
		a.AluImm(op, size, m, o.Imm)
	} else {
		a.AluTo(op, size, m, t.into(hA, o.Src))
	}
	if shown && g.kind != lazyNot {
		t.keepResult(size, m)
		g.dst = ir.SlotKept
		if logic {
			g.src = ir.SlotKept
		}
	} else {
		g.kind = lazyNot
	}
	t.define(i, logic, g)
	return true
}

// simpleAccess says that locate's result does not use hA.
func (t *translator) simpleAccess(o *ir.Op) bool {
	return o.Index == x86.SlotZero && (o.Base == x86.SlotZero || !t.slot(o.Base).Mem)
}

// beside makes a located operand leave hA free if slot src needs it.
func (t *translator) beside(o *ir.Op, src uint8, m asm.Arg) asm.Arg {
	if t.slot(src).Mem && !t.simpleAccess(o) {
		t.asm.Lea(hB, m)
		return asm.Mem(hB, 0)
	}
	return m
}

// compare is CMP and TEST.
func (t *translator) compare(i int, o *ir.Op, kind uint8, form ir.Form, size uint8, imm int64) {
	a := &t.asm
	g := lazyFlags{kind: kind, op: 0, size: size, dst: o.Dst, src: o.Src, imm: imm}
	switch form {
	case ir.FormRI:
		g.src = x86.SlotZero
		fallthrough
	case ir.FormRR:
		t.prepare(i, false)
		t.recompute(g)
		t.define(i, kind == lazyTest, g)
		return
	}
	t.prepare(i, true)
	m := t.locate(i, o, size, false, false)
	if t.shown(i) {
		t.keep(i, kind, form, size, m, o, imm)
		return
	}
	switch form {
	case ir.FormRM:
		if s := t.slot(o.Dst); s.Mem {
			a.Load(size, hB, m)
			a.AluTo(x86.AluCMP, size, s, hB)
		} else {
			a.Alu(x86.AluCMP, size, s.Reg, m)
		}
	case ir.FormMR:
		s := t.slot(o.Src)
		switch {
		case !s.Mem && kind == lazyCmp:
			a.AluTo(x86.AluCMP, size, m, s.Reg)
		case !s.Mem:
			a.Insn(asm.ByteOp(0x85, size), size, s.Reg, m)
		case kind == lazyCmp:
			a.Load(size, hB, m)
			a.Alu(x86.AluCMP, size, hB, s)
		default:
			a.Load(size, hB, m)
			a.Insn(asm.ByteOp(0x85, size), size, hB, s)
		}
	default:
		if kind == lazyCmp {
			a.AluImm(x86.AluCMP, size, m, imm)
		} else {
			a.Insn(asm.ByteOp(0xf7, size), size, 0, m)
			a.Immediate(size, imm)
		}
	}
	t.define(i, kind == lazyTest, lazyFlags{})
}

// shown says that an op may leave with the flags of op i.
func (t *translator) shown(i int) bool {
	for j := i + 1; j < len(t.ops); j++ {
		if t.leaves[j] {
			return true
		}
		if t.sets[j] {
			break
		}
	}
	return false
}

// keep compares what is at m, and keeps it: this costs less than the flags
// do.
func (t *translator) keep(i int, kind uint8, form ir.Form, size uint8, m asm.Arg, o *ir.Op, imm int64) {
	a := &t.asm
	a.LoadLow(size, hB, m)
	g := lazyFlags{kind: kind, size: size, dst: ir.SlotKept, src: o.Src, imm: imm}
	if form == ir.FormRM {
		a.Store(8, hB, t.slot(ir.SlotKept+1))
	} else {
		a.Store(8, hB, t.slot(ir.SlotKept))
	}
	switch {
	case form == ir.FormRM:
		g.dst, g.src = o.Dst, ir.SlotKept+1
		if s := t.slot(o.Dst); s.Mem {
			a.AluTo(x86.AluCMP, size, s, hB)
		} else {
			a.Alu(x86.AluCMP, size, s.Reg, asm.Reg(hB))
		}
	case form == ir.FormMR && kind == lazyCmp:
		a.Alu(x86.AluCMP, size, hB, t.slot(o.Src))
	case form == ir.FormMR:
		a.Insn(asm.ByteOp(0x85, size), size, hB, t.slot(o.Src))
	case kind == lazyCmp:
		g.src = x86.SlotZero
		a.AluImm(x86.AluCMP, size, asm.Reg(hB), imm)
	default:
		g.src = x86.SlotZero
		a.Insn(asm.ByteOp(0xf7, size), size, 0, asm.Reg(hB))
		a.Immediate(size, imm)
	}
	t.define(i, kind == lazyTest, g)
}

// cmpJump and testJump are a comparison and a branch.

func (t *translator) cmpJump(i int, o *ir.Op, x *ir.OpInfo) bool {
	t.compare(i, o, lazyCmp, x.Form, x.Size, int64(int32(o.Imm)))
	t.branch(i, x.Sub)
	return true
}

func (t *translator) testJump(i int, o *ir.Op, x *ir.OpInfo) bool {
	t.compare(i, o, lazyTest, x.Form, x.Size, int64(int32(o.Imm)))
	t.branch(i, x.Sub)
	return true
}

func (t *translator) mov(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	size := x.Size
	switch x.Form {
	case ir.FormRR:
		t.prepare(i, false, o.Dst)
		d, s := t.slot(o.Dst), t.slot(o.Src)
		switch {
		case !d.Mem:
			a.Load(size, d.Reg, s)
		case size == 4:
			a.Load(4, hA, s)
			a.Store(8, hA, d)
		default:
			a.Store(size, t.into(hA, o.Src), d)
		}
		t.wrote(o.Dst)
	case ir.FormRI:
		t.prepare(i, false, o.Dst)
		d := t.slot(o.Dst)
		switch {
		case size <= 2 && d.Mem:
			a.StoreImm(size, d, o.Imm)
		case size == 2:
			a.Insn(0xc7, 2, 0, d)
			a.Immediate(2, o.Imm)
		case size == 1:
			a.Insn(0xc6, 1, 0, d)
			a.Immediate(1, o.Imm)
		default:
			v := uint64(o.Imm)
			if size == 4 {
				v = uint64(uint32(v))
			}
			r := t.target(hA, o.Dst)
			a.MovImm(r, v)
			t.finish(r, o.Dst)
		}
		t.wrote(o.Dst)
	case ir.FormRM:
		t.prepare(i, true, o.Dst)
		m := t.locate(i, o, size, false, false)
		t.loaded(o.Dst, size, m, asm.ByteOp(0x8b, size))
	case ir.FormMR:
		if t.streams(o) {
			t.stream(i, o)
			break
		}
		t.prepare(i, true)
		m := t.beside(o, o.Src, t.locate(i, o, size, true, false))
		a.Store(size, t.into(hA, o.Src), m)
	default:
		t.prepare(i, true)
		a.StoreImm(size, t.locate(i, o, size, true, false), o.Imm)
	}
	return true
}

// loaded is the end of a load: opcode reads m into slot dst.
func (t *translator) loaded(dst, size uint8, m asm.Arg, opcode uint32) {
	a := &t.asm
	if s := t.slot(dst); s.Mem {
		if size < 4 && opcode&0xff00 == 0 {
			a.Insn(opcode, size, hB, m)
			a.Store(size, hB, s)
		} else {
			a.Insn(opcode, size, hB, m)
			a.Store(8, hB, s)
		}
	} else {
		a.Insn(opcode, size, s.Reg, m)
	}
	t.wrote(dst)
}

// extend is MOVZX, MOVSX and MOVSXD.
func (t *translator) extend(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	opcode := 0x0fb5 + uint32(x.Size) // MOVZX
	size, from := uint8(4), x.Size
	switch {
	case x.Kind == ir.KindMovzx:
	case from == 4:
		opcode, size = 0x63, 8
	default:
		opcode += 8
		if x.Kind == ir.KindMovsx {
			size = 8
		}
	}
	var m asm.Arg
	if x.Form == ir.FormRM {
		t.prepare(i, true, o.Dst)
		m = t.locate(i, o, from, false, false)
	} else {
		t.prepare(i, false, o.Dst)
		m = t.slot(o.Src)
		if !m.Mem && from == 1 && m.Reg >= 4 && m.Reg < 8 && size == 4 {
			// Needs a REX prefix: take the 64-bit form's, where it is the same.
			if x.Kind == ir.KindMovzx {
				size = 8
			} else {
				a.Load(8, hA, m)
				m = asm.Reg(hA)
			}
		}
	}
	t.loaded(o.Dst, size, m, opcode)
	return true
}

// movzxHigh is MOVZX of AH to BH. Shifts would change EFLAGS: it goes through
// memory's second byte.
func (t *translator) movzxHigh(i int, o *ir.Op, _ *ir.OpInfo) bool {
	t.prepare(i, false, o.Dst)
	s := t.slot(o.Src)
	if !s.Mem {
		t.asm.Store(8, s.Reg, t.crossing(offSpill))
		s = t.crossing(offSpill)
	}
	s.Disp++
	t.loaded(o.Dst, 4, s, 0x0fb6)
	return true
}

func (t *translator) setcc(i int, o *ir.Op, x *ir.OpInfo) bool {
	t.prepare(i, false, o.Dst)
	cc := t.cond(x.Sub)
	t.asm.Insn(0x0f90|uint32(cc), 1, 0, t.slot(o.Dst))
	t.wrote(o.Dst)
	return true
}

func (t *translator) cmov(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	t.prepare(i, false, o.Dst)
	cc := t.cond(x.Sub)
	d := t.modified(hA, o.Dst)
	a.Insn(0x0f40|uint32(cc), x.Size, d, t.slot(o.Src))
	t.finish(d, o.Dst)
	t.wrote(o.Dst)
	return true
}
