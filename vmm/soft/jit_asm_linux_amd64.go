package soft

import "encoding/binary"

// Host registers, by number. Guest rAX to r10 live in the registers of the
// same number but for rSP, which lives in hSP; guest r11 to r15 live in memory
// but for one at a time, in hCached.
const (
	hAX     = 0
	hCX     = 1
	hDX     = 2
	hCPU    = 4 // the processor: code uses no stack
	hLeft   = 11
	hSP     = 12 // guest rSP
	hCached = 13 // see cachedSlot
	hA      = 14 // scratch
	hB      = 15
	hNo     = 255 // no register
	hCode   = 254 // RIP: the displacement is an offset of the code

	ownRegister = 11 // guest registers below have one
)

// arg is an r/m operand: a register, or memory at base+index<<scale+disp.
type arg struct {
	mem   bool
	reg   uint8 // or base; hNo is none
	index uint8
	scale uint8
	disp  int32
}

func inReg(r uint8) arg { return arg{reg: r, index: hNo} }

func inMem(base uint8, disp int32) arg { return arg{mem: true, reg: base, index: hNo, disp: disp} }

// inCode is a place among the code, for instructions without an immediate.
func inCode(off int) arg { return inMem(hCode, int32(off)) }

// inCPU is a field of the processor.
func inCPU(off uintptr) arg { return inMem(hCPU, int32(off)) }

// assembler writes host instructions (SDM 2).
type assembler struct {
	b   []byte // the writable view of the code
	pos int
	ok  bool // it fitted

	touched bool // hB was an operand
}

func (a *assembler) byte(v byte) {
	if a.pos < len(a.b) {
		a.b[a.pos] = v
		a.pos++
		return
	}
	a.ok = false
}

func (a *assembler) bytes(v ...byte) {
	for _, x := range v {
		a.byte(x)
	}
}

func (a *assembler) imm32(v uint32) {
	if a.pos+4 <= len(a.b) {
		binary.LittleEndian.PutUint32(a.b[a.pos:], v)
		a.pos += 4
		return
	}
	a.ok = false
}

func (a *assembler) imm64(v uint64) {
	a.imm32(uint32(v))
	a.imm32(uint32(v >> 32))
}

// insn writes an instruction with a ModRM byte. Bits 8 and up of opcode are
// 0x0f for the 0F map and a mandatory prefix above. immBytes follow.
func (a *assembler) insn(opcode uint32, size, reg uint8, m arg) {
	if reg == hB || !m.mem && m.reg == hB {
		a.touched = true
	}
	if size == 2 {
		a.byte(0x66)
	}
	if p := byte(opcode >> 16); p != 0 {
		a.byte(p)
	}
	rex := byte(0)
	if size == 8 {
		rex = 0x48
	}
	if size == 1 && (reg >= 4 || !m.mem && m.reg >= 4) {
		rex |= 0x40
	}
	if reg >= 8 {
		rex |= 0x44
	}
	if m.reg&^7 == 8 {
		rex |= 0x41
	}
	if m.mem && m.index != hNo && m.index >= 8 {
		rex |= 0x42
	}
	if rex != 0 {
		a.byte(rex)
	}
	if opcode&0xff00 != 0 {
		a.byte(0x0f)
	}
	a.byte(byte(opcode))
	reg = reg & 7 << 3
	if !m.mem {
		a.byte(0xc0 | reg | m.reg&7)
		return
	}
	if m.reg == hNo { // index<<scale+disp32, or disp32 alone
		x := byte(4)
		if m.index != hNo {
			x = m.index & 7
		}
		a.bytes(reg|4, m.scale<<6|x<<3|5)
		a.imm32(uint32(m.disp))
		return
	}
	if m.reg == hCode {
		a.byte(reg | 5)
		a.imm32(uint32(m.disp) - uint32(a.pos+4))
		return
	}
	mod := byte(0x80)
	switch {
	case m.disp == 0 && m.reg&7 != 5:
		mod = 0
	case m.disp == int32(int8(m.disp)):
		mod = 0x40
	}
	if m.index != hNo {
		a.bytes(mod|reg|4, m.scale<<6|m.index&7<<3|m.reg&7)
	} else if m.reg&7 == 4 {
		a.bytes(mod|reg|4, 0x24)
	} else {
		a.byte(mod | reg | m.reg&7)
	}
	switch mod {
	case 0x40:
		a.byte(byte(m.disp))
	case 0x80:
		a.imm32(uint32(m.disp))
	}
}

// immediate writes the immediate of an operand size.
func (a *assembler) immediate(size uint8, v int64) {
	switch size {
	case 1:
		a.byte(byte(v))
	case 2:
		a.bytes(byte(v), byte(v>>8))
	default:
		a.imm32(uint32(v))
	}
}

// byteOp is opcode, or the one below it for bytes.
func byteOp(opcode uint32, size uint8) uint32 {
	if size == 1 {
		return opcode &^ 1
	}
	return opcode
}

func (a *assembler) load(size, r uint8, m arg) { a.insn(byteOp(0x8b, size), size, r, m) }

// loadLow clears what is above.
func (a *assembler) loadLow(size, r uint8, m arg) {
	if size < 4 {
		a.insn(0x0fb5+uint32(size), 4, r, m) // movzx
	} else {
		a.load(size, r, m)
	}
}

func (a *assembler) store(size, r uint8, m arg) { a.insn(byteOp(0x89, size), size, r, m) }
func (a *assembler) lea(r uint8, m arg)         { a.insn(0x8d, 8, r, m) }

// alu does one of the eight operations with a register as the destination.
func (a *assembler) alu(op uint8, size, r uint8, m arg) {
	a.insn(byteOp(uint32(op)*8+3, size), size, r, m)
}

// aluTo does it with the r/m operand as the destination.
func (a *assembler) aluTo(op uint8, size uint8, m arg, r uint8) {
	a.insn(byteOp(uint32(op)*8+1, size), size, r, m)
}

// aluImm has a sign-extended 32-bit immediate.
func (a *assembler) aluImm(op uint8, size uint8, m arg, v int64) {
	if size != 1 && signExtend(uint64(v), size) == uint64(int8(v)) {
		a.insn(0x83, size, op, m)
		a.byte(byte(v))
		return
	}
	a.insn(byteOp(0x81, size), size, op, m)
	a.immediate(size, v)
}

// movImm loads a constant.
func (a *assembler) movImm(r uint8, v uint64) {
	a.touched = a.touched || r == hB
	switch {
	case v == uint64(uint32(v)):
		if r >= 8 {
			a.byte(0x41)
		}
		a.byte(0xb8 | r&7)
		a.imm32(uint32(v))
	case v == uint64(int32(v)):
		a.insn(0xc7, 8, 0, inReg(r))
		a.imm32(uint32(v))
	default:
		a.bytes(0x48|r>>3, 0xb8|r&7)
		a.imm64(v)
	}
}

// storeImm stores a sign-extended 32-bit immediate.
func (a *assembler) storeImm(size uint8, m arg, v int64) {
	a.insn(byteOp(0xc7, size), size, 0, m)
	a.immediate(size, v)
}

// shiftImm does a shift of group 2 (0 ROL to 7 SAR).
func (a *assembler) shiftImm(op, size, r, n uint8) {
	a.insn(0xc1, size, op, inReg(r))
	a.byte(n)
}

// jcc and jmp write a branch to be patched, and return where its rel32 is.
func (a *assembler) jcc(cc uint8) int {
	a.bytes(0x0f, 0x80|cc)
	a.imm32(0)
	return a.pos - 4
}

func (a *assembler) jmp() int {
	a.byte(0xe9)
	a.imm32(0)
	return a.pos - 4
}

// jmpTo writes a branch to an offset of the code.
func (a *assembler) jmpTo(to int) { a.patch(a.jmp(), to) }

// patch makes the rel32 at an offset lead to another.
func (a *assembler) patch(at, to int) {
	if a.ok {
		binary.LittleEndian.PutUint32(a.b[at:], uint32(to-at-4))
	}
}

// patchImm changes the immediate of 4 bytes at an offset.
func (a *assembler) patchImm(at int, v uint32) {
	if a.ok {
		binary.LittleEndian.PutUint32(a.b[at:], v)
	}
}

// here makes the rel32 at an offset lead to the next instruction.
func (a *assembler) here(at int) { a.patch(at, a.pos) }
