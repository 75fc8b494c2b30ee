package soft

import (
	"math"

	"nvlab/vmm/soft/x86"
)

// 32-bit code: programs in compatibility mode, and what an operating system
// needs that starts a processor, whose way from the wakeup vector to its own
// page tables leads through protected mode without paging (SDM 3A, 10.8.5).
// Code segments are flat; 16-bit code, virtual-8086 mode, call gates and
// exceptions without long mode are not there. Only the executor knows 32-bit
// code.

// Opcodes that mean another thing in 64-bit code, or have a rule elsewhere.
const opMOVSXD = 0x63

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
func execFarPointer(c *cpu, in *x86.Inst) bool {
	return c.farBranch(in.Imm2, in.Imm, in.Opcode == 0x9a, in.Size)
}

// setLong notes what the code segment just loaded holds.
func (c *cpu) setLong() {
	long := c.seg[x86.SegCS].attr&attrL != 0
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
	c.efer &^= x86.EFERLMA
	if on {
		c.efer |= x86.EFERLMA
	}
	c.flushTLB(false)
}

func execIncDecReg(c *cpu, in *x86.Inst) bool {
	n := in.Opcode & 7
	c.setReg(in, n, in.Size, c.incDec(c.reg(in, n, in.Size), in.Size, in.Opcode&8 != 0))
	return true
}

func execPUSHA(c *cpu, in *x86.Inst) bool {
	var b [32]byte
	n := int(in.Size)
	for i := range 8 {
		x86.PutLE(b[(7-i)*n:], in.Size, c.r[i])
	}
	if !c.storeBytes(x86.SegSS, c.stack(-uint64(8*n)), b[:8*n], n) {
		return false
	}
	c.moveSP(-uint64(8 * n))
	return true
}

func execPOPA(c *cpu, in *x86.Inst) bool {
	var b [32]byte
	n := int(in.Size)
	if !c.loadBytes(x86.SegSS, c.stack(0), b[:8*n], n) {
		return false
	}
	for i := range uint8(8) {
		if i != x86.RSP {
			c.setReg(in, i, in.Size, x86.GetLE(b[(7-int(i))*n:], in.Size))
		}
	}
	c.moveSP(uint64(8 * n))
	return true
}

func execBOUND(c *cpu, in *x86.Inst) bool {
	if in.Mod == 3 {
		return c.ud() // EVEX
	}
	va := c.operandAddr(in)
	low, ok := c.load(in.Seg, va, in.Size)
	if !ok {
		return false
	}
	high, ok := c.load(in.Seg, va+uint64(in.Size), in.Size)
	if !ok {
		return false
	}
	i := int64(x86.SignExtend(c.reg(in, in.Reg, in.Size), in.Size))
	if i < int64(x86.SignExtend(low, in.Size)) || i > int64(x86.SignExtend(high, in.Size)) {
		return c.raise(excBR)
	}
	return true
}

func execINTO(c *cpu, in *x86.Inst) bool {
	if c.arith()&x86.FlagOF == 0 {
		return true
	}
	c.exc = exception{vec: excOF, soft: true}
	return c.softInterrupt()
}

// arpl is ARPL, which in 64-bit code is MOVSXD. It writes only what it changes.
func (c *cpu) arpl(in *x86.Inst) bool {
	v, ok := c.readRM(in, 2)
	if !ok {
		return false
	}
	rpl := c.reg(in, in.Reg, 2) & 3
	lower := v&3 < rpl
	if lower && !c.writeRM(in, 2, v&^3|rpl) {
		return false
	}
	c.setZF(lower)
	return true
}

func (c *cpu) setAL(v uint64) { c.r[x86.RAX] = c.r[x86.RAX]&^0xff | v&0xff }

// execDecimal is DAA and DAS.
func execDecimal(c *cpu, in *x86.Inst) bool {
	al, f := c.r[x86.RAX]&0xff, c.arith()
	v, cf, af := al, uint64(0), uint64(0)
	add := uint64(1)
	if in.Opcode == 0x2f {
		add = ^uint64(0)
	}
	if al&15 > 9 || f&x86.FlagAF != 0 {
		v += 6 * add
		cf, af = f&x86.FlagCF|v>>8&1, x86.FlagAF
	}
	if al > 0x99 || f&x86.FlagCF != 0 {
		v += 0x60 * add
		cf = x86.FlagCF
	} else if in.Opcode == 0x27 {
		cf = 0
	}
	c.setAL(v)
	c.setResult(v&0xff, 1)
	c.setArith(c.arith()&(x86.FlagSF|x86.FlagZF|x86.FlagPF) | cf | af)
	return true
}

// execASCII is AAA and AAS.
func execASCII(c *cpu, in *x86.Inst) bool {
	ax, f := c.r[x86.RAX]&0xffff, uint64(0)
	if ax&15 > 9 || c.arith()&x86.FlagAF != 0 {
		f = x86.FlagAF | x86.FlagCF
		if in.Opcode == 0x37 {
			ax += 0x106
		} else {
			ax -= 0x106
		}
	}
	c.r[x86.RAX] = c.r[x86.RAX]&^0xffff | ax&0xff0f
	c.setArith(f)
	return true
}

func execAAM(c *cpu, in *x86.Inst) bool {
	al, d := c.r[x86.RAX]&0xff, in.Imm&0xff
	if d == 0 {
		return c.raise(excDE)
	}
	c.r[x86.RAX] = c.r[x86.RAX]&^0xffff | al/d<<8 | al%d
	c.flagsLogic(al%d, 1)
	return true
}

func execAAD(c *cpu, in *x86.Inst) bool {
	v := (c.r[x86.RAX]&0xff + c.r[x86.RAX]>>8&0xff*(in.Imm&0xff)) & 0xff
	c.r[x86.RAX] = c.r[x86.RAX]&^0xffff | v
	c.flagsLogic(v, 1)
	return true
}

// execSALC sets AL to CF; all processors have it, and no manual.
func execSALC(c *cpu, in *x86.Inst) bool {
	c.setAL(-c.cf())
	return true
}
