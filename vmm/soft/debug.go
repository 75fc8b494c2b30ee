package soft

import "nvlab/vmm/soft/x86"

// Debug exceptions (SDM 3B, chapter 18). With a breakpoint enabled, or TF set,
// the executor does every instruction: see mustSingleStep.

// Bits of DR6 and DR7.
const (
	dr6BD = 1 << 13 // an access to a debug register
	dr6BS = 1 << 14 // a single step

	dr7Enabled = 0xff // L0 to G3
	dr7GD      = 1 << 13
)

// What a breakpoint is for: the R/W fields of DR7.
const (
	breakExecute = iota
	breakWrite
	breakPort
	breakAccess
)

// breakpoints says whether any is enabled.
func (c *cpu) breakpoints() bool { return c.dr[7]&dr7Enabled != 0 }

// traced says that each element of a string instruction counts: a trap may
// follow it.
func (c *cpu) traced() bool { return c.breakpoints() || c.flags&x86.FlagTF != 0 }

// watch notes the enabled breakpoints for which hit says yes that n bytes at
// addr meet.
func (c *cpu) watch(addr, n uint64, hit func(kind uint64) bool) (bits uint64) {
	for i := range uint(4) {
		if c.dr[7]>>(2*i)&3 == 0 || !hit(c.dr[7]>>(16+4*i)&3) {
			continue
		}
		mask := [4]uint64{0, 1, 7, 3}[c.dr[7]>>(18+4*i)&3]
		if at := c.dr[i] &^ mask; addr <= at+mask && at < addr+n {
			bits |= 1 << i
		}
	}
	return bits
}

// watchData notes breakpoints that an access meets.
func (c *cpu) watchData(va uint64, n uint8, kind access) {
	c.debug |= c.watch(va, uint64(n), func(k uint64) bool {
		return k == breakAccess || k == breakWrite && kind == accessWrite
	})
}

// watchPort notes breakpoints that an access to a port meets.
func (c *cpu) watchPort(port uint16, n uint8) {
	if c.breakpoints() && c.cr4&x86.CR4DE != 0 {
		c.debug |= c.watch(uint64(port), uint64(n), func(k uint64) bool { return k == breakPort })
	}
}

// breakpointHere raises #DB for a breakpoint on the instruction at rip.
func (c *cpu) breakpointHere() bool {
	if !c.breakpoints() || c.flags&x86.FlagRF != 0 {
		return false
	}
	hit := c.watch(c.rip, 1, func(k uint64) bool { return k == breakExecute })
	if hit == 0 {
		return false
	}
	c.dr[6] |= hit
	c.raise(excDB)
	return true
}

// trap delivers the traps that belong to the instruction just done.
func (c *cpu) trap() {
	c.dr[6] |= c.debug
	c.debug = 0
	c.raise(excDB)
	c.deliver()
}
