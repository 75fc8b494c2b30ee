package soft

// shift is the shifts and rotates of registers.
func (t *translator) shift(i int, o *op, x *opInfo) bool {
	op, size, cl := x.sub, x.size, x.form == formCL
	a := &t.asm
	rotate := op == shiftROL || op == shiftROR
	t.prepare(i, false, o.dst)
	live := t.live[i]
	if live && (cl || rotate) {
		t.toWord() // the old flags, some of which stay
	}
	d := t.target(hA, o.dst)
	if d == hA {
		if live {
			d = hB // the flags' making needs hA
		}
		a.load(8, d, t.slot(o.dst))
	}
	if !live {
		if cl {
			a.insn(0xd3, size, op, inReg(d))
		} else {
			a.shiftImm(op, size, d, o.src)
		}
		t.finish(d, o.dst)
		t.define(i, false, lazyFlags{})
		return true
	}
	if !cl && !rotate {
		a.store(8, d, t.slot(slotKept))
		a.shiftImm(op, size, d, o.src)
		t.finish(d, o.dst)
		t.define(i, true, lazyFlags{kind: lazyShift, op: op, size: size, dst: slotKept, src: slotZero, imm: int64(o.src)})
		t.flags.host &^= flagOF
		return true
	}
	skip, end := 0, 0
	if cl {
		a.insn(0xf6, 1, 0, inReg(hCX)) // test cl, imm8
		a.byte(8*size - 1)
		skip = a.jcc(4)
	}
	top := inReg(d)
	if op == 5 { // SHR: OF is the top bit of what there was
		a.store(8, d, inCPU(offSpill))
		top = inCPU(offSpill)
	}
	if cl {
		a.insn(0xd3, size, op, inReg(d))
	} else {
		a.shiftImm(op, size, d, o.src)
	}
	t.finish(d, o.dst)
	if rotate {
		t.rotated(size, d, op)
	} else {
		t.shifted(size, op, top)
	}
	if cl {
		end = a.jmp()
		a.here(skip)
		if size == 4 {
			a.load(4, d, inReg(d)) // clears the upper half
			t.finish(d, o.dst)
		}
		a.here(end)
	}
	t.wrote(o.dst)
	t.defineWord(0)
	return true
}

func (t *translator) doubleShiftImm(i int, o *op, x *opInfo) bool {
	opcode := uint32(0xa4)
	if x.sub == doubleShiftSHRD {
		opcode = 0xac
	}
	t.prepare(i, false, o.dst)
	if t.live[i] {
		t.toWord()
	}
	t.doubleShift(i, opcode, x.size, t.slot(o.dst), o.src, int(o.scale))
	t.wrote(o.dst)
	return true
}

// shifted stores the flags of a shift: AF is 0, and OF is as after a shift by
// one place whatever the count.
func (t *translator) shifted(size, op uint8, top arg) {
	a := &t.asm
	a.load(8, hA, inReg(hAX))
	a.byte(0x9f)                      // lahf
	a.bytes(0x80, 0xe4, 0xff&^flagAF) // and ah, imm8
	switch op {
	case 4:
		a.bytes(0x88, 0xe0)       // mov al, ah
		a.bytes(0xc0, 0xe8, 0x07) // shr al, 7
		a.bytes(0x30, 0xe0)       // xor al, ah
		a.bytes(0x24, 0x01)       // and al, 1
	case 5:
		a.insn(0x0fba, max(size, 4), 4, top) // bt top, imm8
		a.byte(8*size - 1)
		a.bytes(0x0f, 0x92, 0xc0) // setc al
	default:
		a.bytes(0xb0, 0x00) // mov al, 0
	}
	a.store(2, hAX, inCPU(offFlagWord))
	a.load(8, hAX, inReg(hA))
}

// rotated puts CF and OF of a rotate into the word.
func (t *translator) rotated(size, d, op uint8) {
	a := &t.asm
	bits := 8 * size
	a.load(8, hA, inReg(d))
	if d != hB {
		a.load(8, hB, inReg(d))
	}
	if op == 0 { // ROL: CF is bit 0, OF that xor the top
		a.aluImm(aluAND, 4, inReg(hA), 1)
		a.shiftImm(5, 8, hB, bits-1)
	} else { // ROR: CF is the top, OF that xor the bit below
		a.shiftImm(5, 8, hA, bits-1)
		a.shiftImm(5, 8, hB, bits-2)
		a.aluImm(aluAND, 4, inReg(hB), 1)
	}
	a.alu(aluXOR, 4, hB, inReg(hA))
	a.store(1, hB, inCPU(offFlagWord))
	t.carryToWord()
}

// carryToWord puts CF, which is in hA, into the word.
func (t *translator) carryToWord() {
	a := &t.asm
	a.aluImm(aluAND, 1, inCPU(offFlagWord+1), 0xff&^flagCF)
	a.aluTo(aluOR, 1, inCPU(offFlagWord+1), hA)
}

// multiplied stores the flags of a multiplication: CF and OF from EFLAGS, SF,
// ZF and PF those of the low result, AF 0.
func (t *translator) multiplied(size uint8, low arg) {
	a := &t.asm
	a.insn(0x0f92, 1, 0, inReg(hB)) // setc r15b
	a.load(8, hA, inReg(hAX))
	if low.mem {
		a.aluImm(aluCMP, size, low, 0)
	} else {
		a.insn(0x85, size, low.reg, low)
	}
	a.byte(0x9f)                               // lahf
	a.bytes(0x80, 0xe4, 0xff&^(flagAF|flagCF)) // and ah, imm8
	a.load(1, hAX, inReg(hB))
	a.bytes(0x08, 0xc4) // or ah, al
	a.store(2, hAX, inCPU(offFlagWord))
	a.load(8, hAX, inReg(hA))
}

func (t *translator) mul(i int, o *op, x *opInfo) bool {
	t.prepare(i, true, rAX, rDX)
	t.asm.insn(0xf7, x.size, 4, t.slot(o.src))
	return t.multiply(i, x.size, inReg(hAX))
}

func (t *translator) div(i int, o *op, x *opInfo) bool {
	a := &t.asm
	if o.src == rDX {
		return false
	}
	t.prepare(i, true, rAX, rDX)
	t.toWord()
	a.alu(aluCMP, x.size, hDX, t.slot(o.src)) // the quotient must fit
	t.bail(i, a.jcc(3))
	a.insn(0xf7, x.size, 6, t.slot(o.src))
	t.wrote(rAX, rDX)
	return true
}

func (t *translator) incDec(i int, o *op, x *opInfo) bool {
	a := &t.asm
	dec := b2u(x.kind == kindDec)
	if x.form == formM {
		if t.flags.kind != lazyNot {
			t.keepCarry(i)
		}
		t.prepare(i, true)
		m := t.locate(i, o, x.size, true, false)
		a.insn(0xff, x.size, dec, m)
		if t.live[i] {
			t.keepResult(x.size, m)
		}
		t.defineCount(i, dec, x.size, slotKept)
		return true
	}
	t.keepCarry(i)
	t.writes = append(t.writes, o.dst)
	d := t.target(hA, o.dst)
	if d == hA {
		a.load(8, hA, t.slot(o.dst))
	}
	a.insn(0xff, x.size, dec, inReg(d))
	t.finish(d, o.dst)
	t.defineCount(i, dec, x.size, o.dst)
	return true
}

func (t *translator) negNot(i int, o *op, x *opInfo) bool {
	a := &t.asm
	t.prepare(i, false, o.dst)
	d := t.target(hA, o.dst)
	if d == hA {
		a.load(8, hA, t.slot(o.dst))
	}
	if x.kind == kindNot {
		a.insn(0xf7, x.size, 2, inReg(d))
		t.finish(d, o.dst)
		t.wrote(o.dst)
		return true
	}
	a.insn(0xf7, x.size, 3, inReg(d))
	t.finish(d, o.dst)
	t.define(i, false, lazyFlags{kind: lazyNeg, size: x.size, dst: o.dst, src: slotZero})
	return true
}

func (t *translator) imul(i int, o *op, x *opInfo) bool {
	a := &t.asm
	t.prepare(i, false, o.dst)
	d := t.target(hB, o.dst)
	if x.form == formRR {
		if d == hB {
			a.load(8, hB, t.slot(o.dst))
		}
		a.insn(0x0faf, x.size, d, t.slot(o.src))
	} else {
		a.insn(0x69, x.size, d, t.slot(o.src))
		a.imm32(uint32(o.imm))
	}
	t.finish(d, o.dst)
	return t.multiply(i, x.size, t.slot(o.dst))
}

// bitScan is BSF and BSR.
func (t *translator) bitScan(i int, o *op, x *opInfo) bool {
	a := &t.asm
	t.prepare(i, true, o.dst)
	if t.live[i] {
		t.toWord()
	}
	s := t.into(hA, o.src)
	d := t.target(hB, o.dst)
	if t.live[i] {
		a.aluImm(aluAND, 1, inCPU(offFlagWord+1), 0xff&^flagZF)
	}
	opcode := uint32(0x0fbc)
	if x.sub == bitScanBSR {
		opcode = 0x0fbd
	}
	a.insn(0x85, x.size, s, inReg(s))
	zero := a.jcc(4)
	a.insn(opcode, x.size, d, inReg(s))
	t.finish(d, o.dst)
	end := a.jmp()
	a.here(zero)
	if t.live[i] {
		a.aluImm(aluOR, 1, inCPU(offFlagWord+1), flagZF)
	}
	a.here(end)
	t.wrote(o.dst)
	t.defineWord(0)
	return true
}

func (t *translator) multiply(i int, size uint8, low arg) bool {
	if t.live[i] {
		t.multiplied(size, low)
	}
	t.defineWord(0)
	return true
}

// bitTest is BT, BTS and BTR; only CF changes.
func (t *translator) bitTest(i int, o *op, x *opInfo) bool {
	a := &t.asm
	size := x.size
	n := x.sub
	switch {
	case x.form == formMI:
		t.prepare(i, true)
		t.toWord()
		m := t.locate(i, o, size, n != bitBT, false)
		a.insn(0x0fba, size, 4|n, m)
		a.byte(o.src & (8*size - 1))
		a.insn(0x0f92, 1, 0, inReg(hA))
		t.carryToWord()
		t.defineWord(0)
		return true
	case n == bitBT:
		t.prepare(i, true)
	default:
		t.prepare(i, true, o.dst)
	}
	if t.live[i] {
		t.toWord()
	}
	d := t.target(hA, o.dst)
	if d == hA {
		a.load(8, hA, t.slot(o.dst))
	}
	if x.form == formRI {
		a.insn(0x0fba, size, 4|n, inReg(d))
		a.byte(o.src & (8*size - 1))
	} else {
		a.insn(0x0fa3+8*uint32(n), size, t.into(hB, o.src), inReg(d))
	}
	if n != bitBT {
		t.finish(d, o.dst)
	}
	if t.live[i] {
		a.insn(0x0f92, 1, 0, inReg(hA)) // setc r14b
		t.carryToWord()
	}
	t.wrote(o.dst)
	t.defineWord(0)
	return true
}
