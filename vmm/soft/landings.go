package soft

import "nvlab/vmm/soft/ir"

// landAt makes an entry of the block of a header, whose code is at an address.
func (c *cpu) landAt(header uint32, code uint64) {
	h := c.p.cache.Header(header)
	rip := c.pageOf(h) + uint64(h.PC)
	if c.known(rip) != header {
		return
	}
	c.landings[c.privilege()].Put(rip, code)
}

// forgetLandings drops the entries of one half of the address space.
func (c *cpu) forgetLandings(gen int) {
	for set := range c.landings {
		c.landings[set].Forget(gen - ir.GenLower)
	}
}

// forgetLandings drops all entries: their code goes.
func (p *processors) forgetLandings() {
	for _, c := range p.cpus {
		c.forgetLandings(ir.GenLower)
		c.forgetLandings(ir.GenUpper)
	}
}
