package soft

import (
	"encoding/binary"
	"fmt"
	"slices"

	"nvlab/vmm"
	"nvlab/vmm/soft/x86"
)

var _ vmm.Debugged = (*processors)(nil)

// A debugger is what somebody who looks at the guest from outside wants of its
// processors. Breakpoints are kept here, and not written into the guest: code in
// a page with one is the executor's, as is code in memory with poison.
type debugger struct {
	at    map[uint64]bool // addresses of instructions
	pages map[uint64]bool // virtual, by number, that have one
	step  int             // processor whose next instruction ends Run, or -1

	why     vmm.Broke // Run ended, unless that was told
	cpu     *cpu      // why and passing are of
	passing bool      // the instruction at this clock and address does not break again
	now     uint64
	rip     uint64

	holds bool // the Run that ended is to go on as if it had not
}

// wanted is the debugger, which there is from now on.
func (p *processors) wanted() *debugger {
	if p.debugger == nil {
		p.debugger = &debugger{step: -1}
	}
	return p.debugger
}

// Break sets all breakpoints. Links and jump cache entries that lead to pages with
// one go: whoever comes there looks the page up.
func (p *processors) Break(at []uint64) {
	d := p.wanted()
	if len(at) == len(d.at) && !slices.ContainsFunc(at, func(a uint64) bool { return !d.at[a] }) {
		return
	}
	d.at, d.pages = map[uint64]bool{}, map[uint64]bool{}
	for _, a := range at {
		d.at[a], d.pages[a>>x86.PageShift] = true, true
	}
	for _, c := range p.cpus {
		c.forgetJumps()
	}
	p.epoch++
}

// Step has Run end after the next instruction of a processor.
func (p *processors) Step(cpu int) {
	if cpu >= 0 || p.debugger != nil {
		p.wanted().step = cpu
	}
}

// Broke says why Run ended.
func (p *processors) Broke() (cpu int, why vmm.Broke) {
	d := p.debugger
	if d == nil || d.why == vmm.NotBroken {
		return 0, vmm.NotBroken
	}
	why, d.why = d.why, vmm.NotBroken
	return int(d.cpu.id), why
}

// Turn is the processor whose turn it is, or that has the next one.
func (p *processors) Turn() int { return int(p.cpu.id) }

// breaks ends Run if the processor is at a breakpoint at which it did not end Run
// already.
func (c *cpu) breaks() bool {
	d := c.p.debugger
	if !d.at[c.rip] || d.passing && d.cpu == c && d.now == c.now && d.rip == c.rip {
		return false
	}
	d.passing, d.now, d.rip = true, c.now, c.rip
	c.p.broke(c, vmm.Breakpoint)
	return true
}

// stepped ends Run after the step that was asked for, unless it led to a
// breakpoint instead.
func (p *processors) stepped(c *cpu) {
	if p.debugger.why == vmm.NotBroken {
		p.broke(c, vmm.Stepped)
	}
}

func (p *processors) broke(c *cpu, why vmm.Broke) {
	d := p.debugger
	if why == vmm.Stepped {
		d.passing = false
	}
	d.cpu, d.why, d.step = c, why, -1
	p.hold()
	p.stopping, c.attn = true, true
}

// hold is for a Run that ends for the debugger alone. What was to be told of
// stores and fences later still is: how much is told at once depends on it.
func (p *processors) hold() {
	if d := p.debugger; d != nil {
		d.holds = !p.stopping
	}
}

// held says, once, whether the Run that ends is one of these.
func (p *processors) held() bool {
	d := p.debugger
	if d == nil || !d.holds {
		return false
	}
	d.holds = false
	return p.dead == nil
}

// forgetBreak is for processors that are others from now on.
func (p *processors) forgetBreak() {
	if d := p.debugger; d != nil {
		d.why, d.passing, d.step = vmm.NotBroken, false, -1
		for _, c := range p.cpus {
			c.events.stream.Stores = c.events.stream.Stores[:0]
		}
	}
}

// Registers are those of a processor.
func (p *processors) Registers(cpu int) vmm.Registers {
	p.revealAll()
	c := p.cpus[cpu]
	r := vmm.Registers{
		R: [16]uint64(c.r[:]), RIP: c.rip, RFLAGS: c.rflags(),
		FSBase: c.r[x86.SlotFS], GSBase: c.r[x86.SlotGS], KernelGSBase: c.msr.kernelGS,
		CR0: c.cr0, CR2: c.cr2, CR3: c.cr3, CR4: c.cr4, EFER: c.efer,
		MXCSR: c.fpu.mxcsr, Halted: c.halted,
	}
	for i, s := range c.seg {
		r.Segment[i] = s.sel
	}
	for i := range r.XMM {
		for k, v := range c.fpu.xmm[i] {
			binary.LittleEndian.PutUint64(r.XMM[i][8*k:], v)
		}
	}
	x := &c.fpu.x87
	top := x.SW >> 11 & 7
	for i := range r.X87.ST {
		v := x.R[(int(top)+i)&7]
		binary.LittleEndian.PutUint64(r.X87.ST[i][:], v.Sig)
		binary.LittleEndian.PutUint16(r.X87.ST[i][8:], v.SE)
		if x.Tag>>i&1 == 0 {
			r.X87.Tag |= 3 << (2 * i)
		}
	}
	r.X87.CW, r.X87.SW, r.X87.FOP = x.CW, x.SW, x.FOP
	r.X87.FIP, r.X87.FDP, r.X87.FCS, r.X87.FDS = x.FIP, x.FDP, x.FCS, x.FDS
	return r
}

// SetRegisters sets what of a processor's registers a debugger may.
func (p *processors) SetRegisters(cpu int, r *vmm.Registers) error {
	for _, a := range []uint64{r.RIP, r.FSBase, r.GSBase} {
		if !x86.Canonical(a) {
			return fmt.Errorf("%#x is not a canonical address", a)
		}
	}
	c := p.cpus[cpu]
	p.revealAll()
	copy(c.r[:16], r.R[:])
	c.rip = r.RIP
	c.setArith(r.RFLAGS)
	c.r[x86.SlotFS], c.r[x86.SlotGS] = r.FSBase, r.GSBase
	return nil
}
