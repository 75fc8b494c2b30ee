package jit

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// AH to BH are in the same host registers, and can be named where no REX
// prefix is: by instructions of registers, that are copied as they are.

// directHigh is the eight operations, and TEST, with AH to BH.
func (t *translator) directHigh(in *x86.Inst, alu uint8, leaves ir.FlagEffect) direct {
	if in.Flags&x86.PrefixREX != 0 {
		return direct{}
	}
	effect := ir.EffSets | leaves
	if alu == x86.AluADC || alu == x86.AluSBB {
		effect |= ir.EffReads
	}
	logic := alu == x86.AluOR || alu == x86.AluAND || alu == x86.AluXOR
	if in.Mod != 3 {
		if in.Opcode&2 != 0 { // the register is the destination
			return direct{}
		}
		return direct{effect: effect, emit: func(i int, in *x86.Inst) {
			t.prepare(i, true)
			if alu == x86.AluADC || alu == x86.AluSBB {
				t.toWord()
			}
			m := t.operand(i, in, 1, alu != x86.AluCMP)
			t.highByte(in.Reg)
			if alu == x86.AluADC || alu == x86.AluSBB {
				t.carry()
			}
			t.asm.AluTo(alu, 1, m, hA)
			t.define(i, logic, lazyFlags{})
		}}
	}
	return direct{effect: effect, emit: func(i int, in *x86.Inst) {
		slots := []uint8{in.RM & 3}
		if in.Opcode < 0x40 && in.Opcode&2 != 0 {
			slots[0] = in.Reg & 3
		}
		if alu == x86.AluCMP || in.Opcode == 0x84 {
			slots = nil
		}
		t.prepare(i, false, slots...)
		if alu == x86.AluADC || alu == x86.AluSBB {
			t.carry()
		}
		t.asm.Bytes(in.Opcode, in.ModRM)
		if in.Opcode == 0x80 {
			t.asm.Byte(byte(in.Imm))
		}
		t.define(i, logic, lazyFlags{})
	}}
}

// highByte copies AH to BH, register n of 4 to 7, to hA. The flags go.
func (t *translator) highByte(n uint8) {
	a := &t.asm
	a.Load(4, hA, asm.Reg(n&3))
	a.ShiftImm(5, 4, hA, 8)
}

// directMoveHigh is MOV with AH to BH.
func (t *translator) directMoveHigh(in *x86.Inst, leaves ir.FlagEffect) direct {
	switch {
	case in.Flags&x86.PrefixREX != 0:
		return direct{}
	case in.Mod != 3:
		return direct{effect: leaves, emit: func(i int, in *x86.Inst) {
			t.prepare(i, true)
			m := t.operand(i, in, 1, true)
			t.highByte(in.Reg)
			t.asm.Store(1, hA, m)
		}}
	}
	return direct{emit: func(i int, in *x86.Inst) {
		slot := in.RM & 3
		if in.Opcode == 0x8a {
			slot = in.Reg & 3
		}
		t.prepare(i, false, slot)
		t.asm.Bytes(in.Opcode, in.ModRM)
		if in.Opcode == 0xc6 {
			t.asm.Byte(byte(in.Imm))
		}
		t.wrote(slot)
	}}
}
