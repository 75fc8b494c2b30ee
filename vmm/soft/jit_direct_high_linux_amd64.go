package soft

// AH to BH are in the same host registers, and can be named where no REX
// prefix is: by instructions of registers, that are copied as they are.

// directHigh is the eight operations, and TEST, with AH to BH.
func (t *translator) directHigh(in *inst, alu uint8, leaves flagEffect) direct {
	if in.flags&instREX != 0 {
		return direct{}
	}
	effect := effSets | leaves
	if alu == aluADC || alu == aluSBB {
		effect |= effReads
	}
	logic := alu == aluOR || alu == aluAND || alu == aluXOR
	if in.mod != 3 {
		if in.opcode&2 != 0 { // the register is the destination
			return direct{}
		}
		return direct{effect: effect, emit: func(i int, in *inst) {
			t.prepare(i, true)
			if alu == aluADC || alu == aluSBB {
				t.toWord()
			}
			m := t.operand(i, in, 1, alu != aluCMP)
			t.highByte(in.reg)
			if alu == aluADC || alu == aluSBB {
				t.carry()
			}
			t.asm.aluTo(alu, 1, m, hA)
			t.define(i, logic, lazyFlags{})
		}}
	}
	return direct{effect: effect, emit: func(i int, in *inst) {
		slots := []uint8{in.rm & 3}
		if in.opcode < 0x40 && in.opcode&2 != 0 {
			slots[0] = in.reg & 3
		}
		if alu == aluCMP || in.opcode == 0x84 {
			slots = nil
		}
		t.prepare(i, false, slots...)
		if alu == aluADC || alu == aluSBB {
			t.carry()
		}
		t.asm.bytes(in.opcode, in.modrm)
		if in.opcode == 0x80 {
			t.asm.byte(byte(in.imm))
		}
		t.define(i, logic, lazyFlags{})
	}}
}

// highByte copies AH to BH, register n of 4 to 7, to hA. The flags go.
func (t *translator) highByte(n uint8) {
	a := &t.asm
	a.load(4, hA, inReg(n&3))
	a.shiftImm(5, 4, hA, 8)
}

// directMoveHigh is MOV with AH to BH.
func (t *translator) directMoveHigh(in *inst, leaves flagEffect) direct {
	switch {
	case in.flags&instREX != 0:
		return direct{}
	case in.mod != 3:
		return direct{effect: leaves, emit: func(i int, in *inst) {
			t.prepare(i, true)
			m := t.operand(i, in, 1, true)
			t.highByte(in.reg)
			t.asm.store(1, hA, m)
		}}
	}
	return direct{emit: func(i int, in *inst) {
		slot := in.rm & 3
		if in.opcode == 0x8a {
			slot = in.reg & 3
		}
		t.prepare(i, false, slot)
		t.asm.bytes(in.opcode, in.modrm)
		if in.opcode == 0xc6 {
			t.asm.byte(byte(in.imm))
		}
		t.wrote(slot)
	}}
}
