package soft

import (
	"context"

	"nvlab/vmm"
)

// slice is how many instructions execute between two looks at the context and
// at Kick. The guest cannot tell.
const slice = 200_000

// run executes until something ends it; the clock never passes deadline.
func (c *cpu) run(ctx context.Context, deadline uint64) (vmm.Exit, error) {
	p := c.p
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if p.kick.Swap(false) {
			return vmm.ExitStopped, nil
		}
		end := c.now + slice
		for c.now < end {
			if p.tripleFault {
				return vmm.ExitTripleFault, nil
			}
			if p.stopping {
				return vmm.ExitStopped, nil
			}
			if c.now >= deadline {
				return vmm.ExitDeadline, nil
			}
			c.apic.tick()
			c.attn = false
			if c.flags&flagIF != 0 && !c.shadow {
				if v := c.apic.pending(); v >= 0 {
					c.apic.acknowledge(v)
					c.halted = false
					c.external(uint8(v))
					continue
				}
			}
			if c.halted {
				if c.flags&flagIF == 0 {
					return vmm.ExitDead, nil
				}
				c.shadow = false
				c.skip(min(deadline, c.apic.timerEnd))
				continue
			}
			if p.exact || c.singly() {
				c.stepOne()
				continue
			}
			c.fast(min(end, deadline, c.apic.timerEnd))
		}
	}
}

// singly says that the executor must do every instruction: each may be followed
// by a trap, holds interrupts or traps off, or checks its alignment.
func (c *cpu) singly() bool {
	return c.shadow || c.flags&(flagTF|flagRF) != 0 || c.flags&flagAC != 0 && c.cr0&cr0AM != 0 && c.cpl == 3
}

// skip moves the clock of a halted processor.
func (c *cpu) skip(to uint64) {
	if to > c.now {
		c.idle += to - c.now
		c.now = to
	}
}

// external delivers an interrupt of the APIC's.
func (c *cpu) external(vec uint8) {
	c.exc = exception{vec: vec}
	if c.interrupt(c.exc) {
		c.delivered++
		return
	}
	c.deliver()
}
