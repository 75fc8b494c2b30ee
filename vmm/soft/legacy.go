package soft

import "math"

// 32-bit code: programs in compatibility mode, and what an operating system
// needs that starts a processor, whose way from the wakeup vector to its own
// page tables leads through protected mode without paging (SDM 3A, 10.8.5).
// Code segments are flat; 16-bit code, virtual-8086 mode, call gates and
// exceptions without long mode are not there. Only the executor knows 32-bit
// code.

// Opcodes that mean another thing in 64-bit code, or have a rule elsewhere.
const opMOVSXD = 0x63

// attr1Legacy is attr1 for 32-bit code.
var attr1Legacy = func() [256]uint16 {
	t := attr1
	for _, o := range []int{0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0xce, 0xd6} {
		t[o] = 0
	}
	for o := 0x40; o < 0x50; o++ {
		t[o] = 0
	}
	t[0x62], t[0xc4], t[0xc5] = aModRM, aModRM, aModRM
	t[0x82] = t[0x80]
	t[0x9a], t[0xea] = aFar, aFar
	t[0xd4], t[0xd5] = aByte|aImm8, aByte|aImm8
	return t
}()

func registerLegacy() {
	register(execFarPointer, 0x9a, 0xea)
	register(execPushSeg, 0x06, 0x0e, 0x16, 0x1e)
	register(execPopSeg, 0x07, 0x17, 0x1f)
	register(execALUImm, 0x82)
	registerRange(execIncDecReg, 0x40, 0x4f)
	register(execPUSHA, 0x60)
	register(execPOPA, 0x61)
	register(execBOUND, 0x62)
	register(execLoadFar, 0xc4, 0xc5)
	register(execINTO, 0xce)
	register(execDecimal, 0x27, 0x2f)
	register(execASCII, 0x37, 0x3f)
	register(execAAM, 0xd4)
	register(execAAD, 0xd5)
	register(execSALC, 0xd6)
}

// decodeModRM16 decodes the operand of 16-bit addresses (SDM 2, table 2-1).
func decodeModRM16(b []byte, in *inst) (int, bool) {
	type pair struct{ base, index uint8 }
	p := [8]pair{{rBX, rSI}, {rBX, rDI}, {rBP, rSI}, {rBP, rDI}, {rSI, slotZero}, {rDI, slotZero}, {rBP, slotZero}, {rBX, slotZero}}[in.modrm&7]
	n := int(in.mod)
	if in.mod == 0 && in.modrm&7 == 6 {
		p.base, n = slotZero, 2
	}
	in.base, in.index = p.base, p.index
	if in.base == rBP && in.flags&instOverride == 0 {
		in.seg = segSS
	}
	if n > len(b) {
		return 0, false
	}
	if n > 0 {
		in.disp = signExtend(getLE(b, uint8(n)), uint8(n))
	}
	return n, true
}

// withinLimit raises #GP or #SS for an access that a segment does not allow
// (SDM 3A, 5.3, 5.5).
func (c *cpu) withinLimit(seg uint8, va uint64, n uint8, kind access) bool {
	s := &c.seg[seg]
	first := uint64(uint32(va - c.segBase(seg)))
	last := first + uint64(n) - 1
	code, writable := s.attr&8 != 0, s.attr&2 != 0
	switch {
	case s.attr&0x80 == 0, kind == accessWrite && (code || !writable), kind == accessRead && code && !writable:
		return c.gp(0)
	case !code && s.attr&4 != 0: // expands down
		top := uint64(math.MaxUint16)
		if s.attr&attrD != 0 {
			top = math.MaxUint32
		}
		if first <= uint64(s.limit) || last > top {
			return c.segFault(seg)
		}
	case last > uint64(s.limit):
		return c.segFault(seg)
	}
	return true
}

// execFarPointer is CALL and JMP ptr16:32.
func execFarPointer(c *cpu, in *inst) bool {
	return c.farBranch(in.imm2, in.imm, in.opcode == 0x9a, in.size)
}

// setLong notes what the code segment just loaded holds.
func (c *cpu) setLong() {
	long := c.seg[segCS].attr&attrL != 0
	if long == c.long {
		return
	}
	c.long = long
	c.attn = true
	if !long {
		// The upper halves are undefined from here on (SDM 1, 3.4.1.1).
		for i := range c.r[:16] {
			c.r[i] = uint64(uint32(c.r[i]))
		}
	}
}

// flat32 says whether a descriptor is of the 32-bit code that can run.
func flat32(d uint64) bool {
	s := makeSegment(0, d)
	return d>>53&3 == 2 && s.base == 0 && s.limit == ^uint32(0)
}

// setPaging follows CR0.PG, which only 32-bit code may change: LME stays.
func (c *cpu) setPaging(on bool) {
	c.efer &^= eferLMA
	if on {
		c.efer |= eferLMA
	}
	c.flushTLB(false)
}

func execIncDecReg(c *cpu, in *inst) bool {
	n := in.opcode & 7
	c.setReg(in, n, in.size, c.incDec(c.reg(in, n, in.size), in.size, in.opcode&8 != 0))
	return true
}

func execPUSHA(c *cpu, in *inst) bool {
	var b [32]byte
	n := int(in.size)
	for i := range 8 {
		putLE(b[(7-i)*n:], in.size, c.r[i])
	}
	if !c.storeBytes(segSS, c.stack(-uint64(8*n)), b[:8*n], n) {
		return false
	}
	c.moveSP(-uint64(8 * n))
	return true
}

func execPOPA(c *cpu, in *inst) bool {
	var b [32]byte
	n := int(in.size)
	if !c.loadBytes(segSS, c.stack(0), b[:8*n], n) {
		return false
	}
	for i := range uint8(8) {
		if i != rSP {
			c.setReg(in, i, in.size, getLE(b[(7-int(i))*n:], in.size))
		}
	}
	c.moveSP(uint64(8 * n))
	return true
}

func execBOUND(c *cpu, in *inst) bool {
	if in.mod == 3 {
		return c.ud() // EVEX
	}
	va := c.operandAddr(in)
	low, ok := c.load(in.seg, va, in.size)
	if !ok {
		return false
	}
	high, ok := c.load(in.seg, va+uint64(in.size), in.size)
	if !ok {
		return false
	}
	i := int64(signExtend(c.reg(in, in.reg, in.size), in.size))
	if i < int64(signExtend(low, in.size)) || i > int64(signExtend(high, in.size)) {
		return c.raise(excBR)
	}
	return true
}

func execINTO(c *cpu, in *inst) bool {
	if c.arith()&flagOF == 0 {
		return true
	}
	c.exc = exception{vec: excOF, soft: true}
	return c.softInterrupt()
}

// arpl is ARPL, which in 64-bit code is MOVSXD. It writes only what it changes.
func (c *cpu) arpl(in *inst) bool {
	v, ok := c.readRM(in, 2)
	if !ok {
		return false
	}
	rpl := c.reg(in, in.reg, 2) & 3
	lower := v&3 < rpl
	if lower && !c.writeRM(in, 2, v&^3|rpl) {
		return false
	}
	c.setZF(lower)
	return true
}

func (c *cpu) setAL(v uint64) { c.r[rAX] = c.r[rAX]&^0xff | v&0xff }

// execDecimal is DAA and DAS.
func execDecimal(c *cpu, in *inst) bool {
	al, f := c.r[rAX]&0xff, c.arith()
	v, cf, af := al, uint64(0), uint64(0)
	add := uint64(1)
	if in.opcode == 0x2f {
		add = ^uint64(0)
	}
	if al&15 > 9 || f&flagAF != 0 {
		v += 6 * add
		cf, af = f&flagCF|v>>8&1, flagAF
	}
	if al > 0x99 || f&flagCF != 0 {
		v += 0x60 * add
		cf = flagCF
	} else if in.opcode == 0x27 {
		cf = 0
	}
	c.setAL(v)
	c.setResult(v&0xff, 1)
	c.setArith(c.arith()&(flagSF|flagZF|flagPF) | cf | af)
	return true
}

// execASCII is AAA and AAS.
func execASCII(c *cpu, in *inst) bool {
	ax, f := c.r[rAX]&0xffff, uint64(0)
	if ax&15 > 9 || c.arith()&flagAF != 0 {
		f = flagAF | flagCF
		if in.opcode == 0x37 {
			ax += 0x106
		} else {
			ax -= 0x106
		}
	}
	c.r[rAX] = c.r[rAX]&^0xffff | ax&0xff0f
	c.setArith(f)
	return true
}

func execAAM(c *cpu, in *inst) bool {
	al, d := c.r[rAX]&0xff, in.imm&0xff
	if d == 0 {
		return c.raise(excDE)
	}
	c.r[rAX] = c.r[rAX]&^0xffff | al/d<<8 | al%d
	c.flagsLogic(al%d, 1)
	return true
}

func execAAD(c *cpu, in *inst) bool {
	v := (c.r[rAX]&0xff + c.r[rAX]>>8&0xff*(in.imm&0xff)) & 0xff
	c.r[rAX] = c.r[rAX]&^0xffff | v
	c.flagsLogic(v, 1)
	return true
}

// execSALC sets AL to CF; all processors have it, and no manual.
func execSALC(c *cpu, in *inst) bool {
	c.setAL(-c.cf())
	return true
}
