package soft

import "math/bits"

func registerBits() {
	register(execBitReg, 0x1a3, 0x1ab, 0x1b3, 0x1bb)
	register(execBitImm, 0x1ba)
	register(execBitScan, 0x1bc, 0x1bd)
	registerRange(execBSWAP, 0x1c8, 0x1cf)
}

// Bit operations in the order of opcode bits 4..3.
const (
	bitBT = iota
	bitBTS
	bitBTR
	bitBTC
)

func changeBit(op uint8, a, bit uint64) uint64 {
	switch op {
	case bitBTS:
		return a | 1<<bit
	case bitBTR:
		return a &^ (1 << bit)
	case bitBTC:
		return a ^ 1<<bit
	}
	return a
}

// bitOp does op on bit n of the r/m operand at va, if in memory.
func (c *cpu) bitOp(in *inst, op uint8, va, n uint64) bool {
	bit := n & (8*uint64(in.size) - 1)
	var a uint64
	var s span
	ok := true
	kind := accessWrite
	if op == bitBT {
		kind = accessRead
	}
	if in.mod == 3 {
		a = c.reg(in, in.rm, in.size)
	} else if s, ok = c.span(in.seg, va, in.size, kind); ok {
		if ok = c.canRead(&s); ok {
			a = c.read(&s)
		}
	}
	if !ok {
		return false
	}
	c.setCF(a >> bit & 1)
	if op != bitBT {
		c.modify(in, in.size, &s, changeBit(op, a, bit))
	}
	return true
}

func execBitReg(c *cpu, in *inst) bool {
	n := c.reg(in, in.reg, in.size)
	var va uint64
	if in.mod != 3 {
		// The register is a signed offset into a bit string.
		width := 8 * int64(in.size)
		off := int64(signExtend(n, in.size)) &^ (width - 1) >> 3
		a := *in
		a.disp += uint64(off)
		va = c.operandAddr(&a)
	}
	return c.bitOp(in, in.opcode>>3&3, va, n)
}

func execBitImm(c *cpu, in *inst) bool {
	op := in.modrm >> 3 & 7
	if op < 4 {
		return c.ud()
	}
	var va uint64
	if in.mod != 3 {
		va = c.operandAddr(in)
	}
	return c.bitOp(in, op&3, va, in.imm)
}

// execBitScan is BSF and BSR. A REP prefix would make them TZCNT and LZCNT,
// which are not advertised. A zero source leaves the destination as it is.
func execBitScan(c *cpu, in *inst) bool {
	a, ok := c.readRM(in, in.size)
	if !ok {
		return false
	}
	f := c.arith() &^ flagZF
	if a == 0 {
		c.setArith(f | flagZF)
		return true
	}
	c.setArith(f)
	if in.opcode == 0xbc {
		c.setReg(in, in.reg, in.size, uint64(bits.TrailingZeros64(a)))
	} else {
		c.setReg(in, in.reg, in.size, uint64(63-bits.LeadingZeros64(a)))
	}
	return true
}

func execBSWAP(c *cpu, in *inst) bool {
	n := in.opcode&7 | in.rex&1<<3
	switch in.size {
	case 8:
		c.r[n] = bits.ReverseBytes64(c.r[n])
	case 4:
		c.r[n] = uint64(bits.ReverseBytes32(uint32(c.r[n])))
	default:
		c.setReg(in, n, 2, 0) // undefined; processors clear it
	}
	return true
}
