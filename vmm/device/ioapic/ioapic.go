// Package ioapic is an I/O APIC of 24 pins (Intel 82093AA datasheet, 1996,
// section 3; the EOI register and version 0x20 of ICH datasheets).
package ioapic

const (
	// Pins is the number of interrupt inputs.
	Pins = 24
	// Size is the length of the register window in bytes.
	Size = 0x1000
)

// Offsets in the register window.
const (
	regSelect = 0x00
	regWindow = 0x10
	regEOI    = 0x40
)

// Indirect registers.
const (
	idxID      = 0x00
	idxVersion = 0x01
	idxArb     = 0x02
	idxTable   = 0x10
)

// version of an I/O APIC that has an EOI register.
const version = 0x20

// Bits of a redirection table entry (3.2.4).
const (
	rteVector    = 0xff
	rteMode      = 7 << 8
	rteLowest    = 1 << 8
	rteLogical   = 1 << 11
	rteActiveLow = 1 << 13
	rteRemoteIRR = 1 << 14
	rteLevel     = 1 << 15
	rteMasked    = 1 << 16
	rteDestShift = 56

	rteWritable = rteVector | rteMode | rteLogical | rteActiveLow | rteLevel | rteMasked | 0xff<<rteDestShift
)

// A Message is an interrupt on its way to the local APICs.
type Message struct {
	Dest    uint8
	Logical bool
	Lowest  bool
	Level   bool
	Vector  uint8
}

// An IOAPIC is the device.
type IOAPIC struct {
	State
	deliver func(Message)
}

// State is what an I/O APIC remembers.
type State struct {
	ID     uint32
	Select uint8
	Table  [Pins]uint64
	Lines  uint32 // electrical levels: bit n is pin n
}

// New returns an I/O APIC after a reset: every pin masked.
func New(deliver func(Message)) *IOAPIC {
	a := &IOAPIC{deliver: deliver}
	for i := range a.Table {
		a.Table[i] = rteMasked
	}
	return a
}

// Set drives a pin. The lines of this machine are active high; an entry that
// says active low sees the inverse.
func (a *IOAPIC) Set(pin int, high bool) {
	if uint(pin) >= Pins {
		return
	}
	was := a.asserted(pin)
	if high {
		a.Lines |= 1 << pin
	} else {
		a.Lines &^= 1 << pin
	}
	if a.Table[pin]&rteLevel != 0 {
		a.service(pin)
	} else if !was && a.asserted(pin) && a.Table[pin]&rteMasked == 0 {
		a.send(pin)
	}
}

// EndOfInterrupt ends a level-triggered interrupt at every pin of that
// vector, and sends it again where the line is still asserted.
func (a *IOAPIC) EndOfInterrupt(vector uint8) {
	for pin, e := range a.Table {
		if e&rteLevel != 0 && uint8(e) == vector {
			a.Table[pin] &^= rteRemoteIRR
			a.service(pin)
		}
	}
}

func (a *IOAPIC) asserted(pin int) bool {
	return a.Lines>>pin&1 != 0 != (a.Table[pin]&rteActiveLow != 0)
}

// service sends a level-triggered pin that is asserted and not yet accepted.
func (a *IOAPIC) service(pin int) {
	e := a.Table[pin]
	if e&rteLevel != 0 && e&(rteMasked|rteRemoteIRR) == 0 && a.asserted(pin) {
		a.Table[pin] |= rteRemoteIRR
		a.send(pin)
	}
}

func (a *IOAPIC) send(pin int) {
	e := a.Table[pin]
	switch e & rteMode {
	case 0, rteLowest:
	default: // SMI, NMI, INIT, ExtINT: nothing of this machine raises them
		return
	}
	a.deliver(Message{
		Dest:    uint8(e >> rteDestShift),
		Logical: e&rteLogical != 0,
		Lowest:  e&rteMode == rteLowest,
		Level:   e&rteLevel != 0,
		Vector:  uint8(e),
	})
}

func (a *IOAPIC) Read(offset uint64, _ int) uint64 {
	switch offset {
	case regSelect:
		return uint64(a.Select)
	case regWindow:
		return uint64(a.indirect())
	}
	return 0
}

func (a *IOAPIC) indirect() uint32 {
	switch i := a.Select; {
	case i == idxID, i == idxArb:
		return a.ID
	case i == idxVersion:
		return version | (Pins-1)<<16
	case i >= idxTable && i < idxTable+2*Pins:
		return uint32(a.Table[(i-idxTable)/2] >> (32 * (i & 1)))
	}
	return 0
}

func (a *IOAPIC) Write(offset uint64, _ int, v uint64) {
	switch offset {
	case regSelect:
		a.Select = uint8(v)
	case regEOI:
		a.EndOfInterrupt(uint8(v))
	case regWindow:
		switch i := a.Select; {
		case i == idxID:
			a.ID = uint32(v) & 0x0f00_0000
		case i >= idxTable && i < idxTable+2*Pins:
			a.writeEntry(int(i-idxTable)/2, uint(i&1)*32, uint32(v))
		}
	}
}

func (a *IOAPIC) writeEntry(pin int, shift uint, v uint32) {
	old := a.Table[pin]
	e := old&^(0xffff_ffff<<shift) | uint64(v)<<shift
	e = e&rteWritable | old&rteRemoteIRR
	if e&rteLevel == 0 {
		// An edge-triggered entry has no remote IRR; Linux clears a stuck one
		// by switching the trigger mode to and fro.
		e &^= rteRemoteIRR
	}
	a.Table[pin] = e
	a.service(pin)
}
