// Package acpi encodes ACPI tables from Go values and decodes them to values
// and to text. It describes no particular machine: what goes into a table is
// the caller's decision.
//
// A table is a struct whose Encode method gives the finished bytes, with
// length and checksum; definition blocks take their byte code from package
// aml:
//
//	oem := acpi.Header{OEMID: "EXMPL", OEMTableID: "EXAMPLE", OEMRevision: 1}
//	madt := acpi.MADT{Header: oem, LocalAPICAddress: 0xFEE00000, Entries: ...}.Encode()
//	dsdt := oem.Table("DSDT", 2, code)
//	area, err := acpi.Install(0xE0000, fadt, madt, dsdt)
//
// The same field list serves encoding, decoding and the listing that [Decode]
// prints, so the three cannot disagree.
//
// Sections, tables and offsets cited are those of the ACPI Specification,
// version 6.5; all numbers in tables are little-endian and packed.
package acpi
