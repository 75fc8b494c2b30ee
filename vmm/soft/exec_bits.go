package soft

import (
	"math/bits"

	"nvlab/vmm/soft/x86"
)

func registerBits() {
	register(execBitReg, 0x1a3, 0x1ab, 0x1b3, 0x1bb)
	register(execBitImm, 0x1ba)
	register(execBitScan, 0x1bc, 0x1bd)
	registerRange(execBSWAP, 0x1c8, 0x1cf)
}

func changeBit(op uint8, a, bit uint64) uint64 {
	switch op {
	case x86.BitBTS:
		return a | 1<<bit
	case x86.BitBTR:
		return a &^ (1 << bit)
	case x86.BitBTC:
		return a ^ 1<<bit
	}
	return a
}

// bitOp does op on bit n of the r/m operand at va, if in memory.
func (c *cpu) bitOp(in *x86.Inst, op uint8, va, n uint64) bool {
	bit := n & (8*uint64(in.Size) - 1)
	var a uint64
	var s span
	ok := true
	kind := accessWrite
	if op == x86.BitBT {
		kind = accessRead
	}
	if in.Mod == 3 {
		a = c.reg(in, in.RM, in.Size)
	} else if s, ok = c.span(in.Seg, va, in.Size, kind); ok {
		if ok = c.canRead(&s); ok {
			a = c.read(&s)
		}
	}
	if !ok {
		return false
	}
	c.setCF(a >> bit & 1)
	if op != x86.BitBT {
		c.modify(in, in.Size, &s, changeBit(op, a, bit))
	}
	return true
}

func execBitReg(c *cpu, in *x86.Inst) bool {
	n := c.reg(in, in.Reg, in.Size)
	var va uint64
	if in.Mod != 3 {
		// The register is a signed offset into a bit string.
		width := 8 * int64(in.Size)
		off := int64(x86.SignExtend(n, in.Size)) &^ (width - 1) >> 3
		a := *in
		a.Disp += uint64(off)
		va = c.operandAddr(&a)
	}
	return c.bitOp(in, in.Opcode>>3&3, va, n)
}

func execBitImm(c *cpu, in *x86.Inst) bool {
	op := in.ModRM >> 3 & 7
	if op < 4 {
		return c.ud()
	}
	var va uint64
	if in.Mod != 3 {
		va = c.operandAddr(in)
	}
	return c.bitOp(in, op&3, va, in.Imm)
}

// execBitScan is BSF and BSR. A REP prefix would make them TZCNT and LZCNT,
// which are not advertised. A zero source leaves the destination as it is.
func execBitScan(c *cpu, in *x86.Inst) bool {
	a, ok := c.readRM(in, in.Size)
	if !ok {
		return false
	}
	f := c.arith() &^ x86.FlagZF
	if a == 0 {
		c.setArith(f | x86.FlagZF)
		return true
	}
	c.setArith(f)
	if in.Opcode == 0xbc {
		c.setReg(in, in.Reg, in.Size, uint64(bits.TrailingZeros64(a)))
	} else {
		c.setReg(in, in.Reg, in.Size, uint64(63-bits.LeadingZeros64(a)))
	}
	return true
}

func execBSWAP(c *cpu, in *x86.Inst) bool {
	n := in.Opcode&7 | in.REX&1<<3
	switch in.Size {
	case 8:
		c.r[n] = bits.ReverseBytes64(c.r[n])
	case 4:
		c.r[n] = uint64(bits.ReverseBytes32(uint32(c.r[n])))
	default:
		c.setReg(in, n, 2, 0) // undefined; processors clear it
	}
	return true
}
