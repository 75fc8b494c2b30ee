// Package ged is the register behind a Generic Event Device (ACPI 6.5,
// 5.6.9): events that wait for the guest's _EVT method to read them.
package ged

// Ports is the number of I/O ports of a GED.
const Ports = 4

// A GED is the device: one 32-bit register, bit n of which says that event n
// happened. A read clears it. Its interrupt line is high while a bit is set.
type GED struct {
	State
	line func(bool)
}

// State is what a GED remembers.
type State struct{ Pending uint32 }

// New returns a GED that drives an interrupt line.
func New(line func(bool)) *GED { return &GED{line: line} }

// Raise makes event n, from 0 to 31, happen.
func (g *GED) Raise(n int) {
	g.Pending |= 1 << n
	g.line(g.Pending != 0)
}

// In reads the register. Only a whole read takes the events.
func (g *GED) In(port uint16, size int) uint32 {
	if port%Ports != 0 || size != 4 {
		return 0
	}
	v := g.Pending
	g.Pending = 0
	g.line(false)
	return v
}

// Out does nothing: events are the machine's to raise.
func (g *GED) Out(uint16, int, uint32) {}
