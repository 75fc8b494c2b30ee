package jit

import (
	"math/bits"

	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// direct is how an instruction that has no op is translated all the same: the
// host does what the guest's processor would. What it may raise, the executor
// raises: code is left before anything happened.
type direct struct {
	effect  ir.FlagEffect
	vectors bool // it uses vector registers
	emit    func(i int, in *x86.Inst)
}

// direct returns the translation of generic op o, if there is one.
func (t *translator) direct(o *ir.Op) direct {
	in := &t.n.code.Insts[o.Imm]
	if in.Mod != 3 && in.AddressSize != 8 {
		return direct{}
	}
	ext := in.ModRM >> 3 & 7
	mem := in.Mod != 3
	leaves := ir.FlagEffect(0)
	if mem {
		leaves = ir.EffLeaves
	}
	switch b := in.Opcode; {
	case in.Op >= 0x100:
		return t.direct0F(in, leaves)
	case b < 0x40 && b&7 < 4 && in.Size == 1:
		return t.directHigh(in, b>>3, leaves)
	case b == 0x80 && !mem:
		return t.directHigh(in, ext, 0)
	case b == 0x84 && !mem:
		return t.directHigh(in, x86.AluAND, 0)
	case b == 0x88 && in.Size == 1, b == 0x8a && !mem, b == 0xc6 && !mem && ext == 0:
		return t.directMoveHigh(in, leaves)
	case b == 0x8c && !mem && ext < 6:
		return direct{emit: func(i int, in *x86.Inst) { t.directSelector(i, in.RM, ext, in.Size) }}
	case b >= 0xb4 && b <= 0xb7 && in.Flags&x86.PrefixREX == 0:
		return direct{emit: func(i int, in *x86.Inst) {
			t.prepare(i, false, b&3)
			t.asm.Bytes(b, byte(in.Imm))
			t.wrote(b & 3)
		}}
	case (b == 0xc0 || b == 0xc1 || b == 0xd0 || b == 0xd1 || b == 0xd2 || b == 0xd3) && t.shifts(in):
		return direct{effect: leaves, emit: t.directShift}
	case (b == 0xfe || b == 0xff) && ext < 2 && in.RMIsLow():
		return direct{effect: leaves, emit: t.directIncDec}
	case (b == 0xf6 || b == 0xf7) && ext == 2 && in.RMIsLow():
		return direct{effect: leaves, emit: t.directNot}
	case (b == 0xf6 || b == 0xf7) && ext == 3 && in.RMIsLow():
		return direct{effect: ir.EffSets | leaves, emit: t.directNeg}
	case b == 0xf7 && ext == 5 && in.Size >= 4:
		return direct{effect: ir.EffSets | leaves, emit: t.directMultiply}
	case b == 0xf7 && ext == 7 && in.Size >= 4:
		return direct{effect: ir.EffLeaves, emit: t.directDivide}
	case b == 0x86 && mem && in.Low(in.Reg, 1), b == 0x87 && mem && in.Size == 2:
		return direct{effect: ir.EffLeaves, emit: t.directExchange}
	case b == 0xf5:
		return direct{emit: func(i int, _ *x86.Inst) {
			t.toWord()
			t.prepare(i, true)
			t.asm.AluImm(x86.AluXOR, 1, t.crossing(offFlagWord+1), x86.FlagCF)
			t.defineWord(0)
		}}
	case b == 0x98 && in.Size == 2, b == 0x99 && in.Size == 2: // CBW, CWD
		return direct{emit: func(i int, _ *x86.Inst) {
			r := uint8(x86.RAX)
			if b == 0x99 {
				r = x86.RDX
			}
			t.prepare(i, false, r)
			t.asm.Bytes(0x66, b)
			t.wrote(r)
		}}
	case b >= 0xd8 && b <= 0xdf && t.sse:
		return t.directX87(in)
	case (b|1 == 0xa5 || b|1 == 0xab) && in.AddressSize == 8 && in.Seg == x86.SegDS && in.Rep != 0xf2:
		return direct{effect: ir.EffLeaves, emit: t.directString}
	}
	return direct{}
}

func (t *translator) direct0F(in *x86.Inst, leaves ir.FlagEffect) direct {
	mem := in.Mod != 3
	switch b := in.Opcode; b {
	case 0xa4, 0xa5, 0xac, 0xad:
		if in.Size >= 4 {
			return direct{effect: leaves, emit: t.directDoubleShift}
		}
	case 0xa3, 0xab, 0xb3, 0xbb:
		if in.Size >= 4 && (mem || b == 0xbb) {
			return direct{effect: leaves, emit: t.directBit}
		}
	case 0xba:
		if in.Size >= 4 && in.ModRM>>3&7 == 4|x86.BitBTC {
			return direct{effect: leaves, emit: t.directBit}
		}
	case 0xb0, 0xc0:
		if mem && in.Low(in.Reg, 1) {
			return direct{effect: ir.EffSets | ir.EffLeaves, emit: t.directCompareExchange}
		}
	case 0xb1, 0xc1:
		if mem && in.Size == 2 {
			return direct{effect: ir.EffSets | ir.EffLeaves, emit: t.directCompareExchange}
		}
	}
	if t.sse {
		return t.directVector(in, leaves)
	}
	return direct{}
}

// base is the slot that the address of in's memory operand begins with.
func (t *translator) base(in *x86.Inst) uint8 {
	if t.relative && in.Flags&x86.RIPRelative != 0 {
		return ir.SlotPage
	}
	return in.Base
}

// memory is the memory operand of in, op i, for locate.
func (t *translator) memory(i int, in *x86.Inst) ir.Op {
	o := &t.ops[i]
	m := ir.Op{Base: t.base(in), Index: in.Index, Scale: in.Scale}
	disp := in.Disp
	if in.Flags&x86.RIPRelative != 0 {
		disp += t.page + uint64(int64(o.Disp))
	}
	a := &t.asm
	seg := in.SegBase()
	if disp == uint64(int32(disp)) {
		m.Disp = int32(disp)
		switch {
		case seg == x86.SlotZero:
			return m
		case m.Base == x86.SlotZero:
			m.Base = seg
			return m
		case m.Index == x86.SlotZero:
			m.Index, m.Scale = seg, 0
			return m
		}
	}
	// More than an operand can say: the address in the making.
	a.MovImm(hA, disp)
	add := func(slot uint8) {
		if slot != x86.SlotZero {
			a.Lea(hA, asm.Arg{Mem: true, Reg: hA, Index: t.into(hB, slot)})
		}
	}
	add(m.Base)
	add(seg)
	if m.Index != x86.SlotZero {
		a.Lea(hA, asm.Arg{Mem: true, Reg: hA, Index: t.into(hB, m.Index), Scale: m.Scale & 3})
	}
	a.Store(8, hA, t.memorySlot(ir.SlotTmp))
	t.slots[ir.SlotTmp] = t.unknown()
	if m.Base == x86.SlotZero && seg == x86.SlotZero && m.Index == x86.SlotZero {
		t.slots[ir.SlotTmp] = value{off: int64(disp)}
	}
	return ir.Op{Base: ir.SlotTmp, Index: x86.SlotZero}
}

// operand is the r/m operand of in: a slot, or memory looked up, whose address
// then is in hB, and hA is free.
func (t *translator) operand(i int, in *x86.Inst, size uint8, write bool) asm.Arg {
	if in.Mod == 3 {
		return t.slot(in.RM)
	}
	o := t.memory(i, in)
	m := t.locate(i, &o, size, write, false)
	t.asm.Lea(hB, m)
	return asm.Mem(hB, 0)
}

// wholly makes m, an operand of 4 bytes in a slot of 8, one whose upper half
// an instruction clears; end stores it.
func (t *translator) wholly(m asm.Arg, size uint8) (asm.Arg, func()) {
	if !m.Mem || m.Reg != hCPU || size != 4 {
		return m, func() {}
	}
	t.asm.Load(4, hB, m)
	return asm.Reg(hB), func() { t.asm.Store(8, hB, m) }
}

// written is the slot that writing the r/m operand writes.
func written(in *x86.Inst) []uint8 {
	if in.Mod == 3 {
		return []uint8{in.RM}
	}
	return nil
}

func (t *translator) directIncDec(i int, in *x86.Inst) {
	t.prepare(i, in.Mod != 3, written(in)...)
	if in.Mod != 3 && t.live[i] {
		t.toWord()
	}
	m := t.operand(i, in, in.Size, true)
	if t.live[i] {
		t.carry()
	}
	t.asm.Insn(asm.ByteOp(0xff, in.Size), in.Size, in.ModRM>>3&7, m)
	t.define(i, false, lazyFlags{})
}

func (t *translator) directNot(i int, in *x86.Inst) {
	t.prepare(i, in.Mod != 3, written(in)...)
	t.asm.Insn(asm.ByteOp(0xf7, in.Size), in.Size, 2, t.operand(i, in, in.Size, true))
	t.wrote(written(in)...)
}

func (t *translator) directNeg(i int, in *x86.Inst) {
	t.prepare(i, in.Mod != 3, written(in)...)
	t.asm.Insn(asm.ByteOp(0xf7, in.Size), in.Size, 3, t.operand(i, in, in.Size, true))
	t.define(i, false, lazyFlags{})
}

func (t *translator) directMultiply(i int, in *x86.Inst) {
	t.prepare(i, true, x86.RAX, x86.RDX)
	t.asm.Insn(0xf7, in.Size, 5, t.operand(i, in, in.Size, false))
	t.multiply(i, in.Size, asm.Reg(hAX))
}

// directDivide is IDIV of a dividend that is sign-extended, by neither 0 nor
// -1.
func (t *translator) directDivide(i int, in *x86.Inst) {
	a := &t.asm
	size := in.Size
	t.toWord()
	t.prepare(i, true, x86.RAX, x86.RDX)
	a.Load(size, hB, t.operand(i, in, size, false))
	a.Load(size, hA, asm.Reg(hAX))
	a.ShiftImm(7, size, hA, 8*size-1)
	a.Alu(x86.AluCMP, size, hA, asm.Reg(hDX))
	t.bail(i, a.Jcc(5))
	a.Insn(0x8d, size, hA, asm.Mem(hB, 1))
	a.AluImm(x86.AluCMP, size, asm.Reg(hA), 1)
	t.bail(i, a.Jcc(6))
	a.Insn(0xf7, size, 7, asm.Reg(hB))
	t.wrote(x86.RAX, x86.RDX)
	t.defineWord(0)
}

// directExchange is XCHG of memory with a byte or a word.
func (t *translator) directExchange(i int, in *x86.Inst) {
	a := &t.asm
	t.prepare(i, true, in.Reg)
	m := t.operand(i, in, in.Size, true)
	r := t.into(hA, in.Reg)
	a.Insn(asm.ByteOp(0x87, in.Size), in.Size, r, m)
	t.finish(r, in.Reg)
	t.wrote(in.Reg)
}

// directCompareExchange is CMPXCHG and XADD of memory with a byte or a word.
func (t *translator) directCompareExchange(i int, in *x86.Inst) {
	a := &t.asm
	slot := in.Reg
	if in.Opcode < 0xc0 {
		slot = x86.RAX
	}
	t.prepare(i, true, slot)
	m := t.operand(i, in, in.Size, true)
	r := t.into(hA, in.Reg)
	a.Insn(0x0f00|uint32(in.Opcode), in.Size, r, m)
	if slot == in.Reg {
		t.finish(r, in.Reg)
	}
	t.define(i, false, lazyFlags{})
}

// directSelector is MOV from a segment register.
func (t *translator) directSelector(i int, dst, seg, size uint8) {
	a := &t.asm
	t.prepare(i, false, dst)
	selector := inCPU(t.cpu.Selectors + uintptr(seg)*t.cpu.SelectorsStride)
	if size == 2 {
		d := t.modified(hA, dst)
		a.Load(2, d, selector)
		t.finish(d, dst)
	} else {
		d := t.target(hA, dst)
		a.LoadLow(2, d, selector)
		t.finish(d, dst)
	}
	t.wrote(dst)
}

// directBit is BT, BTS, BTR and BTC.
func (t *translator) directBit(i int, in *x86.Inst) {
	a := &t.asm
	size := in.Size
	ext := uint8(4) | in.Opcode>>3&3
	if in.Opcode == 0xba {
		ext = in.ModRM >> 3 & 7
	}
	write := ext&3 != x86.BitBT
	var slots []uint8
	if write {
		slots = written(in)
	}
	t.toWord()
	t.prepare(i, true, slots...)
	var m asm.Arg
	switch {
	case in.Mod == 3:
		m = t.slot(in.RM)
	case in.Opcode == 0xba:
		m = t.operand(i, in, size, write)
	default: // a bit string: the register's upper bits are of the address
		o := t.memory(i, in)
		a.Lea(hA, t.address(&o))
		if size == 8 {
			a.Load(8, hB, t.slot(in.Reg))
		} else {
			a.Insn(0x63, 8, hB, t.slot(in.Reg)) // movsxd
		}
		shift := uint8(5)
		if size == 8 {
			shift = 6
		}
		a.ShiftImm(7, 8, hB, shift)
		a.Lea(hA, asm.Arg{Mem: true, Reg: hA, Index: hB, Scale: shift - 3})
		a.Store(8, hA, t.memorySlot(ir.SlotTmp))
		t.slots[ir.SlotTmp] = t.unknown()
		a.Lea(hB, t.locate(i, &ir.Op{Base: ir.SlotTmp, Index: x86.SlotZero}, size, write, false))
		m = asm.Mem(hB, 0)
	}
	m, end := t.wholly(m, size)
	if in.Opcode == 0xba {
		a.Insn(0x0fba, size, ext, m)
		a.Byte(byte(in.Imm) & (8*size - 1))
	} else {
		a.Load(8, hA, t.slot(in.Reg))
		a.AluImm(x86.AluAND, 4, asm.Reg(hA), int64(8*size-1))
		a.Insn(0x0f83|uint32(ext)<<3, size, hA, m)
	}
	end()
	a.Insn(0x0f92, 1, 0, asm.Reg(hA)) // setc r14b
	t.carryToWord()
	t.wrote(slots...)
	t.defineWord(0)
}

// directString is MOVS and STOS, repeated or not, that stay within a page.
func (t *translator) directString(i int, in *x86.Inst) {
	a := &t.asm
	size := in.Size
	rep, moves := in.Rep != 0, in.Opcode < 0xa8
	shift := uint8(bits.TrailingZeros8(size))
	t.prepare(i, true, x86.RCX, x86.RSI, x86.RDI)
	a.Insn(0xf7, 4, 0, inCPU(t.cpu.Flags)) // test
	a.Imm32(x86.FlagDF)
	t.bail(i, a.Jcc(5))
	if rep {
		a.Lea(hA, asm.Mem(x86.RCX, -1))
		a.AluImm(x86.AluCMP, 8, asm.Reg(hA), x86.PageSize>>shift-1)
		t.bail(i, a.Jcc(7)) // none, or more than a page holds
	}
	find := func(r uint8, tag uintptr) {
		last := asm.Mem(r, int32(size)-1)
		if rep {
			last = asm.Arg{Mem: true, Reg: r, Index: x86.RCX, Scale: shift, Disp: -1}
		}
		a.Lea(hA, last)
		a.Load(8, hB, asm.Reg(r))
		a.ShiftImm(5, 8, hB, x86.PageShift-abi.TLBShift)
		a.AluImm(x86.AluAND, 4, asm.Reg(hB), abi.TLBIndex)
		a.AluImm(x86.AluAND, 8, asm.Reg(hA), -x86.PageSize)
		a.Alu(x86.AluCMP, 8, hA, asm.Arg{Mem: true, Reg: hCPU, Index: hB, Disp: int32(t.tlb(tag))})
		t.bail(i, a.Jcc(5))
		a.Load(8, hB, asm.Arg{Mem: true, Reg: hCPU, Index: hB, Disp: int32(t.tlb(offAddend))})
	}
	find(x86.RDI, offWriteTag)
	if moves {
		a.Store(8, hB, t.crossing(offSpill))
		find(x86.RSI, offReadTag)
		a.Lea(hA, asm.Arg{Mem: true, Reg: x86.RSI, Index: hB})
		if rep && size > 1 {
			// Elements that overlap themselves come one at a time.
			a.Alu(x86.AluSUB, 8, hA, asm.Reg(x86.RDI))
			a.Alu(x86.AluSUB, 8, hA, t.crossing(offSpill))
			a.AluImm(x86.AluADD, 8, asm.Reg(hA), int64(size)-1)
			a.AluImm(x86.AluCMP, 8, asm.Reg(hA), int64(size)-1)
			t.bail(i, a.Jcc(2))
		}
		a.Load(8, hA, asm.Reg(hB))
		a.Load(8, hB, t.crossing(offSpill))
		a.Alu(x86.AluADD, 8, x86.RSI, asm.Reg(hA))
	}
	a.Alu(x86.AluADD, 8, x86.RDI, asm.Reg(hB))
	if rep {
		a.Byte(0xf3)
	}
	switch size {
	case 2:
		a.Byte(0x66)
	case 8:
		a.Byte(0x48)
	}
	a.Byte(in.Opcode)
	if moves {
		a.Alu(x86.AluSUB, 8, x86.RSI, asm.Reg(hA))
	}
	a.Alu(x86.AluSUB, 8, x86.RDI, asm.Reg(hB))
	t.wrote(x86.RCX, x86.RSI, x86.RDI)
}
