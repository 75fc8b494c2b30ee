package vmm

import "nvlab/vmm/device/virtio"

// DMA is memory as the machine's devices reach it.
func (m *Machine) DMA() virtio.Memory { return dma{m} }

// EntropyDevice is the transport of the machine's entropy device.
func (m *Machine) EntropyDevice() *virtio.Device { return m.devices.transports[1] }

// PartsOf is where a machine that was saved had RAM.
func PartsOf(s *Saved, l Layout) []Range { return s.ram(l) }
