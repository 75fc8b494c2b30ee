package soft

// An execFn executes one instruction. It returns false if it raised an
// exception, and then has changed nothing that the architecture says must be
// unchanged. c.rip is the instruction's address, c.next the one after, which
// branches change.
type execFn func(c *cpu, in *inst) bool

// execTable is indexed by inst.op.
var execTable [512]execFn

func execUD(c *cpu, _ *inst) bool { return c.ud() }

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
func (c *cpu) execute(in *inst) {
	c.next = c.rip + uint64(in.len)
	c.now++
	if c.observing {
		c.executeObserved(in)
		return
	}
	c.complete(execTable[in.op](c, in))
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
	step := c.flags&flagTF != 0
	inhibited := c.movSS
	c.shadow, c.movSS = false, false
	if !inhibited && c.breakpointHere() {
		c.now++
		c.deliver()
		return
	}
	in := &c.step
	if !c.fetch(in) {
		c.now++
		c.debug = 0
		c.deliver()
		return
	}
	c.flags &^= flagRF
	if step && in.op != opSYSCALL && in.op != opSYSRET {
		c.debug |= dr6BS
	}
	c.execute(in)
}

// fetch reads and decodes the instruction at c.rip, or raises what that
// raises.
func (c *cpu) fetch(in *inst) bool {
	if !c.long {
		c.rip = uint64(uint32(c.rip))
	}
	if !canonical(c.rip) {
		return c.gp(0)
	}
	set := c.privilege()
	pa, ok := c.translate(c.rip, set, accessFetch)
	if !ok {
		return false
	}
	first := pa
	b := c.buf[:min(maxInst, pageSize-c.rip&pageMask)]
	c.readCode(pa, b)
	status := decode(b, in, c.long)
	if status == decodeShort {
		n := len(b)
		second := (c.rip | pageMask) + 1
		if !canonical(second) {
			return c.gp(0)
		}
		if pa, ok = c.translate(second, set, accessFetch); !ok {
			return false
		}
		b = c.buf[:maxInst]
		c.readCode(pa, b[n:])
		status = decode(b, in, c.long)
	}
	if c.p.poison != nil && !c.fetchable(first, pa, in, status) {
		return false
	}
	switch status {
	case decodeOK:
		return true
	case decodeInvalid:
		return c.ud()
	}
	return c.gp(0)
}
