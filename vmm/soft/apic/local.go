// Package apic is the local interrupt controller of a processor: its registers, its
// priorities, its timer, and the messages that it sends and takes.
//
// References are to the Intel 64 and IA-32 Architectures Software Developer's
// Manual ("SDM").
package apic

import (
	"math/bits"

	"nvlab/vmm/soft/x86"
)

// Processor is what an APIC is part of.
type Processor interface {
	Clock() uint64               // ns
	TSC() uint64                 // the time stamp, which is as fast as the clock
	Attend()                     // there may be an interrupt to take
	NMI()                        // takes one
	Init()                       // stops until it is started anew
	Moved()                      // the registers are at another address, or at none
	EndOfInterrupt(vector uint8) // of one that is level-triggered
	Send(m *Message)             // sends to all APICs
}

// An APIC is a local APIC in xAPIC mode (SDM 3A, chapter 11).
type APIC struct {
	processor Processor
	first     bool // of the bootstrap processor
	State
}

// Assemble makes it the APIC of a processor, with an id after a reset.
func (a *APIC) Assemble(p Processor, id uint8) {
	a.processor, a.first = p, id == 0
	a.State = State{ID: id}
	a.reset()
}

// State is what a local APIC is.
type State struct {
	Base uint64 // IA32_APIC_BASE
	ID   uint8

	TPR, LDR, DFR, SVR   uint32
	ESR                  uint32
	ICR                  uint64
	ISR, IRR, TMR        [8]uint32
	LVT                  [7]uint32 // CMCI, timer, thermal, counter, LINT0, LINT1, error
	TimerInit, TimerDiv  uint32
	TimerStart, TimerEnd uint64 // clock when the count was set, and when it ends
	Deadline             uint64 // IA32_TSC_DEADLINE; 0 is off
}

// Local vector table, by index in State.LVT.
const (
	lvtCMCI = iota
	LVTTimer
	lvtThermal
	lvtCounter
	lvtLINT0
	lvtLINT1
	lvtError
)

// Bits of the registers, and their values after a reset (SDM 3A, 11.4 and 11.5).
const (
	lvtMasked      = 1 << 16
	timerModeMask  = 3 << 17
	TimerPeriodic  = 1 << 17
	TimerDeadline  = 2 << 17
	SVREnable      = 1 << 8
	version        = 0x60014    // 7 LVT entries, integrated
	DefaultBase    = 0xfee00000 // the address of the registers
	enable         = 1 << 11    // of IA32_APIC_BASE
	bootstrap      = 1 << 8
	Never          = ^uint64(0) // TimerEnd of a timer that is off
	vectorFirst    = 16
	esrIllegal     = 1 << 6
	esrSendIllegal = 1 << 5
)

// reset is a reset, which keeps the id.
func (a *APIC) reset() {
	a.State = State{
		ID:   a.ID,
		Base: DefaultBase | enable,
		DFR:  ^uint32(0), SVR: 0xff,
		TimerEnd: Never,
	}
	if a.first {
		a.Base |= bootstrap
	}
	for i := range a.LVT {
		a.LVT[i] = lvtMasked
	}
}

// enabled says whether the registers answer at their address.
func (a *APIC) enabled() bool { return a.Base&enable != 0 }

// At says whether the registers are in the page of pa.
func (a *APIC) At(pa uint64) bool { return (pa^a.Base)&^x86.PageMask == 0 && a.enabled() }

// On says whether the APIC accepts interrupts.
func (a *APIC) On() bool { return a.enabled() && a.SVR&SVREnable != 0 }

// SetBase writes IA32_APIC_BASE. It is false for bits that are not in the mask of
// addresses, such as x2APIC mode, which is not offered.
func (a *APIC) SetBase(v, addresses uint64) bool {
	if v&^(enable|bootstrap|addresses) != 0 {
		return false
	}
	if (a.Base^v)&enable != 0 {
		a.reset()
	}
	a.Base = v
	a.processor.Moved()
	return true
}

// Read reads n bytes at an offset; registers are 32 bits wide, 16 bytes apart.
func (a *APIC) Read(off uint64, n uint8) uint64 {
	v := uint64(a.readReg(off>>4)) >> (8 * (off & 3))
	if off&15 > 3 {
		v = 0
	}
	return v & x86.SizeMask(n)
}

// Write writes n bytes there.
func (a *APIC) Write(off uint64, n uint8, v uint64) {
	if off&15 == 0 && n >= 4 {
		a.WriteReg(off>>4, uint32(v))
	}
}

func (a *APIC) readReg(n uint64) uint32 {
	switch {
	case n == 0x02:
		return uint32(a.ID) << 24
	case n == 0x03:
		return version
	case n == 0x08:
		return a.TPR
	case n == 0x0a:
		return uint32(a.PPR())
	case n == 0x0d:
		return a.LDR
	case n == 0x0e:
		return a.DFR
	case n == 0x0f:
		return a.SVR
	case n >= 0x10 && n < 0x18:
		return a.ISR[n-0x10]
	case n >= 0x18 && n < 0x20:
		return a.TMR[n-0x18]
	case n >= 0x20 && n < 0x28:
		return a.IRR[n-0x20]
	case n == 0x28:
		return a.ESR
	case n == 0x2f:
		return a.LVT[lvtCMCI]
	case n == 0x30:
		return uint32(a.ICR)
	case n == 0x31:
		return uint32(a.ICR >> 32)
	case n >= 0x32 && n < 0x38:
		return a.LVT[n-0x32+LVTTimer]
	case n == 0x38:
		return a.TimerInit
	case n == 0x39:
		return a.timerCount()
	case n == 0x3e:
		return a.TimerDiv
	}
	return 0
}

// WriteReg writes the register of a number, its offset by 16.
func (a *APIC) WriteReg(n uint64, v uint32) {
	a.processor.Attend()
	switch {
	case n == 0x02:
		a.ID = uint8(v >> 24)
	case n == 0x08:
		a.SetTPR(v)
	case n == 0x0b:
		a.eoi()
	case n == 0x0d:
		a.LDR = v & 0xff000000
	case n == 0x0e:
		a.DFR = v | 0x0fffffff
	case n == 0x0f:
		a.SVR = v & 0x3ff
		if v&SVREnable == 0 {
			for i := range a.LVT {
				a.LVT[i] |= lvtMasked
			}
		}
	case n == 0x28:
		a.ESR = 0
	case n == 0x2f:
		a.setLVT(lvtCMCI, v)
	case n == 0x30:
		a.ICR = a.ICR&^0xffffffff | uint64(v&^(1<<12))
		a.send()
	case n == 0x31:
		a.ICR = a.ICR&0xffffffff | uint64(v)<<32
	case n >= 0x32 && n < 0x38:
		a.setLVT(int(n-0x32+LVTTimer), v)
	case n == 0x38:
		a.TimerInit = v
		a.StartTimer()
	case n == 0x3e:
		a.TimerDiv = v & 0xb
		a.StartTimer()
	}
}

func (a *APIC) setLVT(i int, v uint32) {
	if a.SVR&SVREnable == 0 {
		v |= lvtMasked
	}
	mask := uint32(0x117ff)
	if i == LVTTimer {
		mask = 0x710ff
	} else if i == lvtLINT0 || i == lvtLINT1 {
		mask = 0x1a7ff
	}
	old := a.LVT[i]
	a.LVT[i] = v & mask
	if i == LVTTimer && (old^v)&timerModeMask != 0 {
		// A change into or out of deadline mode disarms (SDM 3A, 11.5.4.1).
		a.Deadline = 0
		a.TimerEnd = Never
	}
}

// SetTPR sets the task priority.
func (a *APIC) SetTPR(v uint32) {
	a.TPR = v & 0xff
	a.processor.Attend()
}

// highest is the highest set bit, or -1.
func highest(b *[8]uint32) int {
	for i := 7; i >= 0; i-- {
		if b[i] != 0 {
			return i*32 + bits.Len32(b[i]) - 1
		}
	}
	return -1
}

// PPR is the processor priority (SDM 3A, 11.8.3.1).
func (a *APIC) PPR() uint8 {
	v := highest(&a.ISR)
	if v < 0 || uint32(v)>>4 <= a.TPR>>4 {
		return uint8(a.TPR)
	}
	return uint8(v) &^ 15
}

// Pending is the vector that the processor would take now, or -1.
func (a *APIC) Pending() int {
	v := highest(&a.IRR)
	if v < 0 || v>>4 <= int(a.PPR()>>4) || !a.On() {
		return -1
	}
	return v
}

// Acknowledge moves a pending vector into service.
func (a *APIC) Acknowledge(v int) {
	a.IRR[v>>5] &^= 1 << (v & 31)
	a.ISR[v>>5] |= 1 << (v & 31)
}

func (a *APIC) eoi() {
	v := highest(&a.ISR)
	if v < 0 {
		return
	}
	a.ISR[v>>5] &^= 1 << (v & 31)
	if a.TMR[v>>5]>>(v&31)&1 != 0 {
		a.processor.EndOfInterrupt(uint8(v))
	}
}

// Accept makes a vector pending.
func (a *APIC) Accept(v uint8, level bool) {
	if v < vectorFirst {
		a.ESR |= esrIllegal
		return
	}
	bit := uint32(1) << (v & 31)
	a.IRR[v>>5] |= bit
	if level {
		a.TMR[v>>5] |= bit
	} else {
		a.TMR[v>>5] &^= bit
	}
	a.processor.Attend()
}
