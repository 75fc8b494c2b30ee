package jit

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// shift is the shifts and rotates of registers.
func (t *translator) shift(i int, o *ir.Op, x *ir.OpInfo) bool {
	op, size, cl := x.Sub, x.Size, x.Form == ir.FormCL
	a := &t.asm
	rotate := op == x86.ShiftROL || op == x86.ShiftROR
	t.prepare(i, false, o.Dst)
	live := t.live[i]
	if live && (cl || rotate) {
		t.toWord() // the old flags, some of which stay
	}
	d := t.target(hA, o.Dst)
	if d == hA {
		if live {
			d = hB // the flags' making needs hA
		}
		a.Load(8, d, t.slot(o.Dst))
	}
	if !live {
		if cl {
			a.Insn(0xd3, size, op, asm.Reg(d))
		} else {
			a.ShiftImm(op, size, d, o.Src)
		}
		t.finish(d, o.Dst)
		t.define(i, false, lazyFlags{})
		return true
	}
	if !cl && !rotate {
		a.Store(8, d, t.slot(ir.SlotKept))
		a.ShiftImm(op, size, d, o.Src)
		t.finish(d, o.Dst)
		t.define(i, true, lazyFlags{kind: lazyShift, op: op, size: size, dst: ir.SlotKept, src: x86.SlotZero, imm: int64(o.Src)})
		t.flags.host &^= x86.FlagOF
		return true
	}
	skip, end := 0, 0
	if cl {
		a.Insn(0xf6, 1, 0, asm.Reg(hCX)) // test cl, imm8
		a.Byte(8*size - 1)
		skip = a.Jcc(4)
	}
	top := asm.Reg(d)
	if op == 5 { // SHR: OF is the top bit of what there was
		a.Store(8, d, t.crossing(offSpill))
		top = t.crossing(offSpill)
	}
	if cl {
		a.Insn(0xd3, size, op, asm.Reg(d))
	} else {
		a.ShiftImm(op, size, d, o.Src)
	}
	t.finish(d, o.Dst)
	if rotate {
		t.rotated(size, d, op)
	} else {
		t.shifted(size, op, top)
	}
	if cl {
		end = a.Jmp()
		a.Here(skip)
		if size == 4 {
			a.Load(4, d, asm.Reg(d)) // clears the upper half
			t.finish(d, o.Dst)
		}
		a.Here(end)
	}
	t.wrote(o.Dst)
	t.defineWord(0)
	return true
}

func (t *translator) doubleShiftImm(i int, o *ir.Op, x *ir.OpInfo) bool {
	opcode := uint32(0xa4)
	if x.Sub == ir.DoubleShiftSHRD {
		opcode = 0xac
	}
	t.prepare(i, false, o.Dst)
	if t.live[i] {
		t.toWord()
	}
	t.doubleShift(i, opcode, x.Size, t.slot(o.Dst), o.Src, int(o.Scale))
	t.wrote(o.Dst)
	return true
}

// shifted stores the flags of a shift: AF is 0, and OF is as after a shift by
// one place whatever the count.
func (t *translator) shifted(size, op uint8, top asm.Arg) {
	a := &t.asm
	a.Load(8, hA, asm.Reg(hAX))
	a.Byte(0x9f)                          // lahf
	a.Bytes(0x80, 0xe4, 0xff&^x86.FlagAF) // and ah, imm8
	switch op {
	case 4:
		a.Bytes(0x88, 0xe0)       // mov al, ah
		a.Bytes(0xc0, 0xe8, 0x07) // shr al, 7
		a.Bytes(0x30, 0xe0)       // xor al, ah
		a.Bytes(0x24, 0x01)       // and al, 1
	case 5:
		a.Insn(0x0fba, max(size, 4), 4, top) // bt top, imm8
		a.Byte(8*size - 1)
		a.Bytes(0x0f, 0x92, 0xc0) // setc al
	default:
		a.Bytes(0xb0, 0x00) // mov al, 0
	}
	a.Store(2, hAX, t.crossing(offFlagWord))
	a.Load(8, hAX, asm.Reg(hA))
}

// rotated puts CF and OF of a rotate into the word.
func (t *translator) rotated(size, d, op uint8) {
	a := &t.asm
	bits := 8 * size
	a.Load(8, hA, asm.Reg(d))
	if d != hB {
		a.Load(8, hB, asm.Reg(d))
	}
	if op == 0 { // ROL: CF is bit 0, OF that xor the top
		a.AluImm(x86.AluAND, 4, asm.Reg(hA), 1)
		a.ShiftImm(5, 8, hB, bits-1)
	} else { // ROR: CF is the top, OF that xor the bit below
		a.ShiftImm(5, 8, hA, bits-1)
		a.ShiftImm(5, 8, hB, bits-2)
		a.AluImm(x86.AluAND, 4, asm.Reg(hB), 1)
	}
	a.Alu(x86.AluXOR, 4, hB, asm.Reg(hA))
	a.Store(1, hB, t.crossing(offFlagWord))
	t.carryToWord()
}

// carryToWord puts CF, which is in hA, into the word.
func (t *translator) carryToWord() {
	a := &t.asm
	a.AluImm(x86.AluAND, 1, t.crossing(offFlagWord+1), 0xff&^x86.FlagCF)
	a.AluTo(x86.AluOR, 1, t.crossing(offFlagWord+1), hA)
}

// multiplied stores the flags of a multiplication: CF and OF from EFLAGS, SF,
// ZF and PF those of the low result, AF 0.
func (t *translator) multiplied(size uint8, low asm.Arg) {
	a := &t.asm
	a.Insn(0x0f92, 1, 0, asm.Reg(hB)) // setc r15b
	a.Load(8, hA, asm.Reg(hAX))
	if low.Mem {
		a.AluImm(x86.AluCMP, size, low, 0)
	} else {
		a.Insn(0x85, size, low.Reg, low)
	}
	a.Byte(0x9f)                                       // lahf
	a.Bytes(0x80, 0xe4, 0xff&^(x86.FlagAF|x86.FlagCF)) // and ah, imm8
	a.Load(1, hAX, asm.Reg(hB))
	a.Bytes(0x08, 0xc4) // or ah, al
	a.Store(2, hAX, t.crossing(offFlagWord))
	a.Load(8, hAX, asm.Reg(hA))
}

func (t *translator) mul(i int, o *ir.Op, x *ir.OpInfo) bool {
	t.prepare(i, true, x86.RAX, x86.RDX)
	t.asm.Insn(0xf7, x.Size, 4, t.slot(o.Src))
	return t.multiply(i, x.Size, asm.Reg(hAX))
}

func (t *translator) div(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	if o.Src == x86.RDX {
		return false
	}
	t.toWord()
	t.prepare(i, true, x86.RAX, x86.RDX)
	a.Alu(x86.AluCMP, x.Size, hDX, t.slot(o.Src)) // the quotient must fit
	t.bail(i, a.Jcc(3))
	a.Insn(0xf7, x.Size, 6, t.slot(o.Src))
	t.wrote(x86.RAX, x86.RDX)
	return true
}

func (t *translator) incDec(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	dec := uint8(0) // of the encoding: INC
	if x.Kind == ir.KindDec {
		dec = 1
	}
	if x.Form == ir.FormM {
		if t.flags.kind != lazyNot {
			t.keepCarry(i)
		}
		t.prepare(i, true)
		m := t.locate(i, o, x.Size, true, false)
		a.Insn(0xff, x.Size, dec, m)
		if t.live[i] {
			t.keepResult(x.Size, m)
		}
		t.defineCount(i, dec, x.Size, ir.SlotKept)
		return true
	}
	t.keepCarry(i)
	t.writes = append(t.writes, o.Dst)
	d := t.modified(hA, o.Dst)
	a.Insn(0xff, x.Size, dec, asm.Reg(d))
	t.finish(d, o.Dst)
	t.defineCount(i, dec, x.Size, o.Dst)
	return true
}

func (t *translator) negNot(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	t.prepare(i, false, o.Dst)
	d := t.modified(hA, o.Dst)
	if x.Kind == ir.KindNot {
		a.Insn(0xf7, x.Size, 2, asm.Reg(d))
		t.finish(d, o.Dst)
		t.wrote(o.Dst)
		return true
	}
	a.Insn(0xf7, x.Size, 3, asm.Reg(d))
	t.finish(d, o.Dst)
	t.define(i, false, lazyFlags{kind: lazyNeg, size: x.Size, dst: o.Dst, src: x86.SlotZero})
	return true
}

func (t *translator) imul(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	t.prepare(i, false, o.Dst)
	d := t.target(hB, o.Dst)
	if x.Form == ir.FormRR {
		if d == hB {
			a.Load(8, hB, t.slot(o.Dst))
		}
		a.Insn(0x0faf, x.Size, d, t.slot(o.Src))
	} else {
		a.Insn(0x69, x.Size, d, t.slot(o.Src))
		a.Imm32(uint32(o.Imm))
	}
	t.finish(d, o.Dst)
	return t.multiply(i, x.Size, t.slot(o.Dst))
}

// bitScan is BSF and BSR.
func (t *translator) bitScan(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	t.prepare(i, true, o.Dst)
	if t.live[i] {
		t.toWord()
	}
	s := t.into(hA, o.Src)
	d := t.target(hB, o.Dst)
	if t.live[i] {
		a.AluImm(x86.AluAND, 1, t.crossing(offFlagWord+1), 0xff&^x86.FlagZF)
	}
	opcode := uint32(0x0fbc)
	if x.Sub == ir.BitScanBSR {
		opcode = 0x0fbd
	}
	a.Insn(0x85, x.Size, s, asm.Reg(s))
	zero := a.Jcc(4)
	a.Insn(opcode, x.Size, d, asm.Reg(s))
	t.finish(d, o.Dst)
	end := a.Jmp()
	a.Here(zero)
	if t.live[i] {
		a.AluImm(x86.AluOR, 1, t.crossing(offFlagWord+1), x86.FlagZF)
	}
	a.Here(end)
	t.wrote(o.Dst)
	t.defineWord(0)
	return true
}

func (t *translator) multiply(i int, size uint8, low asm.Arg) bool {
	if t.live[i] {
		t.multiplied(size, low)
	}
	t.defineWord(0)
	return true
}

// bitTest is BT, BTS and BTR; only CF changes.
func (t *translator) bitTest(i int, o *ir.Op, x *ir.OpInfo) bool {
	a := &t.asm
	size := x.Size
	n := x.Sub
	switch {
	case x.Form == ir.FormMI:
		t.toWord()
		t.prepare(i, true)
		m := t.locate(i, o, size, n != x86.BitBT, false)
		a.Insn(0x0fba, size, 4|n, m)
		a.Byte(o.Src & (8*size - 1))
		a.Insn(0x0f92, 1, 0, asm.Reg(hA))
		t.carryToWord()
		t.defineWord(0)
		return true
	case n == x86.BitBT:
		t.prepare(i, true)
	default:
		t.prepare(i, true, o.Dst)
	}
	if t.live[i] {
		t.toWord()
	}
	d := t.modified(hA, o.Dst)
	if x.Form == ir.FormRI {
		a.Insn(0x0fba, size, 4|n, asm.Reg(d))
		a.Byte(o.Src & (8*size - 1))
	} else {
		a.Insn(0x0fa3+8*uint32(n), size, t.into(hB, o.Src), asm.Reg(d))
	}
	if n != x86.BitBT {
		t.finish(d, o.Dst)
	}
	if t.live[i] {
		a.Insn(0x0f92, 1, 0, asm.Reg(hA)) // setc r14b
		t.carryToWord()
	}
	t.wrote(o.Dst)
	t.defineWord(0)
	return true
}
