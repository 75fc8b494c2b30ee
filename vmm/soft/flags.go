package soft

import (
	"math/bits"

	"nvlab/vmm/soft/x86"
)

// setResult sets ZF, SF and PF.
func (c *cpu) setResult(r uint64, size uint8) {
	r = x86.SignExtend(r, size)
	c.fz, c.fs = r, r
}

// setCarries sets CF, OF and AF from the vector of carries out of each bit.
func (c *cpu) setCarries(cv uint64, size uint8) {
	if size == 8 {
		c.fc = cv
		return
	}
	cv &= x86.SizeMask(size)
	c.fc = cv<<(64-8*uint(size)) | cv
}

func (c *cpu) flagsAdd(a, b, r uint64, size uint8) {
	c.setResult(r, size)
	c.setCarries(a&b|(a|b)&^r, size)
}

func (c *cpu) flagsSub(a, b, r uint64, size uint8) {
	c.setResult(r, size)
	c.setCarries(^a&b|(^a|b)&r, size)
}

func (c *cpu) flagsLogic(r uint64, size uint8) {
	c.setResult(r, size)
	c.fc = 0
}

func (c *cpu) cf() uint64 { return c.fc >> 63 }

// setCFOF keeps ZF, SF, PF and AF.
func (c *cpu) setCFOF(cf, of uint64) {
	c.fc = cf<<63 | (cf^of)<<62 | c.fc&8
}

// setCF keeps the other five.
func (c *cpu) setCF(cf uint64) {
	c.setCFOF(cf, (c.fc^c.fc<<1)>>63)
}

// arith returns the six arithmetic flags in their places in RFLAGS.
func (c *cpuState) arith() uint64 {
	f := c.fc>>63 | c.fc>>3&1<<4 | (c.fc^c.fc<<1)>>63<<11 | c.fs>>63<<7
	if c.fz == 0 {
		f |= x86.FlagZF
	}
	if bits.OnesCount8(uint8(c.fs))&1 == 0 {
		f |= x86.FlagPF
	}
	return f
}

// setArith sets the six arithmetic flags to any combination.
func (c *cpuState) setArith(f uint64) {
	c.fz = ^f & x86.FlagZF
	c.fs = f>>7<<63 | ^f>>2&1
	c.fc = f<<63 | (f^f>>11)&1<<62 | f>>4&1<<3
}

// rflags returns the whole register.
func (c *cpu) rflags() uint64 {
	return c.flags | c.arith() | x86.FlagOne
}

// setRFLAGS sets the whole register; callers have masked what may change.
func (c *cpu) setRFLAGS(f uint64) {
	c.setArith(f)
	c.setAC(f&x86.FlagAC != 0)
	c.flags = f &^ (x86.FlagsArith | x86.FlagOne | 1<<3 | 1<<5 | 1<<15 | ^uint64(1<<22-1))
	c.attn = true
}

// cond evaluates a condition code (SDM 2, appendix B.1.4.7).
func (c *cpu) cond(cc uint8) bool {
	var v bool
	switch cc >> 1 & 7 {
	case 0:
		v = int64(c.fc^c.fc<<1) < 0
	case 1:
		v = int64(c.fc) < 0
	case 2:
		v = c.fz == 0
	case 3:
		v = c.fz == 0 || int64(c.fc) < 0
	case 4:
		v = int64(c.fs) < 0
	case 5:
		v = bits.OnesCount8(uint8(c.fs))&1 == 0
	case 6:
		v = int64(c.fs^c.fc^c.fc<<1) < 0
	case 7:
		v = c.fz == 0 || int64(c.fs^c.fc^c.fc<<1) < 0
	}
	return v != (cc&1 != 0)
}
