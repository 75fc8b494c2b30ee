package nvdimm

import (
	"nvlab/acpi"
	"nvlab/nvdimm/label"
)

// MinLabelSize is the smallest label area, in bytes.
const MinLabelSize = label.MinSize

// DIMM is a plugged NVDIMM. It stays plugged until its Root goes.
type DIMM struct {
	id        string
	slot      int
	backend   *Backend
	addr      uint64
	size      uint64
	labelSize uint64
	unarmed   bool
	node      int
	uuid      string
	identity  Identity
	set       *set // nil unless interleaved
	state     State
	next      State // from the next Tables on
	hints     hintCount
}

// ID is the device's name, unique in its machine.
func (d *DIMM) ID() string { return d.id }

// Slot is the memory slot, from 0.
func (d *DIMM) Slot() int { return d.slot }

// Backend is the storage.
func (d *DIMM) Backend() *Backend { return d.backend }

// Addr is the guest-physical address, of the whole set if the DIMM is
// interleaved.
func (d *DIMM) Addr() uint64 { return d.addr }

// Size is the size of the persistent memory in bytes, without the label area.
func (d *DIMM) Size() uint64 { return d.size }

// LabelSize is the size of the label area in bytes, 0 if there is none. The
// area is the end of the backend.
func (d *DIMM) LabelSize() uint64 { return d.labelSize }

// Unarmed says that the guest is told not to count on persistence.
func (d *DIMM) Unarmed() bool { return d.unarmed }

// Node is the NUMA node, as the proximity domain of the tables.
func (d *DIMM) Node() int { return d.node }

// UUID is the option of that name, "" if it was not given.
func (d *DIMM) UUID() string { return d.uuid }

// Handle is the NFIT device handle, and the _ADR of the DIMM's ACPI device.
func (d *DIMM) Handle() uint32 { return or(d.identity.Handle, uint32(d.slot)+1) }

// Serial is the serial number in the NFIT.
func (d *DIMM) Serial() uint32 { return or(d.identity.Serial, serialBase+uint32(d.slot)) }

func (d *DIMM) vendor() uint16 { return or(d.identity.Vendor, vendorID) }

// mappings are the parts of the DIMM's range of addresses.
func (d *DIMM) mappings() []label.Mapping {
	if d.set == nil {
		return []label.Mapping{{SerialNumber: d.Serial(), VendorID: d.vendor()}}
	}
	var list []label.Mapping
	for i, m := range d.set.members {
		list = append(list, label.Mapping{RegionOffset: uint64(i) * d.set.line, SerialNumber: m.Serial(), VendorID: m.vendor()})
	}
	return list
}

// Cookie is the interleave set cookie that labels of a version carry.
func (d *DIMM) Cookie(v label.Version) uint64 {
	if v == label.V11 {
		return label.Cookie11(d.mappings()...)
	}
	return label.Cookie12(d.mappings()...)
}

// Map gives the Size bytes that a machine shows the guest, where Pieces says.
// It is called at power-on; further calls until Unmap give the same memory, so
// that contents survive a reset.
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

// spaIndex is the index of the structures of the DIMM in a slot, as QEMU
// numbers them; that of its control region is one more.
func (d *DIMM) spaIndex() uint16 { return (uint16(d.slot) + 1) * 2 }

// structures are the DIMM's part of the NFIT: its range or, once, that of its
// set, its mapping into it, and its control region.
func (d *DIMM) structures() (list []acpi.NFITStructure) {
	owner, length := d, d.size
	if d.set != nil {
		owner, length = d.set.members[0], d.set.size()
	}
	spa, control := owner.spaIndex(), d.spaIndex()+1
	mapping := &acpi.MemoryDevice{
		Handle:         d.Handle(),
		PhysicalID:     or(d.identity.PhysicalID, 0),
		ControlIndex:   control,
		InterleaveWays: 1,
		Flags:          d.flags(),
	}
	if d.rangeMapped() {
		mapping.SPAIndex, mapping.RegionSize = spa, d.size
		if owner == d {
			list = append(list, &acpi.SPARange{
				Index:      spa,
				Flags:      acpi.SPAHotAddOnly | acpi.SPAProximityValid,
				Proximity:  uint32(d.node),
				Type:       acpi.SPAPersistent,
				Base:       d.addr,
				Length:     length,
				Attributes: acpi.MemoryWB | acpi.MemoryNV,
			})
		}
		if d.set != nil {
			mapping.RegionOffset = uint64(d.position()) * d.set.line
			mapping.InterleaveIndex, mapping.InterleaveWays = spa, uint16(len(d.set.members))
			if owner == d {
				list = append(list, d.set.structure(spa))
			}
		}
	}
	return append(list, mapping, &acpi.ControlRegion{
		Index:        control,
		VendorID:     d.vendor(),
		DeviceID:     or(d.identity.Device, deviceID),
		RevisionID:   or(d.identity.Revision, revisionID),
		SerialNumber: d.Serial(),
		FormatCode:   acpi.FormatByte,
	})
}
