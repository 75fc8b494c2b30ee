package soft

import "math/bits"

// direct is how an instruction that has no op is translated all the same: the
// host does what the guest's processor would. What it may raise, the executor
// raises: code is left before anything happened.
type direct struct {
	effect  flagEffect
	vectors bool // it uses vector registers
	emit    func(i int, in *inst)
}

// direct returns the translation of generic op o, if there is one.
func (t *translator) direct(o *op) direct {
	in := &t.n.cache.insts[o.imm]
	if in.mod != 3 && in.asize != 8 {
		return direct{}
	}
	ext := in.modrm >> 3 & 7
	mem := in.mod != 3
	leaves := flagEffect(0)
	if mem {
		leaves = effLeaves
	}
	switch b := in.opcode; {
	case in.op >= 0x100:
		return t.direct0F(in, leaves)
	case b < 0x40 && b&7 < 4 && in.size == 1:
		return t.directHigh(in, b>>3, leaves)
	case b == 0x80 && !mem:
		return t.directHigh(in, ext, 0)
	case b == 0x84 && !mem:
		return t.directHigh(in, aluAND, 0)
	case b == 0x88 && in.size == 1, b == 0x8a && !mem, b == 0xc6 && !mem && ext == 0:
		return t.directMoveHigh(in, leaves)
	case b >= 0xb4 && b <= 0xb7 && in.flags&instREX == 0:
		return direct{emit: func(i int, in *inst) {
			t.prepare(i, false, b&3)
			t.asm.bytes(b, byte(in.imm))
			t.wrote(b & 3)
		}}
	case (b == 0xc0 || b == 0xc1 || b == 0xd0 || b == 0xd1 || b == 0xd2 || b == 0xd3) && t.shifts(in):
		return direct{effect: leaves, emit: t.directShift}
	case (b == 0xfe || b == 0xff) && ext < 2 && in.rmIsLow():
		return direct{effect: leaves, emit: t.directIncDec}
	case (b == 0xf6 || b == 0xf7) && ext == 2 && in.rmIsLow():
		return direct{effect: leaves, emit: t.directNot}
	case (b == 0xf6 || b == 0xf7) && ext == 3 && in.rmIsLow():
		return direct{effect: effSets | leaves, emit: t.directNeg}
	case b == 0xf7 && ext == 5 && in.size >= 4:
		return direct{effect: effSets | leaves, emit: t.directMultiply}
	case b == 0xf7 && ext == 7 && in.size >= 4:
		return direct{effect: effLeaves, emit: t.directDivide}
	case b == 0x86 && mem && in.low(in.reg, 1), b == 0x87 && mem && in.size == 2:
		return direct{effect: effLeaves, emit: t.directExchange}
	case b == 0xf5:
		return direct{emit: func(i int, _ *inst) {
			t.prepare(i, true)
			t.toWord()
			t.asm.aluImm(aluXOR, 1, inCPU(offFlagWord+1), flagCF)
			t.defineWord(0)
		}}
	case b == 0x98 && in.size == 2, b == 0x99 && in.size == 2: // CBW, CWD
		return direct{emit: func(i int, _ *inst) {
			r := uint8(rAX)
			if b == 0x99 {
				r = rDX
			}
			t.prepare(i, false, r)
			t.asm.bytes(0x66, b)
			t.wrote(r)
		}}
	case (b|1 == 0xa5 || b|1 == 0xab) && in.asize == 8 && in.seg == segDS && in.rep != 0xf2:
		return direct{effect: effLeaves, emit: t.directString}
	}
	return direct{}
}

func (t *translator) direct0F(in *inst, leaves flagEffect) direct {
	mem := in.mod != 3
	switch b := in.opcode; b {
	case 0xa4, 0xa5, 0xac, 0xad:
		if in.size >= 4 {
			return direct{effect: leaves, emit: t.directDoubleShift}
		}
	case 0xa3, 0xab, 0xb3, 0xbb:
		if in.size >= 4 && (mem || b == 0xbb) {
			return direct{effect: leaves, emit: t.directBit}
		}
	case 0xba:
		if in.size >= 4 && in.modrm>>3&7 == 4|bitBTC {
			return direct{effect: leaves, emit: t.directBit}
		}
	case 0xb0, 0xc0:
		if mem && in.low(in.reg, 1) {
			return direct{effect: effSets | effLeaves, emit: t.directCompareExchange}
		}
	case 0xb1, 0xc1:
		if mem && in.size == 2 {
			return direct{effect: effSets | effLeaves, emit: t.directCompareExchange}
		}
	}
	if t.sse {
		return t.directVector(in, leaves)
	}
	return direct{}
}

// rmIsLow says that the r/m operand is in memory or the low part of a slot.
func (in *inst) rmIsLow() bool { return in.mod != 3 || in.regRM(in.size) }

// memory is the memory operand of in, op i, for locate.
func (t *translator) memory(i int, in *inst) op {
	o := &t.ops[i]
	m := op{base: in.base, index: in.index, scale: in.scale}
	disp := in.disp
	if in.flags&instRIP != 0 {
		disp += t.page + uint64(int64(o.disp))
	}
	a := &t.asm
	seg := uint8(slotZero)
	switch in.seg {
	case segFS:
		seg = slotFS
	case segGS:
		seg = slotGS
	}
	if disp == uint64(int32(disp)) {
		m.disp = int32(disp)
		switch {
		case seg == slotZero:
			return m
		case m.base == slotZero:
			m.base = seg
			return m
		case m.index == slotZero:
			m.index, m.scale = seg, 0
			return m
		}
	}
	// More than an operand can say: the address in the making.
	a.movImm(hA, disp)
	add := func(slot uint8) {
		if slot != slotZero {
			a.lea(hA, arg{mem: true, reg: hA, index: t.into(hB, slot)})
		}
	}
	add(m.base)
	add(seg)
	if m.index != slotZero {
		a.lea(hA, arg{mem: true, reg: hA, index: t.into(hB, m.index), scale: m.scale & 3})
	}
	a.store(8, hA, inCPU(offR+8*slotTmp))
	t.slots[slotTmp] = t.unknown()
	if m.base == slotZero && seg == slotZero && m.index == slotZero {
		t.slots[slotTmp] = value{off: int64(disp)}
	}
	return op{base: slotTmp, index: slotZero}
}

// operand is the r/m operand of in: a slot, or memory looked up, whose address
// then is in hB, and hA is free.
func (t *translator) operand(i int, in *inst, size uint8, write bool) arg {
	if in.mod == 3 {
		return t.slot(in.rm)
	}
	o := t.memory(i, in)
	m := t.locate(i, &o, size, write, false)
	t.asm.lea(hB, m)
	return inMem(hB, 0)
}

// written is the slot that writing the r/m operand writes.
func (in *inst) written() []uint8 {
	if in.mod == 3 {
		return []uint8{in.rm}
	}
	return nil
}

// wholly makes m, an operand of 4 bytes in a slot of 8, one whose upper half
// an instruction clears; end stores it.
func (t *translator) wholly(m arg, size uint8) (arg, func()) {
	if !m.mem || m.reg != hCPU || size != 4 {
		return m, func() {}
	}
	t.asm.load(4, hB, m)
	return inReg(hB), func() { t.asm.store(8, hB, m) }
}

func (t *translator) directIncDec(i int, in *inst) {
	t.prepare(i, in.mod != 3, in.written()...)
	if in.mod != 3 && t.live[i] {
		t.toWord()
	}
	m := t.operand(i, in, in.size, true)
	if t.live[i] {
		t.carry()
	}
	t.asm.insn(byteOp(0xff, in.size), in.size, in.modrm>>3&7, m)
	t.define(i, false, lazyFlags{})
}

func (t *translator) directNot(i int, in *inst) {
	t.prepare(i, in.mod != 3, in.written()...)
	t.asm.insn(byteOp(0xf7, in.size), in.size, 2, t.operand(i, in, in.size, true))
	t.wrote(in.written()...)
}

func (t *translator) directNeg(i int, in *inst) {
	t.prepare(i, in.mod != 3, in.written()...)
	t.asm.insn(byteOp(0xf7, in.size), in.size, 3, t.operand(i, in, in.size, true))
	t.define(i, false, lazyFlags{})
}

func (t *translator) directMultiply(i int, in *inst) {
	t.prepare(i, true, rAX, rDX)
	t.asm.insn(0xf7, in.size, 5, t.operand(i, in, in.size, false))
	t.multiply(i, in.size, inReg(hAX))
}

// directDivide is IDIV of a dividend that is sign-extended, by neither 0 nor
// -1.
func (t *translator) directDivide(i int, in *inst) {
	a := &t.asm
	size := in.size
	t.prepare(i, true, rAX, rDX)
	t.toWord()
	a.load(size, hB, t.operand(i, in, size, false))
	a.load(size, hA, inReg(hAX))
	a.shiftImm(7, size, hA, 8*size-1)
	a.alu(aluCMP, size, hA, inReg(hDX))
	t.bail(i, a.jcc(5))
	a.insn(0x8d, size, hA, inMem(hB, 1))
	a.aluImm(aluCMP, size, inReg(hA), 1)
	t.bail(i, a.jcc(6))
	a.insn(0xf7, size, 7, inReg(hB))
	t.wrote(rAX, rDX)
	t.defineWord(0)
}

// directExchange is XCHG of memory with a byte or a word.
func (t *translator) directExchange(i int, in *inst) {
	a := &t.asm
	t.prepare(i, true, in.reg)
	m := t.operand(i, in, in.size, true)
	r := t.into(hA, in.reg)
	a.insn(byteOp(0x87, in.size), in.size, r, m)
	t.finish(r, in.reg)
	t.wrote(in.reg)
}

// directCompareExchange is CMPXCHG and XADD of memory with a byte or a word.
func (t *translator) directCompareExchange(i int, in *inst) {
	a := &t.asm
	slot := in.reg
	if in.opcode < 0xc0 {
		slot = rAX
	}
	t.prepare(i, true, slot)
	m := t.operand(i, in, in.size, true)
	r := t.into(hA, in.reg)
	a.insn(0x0f00|uint32(in.opcode), in.size, r, m)
	if slot == in.reg {
		t.finish(r, in.reg)
	}
	t.define(i, false, lazyFlags{})
}

// directBit is BT, BTS, BTR and BTC.
func (t *translator) directBit(i int, in *inst) {
	a := &t.asm
	size := in.size
	ext := uint8(4) | in.opcode>>3&3
	if in.opcode == 0xba {
		ext = in.modrm >> 3 & 7
	}
	write := ext&3 != bitBT
	var slots []uint8
	if write {
		slots = in.written()
	}
	t.prepare(i, true, slots...)
	t.toWord()
	var m arg
	switch {
	case in.mod == 3:
		m = t.slot(in.rm)
	case in.opcode == 0xba:
		m = t.operand(i, in, size, write)
	default: // a bit string: the register's upper bits are of the address
		o := t.memory(i, in)
		a.lea(hA, t.address(&o))
		if size == 8 {
			a.load(8, hB, t.slot(in.reg))
		} else {
			a.insn(0x63, 8, hB, t.slot(in.reg)) // movsxd
		}
		shift := uint8(5)
		if size == 8 {
			shift = 6
		}
		a.shiftImm(7, 8, hB, shift)
		a.lea(hA, arg{mem: true, reg: hA, index: hB, scale: shift - 3})
		a.store(8, hA, inCPU(offR+8*slotTmp))
		t.slots[slotTmp] = t.unknown()
		a.lea(hB, t.locate(i, &op{base: slotTmp, index: slotZero}, size, write, false))
		m = inMem(hB, 0)
	}
	m, end := t.wholly(m, size)
	if in.opcode == 0xba {
		a.insn(0x0fba, size, ext, m)
		a.byte(byte(in.imm) & (8*size - 1))
	} else {
		a.load(8, hA, t.slot(in.reg))
		a.aluImm(aluAND, 4, inReg(hA), int64(8*size-1))
		a.insn(0x0f83|uint32(ext)<<3, size, hA, m)
	}
	end()
	a.insn(0x0f92, 1, 0, inReg(hA)) // setc r14b
	t.carryToWord()
	t.wrote(slots...)
	t.defineWord(0)
}

// directString is MOVS and STOS, repeated or not, that stay within a page.
func (t *translator) directString(i int, in *inst) {
	a := &t.asm
	size := in.size
	rep, moves := in.rep != 0, in.opcode < 0xa8
	shift := uint8(bits.TrailingZeros8(size))
	t.prepare(i, true, rCX, rSI, rDI)
	a.insn(0xf7, 4, 0, inCPU(offFlags)) // test
	a.imm32(flagDF)
	t.bail(i, a.jcc(5))
	if rep {
		a.lea(hA, inMem(rCX, -1))
		a.aluImm(aluCMP, 8, inReg(hA), pageSize>>shift-1)
		t.bail(i, a.jcc(7)) // none, or more than a page holds
	}
	find := func(r uint8, tag uintptr) {
		last := inMem(r, int32(size)-1)
		if rep {
			last = arg{mem: true, reg: r, index: rCX, scale: shift, disp: -1}
		}
		set := uintptr(t.set) * tlbSetSize
		a.lea(hA, last)
		a.load(8, hB, inReg(r))
		a.shiftImm(5, 8, hB, pageShift-tlbShift)
		a.aluImm(aluAND, 4, inReg(hB), tlbIndex)
		a.aluImm(aluAND, 8, inReg(hA), -pageSize)
		a.alu(aluCMP, 8, hA, arg{mem: true, reg: hCPU, index: hB, disp: int32(tag + set)})
		t.bail(i, a.jcc(5))
		a.load(8, hB, arg{mem: true, reg: hCPU, index: hB, disp: int32(offAddend + set)})
	}
	find(rDI, offWriteTag)
	if moves {
		a.store(8, hB, inCPU(offSpill))
		find(rSI, offReadTag)
		a.lea(hA, arg{mem: true, reg: rSI, index: hB})
		if rep && size > 1 {
			// Elements that overlap themselves come one at a time.
			a.alu(aluSUB, 8, hA, inReg(rDI))
			a.alu(aluSUB, 8, hA, inCPU(offSpill))
			a.aluImm(aluADD, 8, inReg(hA), int64(size)-1)
			a.aluImm(aluCMP, 8, inReg(hA), int64(size)-1)
			t.bail(i, a.jcc(2))
		}
		a.load(8, hA, inReg(hB))
		a.load(8, hB, inCPU(offSpill))
		a.alu(aluADD, 8, rSI, inReg(hA))
	}
	a.alu(aluADD, 8, rDI, inReg(hB))
	if rep {
		a.byte(0xf3)
	}
	switch size {
	case 2:
		a.byte(0x66)
	case 8:
		a.byte(0x48)
	}
	a.byte(in.opcode)
	if moves {
		a.alu(aluSUB, 8, rSI, inReg(hA))
	}
	a.alu(aluSUB, 8, rDI, inReg(hB))
	t.wrote(rCX, rSI, rDI)
}
