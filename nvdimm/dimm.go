package nvdimm

import (
	"nvlab/acpi"
	"nvlab/internal/pages"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/firmware"
	"nvlab/nvdimm/label"
)

// MinLabelSize is the smallest label area, in bytes.
const MinLabelSize = label.MinSize

// DIMM is a plugged NVDIMM. It stays plugged until its Root goes.
type DIMM struct {
	id        string
	slot      int
	backend   *backend.Backend
	mapped    *backend.Mapping // from Map to Unmap
	lines     []*pages.Set     // dirty pages of each line of an interleave set; see joinLines
	addr      uint64
	size      uint64
	labelSize uint64
	unarmed   bool
	node      int
	uuid      string
	virtio    bool // a virtio-pmem device, which is in no slot and no NFIT
	identity  identity
	regions   int  // that the memory is divided into, at least 1
	set       *set // nil unless interleaved
	state     State
	next      State // from the next Tables on
	hints     hintCount

	family     *firmware.Family // nil: labels only
	management firmware.State
	unsaved    bool // the flush at the latest power failure failed
	ringing    bool // the guest is to be told of the DIMM's health
}

// ID is the device's name, unique in its machine.
func (d *DIMM) ID() string { return d.id }

// Slot is the memory slot, from 0.
func (d *DIMM) Slot() int { return d.slot }

// Backend is the storage.
func (d *DIMM) Backend() *backend.Backend { return d.backend }

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

// Virtio says that it is a virtio-pmem device: what the guest stored is durable
// once it asked for that.
func (d *DIMM) Virtio() bool { return d.virtio }

// Node is the NUMA node, as the proximity domain of the tables.
func (d *DIMM) Node() int { return d.node }

// UUID is the option of that name, "" if it was not given.
func (d *DIMM) UUID() string { return d.uuid }

// Handle is the NFIT device handle, and the _ADR of the DIMM's ACPI device.
func (d *DIMM) Handle() uint32 { return d.identity.Handle }

// Serial is the serial number in the NFIT.
func (d *DIMM) Serial() uint32 { return d.identity.Serial }

func (d *DIMM) vendor() uint16 { return d.identity.Vendor }

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
	if d.mapped == nil {
		m, err := d.backend.Map()
		if err != nil {
			return nil, err
		}
		d.mapped = m
	}
	return d.mapped.Bytes()[:d.size:d.size], nil
}

// Unmap ends the use of the memory, at power-off, whether it was mapped or
// not. The memory must not be touched any more; what was not shared is lost.
func (d *DIMM) Unmap() error {
	m := d.mapped
	if m == nil {
		return nil
	}
	d.joinLines() // a copy's contents, and what is known of them, stay
	d.mapped, d.lines = nil, nil
	return m.Close()
}

// spaIndex is the index of the structures of the DIMM in a slot, as QEMU
// numbers them; that of its control region is one more.
func (d *DIMM) spaIndex() uint16 { return (uint16(d.slot) + 1) * 2 }

// spaIndexOf is that of one of several regions of a DIMM: behind those of all
// slots.
func (d *DIMM) spaIndexOf(region int) uint16 {
	if region == 0 {
		return d.spaIndex()
	}
	return uint16((d.slot+maxSlots)*maxRegions + region)
}

// structures are the DIMM's part of the NFIT: its ranges or, once, that of its
// set, its mappings into them, and its control region.
func (d *DIMM) structures() (list []acpi.NFITStructure) {
	switch {
	case !d.rangeMapped():
		list = append(list, d.mapping(0))
	case d.set != nil:
		spa := d.set.members[0].spaIndex()
		if d.position() == 0 {
			list = append(list, d.spaRange(spa, d.addr, d.set.size()), d.set.structure(spa))
		}
		m := d.mapping(spa)
		m.RegionSize, m.RegionOffset = d.size, uint64(d.position())*d.set.line
		m.InterleaveIndex, m.InterleaveWays = spa, uint16(len(d.set.members))
		list = append(list, m)
	default:
		part := d.size / uint64(d.regions)
		for i := range d.regions {
			spa := d.spaIndexOf(i)
			m := d.mapping(spa)
			m.RegionID, m.RegionSize, m.DPABase = uint16(i), part, uint64(i)*part
			list = append(list, d.spaRange(spa, d.addr+m.DPABase, part), m)
		}
	}
	return append(list, &acpi.ControlRegion{
		Index:        d.spaIndex() + 1,
		VendorID:     d.vendor(),
		DeviceID:     d.identity.Device,
		RevisionID:   d.identity.Revision,
		SerialNumber: d.Serial(),
		FormatCode:   acpi.FormatByte,
	})
}

func (d *DIMM) spaRange(index uint16, base, length uint64) *acpi.SPARange {
	return &acpi.SPARange{
		Index:      index,
		Flags:      acpi.SPAHotAddOnly | acpi.SPAProximityValid,
		Proximity:  uint32(d.node),
		Type:       acpi.SPAPersistent,
		Base:       base,
		Length:     length,
		Attributes: acpi.MemoryWB | acpi.MemoryNV,
	}
}

// mapping is the DIMM's part of a range, of which nothing is said yet.
func (d *DIMM) mapping(spa uint16) *acpi.MemoryDevice {
	return &acpi.MemoryDevice{
		Handle:         d.Handle(),
		PhysicalID:     d.identity.PhysicalID,
		SPAIndex:       spa,
		ControlIndex:   d.spaIndex() + 1,
		InterleaveWays: 1,
		Flags:          d.flags(),
	}
}
