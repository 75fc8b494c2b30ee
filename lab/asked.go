package lab

import "nvlab/vmm"

// An askedPort is ports of the NVDIMM root device, and notes that the guest used them.
type askedPort struct {
	vmm.PortDevice
	v *VM
}

func (p askedPort) In(port uint16, size int) uint32 {
	p.v.asked = true
	return p.PortDevice.In(port, size)
}

func (p askedPort) Out(port uint16, size int, value uint32) {
	p.v.asked = true
	p.PortDevice.Out(port, size, value)
}

// An askedMMIO is registers of the root device likewise.
type askedMMIO struct {
	vmm.MMIODevice
	v *VM
}

func (m askedMMIO) Read(offset uint64, size int) uint64 {
	m.v.asked = true
	return m.MMIODevice.Read(offset, size)
}

func (m askedMMIO) Write(offset uint64, size int, value uint64) {
	m.v.asked = true
	m.MMIODevice.Write(offset, size, value)
}
