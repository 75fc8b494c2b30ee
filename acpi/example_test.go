package acpi_test

import (
	"fmt"

	"nvlab/acpi"
	"nvlab/acpi/aml"
)

// A machine's tables: build each, then lay them out for guest memory.
func Example() {
	code, err := aml.Encode(
		aml.Scope(`\_SB`,
			aml.Device("COM1",
				aml.Name("_HID", aml.EISAID("PNP0501")))))
	if err != nil {
		fmt.Println(err)
		return
	}
	oem := acpi.Header{OEMID: "EXMPL", OEMTableID: "EXAMPLE", OEMRevision: 1, CreatorID: "XMPL", CreatorRevision: 1}
	const base = 0xE0000
	area, err := acpi.Install(base,
		acpi.FADT{Header: oem, MinorVersion: 5,
			Flags:     acpi.FADTHardwareReduced | acpi.FADTPowerButton | acpi.FADTSleepButton,
			BootFlags: acpi.BootNoVGA | acpi.BootNoCMOSRTC}.Encode(),
		oem.Table("DSDT", 2, code),
		acpi.MADT{Header: oem, LocalAPICAddress: 0xFEE00000, Entries: []acpi.MADTEntry{
			&acpi.LocalAPIC{ProcessorUID: 0, APICID: 0, Flags: acpi.APICEnabled},
			&acpi.IOAPIC{ID: 1, Address: 0xFEC00000},
		}}.Encode(),
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	tables, err := acpi.Split(area)
	for _, t := range tables {
		fmt.Printf("%.4s %d bytes, errors: %v\n", t, len(t), acpi.Check(t))
	}
	fmt.Println(err)
	// Output:
	// RSD  36 bytes, errors: []
	// XSDT 52 bytes, errors: []
	// FACP 276 bytes, errors: []
	// DSDT 60 bytes, errors: []
	// APIC 64 bytes, errors: []
	// <nil>
}

func ExampleDecode() {
	table := acpi.NFIT{Structures: []acpi.NFITStructure{
		&acpi.PlatformCapabilities{HighestValid: 1, Capabilities: acpi.CapCPUCacheFlush | acpi.CapMemoryController},
	}}.Encode()
	text, err := acpi.Decode(table)
	fmt.Print(text)
	fmt.Println(err)
	// Output:
	// NFIT: NVDIMM Firmware Interface Table
	//
	// 0000   4  Signature                            "NFIT"
	// 0004   4  Length                               0x00000038 (56)
	// 0008   1  Revision                             0x01
	// 0009   1  Checksum                             0x3B
	// 000A   6  OEM ID                               "      "
	// 0010   8  OEM Table ID                         "        "
	// 0018   4  OEM Revision                         0x00000000
	// 001C   4  Creator ID                           "    "
	// 0020   4  Creator Revision                     0x00000000
	//
	// Platform Capabilities at offset 0x28
	// 0028   2  Type                                 0x0007 (Platform Capabilities)
	// 002A   2  Length                               0x0010 (16)
	// 002C   1  Highest Valid Capability             0x01
	// 0030   4  Capabilities                         0x00000003 (CPU Cache Flush to NVDIMM Durability, Memory Controller Flush to NVDIMM Durability)
	// <nil>
}
