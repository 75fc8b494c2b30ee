package soft

//lint:file-ignore U1000 genfast inlines what is here

//op:cli CLI
func cli(c *cpu) { c.flags &^= flagIF }

//op:sti STI
func sti(c *cpu) exit {
	if c.flags&flagIF == 0 {
		irq := c.apic.pending()
		if irq >= 0 {
			return exitBail
		}
		c.flags |= flagIF
	}
	return exitNext
}

//op:cld CLD
func cld(c *cpu) { c.flags &^= flagDF }

//op:clc CLC
func clc(c *cpu) { flagsCF(c, 0) }

//op:stc STC
func stc(c *cpu) { flagsCF(c, 1) }

// order notes the LOCK prefix of the instruction that the op after it is of.
//
//op:order ORDER
func orderLocked(c *cpu) { c.ordered |= orderLock }

//op:rdtsc RDTSC
func rdtsc(c *cpu, o *op, limit uint64, left int64) {
	t := limit - uint64(left) + uint64(o.n-1) + c.tscOffset
	c.r[rAX], c.r[rDX] = uint64(uint32(t)), t>>32
}

// generic has the executor do an instruction that is decoded already.
//
//op:generic GENERIC
func generic(c *cpu, o *op, page, limit uint64, left int64) exit {
	c.rip = page + uint64(o.pc)
	c.now = limit - uint64(left) + uint64(o.n-1)
	c.execute(&c.p.cache.insts[o.imm])
	if c.attn || c.rip != page+uint64(int64(o.disp)) {
		return exitLeave
	}
	return exitNext
}

// slow has the executor fetch an instruction.
//
//op:slow SLOW
func slow() exit { return exitBail }
