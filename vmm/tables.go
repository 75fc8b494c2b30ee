package vmm

import (
	"encoding/binary"
	"fmt"

	"nvlab/acpi"
)

// oem names the maker of this machine's tables.
var oem = acpi.Header{OEMID: "NVLAB", OEMTableID: "NVLAB", OEMRevision: 1, CreatorID: "NVLB", CreatorRevision: 1}

// placeTables writes the machine's own ACPI tables and others, and returns the
// address of the RSDP.
func (m *Machine) placeTables(others [][]byte) (rsdp uint64, err error) {
	hot := uint64(0)
	if m.plugPMEM {
		hot = m.layout.hotTablesAt()
	}
	code, err := dsdt(virtioDevices+len(m.pmem), m.events, m.slots(), m.devices.pci != nil, hot)
	if err != nil {
		return 0, fmt.Errorf("DSDT: %w", err)
	}
	tables := [][]byte{fadt(m.devices.pci != nil), m.madt(), oem.Table("DSDT", 2, code)}
	if m.devices.pci != nil {
		tables = append(tables, mcfg())
	}
	tables = append(tables, others...)
	base := m.layout.ACPI.Base
	area, err := acpi.Install(base, tables...)
	if err != nil {
		return 0, fmt.Errorf("ACPI tables: %w", err)
	}
	if most := m.layout.ACPI.Size - hotTables; uint64(len(area)) > most {
		return 0, fmt.Errorf("the ACPI tables have %d bytes, and at most %d fit", len(area), most)
	}
	if _, err := m.ram.WriteAt(area, int64(base)); err != nil {
		return 0, err
	}
	m.tables, err = installed(area, base)
	return base, err
}

// installed finds the tables in memory: the FADT among them holds the DSDT's
// address by now. The DSDT comes last.
func installed(area []byte, base uint64) ([][]byte, error) {
	rsdp, err := acpi.ParseRSDP(area)
	if err != nil {
		return nil, err
	}
	xsdt, err := acpi.ParseXSDT(area[rsdp.XSDTAddress-base:])
	if err != nil {
		return nil, err
	}
	var list [][]byte
	dsdt := uint64(0)
	for _, at := range xsdt.Tables {
		list = append(list, cut(area[at-base:]))
		if fadt, err := acpi.ParseFADT(area[at-base:]); err == nil {
			dsdt = fadt.XDSDT
		}
	}
	return append(list, cut(area[dsdt-base:])), nil
}

// cut ends a table at its length (ACPI 6.5, 5.2.6).
func cut(b []byte) []byte { return b[:binary.LittleEndian.Uint32(b[4:])] }

// fadt describes hardware-reduced ACPI and the absence of everything else
// that Linux would look for. That includes the RTC, which needs no driver:
// Linux reads the date from it all the same, and spends a second of boot
// waiting for one that is not there.
func fadt(pci bool) []byte {
	port := func(p uint64) acpi.GenericAddress {
		return acpi.GenericAddress{Space: acpi.SystemIO, BitWidth: 8, AccessSize: 1, Address: p}
	}
	flags := uint16(acpi.BootNoVGA | acpi.BootNoASPM | acpi.BootNoCMOSRTC)
	if !pci {
		flags |= acpi.BootNoMSI
	}
	return acpi.FADT{
		Header:        oem,
		BootFlags:     flags,
		Flags:         acpi.FADTWBINVD | acpi.FADTProcC1 | acpi.FADTPowerButton | acpi.FADTSleepButton | acpi.FADTResetRegister | acpi.FADTHeadless | acpi.FADTHardwareReduced,
		ResetRegister: port(portReset),
		ResetValue:    resetValue,
		MinorVersion:  5,
		SleepControl:  port(portSleepControl),
		SleepStatus:   port(portSleepStatus),
	}.Encode()
}

func (m *Machine) madt() []byte {
	t := acpi.MADT{Header: oem, LocalAPICAddress: lapicBase}
	for i := range m.cpus {
		t.Entries = append(t.Entries, &acpi.LocalAPIC{ProcessorUID: uint8(i), APICID: uint8(i), Flags: acpi.APICEnabled})
	}
	t.Entries = append(t.Entries, &acpi.IOAPIC{ID: uint8(m.cpus), Address: ioapicBase})
	if m.mail {
		// Linux changes a structure of version 0, and finds its checksum wrong.
		at := m.layout.Parking.Base
		t.Entries = append(t.Entries, &acpi.MultiprocessorWakeup{Version: 1, Mailbox: at, ResetVector: at + parkingReset})
	}
	return t.Encode()
}

// TableAt is where in guest-physical memory the first ACPI table of that signature is that
// Boot placed, with the length that it says it has. It is not for the DSDT, to which the
// XSDT does not point.
func (m *Machine) TableAt(signature string) (r Range, ok bool) {
	area, _ := m.ram.slice(m.layout.ACPI.Base, m.layout.ACPI.Size)
	rsdp, err := acpi.ParseRSDP(area)
	if err != nil {
		return r, false
	}
	within := func(addr uint64) []byte {
		if at := addr - m.layout.ACPI.Base; at < uint64(len(area)) {
			return area[at:]
		}
		return nil
	}
	xsdt, err := acpi.ParseXSDT(within(rsdp.XSDTAddress))
	if err != nil {
		return r, false
	}
	for _, at := range xsdt.Tables {
		if t := within(at); len(t) > 8 && string(t[:4]) == signature {
			if n := uint64(binary.LittleEndian.Uint32(t[4:])); n <= uint64(len(t)) {
				return Range{at, n}, true
			}
		}
	}
	return r, false
}
