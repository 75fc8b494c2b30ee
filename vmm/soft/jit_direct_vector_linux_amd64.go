package soft

// directVector is what SSE instructions do beyond package fp and plain moves.
func (t *translator) directVector(in *inst, leaves flagEffect) direct {
	column := prefixColumn(in.prefix())
	mem := in.mod != 3
	yes := func(effect flagEffect, emit func(i int, in *inst)) direct {
		return direct{effect: effect, vectors: true, emit: emit}
	}
	const none, p66, pF3, pF2 = 0, 1, 2, 3
	opcode := prefixes[column] | 0x0f00 | uint32(in.opcode)
	between := func(_ int, in *inst) { t.modifyVec(opcode, in.reg, in.rm) }
	switch in.opcode {
	case 0x10:
		if !mem && column >= pF3 {
			return yes(0, between)
		}
	case 0x11:
		if !mem && column >= pF3 {
			return yes(0, func(_ int, in *inst) { t.modifyVec(opcode-1, in.rm, in.reg) })
		}
	case 0x12, 0x16:
		switch {
		case column > p66:
		case mem:
			return yes(effLeaves, func(i int, in *inst) {
				o := t.memory(i, in)
				o.dst = in.reg
				t.loadHalf(i, &o, opcode)
			})
		case column == none: // MOVHLPS, MOVLHPS
			return yes(0, between)
		}
	case 0x13, 0x17:
		if mem && column <= p66 {
			return yes(effLeaves, func(i int, in *inst) {
				t.prepare(i, true)
				m := t.operand(i, in, 8, true)
				t.asm.insn(opcode, 4, t.vec(vA, in.reg), m)
			})
		}
	case 0x50:
		if !mem && column <= p66 {
			return yes(0, func(i int, in *inst) { t.toGeneral(i, in, opcode, 4, 16) })
		}
	case 0xc5:
		if !mem && column == p66 {
			return yes(0, func(i int, in *inst) { t.toGeneral(i, in, opcode, 4, 16, byte(in.imm)) })
		}
	case 0x2a:
		if column >= pF3 && t.masked {
			return yes(leaves, func(i int, in *inst) {
				size := max(in.size, 4)
				t.prepare(i, mem)
				m := t.operand(i, in, size, false)
				d := t.vec(vB, in.reg)
				t.asm.insn(opcode, size, d, m)
				t.finishVec(d, in.reg)
			})
		}
	case 0x2c, 0x2d:
		if column >= pF3 && t.masked {
			return yes(leaves, func(i int, in *inst) { t.toGeneral(i, in, opcode, max(in.size, 4), floatSize(column)) })
		}
	case 0x2e, 0x2f:
		if column <= p66 && t.masked {
			return yes(effSets|leaves, func(i int, in *inst) {
				t.prepare(i, mem)
				m := t.vecOrMem(i, in, floatSize(column))
				t.asm.insn(opcode, 4, t.vec(vB, in.reg), m)
				t.define(i, false, lazyFlags{})
			})
		}
	}
	return direct{}
}

// floatSize is the size of a scalar: prefixes 66 and F2 make it a double.
func floatSize(column int) uint8 {
	if column&1 != 0 {
		return 8
	}
	return 4
}

// vecOrMem is the r/m operand of in: a vector register, or memory.
func (t *translator) vecOrMem(i int, in *inst, size uint8) arg {
	if in.mod == 3 {
		return inReg(t.vec(vA, in.rm))
	}
	return t.operand(i, in, size, false)
}

// toGeneral makes the value of a general register of a vector register, or of
// from bytes of memory.
func (t *translator) toGeneral(i int, in *inst, opcode uint32, size, from uint8, imm ...byte) {
	a := &t.asm
	t.prepare(i, in.mod != 3, in.reg)
	m := t.vecOrMem(i, in, from)
	r := t.target(hA, in.reg)
	a.insn(opcode, size, r, m)
	a.bytes(imm...)
	t.finish(r, in.reg)
	t.wrote(in.reg)
}
