package soft

import "math/bits"

// Arithmetic and logic in the order of opcode bits 5..3.
const (
	aluADD = iota
	aluOR
	aluADC
	aluSBB
	aluAND
	aluSUB
	aluXOR
	aluCMP
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
	register(func(c *cpu, _ *inst) bool { c.setCF(c.cf() ^ 1); return true }, 0xf5)
	register(func(c *cpu, _ *inst) bool { c.setCF(0); return true }, 0xf8)
	register(func(c *cpu, _ *inst) bool { c.setCF(1); return true }, 0xf9)
	register(func(c *cpu, _ *inst) bool { c.flags &^= flagDF; return true }, 0xfc)
	register(func(c *cpu, _ *inst) bool { c.flags |= flagDF; return true }, 0xfd)
	register(execSAHF, 0x9e)
	register(execLAHF, 0x9f)
}

// alu computes a op b and sets the flags.
func (c *cpu) alu(op uint8, a, b uint64, size uint8) (r uint64) {
	switch op {
	case aluADD:
		r = a + b
		c.flagsAdd(a, b, r, size)
	case aluADC:
		r = a + b + c.cf()
		c.flagsAdd(a, b, r, size)
	case aluSUB, aluCMP:
		r = a - b
		c.flagsSub(a, b, r, size)
	case aluSBB:
		r = a - b - c.cf()
		c.flagsSub(a, b, r, size)
	case aluOR:
		r = a | b
		c.flagsLogic(r, size)
	case aluAND:
		r = a & b
		c.flagsLogic(r, size)
	case aluXOR:
		r = a ^ b
		c.flagsLogic(r, size)
	}
	return r
}

// aluRM does op between the r/m operand and b.
func (c *cpu) aluRM(in *inst, op uint8, b uint64) bool {
	if op == aluCMP {
		a, ok := c.readRM(in, in.size)
		if ok {
			c.alu(op, a, b, in.size)
		}
		return ok
	}
	a, s, ok := c.readModify(in, in.size)
	if ok {
		c.modify(in, in.size, &s, c.alu(op, a, b, in.size))
	}
	return ok
}

func execALUToRM(c *cpu, in *inst) bool {
	return c.aluRM(in, in.opcode>>3, c.reg(in, in.reg, in.size))
}

func execALUImm(c *cpu, in *inst) bool {
	return c.aluRM(in, in.modrm>>3&7, in.imm)
}

func execALUToReg(c *cpu, in *inst) bool {
	b, ok := c.readRM(in, in.size)
	if !ok {
		return false
	}
	op := in.opcode >> 3
	r := c.alu(op, c.reg(in, in.reg, in.size), b, in.size)
	if op != aluCMP {
		c.setReg(in, in.reg, in.size, r)
	}
	return true
}

func execALUToAX(c *cpu, in *inst) bool {
	op := in.opcode >> 3
	r := c.alu(op, c.reg(in, rAX, in.size), in.imm, in.size)
	if op != aluCMP {
		c.setReg(in, rAX, in.size, r)
	}
	return true
}

func execTestRM(c *cpu, in *inst) bool {
	a, ok := c.readRM(in, in.size)
	if ok {
		c.flagsLogic(a&c.reg(in, in.reg, in.size), in.size)
	}
	return ok
}

func execTestAX(c *cpu, in *inst) bool {
	c.flagsLogic(c.reg(in, rAX, in.size)&in.imm, in.size)
	return true
}

func execGroup3(c *cpu, in *inst) bool {
	switch in.modrm >> 3 & 7 {
	case 0, 1:
		a, ok := c.readRM(in, in.size)
		if ok {
			c.flagsLogic(a&in.imm, in.size)
		}
		return ok
	case 2:
		a, s, ok := c.readModify(in, in.size)
		if ok {
			c.modify(in, in.size, &s, ^a)
		}
		return ok
	case 3:
		a, s, ok := c.readModify(in, in.size)
		if ok {
			c.flagsSub(0, a, -a, in.size)
			c.modify(in, in.size, &s, -a)
		}
		return ok
	}
	a, ok := c.readRM(in, in.size)
	if !ok {
		return false
	}
	switch in.modrm >> 3 & 7 {
	case 4:
		c.mul(in.size, a)
	case 5:
		c.imul(in.size, a)
	case 6:
		return c.div(in.size, a)
	case 7:
		return c.idiv(in.size, a)
	}
	return true
}

// setDouble writes a product or a dividend's place: AX, or rDX:rAX.
func (c *cpu) setDouble(size uint8, hi, lo uint64) {
	switch size {
	case 1:
		c.r[rAX] = c.r[rAX]&^0xffff | hi&0xff<<8 | lo&0xff
	case 2:
		c.r[rAX] = c.r[rAX]&^0xffff | lo&0xffff
		c.r[rDX] = c.r[rDX]&^0xffff | hi&0xffff
	case 4:
		c.r[rAX], c.r[rDX] = uint64(uint32(lo)), uint64(uint32(hi))
	default:
		c.r[rAX], c.r[rDX] = lo, hi
	}
}

// double reads AX or rDX:rAX as two halves.
func (c *cpu) double(size uint8) (hi, lo uint64) {
	if size == 1 {
		return c.r[rAX] >> 8 & 0xff, c.r[rAX] & 0xff
	}
	m := sizeMask(size)
	return c.r[rDX] & m, c.r[rAX] & m
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
	a := c.r[rAX] & sizeMask(size)
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
	hi, lo := mulSigned(signExtend(c.r[rAX], size), signExtend(b, size))
	overflow := hi != uint64(int64(lo)>>63)
	if size < 8 {
		overflow = signExtend(lo, size) != lo
		hi = lo >> (8 * size)
	}
	c.setDouble(size, hi, lo)
	c.flagsMul(lo, size, overflow)
}

func execIMUL(c *cpu, in *inst) bool {
	a, ok := c.readRM(in, in.size)
	if !ok {
		return false
	}
	b := in.imm
	if in.op == 0x1af {
		b = signExtend(c.reg(in, in.reg, in.size), in.size)
	}
	hi, lo := mulSigned(signExtend(a, in.size), b)
	overflow := hi != uint64(int64(lo)>>63)
	if in.size < 8 {
		overflow = signExtend(lo, in.size) != lo
	}
	c.setReg(in, in.reg, in.size, lo)
	c.flagsMul(lo, in.size, overflow)
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
	d := int64(signExtend(b, size))
	if d == 0 {
		return c.raise(excDE)
	}
	if size < 8 {
		n := int64(signExtend(hi, size)<<(8*size) | lo)
		if d == -1 && n == -1<<63 {
			return c.raise(excDE)
		}
		q, r := n/d, n%d
		if int64(signExtend(uint64(q), size)) != q {
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

func execIncDec(c *cpu, in *inst) bool {
	op := in.modrm >> 3 & 7
	if op > 1 {
		return c.ud()
	}
	a, s, ok := c.readModify(in, in.size)
	if ok {
		c.modify(in, in.size, &s, c.incDec(a, in.size, op == 1))
	}
	return ok
}

func execXADD(c *cpu, in *inst) bool {
	a, s, ok := c.readModify(in, in.size)
	if !ok {
		return false
	}
	b := c.reg(in, in.reg, in.size)
	r := c.alu(aluADD, a, b, in.size)
	c.setReg(in, in.reg, in.size, a)
	c.modify(in, in.size, &s, r)
	return true
}

func execCMPXCHG(c *cpu, in *inst) bool {
	a, s, ok := c.readModify(in, in.size)
	if !ok {
		return false
	}
	old := c.reg(in, rAX, in.size)
	c.alu(aluCMP, old, a, in.size)
	if old == a {
		c.modify(in, in.size, &s, c.reg(in, in.reg, in.size))
		return true
	}
	// Memory is written either way, with what it holds.
	if in.mod != 3 {
		c.modify(in, in.size, &s, a)
	}
	c.setReg(in, rAX, in.size, a)
	return true
}

// execGroup9 is CMPXCHG8B, CMPXCHG16B, RDRAND and RDSEED.
func execGroup9(c *cpu, in *inst) bool {
	op := in.modrm >> 3 & 7
	if in.mod == 3 {
		if op == 6 && in.rep == 0 {
			return c.rdrand(in)
		}
		return c.ud()
	}
	if op != 1 {
		return c.ud()
	}
	size := uint8(4)
	if in.size == 8 {
		size = 8
	}
	va := c.operandAddr(in)
	if size == 8 && va&15 != 0 {
		return c.gp(0)
	}
	s, ok := c.span(in.seg, va, 2*size, accessWrite)
	if !ok || !c.canRead(&s) {
		return false
	}
	if size == 4 { // its 8 bytes are one access
		v, zf := c.read(&s), uint64(0)
		if v == c.r[rAX]&0xffffffff|c.r[rDX]<<32 {
			v, zf = c.r[rBX]&0xffffffff|c.r[rCX]<<32, flagZF
		} else {
			c.r[rAX], c.r[rDX] = v&0xffffffff, v>>32
		}
		c.write(&s, v) // with what it holds, if they differ
		c.setArith(c.arith()&^flagZF | zf)
		return true
	}
	los, his := s.part(0, size), s.part(size, size)
	lo, hi := c.read(&los), c.read(&his)
	m := sizeMask(size)
	zf := uint64(0)
	if lo == c.r[rAX]&m && hi == c.r[rDX]&m {
		zf = flagZF
		c.write(&los, c.r[rBX])
		c.write(&his, c.r[rCX])
	} else {
		c.write(&los, lo)
		c.write(&his, hi)
		c.r[rAX], c.r[rDX] = lo, hi
	}
	c.setArith(c.arith()&^flagZF | zf)
	return true
}

// execConvert is CBW, CWDE, CDQE.
func execConvert(c *cpu, in *inst) bool {
	c.setReg(in, rAX, in.size, signExtend(c.r[rAX], in.size/2))
	return true
}

// execConvertDouble is CWD, CDQ, CQO.
func execConvertDouble(c *cpu, in *inst) bool {
	c.setReg(in, rDX, in.size, uint64(int64(signExtend(c.r[rAX], in.size))>>63))
	return true
}

func execSAHF(c *cpu, _ *inst) bool {
	const m = flagSF | flagZF | flagAF | flagPF | flagCF
	c.setArith(c.arith()&^m | c.r[rAX]>>8&m)
	return true
}

func execLAHF(c *cpu, _ *inst) bool {
	f := c.arith()&0xff | flagOne
	c.r[rAX] = c.r[rAX]&^0xff00 | f<<8
	return true
}
