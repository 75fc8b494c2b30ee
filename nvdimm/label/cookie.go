package label

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// Mapping is one DIMM's part of an interleave set, as far as the set's cookie
// depends on it: fields of its NFIT control region (ACPI 6.5 table 5.165).
type Mapping struct {
	RegionOffset          uint64 // of the part within the region
	SerialNumber          uint32
	VendorID              uint16
	ManufacturingDate     uint16
	ManufacturingLocation uint8
}

// Cookie11 is the cookie in labels of version 1.1 (Linux drivers/acpi/nfit,
// struct nfit_set_info: 16 bytes a mapping).
func Cookie11(set ...Mapping) uint64 {
	var info []byte
	for _, m := range byOffset(set) {
		info = binary.LittleEndian.AppendUint64(info, m.RegionOffset)
		info = binary.LittleEndian.AppendUint32(info, m.SerialNumber)
		info = append(info, 0, 0, 0, 0)
	}
	return Fletcher64(info)
}

// Cookie12 is the cookie in labels of version 1.2 (struct nfit_set_info2: 48
// bytes a mapping).
func Cookie12(set ...Mapping) uint64 {
	var info []byte
	for _, m := range byOffset(set) {
		var p [48]byte
		binary.LittleEndian.PutUint64(p[0:], m.RegionOffset)
		binary.LittleEndian.PutUint32(p[8:], m.SerialNumber)
		binary.LittleEndian.PutUint16(p[12:], m.VendorID)
		binary.LittleEndian.PutUint16(p[14:], m.ManufacturingDate)
		p[16] = m.ManufacturingLocation
		info = append(info, p[:]...)
	}
	return Fletcher64(info)
}

func byOffset(set []Mapping) []Mapping {
	return slices.SortedStableFunc(slices.Values(set), func(a, b Mapping) int {
		return cmp.Compare(a.RegionOffset, b.RegionOffset)
	})
}
