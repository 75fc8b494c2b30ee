// Package pci is a PCI Express root complex: a host bridge and a root port,
// whose configuration space the guest reaches by ports (PCI Local Bus
// Specification 3.0, 3.2.2.3.2) and in memory (PCI Express Base Specification
// 6.0, 7.2.2, ECAM). What is not there reads as all ones.
package pci

// Ports are where configuration space is reached by port: the address in the
// first four, data in the others.
const Ports = 8

// Buses is how many buses configuration space has room for; each takes BusSize
// bytes of memory.
const (
	Buses   = 16
	BusSize = 1 << 20
)

// RootPortDevice is the device number of the root port on bus 0.
const RootPortDevice = 1

const enable = 1 << 31 // of an address

// A Complex is the root complex of one PCI segment.
type Complex struct {
	State
	functions []function
}

// State is what a root complex remembers.
type State struct {
	Address uint32 // latched for the data port
	Spaces  []byte // of its functions, Size bytes each
}

// Clone returns a state that shares nothing with s.
func (s State) Clone() State {
	s.Spaces = append([]byte(nil), s.Spaces...)
	return s
}

// New returns a root complex after a reset.
func New() *Complex {
	c := &Complex{functions: []function{hostBridge(), rootPort(RootPortDevice)}}
	for i := range c.functions {
		c.Spaces = append(c.Spaces, c.functions[i].reset[:]...)
	}
	return c
}

// find is the function at an address on a bus, -1 if there is none. Nothing is
// behind the root port.
func (c *Complex) find(bus, address uint8) int {
	for i := range c.functions {
		if bus == 0 && c.functions[i].address == address {
			return i
		}
	}
	return -1
}

// read gives size bytes of a function; an access does not leave its space.
func (c *Complex) read(bus, address uint8, at, size int) uint64 {
	f := c.find(bus, address)
	if f < 0 || at+size > Size {
		return ^uint64(0)
	}
	var v uint64
	for i := range size {
		v |= uint64(c.Spaces[f*Size+at+i]) << (8 * i)
	}
	return v
}

// write changes what software may change.
func (c *Complex) write(bus, address uint8, at, size int, v uint64) {
	f := c.find(bus, address)
	if f < 0 || at+size > Size {
		return
	}
	for i := range size {
		may := c.functions[f].writable[at+i]
		old := &c.Spaces[f*Size+at+i]
		*old = *old&^may | byte(v>>(8*i))&may
	}
}

// In reads the address, or data at it. The address is one register of four
// bytes.
func (c *Complex) In(port uint16, size int) uint32 {
	at := int(port % Ports)
	if at < 4 {
		if at != 0 || size != 4 {
			return 0xffff_ffff
		}
		return c.Address
	}
	if c.Address&enable == 0 || at+size > Ports {
		return 0xffff_ffff
	}
	bus, address, offset := c.latched(at)
	return uint32(c.read(bus, address, offset, size))
}

// Out is In's counterpart.
func (c *Complex) Out(port uint16, size int, v uint32) {
	at := int(port % Ports)
	if at < 4 {
		if at == 0 && size == 4 {
			c.Address = v & 0x80ff_fffc
		}
		return
	}
	if c.Address&enable == 0 || at+size > Ports {
		return
	}
	bus, address, offset := c.latched(at)
	c.write(bus, address, offset, size, uint64(v))
}

// latched is what the data port at an offset of the ports leads to.
func (c *Complex) latched(at int) (bus, address uint8, offset int) {
	return uint8(c.Address >> 16), uint8(c.Address >> 8), int(c.Address&0xfc) + at - 4
}

// Read is a load from configuration space in memory.
func (c *Complex) Read(offset uint64, size int) uint64 {
	return c.read(uint8(offset>>20), uint8(offset>>12), int(offset&(Size-1)), size)
}

// Write is a store to configuration space in memory.
func (c *Complex) Write(offset uint64, size int, v uint64) {
	c.write(uint8(offset>>20), uint8(offset>>12), int(offset&(Size-1)), size, v)
}
