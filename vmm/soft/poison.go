package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

var _ observe.Poisoner = (*processors)(nil)

// A load of a poisoned line raises #MC where a page that is absent would raise
// #PF: the address is translated, and nothing has changed. Pages with such a line
// have no place in the fast half of the TLB, and code in them is the executor's.
//
// What the processor reports is what Linux takes for a memory error on AMD's
// family 15: an uncorrected error in the bank of the northbridge, with the
// address, the context not corrupt, and RIP that of the instruction. So it can be
// begun anew (AMD64 APM 2, chapter 9; Linux, arch/x86/kernel/cpu/mce/severity.c
// and drivers/acpi/nfit/mce.c).

// mcBanks is how many banks of registers there are, the fewest with one for the
// northbridge.
const (
	mcBanks       = 5
	mcNorthbridge = 4
)

// mcBank is one bank. Its MCi_MISC is 0: no counter of errors.
type mcBank struct{ ctl, status, addr uint64 }

// Bits of MCG_STATUS and MCi_STATUS (AMD64 APM 2, 9.3.1, 9.3.2.2).
const (
	mcgRIPV = 1 << 0
	mcgEIPV = 1 << 1
	mcgMCIP = 1 << 2

	mcVAL   = 1 << 63
	mcOVER  = 1 << 62
	mcUC    = 1 << 61
	mcEN    = 1 << 60
	mcADDRV = 1 << 58

	// The extended code of an ECC error of DRAM, and "generic read from memory"
	// (BIOS and Kernel Developer's Guide for AMD NPT family 0Fh, 5.4.3).
	mcMemory = 8<<16 | 0x0813
)

// Poison says which lines cannot be read. What was made of pages whose lines
// change goes.
func (p *processors) Poison(w *observe.Watch, consumed func(uint64, bool)) error {
	old := p.poison
	p.poison, p.consumed = w, consumed
	p.forgetUnreadable(old, w)
	return nil
}

// forgetUnreadable has what was made of pages go whose unreadable lines were those of
// one set and are those of another.
func (p *processors) forgetUnreadable(old, now *observe.Watch) {
	for _, set := range []*observe.Watch{old, now} {
		for pa := range set.Pages() {
			if old.Lines(pa) == now.Lines(pa) {
				continue
			}
			if r := p.mem.find(pa); r != nil && r.mark(pa-r.base).code != 0 {
				p.cpu.dropPage(r, pa-r.base)
			}
			p.eachOf(pa, (*tlbSet).drop)
		}
	}
}

// unreadable is the lines of the page of pa that the fast path may not read: they have
// poison, or Run is to end before they are read.
func (p *processors) unreadable(pa uint64) uint64 {
	if !p.someUnreadable() {
		return 0
	}
	return p.poison.Lines(pa) | p.stop.before.Lines(pa)
}

// someUnreadable says that there may be such lines.
func (p *processors) someUnreadable() bool { return p.poison != nil || p.stop.before != nil }

// slowLoads says that the fast path may not load from the page of pa.
func (p *processors) slowLoads(r *region, pa uint64) bool {
	return p.watches(r) && p.watch.Page(pa) != 0 || p.unreadable(pa) != 0
}

// readable says that n bytes at pa, within a page, can be read, or raises #MC, or what
// ends Run.
func (c *cpu) readable(pa, n uint64) bool {
	if c.p.unreadable(pa) == 0 {
		return true
	}
	for at := pa; at < pa+n; at = (at | 63) + 1 {
		if c.stops(at) {
			return false
		}
		if c.p.poison.Lines(at)>>(at&x86.PageMask>>6)&1 != 0 {
			c.exc = exception{vec: excMC, cr2: at}
			return false
		}
	}
	return true
}

// canRead is readable of a span.
func (c *cpu) canRead(s *span) bool {
	return !c.p.someUnreadable() || c.readable(s.pa, uint64(s.n1)) && (s.n1 == s.n || c.readable(s.pb, uint64(s.n-s.n1)))
}

// intact is how many of n elements of size bytes from va on, in the direction of
// DF and within a page, can be read before the first that cannot.
func (c *cpu) intact(va, n uint64, size uint8) uint64 {
	if !c.p.someUnreadable() {
		return n
	}
	pa, ok := c.translate(va, c.privilege(), accessRead)
	if !ok {
		return 0
	}
	lines, step := c.p.unreadable(pa), uint64(size)
	if lines == 0 {
		return n
	}
	if c.flags&x86.FlagDF != 0 {
		step = -step
	}
	for i := range n {
		at := (pa + i*step) & x86.PageMask
		if (lines>>(at>>6)|lines>>((at+uint64(size)-1)>>6))&1 != 0 {
			return i
		}
	}
	return n
}

// fetchable says that the bytes of an instruction can be read, or raises #MC: it
// is at pa, and what of it is in the next page at pb. One that is invalid, or
// was not decoded, may have all that were looked at.
func (c *cpu) fetchable(pa, pb uint64, in *x86.Inst, status x86.Status) bool {
	n, left := uint64(x86.MaxLength), x86.PageSize-pa&x86.PageMask
	if status == x86.OK {
		n = uint64(in.Len)
	}
	return c.readable(pa, min(n, left)) && (n <= left || pb == pa || c.readable(pb, n-left))
}

// report fills the bank for the machine check of a load at an address, and says
// that the processor can raise it: if not, it shuts down (AMD64 APM 2, 9.3.1).
func (c *cpu) report(addr uint64) bool {
	ok := c.cr4&x86.CR4MCE != 0 && c.msr.mcgStatus&mcgMCIP == 0
	if ok {
		b := &c.msr.mcBanks[mcNorthbridge]
		over := b.status & mcVAL >> 1
		b.status = mcVAL | over | mcUC | mcEN | mcADDRV | mcMemory
		b.addr = addr
		c.msr.mcgStatus = mcgRIPV | mcgEIPV | mcgMCIP
	}
	if c.p.consumed != nil {
		c.p.consumed(addr, ok)
	}
	return ok
}

// Model-specific registers of machine checks (AMD64 APM 2, 9.3).
const (
	msrMCGCap    = 0x179
	msrMCGStatus = 0x17a
	msrMCBanks   = 0x400 // CTL, STATUS, ADDR, MISC of each
)

// machineCheckMSR is the bank and the register of it that an MSR is.
func machineCheckMSR(n uint32) (bank, register uint32, ok bool) {
	n -= msrMCBanks
	return n / 4, n % 4, n < 4*mcBanks
}

func (c *cpu) readMachineCheck(n uint32) (uint64, bool) {
	switch {
	case !c.p.machineChecks:
		return 0, false
	case n == msrMCGCap:
		return mcBanks, true
	case n == msrMCGStatus:
		return c.msr.mcgStatus, true
	}
	bank, register, ok := machineCheckMSR(n)
	if !ok {
		return 0, false
	}
	b := &c.msr.mcBanks[bank]
	return [...]uint64{b.ctl, b.status, b.addr, 0}[register], true
}

// writeMachineCheck: a status can be cleared only.
func (c *cpu) writeMachineCheck(n uint32, v uint64) bool {
	switch {
	case !c.p.machineChecks:
		return false
	case n == msrMCGStatus:
		c.msr.mcgStatus = v & (mcgRIPV | mcgEIPV | mcgMCIP)
		return true
	}
	bank, register, ok := machineCheckMSR(n)
	if !ok {
		return false
	}
	b := &c.msr.mcBanks[bank]
	switch register {
	case 0:
		b.ctl = v
	case 1:
		if v != 0 {
			return false
		}
		b.status = 0
	case 2:
		b.addr = v
	}
	return true
}
