package soft

import (
	"context"

	"nvlab/vmm"
	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/x86"
)

// run executes until something ends it; no clock passes deadline.
func (p *processors) run(ctx context.Context, deadline uint64) (vmm.Exit, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if p.kick.Swap(false) {
			p.hold()
			return vmm.ExitStopped, nil
		}
		if p.roundOver() {
			p.unpark()
			if p.asleep() {
				if exit, ended := p.sleep(deadline); ended {
					return exit, nil
				}
				continue
			}
			p.newRound()
		}
		for !p.roundOver() {
			if exit, ended := p.cpu.turn(p.rounds.end, deadline); ended {
				return exit, nil
			}
			p.endTurn()
		}
	}
}

// ending says why nothing more is to execute.
func (c *cpu) ending(deadline uint64) (vmm.Exit, bool) {
	switch {
	case c.p.tripleFault:
		return vmm.ExitTripleFault, true
	case c.p.stopping:
		return vmm.ExitStopped, true
	case c.now >= deadline:
		return vmm.ExitDeadline, true
	}
	return 0, false
}

// turn executes until the clock is at end, or something ends Run. A processor
// that is alone ends its turn when it halts.
func (c *cpu) turn(end, deadline uint64) (vmm.Exit, bool) {
	p := c.p
	for c.now < end {
		if exit, ended := c.ending(deadline); ended {
			return exit, true
		}
		c.apic.Tick(c.now)
		c.attn = false
		if v := c.due(); v >= 0 {
			c.take(uint8(v))
			continue
		}
		if c.halted {
			if len(p.cpus) == 1 {
				break
			}
			c.skip(min(end, deadline, c.alarm()))
			continue
		}
		if p.exact || c.mustSingleStep() {
			c.stepOne()
			continue
		}
		if p.debugger != nil && p.debugger.step == int(c.id) {
			c.stepOne()
			p.stepped(c)
			continue
		}
		c.fast(min(end, deadline, c.apic.TimerEnd))
	}
	return 0, false
}

// mustSingleStep says that the executor must do every instruction: each may be followed
// by a trap, holds interrupts or traps off, checks its alignment, or is not
// 64-bit code.
func (c *cpu) mustSingleStep() bool {
	return !c.long || c.shadow || c.values.live || c.flags&(x86.FlagTF|x86.FlagRF) != 0 || c.breakpoints() || c.aligned()
}

// asleep says whether no processor has anything to do.
func (p *processors) asleep() bool {
	for _, c := range p.cpus {
		if !c.halted {
			return false
		}
		c.apic.Tick(c.now)
		if c.due() >= 0 {
			return false
		}
	}
	return true
}

// sleep lets all clocks jump to the next timer.
func (p *processors) sleep(deadline uint64) (vmm.Exit, bool) {
	if exit, ended := p.cpu.ending(deadline); ended {
		return exit, true
	}
	dead, to := true, deadline
	for _, c := range p.cpus {
		if c.flags&x86.FlagIF != 0 {
			dead, to = false, min(to, c.alarm())
		}
	}
	if dead {
		return vmm.ExitDead, true
	}
	for _, c := range p.cpus {
		c.skip(to)
	}
	return 0, false
}

// alarm is when a halted processor's own timer may wake it.
func (c *cpu) alarm() uint64 {
	if c.flags&x86.FlagIF == 0 {
		return apic.Never
	}
	return c.apic.TimerEnd
}

// skip moves the clock of a halted processor.
func (c *cpu) skip(to uint64) {
	c.shadow = false
	if to > c.now {
		c.idle += to - c.now
		c.now = to
	}
}

// due is the vector that the processor takes now, or -1.
func (c *cpu) due() int {
	if c.shadow {
		return -1
	}
	if c.nmi && !c.nmiMasked {
		return excNMI
	}
	if c.flags&x86.FlagIF == 0 {
		return -1
	}
	return c.apic.Pending()
}

// take delivers an interrupt that is due.
func (c *cpu) take(vec uint8) {
	if vec == excNMI {
		c.nmi, c.nmiMasked = false, true
	} else {
		c.apic.Acknowledge(int(vec))
	}
	c.halted = false
	c.exc = exception{vec: vec, external: true}
	if c.enterHandler(c.exc) {
		c.delivered++
		return
	}
	c.deliver()
}
