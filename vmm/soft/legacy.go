package soft

// 32-bit code, as far as an operating system needs it that starts a processor:
// Linux's way from the wakeup vector to its own page tables leads through
// compatibility mode, and protected mode without paging (SDM 3A, 10.8.5).
// Segments are flat, there are no interrupts, no stack and no user mode, and
// only the executor knows it.

// legacyOps are the instructions of 32-bit code; all others raise #UD.
var legacyOps = func() (t [512]bool) {
	for _, r := range [][2]int{
		{0x00, 0x05}, {0x08, 0x0d}, {0x10, 0x15}, {0x18, 0x1d}, {0x20, 0x25}, {0x28, 0x2d}, {0x30, 0x35}, {0x38, 0x3d}, // two operands
		{0x70, 0x7f}, {0x180, 0x18f}, {0xe9, 0xeb}, // jumps
		{0x80, 0x81}, {0x83, 0x8e}, {0x90, 0x90}, {0xa0, 0xa3}, {0xa8, 0xa9}, {0xb0, 0xbf}, // immediates, MOV
		{0xc0, 0xc1}, {0xc6, 0xc7}, {0xd0, 0xd3}, {0xf4, 0xf4}, {0xf6, 0xf7}, {0xfa, 0xfa}, // shifts, HLT, CLI
		{0x109, 0x109}, {0x120, 0x120}, {0x122, 0x122}, {0x130, 0x130}, {0x132, 0x132}, {0x1a2, 0x1a2}, // system
		{0x1a3, 0x1a3}, {0x1ab, 0x1ab}, {0x1b3, 0x1b3}, {0x1ba, 0x1bb}, // bits
	} {
		for o := r[0]; o <= r[1]; o++ {
			t[o] = true
		}
	}
	return t
}()

const opFarJMP = 0xea

func registerLegacy() { register(execFarJMP, opFarJMP) }

// execFarJMP is JMP ptr16:32.
func execFarJMP(c *cpu, in *inst) bool {
	return c.farBranch(in.imm2, in.imm, false, in.size)
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
