package asm

import (
	"encoding/binary"

	"nvlab/vmm/soft/x86"
)

// Numbers of registers that are none.
const (
	None    = 255
	ripBase = 254 // the displacement is an offset of the code
)

// Arg is an r/m operand: a register, or memory at base+index<<scale+disp.
type Arg struct {
	Mem   bool
	Reg   uint8 // or base; None is none
	Index uint8
	Scale uint8
	Disp  int32
}

// Reg is a register as an operand.
func Reg(r uint8) Arg { return Arg{Reg: r, Index: None} }

// Mem is memory at base+disp.
func Mem(base uint8, disp int32) Arg {
	return Arg{Mem: true, Reg: base, Index: None, Disp: disp}
}

// InCode is a place among the code, for instructions without an immediate.
func InCode(off int) Arg { return Mem(ripBase, int32(off)) }

// Assembler writes host instructions (SDM 2). Registers are numbers as in ModRM,
// sizes bytes.
type Assembler struct {
	Code []byte
	Pos  int
	OK   bool // it fitted

	Watched uint8 // a register
	Touched bool  // it was an operand
}

// Byte, Bytes, Imm32 and imm64 write what they are given.

func (a *Assembler) Byte(v byte) {
	if a.Pos < len(a.Code) {
		a.Code[a.Pos] = v
		a.Pos++
		return
	}
	a.OK = false
}

func (a *Assembler) Bytes(v ...byte) {
	for _, x := range v {
		a.Byte(x)
	}
}

func (a *Assembler) Imm32(v uint32) {
	if a.Pos+4 <= len(a.Code) {
		binary.LittleEndian.PutUint32(a.Code[a.Pos:], v)
		a.Pos += 4
		return
	}
	a.OK = false
}

func (a *Assembler) imm64(v uint64) {
	a.Imm32(uint32(v))
	a.Imm32(uint32(v >> 32))
}

// Insn writes an instruction with a ModRM byte. Bits 8 and up of opcode are
// 0x0f for the 0F map and a mandatory prefix above. immBytes follow.
func (a *Assembler) Insn(opcode uint32, size, reg uint8, m Arg) {
	if reg == a.Watched || !m.Mem && m.Reg == a.Watched {
		a.Touched = true
	}
	if size == 2 {
		a.Byte(0x66)
	}
	if p := byte(opcode >> 16); p != 0 {
		a.Byte(p)
	}
	rex := byte(0)
	if size == 8 {
		rex = 0x48
	}
	if size == 1 && (reg >= 4 || !m.Mem && m.Reg >= 4) {
		rex |= 0x40
	}
	if reg >= 8 {
		rex |= 0x44
	}
	if m.Reg&^7 == 8 {
		rex |= 0x41
	}
	if m.Mem && m.Index != None && m.Index >= 8 {
		rex |= 0x42
	}
	if rex != 0 {
		a.Byte(rex)
	}
	if opcode&0xff00 != 0 {
		a.Byte(0x0f)
	}
	a.Byte(byte(opcode))
	reg = reg & 7 << 3
	if !m.Mem {
		a.Byte(0xc0 | reg | m.Reg&7)
		return
	}
	if m.Reg == None { // index<<scale+disp32, or disp32 alone
		x := byte(4)
		if m.Index != None {
			x = m.Index & 7
		}
		a.Bytes(reg|4, m.Scale<<6|x<<3|5)
		a.Imm32(uint32(m.Disp))
		return
	}
	if m.Reg == ripBase {
		a.Byte(reg | 5)
		a.Imm32(uint32(m.Disp) - uint32(a.Pos+4))
		return
	}
	mod := byte(0x80)
	switch {
	case m.Disp == 0 && m.Reg&7 != 5:
		mod = 0
	case m.Disp == int32(int8(m.Disp)):
		mod = 0x40
	}
	if m.Index != None {
		a.Bytes(mod|reg|4, m.Scale<<6|m.Index&7<<3|m.Reg&7)
	} else if m.Reg&7 == 4 {
		a.Bytes(mod|reg|4, 0x24)
	} else {
		a.Byte(mod | reg | m.Reg&7)
	}
	switch mod {
	case 0x40:
		a.Byte(byte(m.Disp))
	case 0x80:
		a.Imm32(uint32(m.Disp))
	}
}

// Immediate writes the immediate of an operand size.
func (a *Assembler) Immediate(size uint8, v int64) {
	switch size {
	case 1:
		a.Byte(byte(v))
	case 2:
		a.Bytes(byte(v), byte(v>>8))
	default:
		a.Imm32(uint32(v))
	}
}

// ByteOp is opcode, or the one below it for bytes.
func ByteOp(opcode uint32, size uint8) uint32 {
	if size == 1 {
		return opcode &^ 1
	}
	return opcode
}

// Load loads a register.
func (a *Assembler) Load(size, r uint8, m Arg) { a.Insn(ByteOp(0x8b, size), size, r, m) }

// LoadLow clears what is above.
func (a *Assembler) LoadLow(size, r uint8, m Arg) {
	if size < 4 {
		a.Insn(0x0fb5+uint32(size), 4, r, m) // movzx
	} else {
		a.Load(size, r, m)
	}
}

// Store stores one, and Lea makes it an address.

func (a *Assembler) Store(size, r uint8, m Arg) { a.Insn(ByteOp(0x89, size), size, r, m) }
func (a *Assembler) Lea(r uint8, m Arg)         { a.Insn(0x8d, 8, r, m) }

// Alu does one of the eight operations with a register as the destination.
func (a *Assembler) Alu(op uint8, size, r uint8, m Arg) {
	a.Insn(ByteOp(uint32(op)*8+3, size), size, r, m)
}

// AluTo does it with the r/m operand as the destination.
func (a *Assembler) AluTo(op uint8, size uint8, m Arg, r uint8) {
	a.Insn(ByteOp(uint32(op)*8+1, size), size, r, m)
}

// AluImm has a sign-extended 32-bit immediate.
func (a *Assembler) AluImm(op uint8, size uint8, m Arg, v int64) {
	if size != 1 && x86.SignExtend(uint64(v), size) == uint64(int8(v)) {
		a.Insn(0x83, size, op, m)
		a.Byte(byte(v))
		return
	}
	a.Insn(ByteOp(0x81, size), size, op, m)
	a.Immediate(size, v)
}

// MovImm loads a constant.
func (a *Assembler) MovImm(r uint8, v uint64) {
	a.Touched = a.Touched || r == a.Watched
	switch {
	case v == uint64(uint32(v)):
		if r >= 8 {
			a.Byte(0x41)
		}
		a.Byte(0xb8 | r&7)
		a.Imm32(uint32(v))
	case v == uint64(int32(v)):
		a.Insn(0xc7, 8, 0, Reg(r))
		a.Imm32(uint32(v))
	default:
		a.Bytes(0x48|r>>3, 0xb8|r&7)
		a.imm64(v)
	}
}

// StoreImm stores a sign-extended 32-bit immediate.
func (a *Assembler) StoreImm(size uint8, m Arg, v int64) {
	a.Insn(ByteOp(0xc7, size), size, 0, m)
	a.Immediate(size, v)
}

// ShiftImm does a shift of group 2 (0 ROL to 7 SAR).
func (a *Assembler) ShiftImm(op, size, r, n uint8) {
	a.Insn(0xc1, size, op, Reg(r))
	a.Byte(n)
}

// Jcc and jmp write a branch to be patched, and return where its rel32 is.
func (a *Assembler) Jcc(cc uint8) int {
	a.Bytes(0x0f, 0x80|cc)
	a.Imm32(0)
	return a.Pos - 4
}

// Jmp is Jcc that is always taken.
func (a *Assembler) Jmp() int {
	a.Byte(0xe9)
	a.Imm32(0)
	return a.Pos - 4
}

// JmpTo writes a branch to an offset of the code.
func (a *Assembler) JmpTo(to int) { a.Patch(a.Jmp(), to) }

// Patch makes the rel32 at an offset lead to another.
func (a *Assembler) Patch(at, to int) {
	if a.OK {
		binary.LittleEndian.PutUint32(a.Code[at:], uint32(to-at-4))
	}
}

// PatchImm changes the immediate of 4 bytes at an offset.
func (a *Assembler) PatchImm(at int, v uint32) {
	if a.OK {
		binary.LittleEndian.PutUint32(a.Code[at:], v)
	}
}

// Here makes the rel32 at an offset lead to the next instruction.
func (a *Assembler) Here(at int) { a.Patch(at, a.Pos) }
