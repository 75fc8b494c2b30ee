package vmm

import (
	"fmt"
	"slices"

	"nvlab/acpi"
)

// oem names the maker of this machine's tables.
var oem = acpi.Header{OEMID: "NVLAB", OEMTableID: "NVLAB", OEMRevision: 1, CreatorID: "NVLB", CreatorRevision: 1}

// placeTables writes the ACPI tables and returns the address of the RSDP.
func (m *Machine) placeTables(cfg Config) (rsdp uint64, err error) {
	code, err := dsdt(virtioDevices, cfg.Events)
	if err != nil {
		return 0, fmt.Errorf("DSDT: %w", err)
	}
	m.tables = append([][]byte{fadt(), madt(m.cpus), oem.Table("DSDT", 2, code)}, cfg.Tables...)
	base := m.layout.ACPI.Base
	area, err := acpi.Install(base, m.tables...)
	if err != nil {
		return 0, fmt.Errorf("ACPI tables: %w", err)
	}
	if uint64(len(area)) > m.layout.ACPI.Size {
		return 0, fmt.Errorf("the ACPI tables have %d bytes, and at most %d fit", len(area), m.layout.ACPI.Size)
	}
	_, err = m.ram.WriteAt(area, int64(base))
	// Where it lies makes the FADT: it holds the DSDT's address.
	m.tables[0] = slices.Clone(area[locate(area, "FACP"):][:len(m.tables[0])])
	return base, err
}

// locate finds an installed table by its signature; tables lie on 64 bytes.
func locate(area []byte, signature string) int {
	for i := 0; i < len(area); i += 64 {
		if string(area[i:i+4]) == signature {
			return i
		}
	}
	return 0
}

// fadt describes hardware-reduced ACPI and the absence of everything else
// that Linux would look for. That includes the RTC, which needs no driver:
// Linux reads the date from it all the same, and spends a second of boot
// waiting for one that is not there.
func fadt() []byte {
	port := func(p uint64) acpi.GenericAddress {
		return acpi.GenericAddress{Space: acpi.SystemIO, BitWidth: 8, AccessSize: 1, Address: p}
	}
	return acpi.FADT{
		Header:        oem,
		BootFlags:     acpi.BootNoVGA | acpi.BootNoMSI | acpi.BootNoASPM | acpi.BootNoCMOSRTC,
		Flags:         acpi.FADTWBINVD | acpi.FADTProcC1 | acpi.FADTPowerButton | acpi.FADTSleepButton | acpi.FADTResetRegister | acpi.FADTHeadless | acpi.FADTHardwareReduced,
		ResetRegister: port(portReset),
		ResetValue:    resetValue,
		MinorVersion:  5,
		SleepControl:  port(portSleepControl),
		SleepStatus:   port(portSleepStatus),
	}.Encode()
}

func madt(cpus int) []byte {
	t := acpi.MADT{Header: oem, LocalAPICAddress: lapicBase}
	for i := range cpus {
		t.Entries = append(t.Entries, &acpi.LocalAPIC{ProcessorUID: uint8(i), APICID: uint8(i), Flags: acpi.APICEnabled})
	}
	t.Entries = append(t.Entries, &acpi.IOAPIC{ID: uint8(cpus), Address: ioapicBase})
	return t.Encode()
}
