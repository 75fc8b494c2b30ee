package soft

// shifts says whether directShift translates in.
func (t *translator) shifts(in *inst) bool {
	ext := in.modrm >> 3 & 7
	if ext == shiftRCL || ext == shiftRCR || !in.rmIsLow() {
		return false
	}
	switch in.opcode {
	case 0xc0, 0xc1:
		// Beyond the width, what the flags are is the processor's choice.
		n := shiftCount(in.imm, in.size)
		return n > 0 && n <= 8*uint64(in.size)
	case 0xd2, 0xd3:
		return in.size >= 4
	}
	return true
}

// directShift is the shifts and rotates that have no op: of bytes, words and
// memory.
func (t *translator) directShift(i int, in *inst) {
	a := &t.asm
	ext, size := in.modrm>>3&7, in.size
	if ext == shiftSHL2 {
		ext = shiftSHL
	}
	cl := in.opcode == 0xd2 || in.opcode == 0xd3
	n := byte(1)
	if in.opcode == 0xc0 || in.opcode == 0xc1 {
		n = byte(shiftCount(in.imm, size))
	}
	live := t.live[i]
	rotate := ext < shiftRCL
	t.prepare(i, in.mod != 3, in.written()...)
	if live {
		t.toWord()
	}
	m := t.operand(i, in, size, true)
	m, end := t.wholly(m, size)
	shift := func() {
		if cl {
			a.insn(0xd3, size, ext, m)
		} else {
			a.insn(byteOp(0xc1, size), size, ext, m)
			a.byte(n)
		}
	}
	if !live {
		shift()
		end()
		t.define(i, false, lazyFlags{})
		t.wrote(in.written()...)
		return
	}
	skip := 0
	if cl {
		a.insn(0xf6, 1, 0, inReg(hCX)) // test cl, imm8
		a.byte(8*size - 1)
		skip = a.jcc(4)
	}
	if ext == shiftSHR {
		a.load(size, hA, m)
		a.store(8, hA, inCPU(offSpill))
	}
	shift()
	if rotate {
		switch size {
		case 1, 2:
			a.insn(0x0fb5+uint32(size), 8, hB, m) // movzx
		default:
			a.load(size, hB, m)
		}
		end()
		t.rotated(size, hB, ext)
	} else {
		end()
		t.shifted(size, ext, inCPU(offSpill))
	}
	if cl {
		a.here(skip)
	}
	t.wrote(in.written()...)
	t.defineWord(0)
}

// directDoubleShift is SHLD and SHRD.
func (t *translator) directDoubleShift(i int, in *inst) {
	t.prepare(i, in.mod != 3, in.written()...)
	if t.live[i] {
		t.toWord()
	}
	n := int(shiftCount(in.imm, in.size))
	if in.opcode&1 != 0 {
		n = inCL
	}
	t.doubleShift(i, uint32(in.opcode), in.size, t.operand(i, in, in.size, true), in.reg, n)
	t.wrote(in.written()...)
}

// inCL is a count that CL has.
const inCL = -1

// doubleShift shifts m, and bits of slot src into it.
func (t *translator) doubleShift(i int, opcode uint32, size uint8, m arg, src uint8, n int) {
	a := &t.asm
	live := t.live[i]
	m, end := t.wholly(m, size)
	skip := 0
	if live && n == inCL {
		a.insn(0xf6, 1, 0, inReg(hCX)) // test cl, imm8
		a.byte(8*size - 1)
		skip = a.jcc(4)
	}
	if live {
		a.load(size, hA, m)
		a.store(8, hA, inCPU(offSpill))
	}
	a.insn(0x0f00|opcode, size, t.into(hA, src), m)
	if n != inCL {
		a.byte(byte(n))
	}
	switch {
	case !live:
		end()
		t.define(i, false, lazyFlags{})
		return
	case n == 0:
		end()
		return
	}
	a.load(8, hA, inReg(hAX))
	a.byte(0x9f)                      // lahf
	a.bytes(0x80, 0xe4, 0xff&^flagAF) // and ah, imm8
	a.store(2, hAX, inCPU(offFlagWord))
	a.load(8, hAX, inReg(hA))
	// OF is the change of the top bit, whatever the count.
	a.load(size, hA, m)
	a.alu(aluXOR, size, hA, inCPU(offSpill))
	a.shiftImm(5, size, hA, 8*size-1)
	a.store(1, hA, inCPU(offFlagWord))
	end()
	if n == inCL {
		done := a.jmp()
		a.here(skip)
		if !m.mem && size == 4 {
			a.load(4, m.reg, m) // clears the upper half
			end()
		}
		a.here(done)
	}
	t.defineWord(0)
}
