package soft

import "nvlab/vmm/soft/x86"

// An execFn executes one instruction. It returns false if it raised an
// exception, and then has changed nothing that the architecture says must be
// unchanged. c.rip is the instruction's address, c.next the one after, which
// branches change.
type execFn func(c *cpu, in *x86.Inst) bool

// execTable is indexed by x86.Inst.Op.
var execTable [512]execFn

func execUD(c *cpu, _ *x86.Inst) bool { return c.ud() }

func init() {
	for i := range execTable {
		execTable[i] = execUD
	}
	registerALU()
	registerShift()
	registerBits()
	registerMove()
	registerFlow()
	registerLegacy()
	registerString()
	registerSystem()
	registerSegment()
	registerSSE()
	registerMMX()
	registerX87()
}

func register(f execFn, ops ...int) {
	for _, o := range ops {
		execTable[o] = f
	}
}

func registerRange(f execFn, lo, hi int) {
	for o := lo; o <= hi; o++ {
		execTable[o] = f
	}
}

// execute runs in at c.rip, delivers what it raises, and counts it.
func (c *cpu) execute(in *x86.Inst) {
	c.next = c.rip + uint64(in.Len)
	c.now++
	if c.observing {
		c.executeObserved(in)
		return
	}
	c.complete(c.perform(in))
}

// complete ends an instruction that is done, or raised an exception.
func (c *cpu) complete(done bool) {
	if !done {
		c.debug = 0
		c.deliver()
		return
	}
	c.rip = c.next
	if c.debug != 0 && !c.movSS {
		c.trap()
	}
}

// stepOne fetches, decodes and executes the instruction at c.rip.
func (c *cpu) stepOne() {
	if c.p.debugger != nil && c.breaks() {
		return
	}
	step := c.flags&x86.FlagTF != 0
	inhibited := c.movSS
	c.begun = c.shadow || inhibited || c.flags&(x86.FlagTF|x86.FlagRF) != 0
	c.shadow, c.movSS = false, false
	if !inhibited && c.breakpointHere() {
		c.now++
		c.deliver()
		return
	}
	in := &c.step
	if c.values.live && c.fetchedBefore(in) {
		c.execute(in)
		return
	}
	if !c.fetch(in) {
		c.now++
		c.debug = 0
		c.deliver()
		return
	}
	c.flags &^= x86.FlagRF
	if step && in.Op != opSYSCALL && in.Op != opSYSRET {
		c.debug |= dr6BS
	}
	c.execute(in)
}

// fetch reads and decodes the instruction at c.rip, or raises what that
// raises.
func (c *cpu) fetch(in *x86.Inst) bool {
	if !c.long {
		c.rip = uint64(uint32(c.rip))
	}
	if !x86.Canonical(c.rip) {
		return c.gp(0)
	}
	set := c.privilege()
	pa, ok := c.translate(c.rip, set, accessFetch)
	if !ok {
		return false
	}
	first := pa
	b := c.buf[:min(x86.MaxLength, x86.PageSize-c.rip&x86.PageMask)]
	c.readCode(pa, b)
	status := x86.Decode(b, in, c.long)
	if status == x86.Short {
		n := len(b)
		second := (c.rip | x86.PageMask) + 1
		if !x86.Canonical(second) {
			return c.gp(0)
		}
		if pa, ok = c.translate(second, set, accessFetch); !ok {
			return false
		}
		b = c.buf[:x86.MaxLength]
		c.readCode(pa, b[n:])
		status = x86.Decode(b, in, c.long)
	}
	if c.p.someUnreadable() && !c.fetchable(first, pa, in, status) {
		return false
	}
	switch status {
	case x86.OK:
		return true
	case x86.Invalid:
		return c.ud()
	}
	return c.gp(0)
}
