package vmm

import (
	"fmt"
	"slices"
	"sync"
)

// A PortDevice is at a range of I/O ports. Its methods run within Run with no
// lock held, and may call the machine's Memory, Notify and Attention.
type PortDevice interface {
	In(port uint16, size int) uint32
	Out(port uint16, size int, v uint32)
}

// An MMIODevice is at a range of guest-physical addresses. The rules are
// those of PortDevice.
type MMIODevice interface {
	Read(offset uint64, size int) uint64
	Write(offset uint64, size int, v uint64)
}

// mapping is a device at a range of ports or addresses.
type mapping[D any] struct {
	base, size uint64
	dev        D
}

// space holds mappings in the order of their addresses.
type space[D any] []mapping[D]

func (s *space[D]) add(base, size uint64, dev D) error {
	i, _ := slices.BinarySearchFunc(*s, base, func(m mapping[D], base uint64) int {
		if m.base < base {
			return -1
		}
		return 1
	})
	if i > 0 && (*s)[i-1].base+(*s)[i-1].size > base || i < len(*s) && base+size > (*s)[i].base {
		return fmt.Errorf("%v is taken", Range{base, size})
	}
	*s = slices.Insert(*s, i, mapping[D]{base, size, dev})
	return nil
}

func (s space[D]) find(addr uint64) (m mapping[D], ok bool) {
	i, exact := slices.BinarySearchFunc(s, addr, func(m mapping[D], addr uint64) int {
		switch {
		case m.base < addr:
			return -1
		case m.base > addr:
			return 1
		}
		return 0
	})
	if !exact {
		i--
	}
	if i < 0 || addr-s[i].base >= s[i].size {
		return m, false
	}
	return s[i], true
}

// AddPort puts a device at n I/O ports from base.
func (m *Machine) AddPort(base, n uint16, dev PortDevice) error {
	if n == 0 || uint32(base)+uint32(n) > 1<<16 {
		return fmt.Errorf("%d I/O ports from %#x: outside of 0 to 0xffff", n, base)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ports.add(uint64(base), uint64(n), dev); err != nil {
		return fmt.Errorf("I/O ports: %w", err)
	}
	return nil
}

// AddMMIO puts a device at size bytes from base.
func (m *Machine) AddMMIO(base, size uint64, dev MMIODevice) error {
	if size == 0 || base+size < base {
		return fmt.Errorf("%d bytes of device registers at %#x: no valid range", size, base)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.mmio.add(base, size, dev); err != nil {
		return fmt.Errorf("device registers: %w", err)
	}
	return nil
}

// bus is the Machine as its processors see it.
type bus struct{ m *Machine }

func (b bus) port(port uint16) (PortDevice, bool) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	d, ok := b.m.ports.find(uint64(port))
	return d.dev, ok
}

func (b bus) registers(addr uint64) (mapping[MMIODevice], bool) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	return b.m.mmio.find(addr)
}

func (b bus) PortIn(port uint16, size int) uint32 {
	v := ^uint32(0)
	if d, ok := b.port(port); ok {
		v = d.In(port, size)
	}
	return v & uint32(1<<(8*size)-1)
}

func (b bus) PortOut(port uint16, size int, v uint32) {
	if d, ok := b.port(port); ok {
		d.Out(port, size, v)
	}
}

func (b bus) MMIORead(addr uint64, size int) uint64 {
	v := ^uint64(0)
	if d, ok := b.registers(addr); ok {
		v = d.dev.Read(addr-d.base, size)
	} else {
		b.m.nothing(addr)
	}
	if size < 8 {
		v &= 1<<(8*size) - 1
	}
	return v
}

func (b bus) MMIOWrite(addr uint64, size int, v uint64) {
	if d, ok := b.registers(addr); ok {
		d.dev.Write(addr-d.base, size, v)
	} else {
		b.m.nothing(addr)
	}
}

// nothing notes an access to where there is neither memory nor a device.
func (m *Machine) nothing(addr uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.highest = max(m.highest, addr)
}

// Highest is the highest guest-physical address at which a processor found neither memory
// nor a device since the machine was made; 0 if there was none.
func (m *Machine) Highest() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.highest
}

func (b bus) EndOfInterrupt(vector uint8) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.m.devices.ioapic.EndOfInterrupt(vector)
}

// lockedPorts and lockedMMIO guard the machine's own devices, which share
// interrupt lines and state with its methods.
type lockedPorts struct {
	mu *sync.Mutex
	PortDevice
}

func (l lockedPorts) In(port uint16, size int) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.PortDevice.In(port, size)
}

func (l lockedPorts) Out(port uint16, size int, v uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.PortDevice.Out(port, size, v)
}

type lockedMMIO struct {
	mu *sync.Mutex
	MMIODevice
}

func (l lockedMMIO) Read(offset uint64, size int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.MMIODevice.Read(offset, size)
}

func (l lockedMMIO) Write(offset uint64, size int, v uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.MMIODevice.Write(offset, size, v)
}
