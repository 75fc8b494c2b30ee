package soft

import "nvlab/vmm/soft/x86"

func registerShift() {
	register(execShift, 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3)
	register(execDoubleShift, 0x1a4, 0x1a5, 0x1ac, 0x1ad)
}

func execShift(c *cpu, in *x86.Inst) bool {
	var n uint64
	switch in.Opcode {
	case 0xc0, 0xc1:
		n = in.Imm
	case 0xd0, 0xd1:
		n = 1
	default:
		n = c.r[x86.RCX]
	}
	a, s, ok := c.readModify(in, in.Size)
	if !ok {
		return false
	}
	if n = x86.ShiftCount(n, in.Size); n == 0 {
		// Neither flags nor value change, but a 32-bit register is written.
		c.modify(in, in.Size, &s, a)
		return true
	}
	c.modify(in, in.Size, &s, c.shift(in.ModRM>>3&7, a, n, in.Size))
	return true
}

// shift shifts or rotates a by n, 1 to 63, and sets the flags.
func (c *cpu) shift(op uint8, a, n uint64, size uint8) (r uint64) {
	width := 8 * uint64(size)
	top := width - 1
	switch op {
	case x86.ShiftROL:
		k := n & top
		r = a<<k | a>>(width-k)
		cf := r & 1
		c.setCFOF(cf, r>>top&1^cf)
	case x86.ShiftROR:
		k := n & top
		r = a>>k | a<<(width-k)
		c.setCFOF(r>>top&1, (r>>top^r>>(top-1))&1)
	case x86.ShiftRCL:
		r = a
		cf := c.cf()
		for k := n % (width + 1); k > 0; k-- {
			r, cf = r<<1|cf, r>>top&1
		}
		if n%(width+1) == 0 && size < 4 {
			return r // CF stays, OF is undefined
		}
		c.setCFOF(cf, r>>top&1^cf)
	case x86.ShiftRCR:
		r = a
		cf := c.cf()
		for k := n % (width + 1); k > 0; k-- {
			r, cf = r>>1|cf<<top, r&1
		}
		if n%(width+1) == 0 && size < 4 {
			return r
		}
		c.setCFOF(cf, (r>>top^r>>(top-1))&1)
	case x86.ShiftSHL, x86.ShiftSHL2:
		r = a << n
		cf := uint64(0)
		if n <= width {
			cf = a >> (width - n) & 1
		}
		c.setResult(r, size)
		c.fc = 0
		c.setCFOF(cf, r>>top&1^cf)
	case x86.ShiftSHR:
		r = a >> n
		c.setResult(r, size)
		c.fc = 0
		c.setCFOF(a>>(n-1)&1, a>>top&1)
	case x86.ShiftSAR:
		s := int64(x86.SignExtend(a, size))
		r = uint64(s >> n)
		c.setResult(r, size)
		c.fc = 0
		c.setCFOF(uint64(s>>(n-1))&1, 0)
	}
	return r
}

// execDoubleShift is SHLD and SHRD.
func execDoubleShift(c *cpu, in *x86.Inst) bool {
	n := in.Imm
	if in.Opcode&1 != 0 {
		n = c.r[x86.RCX]
	}
	a, s, ok := c.readModify(in, in.Size)
	if !ok {
		return false
	}
	if n = x86.ShiftCount(n, in.Size); n == 0 {
		c.modify(in, in.Size, &s, a)
		return true
	}
	c.modify(in, in.Size, &s, c.doubleShift(in.Opcode >= 0xac, a, c.reg(in, in.Reg, in.Size), n, in.Size))
	return true
}

func (c *cpu) doubleShift(right bool, a, b, n uint64, size uint8) (r uint64) {
	width := 8 * uint64(size)
	if n > width {
		// Undefined for words: rotate through the pair, as processors do.
		n -= width
		if right {
			a, b = b, a
		} else {
			a, b = b, a
		}
	}
	var cf uint64
	if right {
		r = a>>n | b<<(width-n)
		cf = a >> (n - 1) & 1
	} else {
		r = a<<n | b>>(width-n)
		cf = a >> (width - n) & 1
	}
	c.setResult(r, size)
	c.fc = 0
	c.setCFOF(cf, (a^r)>>(width-1)&1)
	return r
}
