package vmm

import (
	"nvlab/acpi"
	"nvlab/acpi/aml"
	"nvlab/vmm/device/pci"
)

// Where the PCI bus of a machine that has one is.
const (
	pciMemory     = 0xc000_0000 // what devices behind it may take
	pciMemorySize = 256 << 20
	pciConfig     = 0xe000_0000 // configuration space in memory
	pciConfigSize = pci.Buses * pci.BusSize
	pciIO         = 0x1000 // ports that devices behind it may take, up to 0xffff
	portPCI       = 0xcf8

	pinPCI = 20 // of INTA#; INTB# to INTD# have the next
)

// addPCI makes the root complex.
func (m *Machine) addPCI() {
	m.devices.pci = pci.New()
	m.ownPorts(portPCI, pci.Ports, m.devices.pci)
	m.ownMMIO(pciConfig, pciConfigSize, m.devices.pci)
	for pin := range 4 {
		m.devices.ioapic.Set(pinPCI+pin, true) // INTx# are active low: nobody drives them
	}
}

// mcfg says where configuration space is in memory.
func mcfg() []byte {
	return acpi.MCFG{Header: oem, Segments: []acpi.ConfigSpace{{Base: pciConfig, EndBus: pci.Buses - 1}}}.Encode()
}

// pciDevices describe the host bridge, and reserve configuration space: Linux
// uses what the MCFG says only if a motherboard resource covers it (PCI
// Firmware Specification 3.3, 4.1.2).
func pciDevices() []aml.Term {
	fixed := func(kind aml.AddressKind, flags uint8) aml.AddressSpace {
		return aml.AddressSpace{Kind: kind, MinFixed: true, MaxFixed: true, TypeFlags: flags}
	}
	var routes aml.Package
	for pin := range 4 {
		routes = append(routes, aml.Package{aml.Int(pci.RootPortDevice<<16 | 0xffff), aml.Int(pin), aml.Zero, aml.Int(pinPCI + pin)})
	}
	return []aml.Term{
		aml.Device("PCI0",
			aml.Name("_HID", aml.EISAID("PNP0A08")),
			aml.Name("_CID", aml.EISAID("PNP0A03")),
			aml.Name("_UID", aml.Zero),
			aml.Name("_SEG", aml.Zero),
			aml.Name("_BBN", aml.Zero),
			aml.Name("_CRS", aml.ResourceTemplate(
				aml.WordSpace{AddressSpace: fixed(aml.BusNumberRange, 0), Max: pci.Buses - 1, Length: pci.Buses},
				aml.IO{Decode16: true, Min: portPCI, Max: portPCI, Align: 1, Length: pci.Ports},
				aml.WordSpace{AddressSpace: fixed(aml.IORange, 3), Min: pciIO, Max: 0xffff, Length: 0x10000 - pciIO},
				aml.DWordSpace{AddressSpace: fixed(aml.MemoryRange, aml.MemReadWrite), Min: pciMemory, Max: pciMemory + pciMemorySize - 1, Length: pciMemorySize},
			)),
			aml.Name("_PRT", routes),
			pciControl(),
		),
		aml.Device("PCIC",
			aml.Name("_HID", aml.EISAID("PNP0C02")),
			aml.Name("_UID", aml.Zero),
			aml.Name("_CRS", aml.ResourceTemplate(
				aml.Memory32Fixed{ReadWrite: true, Base: pciConfig, Length: pciConfigSize},
			)),
		),
	}
}

// pciControl is _OSC: the firmware keeps nothing of the bus to itself, so that
// whatever the kernel asks to control is its own (PCI Firmware Specification
// 3.3, 4.5.1). Of another UUID it says that it does not know it.
func pciControl() aml.Term {
	const unknown = 1 << 2 // "unrecognized UUID" (ACPI 6.5, 6.2.11, table 6.11)
	return aml.Method("_OSC", 4, aml.Serialized,
		aml.If(aml.LNotEqual(aml.Arg0, aml.ToUUID("33db4d5b-1ff7-401c-9657-7441c03dd766")),
			aml.CreateDWordField(aml.Arg3, aml.Zero, "STAT"),
			aml.Or(aml.Path("STAT"), aml.Int(unknown), aml.Path("STAT"))),
		aml.Return(aml.Arg3),
	)
}
