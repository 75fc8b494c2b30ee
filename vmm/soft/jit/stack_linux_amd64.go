package jit

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// stack is PUSH, POP, CALL and RET, and the jumps.
func (t *translator) stack(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	push := ir.Op{Base: x86.RSP, Index: x86.SlotZero, Disp: -8}
	pop := ir.Op{Base: x86.RSP, Index: x86.SlotZero}
	drop := func(n int32) { a.Lea(hSP, asm.Mem(hSP, n)) }
	switch x.Kind {
	case ir.KindPush, ir.KindPushImm:
		t.prepare(i, true, x86.RSP)
		m := t.locate(i, &push, 8, true, false)
		switch {
		case x.Kind == ir.KindPush:
			a.Store(8, t.into(hA, o.Src), m)
		default:
			a.StoreImm(8, m, o.Imm)
		}
		drop(-8)
		t.wrote(x86.RSP)
	case ir.KindPop:
		t.prepare(i, true, x86.RSP, o.Dst)
		m := t.locate(i, &pop, 8, false, false)
		if d := t.target(hA, o.Dst); d == hSP || d == hA {
			a.Load(8, hA, m)
			drop(8)
			a.Store(8, hA, t.slot(o.Dst))
		} else {
			a.Load(8, d, m)
			drop(8)
		}
		t.wrote(x86.RSP, o.Dst)
	case ir.KindLeave:
		t.prepare(i, true, x86.RSP, x86.RBP)
		m := t.locate(i, &ir.Op{Base: x86.RBP, Index: x86.SlotZero}, 8, false, false)
		a.Lea(hSP, asm.Mem(x86.RBP, 8))
		a.Load(8, x86.RBP, m)
		t.wrote(x86.RSP, x86.RBP)
	case ir.KindPushf:
		t.toWord()
		t.prepare(i, true, x86.RSP)
		m := t.locate(i, &push, 8, true, false)
		a.Insn(0x0fb6, 4, hA, t.crossing(offFlagWord))
		a.ShiftImm(4, 4, hA, 11)
		a.Alu(x86.AluOR, 1, hA, t.crossing(offFlagWord+1))
		a.Alu(x86.AluOR, 8, hA, inCPU(t.cpu.Flags))
		a.AluImm(x86.AluAND, 4, asm.Reg(hA), ^(x86.FlagVM | x86.FlagRF))
		a.Store(8, hA, m)
		drop(-8)
		t.flags.host = 0
		t.wrote(x86.RSP)
	case ir.KindPopf:
		t.popFlags(i, &pop)
	case ir.KindCall:
		t.prepare(i, true, x86.RSP)
		t.push(i, int64(o.Disp))
		t.edge(i, 0)
	case ir.KindJmp:
		t.edge(i, 0)
	case ir.KindRet:
		t.toWord()
		t.prepare(i, true, x86.RSP)
		m := t.locate(i, &pop, 8, false, false)
		a.Load(8, hA, m)
		t.jump(i)
	case ir.KindJmpReg:
		t.toWord()
		t.prepare(i, true)
		a.Load(8, hA, t.slot(o.Src))
		t.jump(i)
	case ir.KindCallReg:
		t.toWord()
		t.prepare(i, true, x86.RSP)
		a.Load(8, hA, t.slot(o.Src))
		t.callTo(i)
	case ir.KindPush2:
		t.prepare(i, true, x86.RSP)
		push.Disp = -16
		m := t.locate(i, &push, 16, true, false)
		a.Store(8, t.into(hA, o.Dst), m)
		m.Disp += 8
		a.Store(8, t.into(hA, o.Src), m)
		drop(-16)
		t.wrote(x86.RSP)
	case ir.KindPop2:
		t.prepare(i, true, x86.RSP, o.Dst, o.Src)
		m := t.locate(i, &pop, 16, false, false)
		for _, s := range []uint8{o.Dst, o.Src} {
			d := t.target(hA, s)
			a.Load(8, d, m)
			t.finish(d, s)
			m.Disp += 8
		}
		drop(16)
		t.wrote(x86.RSP, o.Dst, o.Src)
	}
	return true
}

// push pushes an address of this page, for op i.
func (t *translator) push(i int, off int64) {
	a := &t.asm
	m := t.locate(i, &ir.Op{Base: x86.RSP, Index: x86.SlotZero, Disp: -8}, 8, true, false)
	if v := t.page + uint64(off); !t.relative && v == uint64(int32(v)) {
		a.StoreImm(8, m, int64(v))
	} else {
		t.pageAnd(off)
		a.Store(8, hA, m)
	}
	a.Lea(hSP, asm.Mem(hSP, -8))
}

// popFlags is POPF where it changes no flag that the executor must see.
func (t *translator) popFlags(i int, pop *ir.Op) {
	a := &t.asm
	t.toWord()
	t.prepare(i, true, x86.RSP)
	m := t.locate(i, pop, 8, false, false)
	a.Load(8, hA, m)
	a.Alu(x86.AluXOR, 8, hA, inCPU(t.cpu.Flags))
	a.Insn(0xf7, 4, 0, asm.Reg(hA)) // test r14d, imm32
	a.Imm32(x86.FlagTF | x86.FlagIOPL | x86.FlagNT | x86.FlagAC | x86.FlagID)
	t.bail(i, a.Jcc(5))
	// Interrupts going on are an exit if one may be pending.
	a.Load(8, hA, m)
	a.Store(8, hA, t.crossing(offSpill))
	a.Insn(0xf7, 4, 0, asm.Reg(hA))
	a.Imm32(x86.FlagIF)
	off := a.Jcc(4)
	a.Load(8, hA, inCPU(t.cpu.IRR))
	for n := uintptr(8); n < 32; n += 8 {
		a.Alu(x86.AluOR, 8, hA, inCPU(t.cpu.IRR+n))
	}
	a.Insn(0x85, 8, hA, asm.Reg(hA))
	t.bail(i, a.Jcc(5))
	a.Here(off)
	a.Load(8, hA, t.crossing(offSpill))
	a.AluImm(x86.AluAND, 4, asm.Reg(hA), x86.FlagIF|x86.FlagDF)
	a.AluImm(x86.AluAND, 4, inCPU(t.cpu.Flags), ^(x86.FlagIF | x86.FlagDF))
	a.AluTo(x86.AluOR, 4, inCPU(t.cpu.Flags), hA)
	a.Load(8, hA, t.crossing(offSpill))
	a.Load(4, hB, asm.Reg(hA))
	a.ShiftImm(5, 4, hB, 11)
	a.AluImm(x86.AluAND, 4, asm.Reg(hB), 1)
	a.Store(1, hB, t.crossing(offFlagWord))
	a.AluImm(x86.AluAND, 4, asm.Reg(hA), (x86.FlagsArith&^x86.FlagOF)|x86.FlagOne)
	a.AluImm(x86.AluOR, 4, asm.Reg(hA), x86.FlagOne)
	a.Store(1, hA, t.crossing(offFlagWord+1))
	a.Lea(hSP, asm.Mem(hSP, 8))
	t.defineWord(0)
}
