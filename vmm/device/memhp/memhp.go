// Package memhp is the controller of memory slots that ACPI's memory devices
// speak to: registers that tell what is in a slot, what happened to it, and
// take it out. They are those of QEMU's controller (QEMU,
// docs/specs/acpi_mem_hotplug.rst).
package memhp

// Ports is the number of I/O ports of a controller.
const Ports = 24

// Offsets of the registers. The first is another one for writes.
const (
	regAddrLow   = 0x00 // read: of the slot that is selected
	regAddrHigh  = 0x04
	regSizeLow   = 0x08
	regSizeHigh  = 0x0c
	regProximity = 0x10
	regFlags     = 0x14 // 1 byte

	regSelect = 0x00 // write
	regEvent  = 0x04 // of _OST
	regStatus = 0x08
)

// Bits of regFlags. Software writes a bit of an event to end it.
const (
	flagEnabled = 1 << 0
	flagInsert  = 1 << 1
	flagRemove  = 1 << 2
	flagEject   = 1 << 3 // write: the guest lets the memory go
)

// A Slot is what is in one: nothing if Size is 0.
type Slot struct {
	Addr, Size uint64 // bytes, guest-physical
	Node       uint32 // proximity domain
	Insert     bool   // the guest is to look at what came
	Remove     bool   // the guest is asked to let go what is there
	Ejected    bool   // the guest let it go, and it is still mapped

	// What the guest told of the latest event by _OST (ACPI 6.5, 6.3.5).
	Event, Status uint32
	Told          int // how often it did since the latest request
}

// Enabled says that there is memory in the slot.
func (s *Slot) Enabled() bool { return s.Size > 0 && !s.Ejected }

// State is what a controller remembers.
type State struct {
	Selected uint32
	Slots    []Slot
}

// Clone returns a state that shares nothing with s.
func (s State) Clone() State {
	s.Slots = append([]Slot(nil), s.Slots...)
	return s
}

// A Controller is the device.
type Controller struct {
	State
	told func()
}

// New returns a controller of empty slots. It calls told when the guest
// answered something: _OST, or let memory go.
func New(slots int, told func()) *Controller {
	return &Controller{State{Slots: make([]Slot, slots)}, told}
}

// slot is the one that is selected, nil if there is none.
func (c *Controller) slot() *Slot {
	if uint64(c.Selected) < uint64(len(c.Slots)) {
		return &c.Slots[c.Selected]
	}
	return nil
}

// In reads a register of the slot that is selected, four bytes, and one of the
// flags.
func (c *Controller) In(port uint16, size int) uint32 {
	s, at := c.slot(), register(port)
	if s == nil || size != width(at) {
		return 0
	}
	switch at {
	case regAddrLow:
		return uint32(s.Addr)
	case regAddrHigh:
		return uint32(s.Addr >> 32)
	case regSizeLow:
		return uint32(s.Size)
	case regSizeHigh:
		return uint32(s.Size >> 32)
	case regProximity:
		return s.Node
	case regFlags:
		return bit(s.Enabled(), flagEnabled) | bit(s.Insert, flagInsert) | bit(s.Remove, flagRemove)
	}
	return 0
}

func bit(set bool, flag uint32) uint32 {
	if set {
		return flag
	}
	return 0
}

// Out writes a register.
func (c *Controller) Out(port uint16, size int, v uint32) {
	at := register(port)
	if size != width(at) {
		return
	}
	if at == regSelect {
		c.Selected = v
		return
	}
	s := c.slot()
	if s == nil {
		return
	}
	switch at {
	case regEvent:
		s.Event = v
	case regStatus:
		s.Status = v
		s.Told++
		c.told()
	case regFlags:
		if v&flagInsert != 0 {
			s.Insert = false
		}
		if v&flagRemove != 0 {
			s.Remove = false
		}
		if v&flagEject != 0 && s.Enabled() {
			s.Ejected = true
			c.told()
		}
	}
}

// Base is the first port, as QEMU has it.
const Base uint16 = 0xa00

func register(port uint16) int { return int(port - Base) }

func width(register int) int {
	if register == regFlags {
		return 1
	}
	return 4
}
