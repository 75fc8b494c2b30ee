package soft

func registerShift() {
	register(execShift, 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3)
	register(execDoubleShift, 0x1a4, 0x1a5, 0x1ac, 0x1ad)
}

// Shifts and rotates in the order of ModRM.reg.
const (
	shiftROL = iota
	shiftROR
	shiftRCL
	shiftRCR
	shiftSHL
	shiftSHR
	shiftSHL2 // the undocumented alias of SHL
	shiftSAR
)

func execShift(c *cpu, in *inst) bool {
	var n uint64
	switch in.opcode {
	case 0xc0, 0xc1:
		n = in.imm
	case 0xd0, 0xd1:
		n = 1
	default:
		n = c.r[rCX]
	}
	a, s, ok := c.readModify(in, in.size)
	if !ok {
		return false
	}
	if n = shiftCount(n, in.size); n == 0 {
		// Neither flags nor value change, but a 32-bit register is written.
		c.modify(in, in.size, &s, a)
		return true
	}
	c.modify(in, in.size, &s, c.shift(in.modrm>>3&7, a, n, in.size))
	return true
}

// shiftCount masks a count as the processor does.
func shiftCount(n uint64, size uint8) uint64 {
	if size == 8 {
		return n & 63
	}
	return n & 31
}

// shift shifts or rotates a by n, 1 to 63, and sets the flags.
func (c *cpu) shift(op uint8, a, n uint64, size uint8) (r uint64) {
	width := 8 * uint64(size)
	top := width - 1
	switch op {
	case shiftROL:
		k := n & top
		r = a<<k | a>>(width-k)
		cf := r & 1
		c.setCFOF(cf, r>>top&1^cf)
	case shiftROR:
		k := n & top
		r = a>>k | a<<(width-k)
		c.setCFOF(r>>top&1, (r>>top^r>>(top-1))&1)
	case shiftRCL:
		r = a
		cf := c.cf()
		for k := n % (width + 1); k > 0; k-- {
			r, cf = r<<1|cf, r>>top&1
		}
		if n%(width+1) == 0 && size < 4 {
			return r // CF stays, OF is undefined
		}
		c.setCFOF(cf, r>>top&1^cf)
	case shiftRCR:
		r = a
		cf := c.cf()
		for k := n % (width + 1); k > 0; k-- {
			r, cf = r>>1|cf<<top, r&1
		}
		if n%(width+1) == 0 && size < 4 {
			return r
		}
		c.setCFOF(cf, (r>>top^r>>(top-1))&1)
	case shiftSHL, shiftSHL2:
		r = a << n
		cf := uint64(0)
		if n <= width {
			cf = a >> (width - n) & 1
		}
		c.setResult(r, size)
		c.fc = 0
		c.setCFOF(cf, r>>top&1^cf)
	case shiftSHR:
		r = a >> n
		c.setResult(r, size)
		c.fc = 0
		c.setCFOF(a>>(n-1)&1, a>>top&1)
	case shiftSAR:
		s := int64(signExtend(a, size))
		r = uint64(s >> n)
		c.setResult(r, size)
		c.fc = 0
		c.setCFOF(uint64(s>>(n-1))&1, 0)
	}
	return r
}

// execDoubleShift is SHLD and SHRD.
func execDoubleShift(c *cpu, in *inst) bool {
	n := in.imm
	if in.opcode&1 != 0 {
		n = c.r[rCX]
	}
	a, s, ok := c.readModify(in, in.size)
	if !ok {
		return false
	}
	if n = shiftCount(n, in.size); n == 0 {
		c.modify(in, in.size, &s, a)
		return true
	}
	c.modify(in, in.size, &s, c.doubleShift(in.opcode >= 0xac, a, c.reg(in, in.reg, in.size), n, in.size))
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
