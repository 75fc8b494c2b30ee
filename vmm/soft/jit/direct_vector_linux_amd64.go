package jit

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// directVector is what SSE instructions do beyond package fp and plain moves.
func (t *translator) directVector(in *x86.Inst, leaves ir.FlagEffect) direct {
	column := x86.PrefixColumn(in.Prefix())
	mem := in.Mod != 3
	yes := func(effect ir.FlagEffect, emit func(i int, in *x86.Inst)) direct {
		return direct{effect: effect, vectors: true, emit: emit}
	}
	const none, p66, pF3, pF2 = 0, 1, 2, 3
	opcode := prefixes[column] | 0x0f00 | uint32(in.Opcode)
	between := func(_ int, in *x86.Inst) { t.modifyVec(opcode, in.Reg, in.RM) }
	switch in.Opcode {
	case 0x10:
		if !mem && column >= pF3 {
			return yes(0, between)
		}
	case 0x11:
		if !mem && column >= pF3 {
			return yes(0, func(_ int, in *x86.Inst) { t.modifyVec(opcode-1, in.RM, in.Reg) })
		}
	case 0x12, 0x16:
		switch {
		case column > p66:
		case mem:
			return yes(ir.EffLeaves, func(i int, in *x86.Inst) {
				o := t.memory(i, in)
				o.Dst = in.Reg
				t.loadHalf(i, &o, opcode)
			})
		case column == none: // MOVHLPS, MOVLHPS
			return yes(0, between)
		}
	case 0x13, 0x17:
		if mem && column <= p66 {
			return yes(ir.EffLeaves, func(i int, in *x86.Inst) {
				t.prepare(i, true)
				m := t.operand(i, in, 8, true)
				t.asm.Insn(opcode, 4, t.vec(vA, in.Reg), m)
			})
		}
	case 0x50:
		if !mem && column <= p66 {
			return yes(0, func(i int, in *x86.Inst) { t.toGeneral(i, in, opcode, 4, 16) })
		}
	case 0xc5:
		if !mem && column == p66 {
			return yes(0, func(i int, in *x86.Inst) { t.toGeneral(i, in, opcode, 4, 16, byte(in.Imm)) })
		}
	case 0x2a:
		if column >= pF3 && t.masked {
			return yes(leaves, func(i int, in *x86.Inst) {
				size := max(in.Size, 4)
				t.prepare(i, mem)
				m := t.operand(i, in, size, false)
				d := t.vec(vB, in.Reg)
				t.asm.Insn(opcode, size, d, m)
				t.finishVec(d, in.Reg)
			})
		}
	case 0x2c, 0x2d:
		if column >= pF3 && t.masked {
			return yes(leaves, func(i int, in *x86.Inst) { t.toGeneral(i, in, opcode, max(in.Size, 4), floatSize(column)) })
		}
	case 0x2e, 0x2f:
		if column <= p66 && t.masked {
			return yes(ir.EffSets|leaves, func(i int, in *x86.Inst) {
				t.prepare(i, mem)
				m := t.vecOrMem(i, in, floatSize(column))
				t.asm.Insn(opcode, 4, t.vec(vB, in.Reg), m)
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
func (t *translator) vecOrMem(i int, in *x86.Inst, size uint8) asm.Arg {
	if in.Mod == 3 {
		return asm.Reg(t.vec(vA, in.RM))
	}
	return t.operand(i, in, size, false)
}

// toGeneral makes the value of a general register of a vector register, or of
// from bytes of memory.
func (t *translator) toGeneral(i int, in *x86.Inst, opcode uint32, size, from uint8, imm ...byte) {
	a := &t.asm
	t.prepare(i, in.Mod != 3, in.Reg)
	m := t.vecOrMem(i, in, from)
	r := t.target(hA, in.Reg)
	a.Insn(opcode, size, r, m)
	a.Bytes(imm...)
	t.finish(r, in.Reg)
	t.wrote(in.Reg)
}
