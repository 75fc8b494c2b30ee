package acpi

import (
	"encoding/binary"
	"fmt"
)

// tableAlign is the boundary on which Install puts tables.
const tableAlign = 64

// Install lays out an RSDP, an XSDT and finished tables for memory at physical
// address base, and gives that memory. The RSDP is at base, which must be a
// multiple of 16 so that a scan finds it (section 5.2.5.1).
// OEM strings come from the first table. A DSDT is not listed in the XSDT: its
// address goes into the FADT, which must then be among the tables. The tables
// given are not changed.
func Install(base uint64, tables ...[]byte) ([]byte, error) {
	if base%16 != 0 {
		return nil, fmt.Errorf("base address 0x%X is not a multiple of 16", base)
	}
	if len(tables) == 0 {
		return nil, fmt.Errorf("there are no tables to install")
	}
	var oem Header
	for i, t := range tables {
		exact, err := cut(t)
		if err != nil {
			return nil, err
		}
		if len(exact) != len(t) {
			return nil, fmt.Errorf("table %q has %d bytes after its stated length of %d", t[:4], len(t)-len(exact), len(exact))
		}
		if i == 0 {
			c := codec{buf: t}
			oem.visit(&c)
		}
	}
	oem.Revision = 0

	xsdtAt := alignUp(len(RSDP{}.Encode()))
	at := alignUp(xsdtAt + headerSize + 8*len(tables))
	area := make([]byte, at)
	var listed []uint64
	fadt, dsdt := -1, -1
	for _, t := range tables {
		switch string(t[:4]) {
		case "DSDT":
			if dsdt >= 0 {
				return nil, fmt.Errorf("there are two DSDTs")
			}
			dsdt = at
		case "FACP":
			if fadt >= 0 {
				return nil, fmt.Errorf("there are two FADTs")
			}
			fadt = at
			fallthrough
		default:
			listed = append(listed, base+uint64(at))
		}
		area = append(area, t...)
		at = alignUp(len(area))
		area = append(area, make([]byte, at-len(area))...)
	}
	if base+uint64(len(area)) < base {
		return nil, fmt.Errorf("%d bytes of tables at 0x%X go beyond the end of memory", len(area), base)
	}
	if dsdt >= 0 {
		if fadt < 0 {
			return nil, fmt.Errorf("there is a DSDT but no FADT to hold its address")
		}
		if err := setDSDT(area[fadt:], base+uint64(dsdt)); err != nil {
			return nil, err
		}
	}
	copy(area[xsdtAt:], XSDT{Header: oem, Tables: listed}.Encode())
	copy(area, RSDP{OEMID: oem.OEMID, XSDTAddress: base + uint64(xsdtAt)}.Encode())
	return area, nil
}

// setDSDT puts the address of the DSDT into a FADT at the start of b. The
// 32-bit field stays zero if the address does not fit.
func setDSDT(b []byte, address uint64) error {
	fadt, err := cut(b)
	if err != nil {
		return err
	}
	if len(fadt) < fadtXDSDT+8 {
		return fmt.Errorf("FADT of %d bytes has no 64-bit address of the DSDT: revision 3 or later has", len(fadt))
	}
	var low uint32
	if address <= 0xFFFFFFFF {
		low = uint32(address)
	}
	binary.LittleEndian.PutUint32(fadt[fadtDSDT:], low)
	binary.LittleEndian.PutUint64(fadt[fadtXDSDT:], address)
	Seal(fadt)
	return nil
}

func alignUp(n int) int { return (n + tableAlign - 1) / tableAlign * tableAlign }
