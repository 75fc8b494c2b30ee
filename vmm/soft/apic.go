package soft

import (
	"nvlab/vmm"
	"nvlab/vmm/soft/x86"
)

// lapic is a local APIC in xAPIC mode (SDM 3A, chapter 11).
type lapic struct {
	cpu *cpu
	apicState
}

// apicState is what a local APIC is.
type apicState struct {
	base uint64 // IA32_APIC_BASE
	id   uint8

	tpr, ldr, dfr, svr   uint32
	esr                  uint32
	icr                  uint64
	isr, irr, tmr        [8]uint32
	lvt                  [7]uint32 // CMCI, timer, thermal, counter, LINT0, LINT1, error
	timerInit, timerDiv  uint32
	timerStart, timerEnd uint64 // clock when the count was set, and when it ends
	deadline             uint64 // IA32_TSC_DEADLINE; 0 is off
}

// Local vector table, by index in lapic.lvt.
const (
	lvtCMCI = iota
	lvtTimer
	lvtThermal
	lvtCounter
	lvtLINT0
	lvtLINT1
	lvtError
)

const (
	lvtMasked      = 1 << 16
	timerModeMask  = 3 << 17
	timerPeriodic  = 1 << 17
	timerDeadline  = 2 << 17
	svrEnable      = 1 << 8
	apicVersion    = 0x60014 // 7 LVT entries, integrated
	apicDefault    = 0xfee00000
	never          = ^uint64(0)
	vectorFirst    = 16
	esrIllegal     = 1 << 6
	esrSendIllegal = 1 << 5
)

func (a *lapic) reset() {
	a.apicState = apicState{
		id:   a.id,
		base: apicDefault | apicEnable,
		dfr:  ^uint32(0), svr: 0xff,
		timerEnd: never,
	}
	if a.cpu.id == 0 {
		a.base |= apicBSP
	}
	for i := range a.lvt {
		a.lvt[i] = lvtMasked
	}
}

// enabled says whether the registers answer at their address.
func (a *lapic) enabled() bool { return a.base&apicEnable != 0 }

// on says whether the APIC accepts interrupts.
func (a *lapic) on() bool { return a.enabled() && a.svr&svrEnable != 0 }

// setBase writes IA32_APIC_BASE: x2APIC mode is not offered.
func (a *lapic) setBase(v, reserved uint64) bool {
	if v&^(apicEnable|apicBSP|pteAddr&^reserved) != 0 {
		return false
	}
	if (a.base^v)&apicEnable != 0 {
		a.reset()
	}
	a.base = v
	a.cpu.flushTLB(false)
	return true
}

// readMMIO reads a register; they are 32 bits wide, 16 bytes apart.
func (a *lapic) readMMIO(off uint64, n uint8) uint64 {
	v := uint64(a.readReg(off>>4)) >> (8 * (off & 3))
	if off&15 > 3 {
		v = 0
	}
	return v & x86.SizeMask(n)
}

func (a *lapic) writeMMIO(off uint64, n uint8, v uint64) {
	if off&15 == 0 && n >= 4 {
		a.writeReg(off>>4, uint32(v))
	}
}

func (a *lapic) readReg(n uint64) uint32 {
	switch {
	case n == 0x02:
		return uint32(a.id) << 24
	case n == 0x03:
		return apicVersion
	case n == 0x08:
		return a.tpr
	case n == 0x0a:
		return uint32(a.ppr())
	case n == 0x0d:
		return a.ldr
	case n == 0x0e:
		return a.dfr
	case n == 0x0f:
		return a.svr
	case n >= 0x10 && n < 0x18:
		return a.isr[n-0x10]
	case n >= 0x18 && n < 0x20:
		return a.tmr[n-0x18]
	case n >= 0x20 && n < 0x28:
		return a.irr[n-0x20]
	case n == 0x28:
		return a.esr
	case n == 0x2f:
		return a.lvt[lvtCMCI]
	case n == 0x30:
		return uint32(a.icr)
	case n == 0x31:
		return uint32(a.icr >> 32)
	case n >= 0x32 && n < 0x38:
		return a.lvt[n-0x32+lvtTimer]
	case n == 0x38:
		return a.timerInit
	case n == 0x39:
		return a.timerCount()
	case n == 0x3e:
		return a.timerDiv
	}
	return 0
}

func (a *lapic) writeReg(n uint64, v uint32) {
	a.cpu.attn = true
	switch {
	case n == 0x02:
		a.id = uint8(v >> 24)
	case n == 0x08:
		a.setTPR(v)
	case n == 0x0b:
		a.eoi()
	case n == 0x0d:
		a.ldr = v & 0xff000000
	case n == 0x0e:
		a.dfr = v | 0x0fffffff
	case n == 0x0f:
		a.svr = v & 0x3ff
		if v&svrEnable == 0 {
			for i := range a.lvt {
				a.lvt[i] |= lvtMasked
			}
		}
	case n == 0x28:
		a.esr = 0
	case n == 0x2f:
		a.setLVT(lvtCMCI, v)
	case n == 0x30:
		a.icr = a.icr&^0xffffffff | uint64(v&^(1<<12))
		a.send()
	case n == 0x31:
		a.icr = a.icr&0xffffffff | uint64(v)<<32
	case n >= 0x32 && n < 0x38:
		a.setLVT(int(n-0x32+lvtTimer), v)
	case n == 0x38:
		a.timerInit = v
		a.startTimer()
	case n == 0x3e:
		a.timerDiv = v & 0xb
		a.startTimer()
	}
}

func (a *lapic) setLVT(i int, v uint32) {
	if a.svr&svrEnable == 0 {
		v |= lvtMasked
	}
	mask := uint32(0x117ff)
	if i == lvtTimer {
		mask = 0x710ff
	} else if i == lvtLINT0 || i == lvtLINT1 {
		mask = 0x1a7ff
	}
	old := a.lvt[i]
	a.lvt[i] = v & mask
	if i == lvtTimer && (old^v)&timerModeMask != 0 {
		// A change into or out of deadline mode disarms (SDM 3A, 11.5.4.1).
		a.deadline = 0
		a.timerEnd = never
	}
}

func (a *lapic) setTPR(v uint32) {
	a.tpr = v & 0xff
	a.cpu.attn = true
}

// highest is the highest set bit, or -1.
func highest(b *[8]uint32) int {
	for i := 7; i >= 0; i-- {
		if b[i] != 0 {
			for j := 31; ; j-- {
				if b[i]>>j&1 != 0 {
					return i*32 + j
				}
			}
		}
	}
	return -1
}

// ppr is the processor priority (SDM 3A, 11.8.3.1).
func (a *lapic) ppr() uint8 {
	v := highest(&a.isr)
	if v < 0 || uint32(v)>>4 <= a.tpr>>4 {
		return uint8(a.tpr)
	}
	return uint8(v) &^ 15
}

// pending is the vector that the processor would take now, or -1.
func (a *lapic) pending() int {
	v := highest(&a.irr)
	if v < 0 || v>>4 <= int(a.ppr()>>4) || !a.on() {
		return -1
	}
	return v
}

// acknowledge moves a pending vector into service.
func (a *lapic) acknowledge(v int) {
	a.irr[v>>5] &^= 1 << (v & 31)
	a.isr[v>>5] |= 1 << (v & 31)
}

func (a *lapic) eoi() {
	v := highest(&a.isr)
	if v < 0 {
		return
	}
	a.isr[v>>5] &^= 1 << (v & 31)
	if a.tmr[v>>5]>>(v&31)&1 != 0 {
		a.cpu.p.bus.EndOfInterrupt(uint8(v))
	}
}

// accept makes a vector pending.
func (a *lapic) accept(v uint8, level bool) {
	if v < vectorFirst {
		a.esr |= esrIllegal
		return
	}
	bit := uint32(1) << (v & 31)
	a.irr[v>>5] |= bit
	if level {
		a.tmr[v>>5] |= bit
	} else {
		a.tmr[v>>5] &^= bit
	}
	a.cpu.attn = true
}

// addressed says whether a message's destination is this APIC (SDM 3A,
// 11.6.2).
func (a *lapic) addressed(dest uint8, logical bool) bool {
	if dest == 0xff {
		return true
	}
	if !logical {
		return dest == a.id
	}
	ldr := uint8(a.ldr >> 24)
	if a.dfr>>28 == 0 { // cluster model
		return dest>>4 == ldr>>4 && dest&ldr&15 != 0
	}
	return dest&ldr != 0
}

// Delivery modes (SDM 3A, 11.6.1).
const (
	modeFixed  = 0
	modeLowest = 1
	modeNMI    = 4
	modeINIT   = 5
)

// send sends the interrupt that the ICR describes (SDM 3A, 11.6.1).
func (a *lapic) send() {
	m := message{mode: uint8(a.icr >> 8 & 7), vector: uint8(a.icr), dest: 0xff}
	if m.mode == modeINIT && a.icr>>14&3 == 2 {
		return // level-triggered and deasserted: for processors of old
	}
	switch a.icr >> 18 & 3 {
	case 0:
		m.dest, m.logical = uint8(a.icr>>56), a.icr>>11&1 != 0
	case 1:
		m.only = a
	case 3:
		m.but = a
	}
	a.cpu.p.deliverMessage(&m)
}

// message is an interrupt on its way to local APICs.
type message struct {
	mode, vector uint8
	dest         uint8
	logical      bool
	level        bool
	only, but    *lapic // where a shorthand says so
}

func (a *lapic) wants(m *message) bool {
	return (m.only == nil || m.only == a) && m.but != a && a.addressed(m.dest, m.logical)
}

func (p *processors) deliverMessage(m *message) {
	if m.mode == modeLowest {
		p.deliverLowest(m)
		return
	}
	for _, c := range p.cpus {
		if c.apic.wants(m) {
			c.apic.receive(m)
		}
	}
}

// deliverLowest delivers to the processor of the lowest priority, and of those
// to the first.
func (p *processors) deliverLowest(m *message) {
	var to *lapic
	for _, c := range p.cpus {
		if a := &c.apic; a.on() && a.wants(m) && (to == nil || a.ppr() < to.ppr()) {
			to = a
		}
	}
	if to != nil {
		to.receive(m)
	}
}

// receive does what a message says. INIT parks a processor: firmware that
// starts processors by a mailbox has no use for SIPI, which is ignored like
// SMI.
func (a *lapic) receive(m *message) {
	c := a.cpu
	switch m.mode {
	case modeFixed, modeLowest:
		if a.on() {
			a.accept(m.vector, m.level)
		}
	case modeNMI:
		if !c.parked {
			c.nmi, c.attn = true, true
		}
	case modeINIT:
		if c.id != 0 {
			c.park()
		}
	}
}

// Interrupt delivers a message of the machine's.
func (p *processors) Interrupt(i vmm.Interrupt) {
	m := message{vector: i.Vector, dest: i.Dest, logical: i.Logical, level: i.Level}
	if i.Lowest {
		m.mode = modeLowest
	}
	p.deliverMessage(&m)
}
