package vmm

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	vconsole "nvlab/vmm/device/console"
	"nvlab/vmm/device/entropy"
	"nvlab/vmm/device/ged"
	"nvlab/vmm/device/ioapic"
	"nvlab/vmm/device/memhp"
	"nvlab/vmm/device/pci"
	"nvlab/vmm/device/rtc"
	"nvlab/vmm/device/serial"
	"nvlab/vmm/device/virtio"
)

// devices are those that every machine has, but for pci and slots, which may be nil.
type devices struct {
	ioapic     *ioapic.IOAPIC
	serial     *serial.UART
	ged        *ged.GED
	rtc        *rtc.Clock
	channel    *vconsole.Console
	entropy    *entropy.Entropy
	transports [virtioDevices]*virtio.Device // of channel and entropy
	pci        *pci.Complex
	slots      *memhp.Controller
	pmem       []*virtio.Device // as Config.PMEM
}

// addDevices makes the machine's devices.
func (m *Machine) addDevices(cfg Config) {
	d, memory := &m.devices, dma{m}
	d.ioapic = ioapic.New(func(msg ioapic.Message) { m.procs.Interrupt(Interrupt(msg)) })
	d.serial = serial.New(m.consoleByte, m.line(pinSerial))
	d.ged = ged.New(m.line(pinEvents))
	d.rtc = rtc.New(cfg.Date, m.Clock)
	m.ownMMIO(ioapicBase, ioapic.Size, d.ioapic)
	m.ownPorts(portSerial, serial.Ports, d.serial)
	m.ownPorts(portEvents, ged.Ports, d.ged)
	m.ownPorts(portRTC, rtc.Ports, d.rtc)
	m.ownPorts(portSleepControl, 3, powerPorts{m.setState})
	m.ownPorts(portTimer, 1, noTimer{})

	d.channel, d.transports[0] = vconsole.New(channelName, memory, m.line(pinVirtio), m.Attention)
	d.entropy, d.transports[1] = entropy.New([32]byte(derive(cfg.Seed, "entropy")), memory, m.line(pinVirtio+1))
	m.plugPMEM, m.flushPMEM = cfg.PlugPMEM, cfg.FlushPMEM
	for _, at := range cfg.PMEM {
		m.addPMEM(at)
	}
	for i, dev := range append(d.transports[:], d.pmem...) {
		m.ownMMIO(virtioBase+uint64(i)*virtioStep, virtioStep, dev)
	}
	if cfg.Slots > 0 {
		d.slots = memhp.New(cfg.Slots, m.Attention)
		m.ownPorts(uint64(memhp.Base), memhp.Ports, d.slots)
	}
	if cfg.PCI {
		m.addPCI()
	}
}

// Stopped says which virtio devices ask for a reset and why, after a mistake of
// their drivers or memory that could not be read; nil if none does.
func (m *Machine) Stopped() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := []string{"console", "entropy device"}
	var errs []error
	for i, dev := range append(m.devices.transports[:], m.devices.pmem...) {
		name := fmt.Sprintf("persistent memory %d", i-virtioDevices)
		if i < len(names) {
			name = names[i]
		}
		if err := dev.Stopped(); err != nil {
			errs = append(errs, fmt.Errorf("the virtio %s stopped: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (m *Machine) ownPorts(base, n uint64, dev PortDevice) {
	if err := m.ports.add(base, n, lockedPorts{&m.mu, dev}); err != nil {
		panic(err) // the address map above is at fault
	}
}

func (m *Machine) ownMMIO(base, size uint64, dev MMIODevice) {
	if err := m.mmio.add(base, size, lockedMMIO{&m.mu, dev}); err != nil {
		panic(err)
	}
}

// line is a pin of the I/O APIC as a device drives it.
func (m *Machine) line(pin int) func(bool) {
	return func(high bool) { m.devices.ioapic.Set(pin, high) }
}

// derive makes 32 bytes of seed for one purpose.
func derive(seed uint64, purpose string) []byte {
	h := sha256.Sum256(binary.LittleEndian.AppendUint64([]byte(purpose), seed))
	return h[:]
}

// processorSeed is ProcessorSpec.Seed.
func processorSeed(seed uint64) uint64 {
	return binary.LittleEndian.Uint64(derive(seed, "processors"))
}
