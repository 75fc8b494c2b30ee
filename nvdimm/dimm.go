package nvdimm

import (
	"nvlab/acpi"
	"nvlab/nvdimm/label"
)

// MinLabelSize is the smallest label area, in bytes.
const MinLabelSize = label.MinSize

// DIMM is a plugged NVDIMM. It stays as it is until its Root goes.
type DIMM struct {
	id        string
	slot      int
	backend   *Backend
	addr      uint64
	size      uint64
	labelSize uint64
	unarmed   bool
}

// ID is the device's name, unique in its machine.
func (d *DIMM) ID() string { return d.id }

// Slot is the memory slot, from 0.
func (d *DIMM) Slot() int { return d.slot }

// Backend is the storage.
func (d *DIMM) Backend() *Backend { return d.backend }

// Addr is the guest-physical address.
func (d *DIMM) Addr() uint64 { return d.addr }

// Size is the size of the persistent memory in bytes, without the label area.
func (d *DIMM) Size() uint64 { return d.size }

// LabelSize is the size of the label area in bytes, 0 if there is none. The
// area is the end of the backend.
func (d *DIMM) LabelSize() uint64 { return d.labelSize }

// Unarmed says that the guest is told not to count on persistence.
func (d *DIMM) Unarmed() bool { return d.unarmed }

// Handle is the NFIT device handle, and the _ADR of the DIMM's ACPI device.
func (d *DIMM) Handle() uint32 { return uint32(d.slot) + 1 }

// Serial is the serial number in the NFIT.
func (d *DIMM) Serial() uint32 { return 0x123456 + uint32(d.slot) }

// Identity of every DIMM, as QEMU has it (hw/acpi/nvdimm.c).
const (
	vendorID   = 0x8086
	deviceID   = 1
	revisionID = 1
)

// mapping is the DIMM's part of its interleave set, which is all of it.
func (d *DIMM) mapping() label.Mapping {
	return label.Mapping{SerialNumber: d.Serial(), VendorID: vendorID}
}

// Cookie is the interleave set cookie that labels of a version carry.
func (d *DIMM) Cookie(v label.Version) uint64 {
	if v == label.V11 {
		return label.Cookie11(d.mapping())
	}
	return label.Cookie12(d.mapping())
}

// Map gives the Size bytes that a machine shows the guest at Addr. It is
// called at power-on; further calls until Unmap give the same memory, so that
// contents survive a reset.
func (d *DIMM) Map() ([]byte, error) {
	mem, err := d.backend.attach(d)
	if err != nil {
		return nil, err
	}
	return mem[:d.size:d.size], nil
}

// Unmap ends the use of the memory, at power-off, whether it was mapped or
// not. The memory must not be touched any more; what was not shared is lost.
func (d *DIMM) Unmap() error { return d.backend.detach(d) }

// structures are the DIMM's part of the NFIT: one range, mapped as a whole.
func (d *DIMM) structures() []acpi.NFITStructure {
	spa := (uint16(d.slot) + 1) * 2
	control := spa + 1
	var flags uint16
	if d.unarmed {
		flags = acpi.MapNotArmed
	}
	return []acpi.NFITStructure{
		&acpi.SPARange{
			Index:      spa,
			Flags:      acpi.SPAHotAddOnly | acpi.SPAProximityValid,
			Type:       acpi.SPAPersistent,
			Base:       d.addr,
			Length:     d.size,
			Attributes: acpi.MemoryWB | acpi.MemoryNV,
		},
		&acpi.MemoryDevice{
			Handle:         d.Handle(),
			SPAIndex:       spa,
			ControlIndex:   control,
			RegionSize:     d.size,
			InterleaveWays: 1,
			Flags:          flags,
		},
		&acpi.ControlRegion{
			Index:        control,
			VendorID:     vendorID,
			DeviceID:     deviceID,
			RevisionID:   revisionID,
			SerialNumber: d.Serial(),
			FormatCode:   acpi.FormatByte,
		},
	}
}
