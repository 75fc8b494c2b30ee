package soft

import (
	"nvlab/vmm"
	"nvlab/vmm/soft/apic"
)

// interrupts is a processor as its local APIC sees it.
type interrupts cpu

func (c *interrupts) Clock() uint64 { return c.now }
func (c *interrupts) TSC() uint64   { return c.now + c.tscOffset }
func (c *interrupts) Attend()       { c.attn = true }
func (c *interrupts) Moved()        { (*cpu)(c).flushTLB(false) }

func (c *interrupts) NMI() {
	if !c.parked {
		c.nmi, c.attn = true, true
	}
}

// Init parks the processor: firmware that starts processors by a mailbox has no
// use for SIPI, which is ignored like SMI.
func (c *interrupts) Init() { (*cpu)(c).park() }

func (c *interrupts) EndOfInterrupt(vector uint8) { c.p.bus.EndOfInterrupt(vector) }
func (c *interrupts) Send(m *apic.Message)        { c.p.send(m) }

// send delivers a message to all that it is for.
func (p *processors) send(m *apic.Message) {
	if m.Mode == apic.ModeLowest {
		p.deliverLowest(m)
		return
	}
	for _, c := range p.cpus {
		if c.apic.Wants(m) {
			c.apic.Receive(m)
		}
	}
}

// deliverLowest delivers to the processor of the lowest priority, and of those
// to the first.
func (p *processors) deliverLowest(m *apic.Message) {
	var to *apic.APIC
	for _, c := range p.cpus {
		if a := &c.apic; a.On() && a.Wants(m) && (to == nil || a.PPR() < to.PPR()) {
			to = a
		}
	}
	if to != nil {
		to.Receive(m)
	}
}

// Interrupt delivers a message of the machine's.
func (p *processors) Interrupt(i vmm.Interrupt) {
	m := apic.Message{Vector: i.Vector, Dest: i.Dest, Logical: i.Logical, Level: i.Level}
	if i.Lowest {
		m.Mode = apic.ModeLowest
	}
	p.send(&m)
}
