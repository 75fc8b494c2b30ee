package pci

import "encoding/binary"

// Size is the configuration space of one function, in bytes (PCI Express Base
// Specification 6.0, 7.2.1).
const Size = 4096

// Space is the configuration space of a function.
type Space [Size]byte

// Offsets of the header (PCI Local Bus Specification 3.0, 6.1; PCI-to-PCI
// Bridge Architecture Specification 1.2, 3.2).
const (
	offVendor       = 0x00
	offDevice       = 0x02
	offCommand      = 0x04
	offStatus       = 0x06
	offClass        = 0x08 // revision in the low byte
	offCacheLine    = 0x0c
	offHeaderType   = 0x0e
	offPrimary      = 0x18
	offSecondary    = 0x19
	offSubordinate  = 0x1a
	offIOBase       = 0x1c
	offMemoryBase   = 0x20
	offPrefetchBase = 0x24
	offPrefetchHigh = 0x28
	offCapabilities = 0x34
	offInterrupt    = 0x3c // line; the pin follows
	offBridge       = 0x3e
)

const (
	headerBridge       = 1
	statusCapabilities = 1 << 4
	capPCIExpress      = 0x10
	capSubsystem       = 0x0d
)

// function is one function of the root complex: what it holds after a reset,
// and which bits of that software may change.
type function struct {
	address  uint8 // device and function number on bus 0
	reset    Space
	writable Space
}

func (f *function) put16(at int, v uint16) { binary.LittleEndian.PutUint16(f.reset[at:], v) }
func (f *function) put32(at int, v uint32) { binary.LittleEndian.PutUint32(f.reset[at:], v) }
func (f *function) may16(at int, mask uint16) {
	binary.LittleEndian.PutUint16(f.writable[at:], mask)
}
func (f *function) may32(at int, mask uint32) {
	binary.LittleEndian.PutUint32(f.writable[at:], mask)
}

// The identities are those of QEMU's devices of these kinds, which guests know
// (QEMU, docs/specs/pci-ids.rst).
const (
	vendor         = 0x1b36
	deviceHost     = 0x0008 // PCIe host bridge
	deviceRootPort = 0x000c
	classHost      = 0x0600
	classBridge    = 0x0604
)

// hostBridge is device 0, which stands for the root complex.
func hostBridge() function {
	f := function{address: 0}
	f.put16(offVendor, vendor)
	f.put16(offDevice, deviceHost)
	f.put32(offClass, classHost<<16)
	f.may16(offCommand, commandBits)
	return f
}

// commandBits: I/O, memory, bus master, SERR#, no INTx.
const commandBits = 1<<0 | 1<<1 | 1<<2 | 1<<8 | 1<<10

// Offsets within the PCI Express capability (7.5.3).
const (
	expressCapabilities = 0x02
	expressDevice       = 0x04
	expressDeviceCtl    = 0x08
	expressLink         = 0x0c
	expressLinkCtl      = 0x10
	expressLinkStatus   = 0x12
	expressRootCtl      = 0x1c
	expressDevice2      = 0x24
	expressDevice2Ctl   = 0x28
	expressLink2        = 0x2c
	expressLink2Ctl     = 0x30
	expressVersion      = 2
	expressRootPort     = 4 << 4
	atExpress           = 0x40
	atSubsystem         = 0x80
)

// rootPort is a port without a slot, and nothing behind it. Its windows are
// those of memory and I/O; it raises INTA# if it ever has something to say.
func rootPort(device uint8) function {
	f := function{address: device << 3}
	f.put16(offVendor, vendor)
	f.put16(offDevice, deviceRootPort)
	f.put16(offStatus, statusCapabilities)
	f.put32(offClass, classBridge<<16)
	f.reset[offHeaderType] = headerBridge
	f.reset[offCapabilities] = atExpress
	f.reset[offInterrupt+1] = 1 // INTA#
	f.put16(offPrefetchBase, 1) // 64 bits wide
	f.put16(offPrefetchBase+2, 1)
	f.put16(offIOBase, 1<<8|1) // 32 bits wide

	f.may16(offCommand, commandBits)
	f.writable[offCacheLine] = 0xff
	f.may32(offPrimary, 0x00ff_ffff)
	f.may16(offIOBase, 0xf0f0)
	f.may32(offMemoryBase, 0xfff0_fff0)
	f.may32(offPrefetchBase, 0xfff0_fff0)
	f.may32(offPrefetchHigh, 0xffff_ffff)
	f.may32(offPrefetchHigh+4, 0xffff_ffff)
	f.may32(offPrefetchHigh+8, 0xffff_ffff) // I/O base and limit, high words
	f.writable[offInterrupt] = 0xff
	f.may16(offBridge, 0x005b) // parity, SERR#, VGA, secondary bus reset

	f.reset[atExpress], f.reset[atExpress+1] = capPCIExpress, atSubsystem
	f.put16(atExpress+expressCapabilities, expressVersion|expressRootPort)
	f.put32(atExpress+expressDevice, 1<<15)          // role-based error reporting
	f.put32(atExpress+expressLink, 1|1<<4|1<<24)     // 2.5 GT/s, one lane, port 1
	f.put16(atExpress+expressLinkStatus, 1|1<<4)     // that is what it runs at
	f.put32(atExpress+expressLink2, 1<<1)            // 2.5 GT/s
	f.may16(atExpress+expressDeviceCtl, 0x00ff)      // error reporting, payload
	f.may16(atExpress+expressLinkCtl, 1<<6|1<<7|0x3) // ASPM, common clock, extended synch
	f.may16(atExpress+expressRootCtl, 0x000f)        // errors, PME interrupt
	f.may16(atExpress+expressDevice2Ctl, 0x001f)     // completion timeout
	f.may16(atExpress+expressLink2Ctl, 0x000f)       // target speed

	f.reset[atSubsystem] = capSubsystem
	f.put16(atSubsystem+4, vendor)
	return f
}
