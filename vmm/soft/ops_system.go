package soft

import (
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

//lint:file-ignore U1000 genfast inlines what is here

//op:cli CLI
func cli(c *cpu) { c.flags &^= x86.FlagIF }

//op:sti STI
func sti(c *cpu) exit {
	if c.flags&x86.FlagIF == 0 {
		irq := c.apic.Pending()
		if irq >= 0 {
			return exitBail
		}
		c.flags |= x86.FlagIF
	}
	return exitNext
}

//op:cld CLD
func cld(c *cpu) { c.flags &^= x86.FlagDF }

//op:swapgs SWAPGS
func swapgs(c *cpu, o *ir.Op) {
	v := c.r[o.Dst]
	c.r[o.Dst] = c.msr.kernelGS
	c.msr.kernelGS = v
}

//op:stac STAC
func stac(c *cpu) { c.flags |= x86.FlagAC }

// clac leaves it to the executor to forget users' pages.
//
//op:clac CLAC
func clac(c *cpu) exit {
	if len(c.tlbs[0].users) > 0 {
		return exitBail
	}
	c.flags &^= x86.FlagAC
	return exitNext
}

//op:clc CLC
func clc(c *cpu) { flagsCF(c, 0) }

//op:stc STC
func stc(c *cpu) { flagsCF(c, 1) }

// order notes the LOCK prefix of the instruction that the op after it is of.
//
//op:order ORDER
func orderLocked(c *cpu) { c.ordered |= abi.OrderLock }

//op:rdtsc RDTSC
func rdtsc(c *cpu, o *ir.Op, limit uint64, left int64) {
	t := limit - uint64(left) + uint64(o.N-1) + c.tscOffset
	c.r[x86.RAX], c.r[x86.RDX] = uint64(uint32(t)), t>>32
}

// generic has the executor do an instruction that is decoded already.
//
//op:generic GENERIC
func generic(c *cpu, o *ir.Op, page, limit uint64, left int64) exit {
	c.rip = page + uint64(o.PC)
	c.now = limit - uint64(left) + uint64(o.N-1)
	c.execute(&c.p.cache.Insts[o.Imm])
	if c.attn || c.rip != page+uint64(int64(o.Disp)) {
		return exitLeave
	}
	return exitNext
}

// slow has the executor fetch an instruction.
//
//op:slow SLOW
func slow() exit { return exitBail }
