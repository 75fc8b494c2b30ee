package jit

import (
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// shifts says whether directShift translates in.
func (t *translator) shifts(in *x86.Inst) bool {
	ext := in.ModRM >> 3 & 7
	if ext == x86.ShiftRCL || ext == x86.ShiftRCR || !in.RMIsLow() {
		return false
	}
	switch in.Opcode {
	case 0xc0, 0xc1:
		// Beyond the width, what the flags are is the processor's choice.
		n := x86.ShiftCount(in.Imm, in.Size)
		return n > 0 && n <= 8*uint64(in.Size)
	case 0xd2, 0xd3:
		return in.Size >= 4
	}
	return true
}

// directShift is the shifts and rotates that have no op: of bytes, words and
// memory.
func (t *translator) directShift(i int, in *x86.Inst) {
	a := &t.asm
	ext, size := in.ModRM>>3&7, in.Size
	if ext == x86.ShiftSHL2 {
		ext = x86.ShiftSHL
	}
	cl := in.Opcode == 0xd2 || in.Opcode == 0xd3
	n := byte(1)
	if in.Opcode == 0xc0 || in.Opcode == 0xc1 {
		n = byte(x86.ShiftCount(in.Imm, size))
	}
	live := t.live[i]
	rotate := ext < x86.ShiftRCL
	t.prepare(i, in.Mod != 3, written(in)...)
	if live {
		t.toWord()
	}
	m := t.operand(i, in, size, true)
	m, end := t.wholly(m, size)
	shift := func() {
		if cl {
			a.Insn(0xd3, size, ext, m)
		} else {
			a.Insn(asm.ByteOp(0xc1, size), size, ext, m)
			a.Byte(n)
		}
	}
	if !live {
		shift()
		end()
		t.define(i, false, lazyFlags{})
		t.wrote(written(in)...)
		return
	}
	skip := 0
	if cl {
		a.Insn(0xf6, 1, 0, asm.Reg(hCX)) // test cl, imm8
		a.Byte(8*size - 1)
		skip = a.Jcc(4)
	}
	if ext == x86.ShiftSHR {
		a.Load(size, hA, m)
		a.Store(8, hA, t.crossing(offSpill))
	}
	shift()
	if rotate {
		switch size {
		case 1, 2:
			a.Insn(0x0fb5+uint32(size), 8, hB, m) // movzx
		default:
			a.Load(size, hB, m)
		}
		end()
		t.rotated(size, hB, ext)
	} else {
		end()
		t.shifted(size, ext, t.crossing(offSpill))
	}
	if cl {
		a.Here(skip)
	}
	t.wrote(written(in)...)
	t.defineWord(0)
}

// directDoubleShift is SHLD and SHRD.
func (t *translator) directDoubleShift(i int, in *x86.Inst) {
	t.prepare(i, in.Mod != 3, written(in)...)
	if t.live[i] {
		t.toWord()
	}
	n := int(x86.ShiftCount(in.Imm, in.Size))
	if in.Opcode&1 != 0 {
		n = inCL
	}
	t.doubleShift(i, uint32(in.Opcode), in.Size, t.operand(i, in, in.Size, true), in.Reg, n)
	t.wrote(written(in)...)
}

// inCL is a count that CL has.
const inCL = -1

// doubleShift shifts m, and bits of slot src into it.
func (t *translator) doubleShift(i int, opcode uint32, size uint8, m asm.Arg, src uint8, n int) {
	a := &t.asm
	live := t.live[i]
	m, end := t.wholly(m, size)
	skip := 0
	if live && n == inCL {
		a.Insn(0xf6, 1, 0, asm.Reg(hCX)) // test cl, imm8
		a.Byte(8*size - 1)
		skip = a.Jcc(4)
	}
	if live {
		a.Load(size, hA, m)
		a.Store(8, hA, t.crossing(offSpill))
	}
	a.Insn(0x0f00|opcode, size, t.into(hA, src), m)
	if n != inCL {
		a.Byte(byte(n))
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
	a.Load(8, hA, asm.Reg(hAX))
	a.Byte(0x9f)                          // lahf
	a.Bytes(0x80, 0xe4, 0xff&^x86.FlagAF) // and ah, imm8
	a.Store(2, hAX, t.crossing(offFlagWord))
	a.Load(8, hAX, asm.Reg(hA))
	// OF is the change of the top bit, whatever the count.
	a.Load(size, hA, m)
	a.Alu(x86.AluXOR, size, hA, t.crossing(offSpill))
	a.ShiftImm(5, size, hA, 8*size-1)
	a.Store(1, hA, t.crossing(offFlagWord))
	end()
	if n == inCL {
		done := a.Jmp()
		a.Here(skip)
		if !m.Mem && size == 4 {
			a.Load(4, m.Reg, m) // clears the upper half
			end()
		}
		a.Here(done)
	}
	t.defineWord(0)
}
