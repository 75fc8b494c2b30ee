package soft

import (
	"math/bits"

	"nvlab/vmm/soft/x86"
)

func registerALU() {
	for op := 0; op < 0x40; op += 8 {
		register(execALUToRM, op, op+1)
		register(execALUToReg, op+2, op+3)
		register(execALUToAX, op+4, op+5)
	}
	register(execALUImm, 0x80, 0x81, 0x83)
	register(execTestRM, 0x84, 0x85)
	register(execTestAX, 0xa8, 0xa9)
	register(execGroup3, 0xf6, 0xf7)
	register(execIncDec, 0xfe)
	register(execIMUL, 0x69, 0x6b, 0x1af)
	register(execXADD, 0x1c0, 0x1c1)
	register(execCMPXCHG, 0x1b0, 0x1b1)
	register(execGroup9, 0x1c7)
	register(execConvert, 0x98)
	register(execConvertDouble, 0x99)
	register(func(c *cpu, _ *x86.Inst) bool { c.setCF(c.cf() ^ 1); return true }, 0xf5)
	register(func(c *cpu, _ *x86.Inst) bool { c.setCF(0); return true }, 0xf8)
	register(func(c *cpu, _ *x86.Inst) bool { c.setCF(1); return true }, 0xf9)
	register(func(c *cpu, _ *x86.Inst) bool { c.flags &^= x86.FlagDF; return true }, 0xfc)
	register(func(c *cpu, _ *x86.Inst) bool { c.flags |= x86.FlagDF; return true }, 0xfd)
	register(execSAHF, 0x9e)
	register(execLAHF, 0x9f)
}

// alu computes a op b and sets the flags.
func (c *cpu) alu(op uint8, a, b uint64, size uint8) (r uint64) {
	switch op {
	case x86.AluADD:
		r = a + b
		c.flagsAdd(a, b, r, size)
	case x86.AluADC:
		r = a + b + c.cf()
		c.flagsAdd(a, b, r, size)
	case x86.AluSUB, x86.AluCMP:
		r = a - b
		c.flagsSub(a, b, r, size)
	case x86.AluSBB:
		r = a - b - c.cf()
		c.flagsSub(a, b, r, size)
	case x86.AluOR:
		r = a | b
		c.flagsLogic(r, size)
	case x86.AluAND:
		r = a & b
		c.flagsLogic(r, size)
	case x86.AluXOR:
		r = a ^ b
		c.flagsLogic(r, size)
	}
	return r
}

// aluRM does op between the r/m operand and b.
func (c *cpu) aluRM(in *x86.Inst, op uint8, b uint64) bool {
	if op == x86.AluCMP {
		a, ok := c.readRM(in, in.Size)
		if ok {
			c.alu(op, a, b, in.Size)
		}
		return ok
	}
	a, s, ok := c.readModify(in, in.Size)
	if ok {
		c.modify(in, in.Size, &s, c.alu(op, a, b, in.Size))
	}
	return ok
}

func execALUToRM(c *cpu, in *x86.Inst) bool {
	return c.aluRM(in, in.Opcode>>3, c.reg(in, in.Reg, in.Size))
}

func execALUImm(c *cpu, in *x86.Inst) bool {
	return c.aluRM(in, in.ModRM>>3&7, in.Imm)
}

func execALUToReg(c *cpu, in *x86.Inst) bool {
	b, ok := c.readRM(in, in.Size)
	if !ok {
		return false
	}
	op := in.Opcode >> 3
	r := c.alu(op, c.reg(in, in.Reg, in.Size), b, in.Size)
	if op != x86.AluCMP {
		c.setReg(in, in.Reg, in.Size, r)
	}
	return true
}

func execALUToAX(c *cpu, in *x86.Inst) bool {
	op := in.Opcode >> 3
	r := c.alu(op, c.reg(in, x86.RAX, in.Size), in.Imm, in.Size)
	if op != x86.AluCMP {
		c.setReg(in, x86.RAX, in.Size, r)
	}
	return true
}

func execTestRM(c *cpu, in *x86.Inst) bool {
	a, ok := c.readRM(in, in.Size)
	if ok {
		c.flagsLogic(a&c.reg(in, in.Reg, in.Size), in.Size)
	}
	return ok
}

func execTestAX(c *cpu, in *x86.Inst) bool {
	c.flagsLogic(c.reg(in, x86.RAX, in.Size)&in.Imm, in.Size)
	return true
}

func execGroup3(c *cpu, in *x86.Inst) bool {
	switch in.ModRM >> 3 & 7 {
	case 0, 1:
		a, ok := c.readRM(in, in.Size)
		if ok {
			c.flagsLogic(a&in.Imm, in.Size)
		}
		return ok
	case 2:
		a, s, ok := c.readModify(in, in.Size)
		if ok {
			c.modify(in, in.Size, &s, ^a)
		}
		return ok
	case 3:
		a, s, ok := c.readModify(in, in.Size)
		if ok {
			c.flagsSub(0, a, -a, in.Size)
			c.modify(in, in.Size, &s, -a)
		}
		return ok
	}
	a, ok := c.readRM(in, in.Size)
	if !ok {
		return false
	}
	switch in.ModRM >> 3 & 7 {
	case 4:
		c.mul(in.Size, a)
	case 5:
		c.imul(in.Size, a)
	case 6:
		return c.div(in.Size, a)
	case 7:
		return c.idiv(in.Size, a)
	}
	return true
}

// setDouble writes a product or a dividend's place: AX, or x86.RDX:x86.RAX.
func (c *cpu) setDouble(size uint8, hi, lo uint64) {
	switch size {
	case 1:
		c.r[x86.RAX] = c.r[x86.RAX]&^0xffff | hi&0xff<<8 | lo&0xff
	case 2:
		c.r[x86.RAX] = c.r[x86.RAX]&^0xffff | lo&0xffff
		c.r[x86.RDX] = c.r[x86.RDX]&^0xffff | hi&0xffff
	case 4:
		c.r[x86.RAX], c.r[x86.RDX] = uint64(uint32(lo)), uint64(uint32(hi))
	default:
		c.r[x86.RAX], c.r[x86.RDX] = lo, hi
	}
}

// double reads AX or x86.RDX:x86.RAX as two halves.
func (c *cpu) double(size uint8) (hi, lo uint64) {
	if size == 1 {
		return c.r[x86.RAX] >> 8 & 0xff, c.r[x86.RAX] & 0xff
	}
	m := x86.SizeMask(size)
	return c.r[x86.RDX] & m, c.r[x86.RAX] & m
}

// flagsMul sets CF and OF; the other flags, undefined, follow the result.
func (c *cpu) flagsMul(lo uint64, size uint8, overflow bool) {
	c.setResult(lo, size)
	c.fc = 0
	if overflow {
		c.fc = 1 << 63
	}
}

func (c *cpu) mul(size uint8, b uint64) {
	a := c.r[x86.RAX] & x86.SizeMask(size)
	hi, lo := bits.Mul64(a, b)
	if size < 8 {
		hi = lo >> (8 * size)
	}
	c.setDouble(size, hi, lo)
	c.flagsMul(lo, size, hi != 0)
}

// mulSigned is the double-length product of sign-extended operands.
func mulSigned(a, b uint64) (hi, lo uint64) {
	hi, lo = bits.Mul64(a, b)
	hi -= uint64(int64(a)>>63)&b + uint64(int64(b)>>63)&a
	return hi, lo
}

func (c *cpu) imul(size uint8, b uint64) {
	hi, lo := mulSigned(x86.SignExtend(c.r[x86.RAX], size), x86.SignExtend(b, size))
	overflow := hi != uint64(int64(lo)>>63)
	if size < 8 {
		overflow = x86.SignExtend(lo, size) != lo
		hi = lo >> (8 * size)
	}
	c.setDouble(size, hi, lo)
	c.flagsMul(lo, size, overflow)
}

func execIMUL(c *cpu, in *x86.Inst) bool {
	a, ok := c.readRM(in, in.Size)
	if !ok {
		return false
	}
	b := in.Imm
	if in.Op == 0x1af {
		b = x86.SignExtend(c.reg(in, in.Reg, in.Size), in.Size)
	}
	hi, lo := mulSigned(x86.SignExtend(a, in.Size), b)
	overflow := hi != uint64(int64(lo)>>63)
	if in.Size < 8 {
		overflow = x86.SignExtend(lo, in.Size) != lo
	}
	c.setReg(in, in.Reg, in.Size, lo)
	c.flagsMul(lo, in.Size, overflow)
	return true
}

func (c *cpu) div(size uint8, d uint64) bool {
	hi, lo := c.double(size)
	if hi >= d {
		return c.raise(excDE)
	}
	if size < 8 {
		n := hi<<(8*size) | lo
		c.setDouble(size, n%d, n/d)
		return true
	}
	q, r := bits.Div64(hi, lo, d)
	c.setDouble(8, r, q)
	return true
}

func (c *cpu) idiv(size uint8, b uint64) bool {
	hi, lo := c.double(size)
	d := int64(x86.SignExtend(b, size))
	if d == 0 {
		return c.raise(excDE)
	}
	if size < 8 {
		n := int64(x86.SignExtend(hi, size)<<(8*size) | lo)
		if d == -1 && n == -1<<63 {
			return c.raise(excDE)
		}
		q, r := n/d, n%d
		if int64(x86.SignExtend(uint64(q), size)) != q {
			return c.raise(excDE)
		}
		c.setDouble(size, uint64(r), uint64(q))
		return true
	}
	neg := int64(hi) < 0
	if neg {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	ad := uint64(d)
	if d < 0 {
		ad = -ad
	}
	if hi >= ad {
		return c.raise(excDE)
	}
	q, r := bits.Div64(hi, lo, ad)
	if neg {
		r = -r
	}
	if neg != (d < 0) {
		if q > 1<<63 {
			return c.raise(excDE)
		}
		q = -q
	} else if q > 1<<63-1 {
		return c.raise(excDE)
	}
	c.setDouble(8, r, q)
	return true
}

// incDec keeps CF.
func (c *cpu) incDec(a uint64, size uint8, dec bool) uint64 {
	cf := c.cf()
	var r uint64
	if dec {
		r = a - 1
		c.flagsSub(a, 1, r, size)
	} else {
		r = a + 1
		c.flagsAdd(a, 1, r, size)
	}
	c.setCF(cf)
	return r
}

func execIncDec(c *cpu, in *x86.Inst) bool {
	op := in.ModRM >> 3 & 7
	if op > 1 {
		return c.ud()
	}
	a, s, ok := c.readModify(in, in.Size)
	if ok {
		c.modify(in, in.Size, &s, c.incDec(a, in.Size, op == 1))
	}
	return ok
}

func execXADD(c *cpu, in *x86.Inst) bool {
	a, s, ok := c.readModify(in, in.Size)
	if !ok {
		return false
	}
	b := c.reg(in, in.Reg, in.Size)
	r := c.alu(x86.AluADD, a, b, in.Size)
	c.setReg(in, in.Reg, in.Size, a)
	c.modify(in, in.Size, &s, r)
	return true
}

func execCMPXCHG(c *cpu, in *x86.Inst) bool {
	a, s, ok := c.readModify(in, in.Size)
	if !ok {
		return false
	}
	old := c.reg(in, x86.RAX, in.Size)
	c.alu(x86.AluCMP, old, a, in.Size)
	if old == a {
		c.modify(in, in.Size, &s, c.reg(in, in.Reg, in.Size))
		return true
	}
	// Memory is written either way, with what it holds.
	if in.Mod != 3 {
		c.modify(in, in.Size, &s, a)
	}
	c.setReg(in, x86.RAX, in.Size, a)
	return true
}

// execGroup9 is CMPXCHG8B, CMPXCHG16B, RDRAND and RDSEED.
func execGroup9(c *cpu, in *x86.Inst) bool {
	op := in.ModRM >> 3 & 7
	if in.Mod == 3 {
		if op == 6 && in.Rep == 0 {
			return c.rdrand(in)
		}
		return c.ud()
	}
	if op != 1 {
		return c.ud()
	}
	size := uint8(4)
	if in.Size == 8 {
		size = 8
	}
	va := c.operandAddr(in)
	if size == 8 && va&15 != 0 {
		return c.gp(0)
	}
	s, ok := c.span(in.Seg, va, 2*size, accessWrite)
	if !ok || !c.canRead(&s) {
		return false
	}
	if size == 4 { // its 8 bytes are one access
		v, zf := c.read(&s), uint64(0)
		if v == c.r[x86.RAX]&0xffffffff|c.r[x86.RDX]<<32 {
			v, zf = c.r[x86.RBX]&0xffffffff|c.r[x86.RCX]<<32, x86.FlagZF
		} else {
			c.r[x86.RAX], c.r[x86.RDX] = v&0xffffffff, v>>32
		}
		c.write(&s, v) // with what it holds, if they differ
		c.setArith(c.arith()&^x86.FlagZF | zf)
		return true
	}
	los, his := s.part(0, size), s.part(size, size)
	lo, hi := c.read(&los), c.read(&his)
	m := x86.SizeMask(size)
	zf := uint64(0)
	if lo == c.r[x86.RAX]&m && hi == c.r[x86.RDX]&m {
		zf = x86.FlagZF
		c.write(&los, c.r[x86.RBX])
		c.write(&his, c.r[x86.RCX])
	} else {
		c.write(&los, lo)
		c.write(&his, hi)
		c.r[x86.RAX], c.r[x86.RDX] = lo, hi
	}
	c.setArith(c.arith()&^x86.FlagZF | zf)
	return true
}

// execConvert is CBW, CWDE, CDQE.
func execConvert(c *cpu, in *x86.Inst) bool {
	c.setReg(in, x86.RAX, in.Size, x86.SignExtend(c.r[x86.RAX], in.Size/2))
	return true
}

// execConvertDouble is CWD, CDQ, CQO.
func execConvertDouble(c *cpu, in *x86.Inst) bool {
	c.setReg(in, x86.RDX, in.Size, uint64(int64(x86.SignExtend(c.r[x86.RAX], in.Size))>>63))
	return true
}

func execSAHF(c *cpu, _ *x86.Inst) bool {
	const m = x86.FlagSF | x86.FlagZF | x86.FlagAF | x86.FlagPF | x86.FlagCF
	c.setArith(c.arith()&^m | c.r[x86.RAX]>>8&m)
	return true
}

func execLAHF(c *cpu, _ *x86.Inst) bool {
	f := c.arith()&0xff | x86.FlagOne
	c.r[x86.RAX] = c.r[x86.RAX]&^0xff00 | f<<8
	return true
}
