package jit

import (
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit/asm"
	"nvlab/vmm/soft/x86"
)

// The guest's x87 registers stay in the processor. Each instruction loads what it
// needs to the host's FPU, under the guest's control word, has the host do it, and
// stores what comes of it, so that the host's stack is empty in between. All this
// is for the usual case: every exception is masked, and the stack does not
// overflow or underflow. Where it may be otherwise, and for what not all
// processors do alike, code is left before the instruction.

// Bits of the status word (SDM 1, 8.1.3).
const (
	x87Flags   = 0x3f
	x87Summary = 0x80
	x87C1      = 1 << 9
	x87Codes   = 1<<8 | x87C1 | 1<<10 | 1<<14
	x87Top     = 7 << 11
	x87TopOne  = 1 << 11
)

// Bits of the control word (SDM 1, 8.1.5).
const (
	x87Masks    = 0x3f
	x87Writable = 0x1f3f
	x87Reserved = 0x40 // reads as one
)

// directX87 is how an instruction D8 to DF is translated.
func (t *translator) directX87(in *x86.Inst) direct {
	b, ext := in.Opcode, in.ModRM>>3&7
	yes := func(emit func(i int, in *x86.Inst)) direct { return direct{effect: ir.EffLeaves, emit: emit} }
	if in.Mod != 3 {
		switch {
		case b&1 == 0: // D8, DA, DC, DE: arithmetic
			return yes(t.x87Memory)
		case ext == 0, b == 0xdb && ext == 5, b == 0xdf && ext == 5: // FLD, FILD
			return yes(t.x87Load)
		case ext == 2 || ext == 3, b == 0xdb && ext == 7, b == 0xdf && ext == 7: // FST, FSTP, FIST, FISTP
			return yes(t.x87Store)
		case b == 0xd9 && ext == 5:
			return yes(t.x87LoadControl)
		case b == 0xd9 && ext == 7, b == 0xdd && ext == 7: // FNSTCW, FNSTSW
			return yes(t.x87StoreWord)
		}
		return direct{}
	}
	switch {
	case (b == 0xd8 || b == 0xdc || b == 0xde) && ext&6 != 2: // arithmetic
		return yes(t.x87Registers)
	case b == 0xd8 && ext&6 == 2, b == 0xdd && ext&6 == 4, b == 0xda && in.ModRM == 0xe9, b == 0xde && in.ModRM == 0xd9: // FCOM, FUCOM
		return yes(t.x87Compare)
	case (b == 0xdb || b == 0xdf) && (ext == 5 || ext == 6): // FUCOMI, FCOMI
		return direct{effect: ir.EffSets | ir.EffLeaves, emit: t.x87CompareFlags}
	case b == 0xd9 && ext == 0: // FLD
		return yes(t.x87Copy)
	case b == 0xd9 && ext == 1: // FXCH
		return yes(t.x87Exchange)
	case b == 0xd9 && in.ModRM&^1 == 0xe0: // FCHS, FABS
		return yes(t.x87Sign)
	case b == 0xd9 && in.ModRM&^1 == 0xe4: // FTST, FXAM
		return yes(t.x87Examine)
	case b == 0xd9 && in.ModRM >= 0xe8 && in.ModRM <= 0xee: // FLD1 to FLDZ
		return yes(t.x87Constant)
	case b == 0xd9 && (in.ModRM == 0xfa || in.ModRM == 0xfc): // FSQRT, FRNDINT
		return yes(t.x87Unary)
	case b == 0xdd && ext&6 == 2: // FST, FSTP
		return yes(t.x87StoreRegister)
	case b == 0xdf && in.ModRM == 0xe0: // FNSTSW AX
		return direct{emit: func(i int, _ *x86.Inst) {
			t.prepare(i, false, x86.RAX)
			t.asm.Load(2, hAX, inCPU(t.cpu.X87.SW))
			t.wrote(x86.RAX)
		}}
	}
	return direct{}
}

// getX87 makes the host's FPU an empty one with the guest's control word, if
// nothing is unmasked and nothing waits. Go code uses no x87 instructions, so
// nobody minds what it finds there.
func (t *translator) getX87() {
	a := &t.asm
	a.LoadLow(2, hB, inCPU(t.cpu.X87.CW))
	a.AluImm(x86.AluAND, 4, asm.Reg(hB), x87Masks)
	a.AluImm(x86.AluCMP, 4, asm.Reg(hB), x87Masks)
	unmasked := a.Jcc(5)
	a.Insn(0xf6, 1, 0, inCPU(t.cpu.X87.SW)) // test
	a.Byte(x87Summary)
	waits := a.Jcc(5)
	a.Bytes(0xdb, 0xe3)                     // fninit
	a.Insn(0xd9, 4, 5, inCPU(t.cpu.X87.CW)) // fldcw
	a.StoreImm(4, t.crossing(offX87), 1)
	a.Here(unmasked)
	a.Here(waits)
}

// beginX87 begins op i, which is left before if one of the registers that it uses,
// ST(n), is empty.
func (t *translator) beginX87(i int, used ...uint8) {
	t.prepare(i, true)
	t.needX87(i)
	for _, n := range used {
		t.tag(n)
		t.bail(i, t.asm.Jcc(3))
	}
}

// needX87 makes the host's FPU ready for op i, which is left if it cannot be.
func (t *translator) needX87(i int) {
	a := &t.asm
	a.AluImm(x86.AluCMP, 4, t.crossing(offX87), 0)
	ready := a.Jcc(5)
	a.Bytes(0x4c, 0x8d, 0x35) // lea r14, [rip+5]
	a.Imm32(5)
	a.JmpTo(t.n.x87)
	a.AluImm(x86.AluCMP, 4, t.crossing(offX87), 0)
	t.bail(i, a.Jcc(4))
	a.Here(ready)
	a.Touched = true // hB, by the way
}

// isEmpty leaves before op i if ST(n) is in use. It uses hA and hB, as beginX87 does.
func (t *translator) isEmpty(i int, n uint8) {
	t.tag(n)
	t.bail(i, t.asm.Jcc(2))
}

// tag makes CF say that ST(n) is in use, hA its number and hB the tags.
func (t *translator) tag(n uint8) {
	a := &t.asm
	a.LoadLow(2, hA, inCPU(t.cpu.X87.SW))
	a.LoadLow(1, hB, inCPU(t.cpu.X87.Tag))
	a.ShiftImm(5, 4, hA, 11)
	if n != 0 {
		a.AluImm(x86.AluADD, 4, asm.Reg(hA), int64(n))
	}
	a.AluImm(x86.AluAND, 4, asm.Reg(hA), 7)
	a.Insn(0x0fa3, 4, hA, asm.Reg(hB)) // bt
}

// setTag says in the tags that ST(n) is in use, or that it is not.
func (t *translator) setTag(n uint8, used bool) {
	a := &t.asm
	t.tag(n)
	if used {
		a.Insn(0x0fab, 4, hA, asm.Reg(hB)) // bts
	} else {
		a.Insn(0x0fb3, 4, hA, asm.Reg(hB)) // btr
	}
	a.Store(1, hB, inCPU(t.cpu.X87.Tag))
}

// st is ST(n), in register r.
func (t *translator) st(r, n uint8) asm.Arg {
	a := &t.asm
	a.LoadLow(2, r, inCPU(t.cpu.X87.SW))
	a.ShiftImm(5, 4, r, 11-4)
	if n != 0 {
		a.AluImm(x86.AluADD, 4, asm.Reg(r), int64(n)<<4)
	}
	a.AluImm(x86.AluAND, 4, asm.Reg(r), 7<<4)
	return asm.Arg{Mem: true, Reg: hCPU, Index: r, Disp: int32(t.cpu.X87.R)}
}

// pushX87 and popX87 move a number from memory to the host's stack and back.
func (t *translator) pushX87(m asm.Arg) { t.asm.Insn(0xdb, 4, 5, m) }
func (t *translator) popX87(m asm.Arg)  { t.asm.Insn(0xdb, 4, 7, m) }

// status stores the host's status word, for note.
func (t *translator) status() { t.asm.Insn(0xdd, 4, 7, t.crossing(offScratch)) } // fnstsw

// noteX87 ends op i, which is in: C1 is cleared, these bits of the host's status are
// taken over, and the stack is popped so many times. -1 is a push, to a register that
// is in use already.
func (t *translator) noteX87(i int, in *x86.Inst, status int64, pops int) {
	a := &t.asm
	x := &t.cpu.X87
	for n := range max(pops, 0) {
		t.setTag(uint8(n), false)
	}
	a.LoadLow(2, hA, inCPU(x.SW))
	a.AluImm(x86.AluAND, 4, asm.Reg(hA), ^(x87C1 | status&x87Codes))
	if status != 0 {
		a.LoadLow(2, hB, t.crossing(offScratch))
		a.AluImm(x86.AluAND, 4, asm.Reg(hB), status)
		a.Alu(x86.AluOR, 4, hA, asm.Reg(hB))
	}
	if pops != 0 {
		a.Lea(hB, asm.Mem(hA, int32(pops)*x87TopOne))
		a.Alu(x86.AluXOR, 4, hB, asm.Reg(hA))
		a.AluImm(x86.AluAND, 4, asm.Reg(hB), x87Top)
		a.Alu(x86.AluXOR, 4, hA, asm.Reg(hB))
	}
	a.Store(2, hA, inCPU(x.SW))
	a.StoreImm(2, inCPU(x.FOP), int64(in.Opcode&7)<<8|int64(in.ModRM))
	t.pageAnd(int64(t.ops[i].PC))
	a.Store(8, hA, inCPU(x.FIP))
}

// noteOperand notes the address of the operand as well.
func (t *translator) noteOperand(o *ir.Op) {
	t.asm.Lea(hA, t.address(o))
	t.asm.Store(8, hA, inCPU(t.cpu.X87.FDP))
}

// x87Size is the length of a memory operand.
func x87Size(b, ext uint8) uint8 {
	switch {
	case b == 0xdb && ext >= 5:
		return 10
	case b >= 0xde && ext < 4 || b == 0xde:
		return 2
	case b >= 0xdc:
		return 8
	}
	return 4
}

// x87Memory is arithmetic and comparisons with memory.
func (t *translator) x87Memory(i int, in *x86.Inst) {
	a := &t.asm
	ext := in.ModRM >> 3 & 7
	t.beginX87(i, 0)
	o := t.memory(i, in)
	a.Lea(hB, t.locate(i, &o, x87Size(in.Opcode, ext), false, false))
	t.pushX87(t.st(hA, 0))
	compares := ext&6 == 2
	if compares {
		ext |= 1 // pops
	}
	a.Insn(uint32(in.Opcode), 4, ext, asm.Mem(hB, 0))
	t.status()
	if compares {
		t.noteX87(i, in, x87Flags|x87Codes&^x87C1, int(in.ModRM>>3&1))
	} else {
		t.popX87(t.st(hA, 0))
		t.noteX87(i, in, x87Flags|x87C1, 0)
	}
	t.noteOperand(&o)
}

// x87Load is FLD and FILD.
func (t *translator) x87Load(i int, in *x86.Inst) {
	ext := in.ModRM >> 3 & 7
	t.beginX87(i)
	t.isEmpty(i, 7)
	o := t.memory(i, in)
	t.asm.Insn(uint32(in.Opcode), 4, ext, t.locate(i, &o, x87Size(in.Opcode, ext), false, false))
	t.status()
	t.pushed(i, in, x87Flags)
	t.noteOperand(&o)
}

// pushed makes what the host's FPU has ST(0).
func (t *translator) pushed(i int, in *x86.Inst, status int64) {
	t.popX87(t.st(hA, 7))
	t.setTag(7, true)
	t.noteX87(i, in, status, -1)
}

// x87Store is FST, FSTP, FIST and FISTP.
func (t *translator) x87Store(i int, in *x86.Inst) {
	ext := in.ModRM >> 3 & 7
	t.beginX87(i, 0)
	o := t.memory(i, in)
	t.asm.Lea(hB, t.locate(i, &o, x87Size(in.Opcode, ext), true, false))
	t.pushX87(t.st(hA, 0))
	t.asm.Insn(uint32(in.Opcode), 4, ext|1, asm.Mem(hB, 0)) // pops
	t.status()
	t.noteX87(i, in, x87Flags|x87C1, int(ext&1))
	t.noteOperand(&o)
}

// x87LoadControl is FLDCW.
func (t *translator) x87LoadControl(i int, in *x86.Inst) {
	a := &t.asm
	t.beginX87(i)
	o := t.memory(i, in)
	a.LoadLow(2, hA, t.locate(i, &o, 2, false, false))
	a.Load(4, hB, asm.Reg(hA))
	a.AluImm(x86.AluAND, 4, asm.Reg(hB), x87Masks)
	a.AluImm(x86.AluCMP, 4, asm.Reg(hB), x87Masks)
	t.bail(i, a.Jcc(5))
	a.AluImm(x86.AluAND, 4, asm.Reg(hA), x87Writable)
	a.AluImm(x86.AluOR, 4, asm.Reg(hA), x87Reserved)
	a.Store(2, hA, inCPU(t.cpu.X87.CW))
	a.Insn(0xd9, 4, 5, inCPU(t.cpu.X87.CW))
}

// x87StoreWord is FNSTCW and FNSTSW.
func (t *translator) x87StoreWord(i int, in *x86.Inst) {
	a := &t.asm
	from := t.cpu.X87.CW
	if in.Opcode == 0xdd {
		from = t.cpu.X87.SW
	}
	t.prepare(i, true)
	o := t.memory(i, in)
	a.Lea(hB, t.locate(i, &o, 2, true, false))
	a.Load(2, hA, inCPU(from))
	a.Store(2, hA, asm.Mem(hB, 0))
}

// x87Registers is arithmetic with two registers. The reg field of DC and DE has
// subtraction and division the other way round than that of D8 (SDM 2, A.5).
func (t *translator) x87Registers(i int, in *x86.Inst) {
	ext, n := in.ModRM>>3&7, in.ModRM&7
	dst, pops := uint8(0), 0
	if in.Opcode != 0xd8 {
		dst = n
	}
	if in.Opcode == 0xde {
		pops = 1
	}
	t.beginX87(i, 0, n)
	t.pushX87(t.st(hA, 0))
	t.pushX87(t.st(hA, n))
	if ext >= 4 {
		ext ^= 1
	}
	t.asm.Bytes(0xde, 0xc1|ext<<3) // into ST(1), and pops
	t.status()
	t.popX87(t.st(hA, dst))
	t.noteX87(i, in, x87Flags|x87C1, pops)
}

// x87Compare is FCOM and FUCOM, and those that pop.
func (t *translator) x87Compare(i int, in *x86.Inst) {
	pops := int(in.ModRM >> 3 & 1)
	host := []byte{0xde, 0xd9} // fcompp
	switch in.Opcode {
	case 0xda:
		pops = 2
		host = []byte{0xda, 0xe9} // fucompp
	case 0xdd:
		host = []byte{0xda, 0xe9}
	case 0xde:
		pops = 2
	}
	t.compared(i, in.ModRM&7, host)
	t.status()
	t.noteX87(i, in, x87Flags|x87Codes&^x87C1, pops)
}

// compared has the host compare ST(0) with ST(n).
func (t *translator) compared(i int, n uint8, host []byte) {
	t.beginX87(i, 0, n)
	t.pushX87(t.st(hA, n))
	t.pushX87(t.st(hA, 0))
	t.asm.Bytes(host...)
}

// x87CompareFlags is FCOMI and FUCOMI, and those that pop. What C1 is then, makers do
// not agree on.
func (t *translator) x87CompareFlags(i int, in *x86.Inst) {
	a := &t.asm
	host := byte(0xe9) // fucomip
	if in.ModRM>>3&7 == 6 {
		host = 0xf1 // fcomip
	}
	t.compared(i, in.ModRM&7, []byte{0xdf, host})
	a.Load(8, hA, asm.Reg(hAX))
	a.Byte(0x9f)                                          // lahf
	a.Bytes(0x80, 0xe4, x86.FlagZF|x86.FlagPF|x86.FlagCF) // and ah
	a.Bytes(0x80, 0xcc, x86.FlagOne, 0xb0, 0)             // or ah; mov al, 0: OF
	a.Store(2, hAX, t.crossing(offFlagWord))
	a.Load(8, hAX, asm.Reg(hA))
	t.status()
	a.Bytes(0xdd, 0xd8) // fstp st(0)
	t.noteX87(i, in, x87Flags, int(in.Opcode>>2&1))
	t.defineWord(0)
}

// x87Copy is FLD of a register.
func (t *translator) x87Copy(i int, in *x86.Inst) {
	n := in.ModRM & 7
	t.beginX87(i, n)
	t.isEmpty(i, 7)
	t.pushX87(t.st(hA, n))
	t.pushed(i, in, 0)
}

// x87Exchange is FXCH.
func (t *translator) x87Exchange(i int, in *x86.Inst) {
	n := in.ModRM & 7
	t.beginX87(i, 0, n)
	other, top := t.st(hA, n), t.st(hB, 0)
	t.pushX87(other)
	t.pushX87(top)
	t.popX87(other)
	t.popX87(top)
	t.noteX87(i, in, 0, 0)
}

// x87Sign is FCHS and FABS.
func (t *translator) x87Sign(i int, in *x86.Inst) {
	t.beginX87(i, 0)
	sign := t.st(hA, 0)
	sign.Disp += 9
	if in.ModRM == 0xe0 {
		t.asm.AluImm(x86.AluXOR, 1, sign, 0x80)
	} else {
		t.asm.AluImm(x86.AluAND, 1, sign, 0x7f)
	}
	t.noteX87(i, in, 0, 0)
}

// x87Examine is FTST and FXAM.
func (t *translator) x87Examine(i int, in *x86.Inst) {
	t.beginX87(i, 0)
	t.pushX87(t.st(hA, 0))
	t.asm.Bytes(0xd9, in.ModRM)
	t.status()
	t.asm.Bytes(0xdd, 0xd8) // fstp st(0)
	status := int64(x87Flags | x87Codes&^x87C1)
	if in.ModRM == 0xe5 {
		status = x87Codes // C1 is the sign
	}
	t.noteX87(i, in, status, 0)
}

// x87Constant is FLD1 and its kin.
func (t *translator) x87Constant(i int, in *x86.Inst) {
	t.beginX87(i)
	t.isEmpty(i, 7)
	t.asm.Bytes(0xd9, in.ModRM)
	t.pushed(i, in, 0)
}

// x87Unary is FSQRT and FRNDINT.
func (t *translator) x87Unary(i int, in *x86.Inst) {
	t.beginX87(i, 0)
	t.pushX87(t.st(hA, 0))
	t.asm.Bytes(0xd9, in.ModRM)
	t.status()
	t.popX87(t.st(hA, 0))
	t.noteX87(i, in, x87Flags|x87C1, 0)
}

// x87StoreRegister is FST and FSTP to a register.
func (t *translator) x87StoreRegister(i int, in *x86.Inst) {
	n := in.ModRM & 7
	t.beginX87(i, 0)
	t.pushX87(t.st(hA, 0))
	t.popX87(t.st(hA, n))
	t.setTag(n, true)
	t.noteX87(i, in, 0, int(in.ModRM>>3&1))
}
