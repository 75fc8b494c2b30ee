package soft

import (
	"nvlab/vmm"
	"nvlab/vmm/soft/x86"
)

// The mailbox of the multiprocessor wakeup structure (ACPI 6.5, 5.2.12.19).
const (
	mailboxCommand = 0 // 2 bytes
	mailboxAPICID  = 4 // 4 bytes
	mailboxVector  = 8 // 8 bytes

	commandNoop   = 0
	commandWakeup = 1
	commandTest   = 2 // a parked processor only takes note of it
)

// park resets the processor, which then waits for the mailbox to name it, as
// firmware has it wait. It is halted meanwhile.
func (c *cpu) park() {
	at := &c.p.parking
	c.enter(vmm.Entry{CR3: at.CR3, GDT: at.GDT, GDTLimit: at.GDTLimit})
	c.efer |= x86.EFERNXE // Linux loads page tables with NX before it turns that on
	c.parked, c.halted = true, true
}

// unpark starts the processor that the mailbox names, if it waits for that: it
// is parked, or halts with interrupts off. The latter is where Linux leaves a
// processor that it took offline, up to 6.10: it knows no way back into the
// mailbox, and of INIT no other use than SIPI's.
func (p *processors) unpark() {
	at := p.parking.Mailbox
	for _, c := range p.cpus {
		if at == 0 || !c.parked && (c.id == 0 || !c.halted || c.flags&x86.FlagIF != 0) {
			continue
		}
		command := c.readPhys(at+mailboxCommand, 2)
		if command == commandNoop || c.readPhys(at+mailboxAPICID, 4) != uint64(c.id) {
			continue
		}
		switch {
		case command == commandWakeup:
			if !c.parked {
				c.park()
			}
			c.parked, c.halted = false, false
			c.rip = c.readPhys(at+mailboxVector, 8)
		case !c.parked:
			continue // it is not asleep for firmware to test
		}
		c.writePhys(at+mailboxCommand, 2, commandNoop)
	}
}
