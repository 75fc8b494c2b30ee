package nvdimm

import (
	"nvlab/acpi"
	"nvlab/nvdimm/firmware"
)

// OEM fields of the tables.
var oem = acpi.Header{OEMID: "NVLAB", OEMTableID: "NVDIMM", OEMRevision: 1, CreatorID: "NVLB", CreatorRevision: 1}

// structures are the contents of the NFIT: those of each DIMM in slot order,
// so that Linux numbers regions as it numbers DIMMs, then the platform
// capabilities.
func (r *Root) structures() []acpi.NFITStructure {
	var list []acpi.NFITStructure
	for _, d := range r.dimms {
		if d.virtio {
			continue
		}
		list = append(list, d.structures()...)
		if hint := r.hintStructure(d); hint != nil {
			list = append(list, hint)
		}
	}
	if r.capabilities != 0 && list != nil {
		list = append(list, &acpi.PlatformCapabilities{
			HighestValid: highestBit(r.capabilities),
			Capabilities: r.capabilities,
		})
	}
	return list
}

// NFIT is the firmware interface table of the DIMMs plugged now; nil if there
// are none, as a machine then has no such table.
func (r *Root) NFIT() []byte {
	if len(r.dimms) == len(r.PMEM()) {
		return nil
	}
	return acpi.NFIT{Header: oem, Structures: r.structures()}.Encode()
}

// FIT is what the guest's _FIT method returns: the NFIT's structures without
// its header (ACPI 6.5 section 6.5.9).
func (r *Root) FIT() []byte {
	if r.foreignFIT != nil {
		return r.foreignFIT
	}
	return acpi.EncodeNFITStructures(r.structures()...)
}

// ReplaceFIT makes _FIT return these bytes, whatever is plugged; nil takes
// that back. Linux prefers _FIT to the NFIT, even at boot.
func (r *Root) ReplaceFIT(fit []byte) {
	r.foreignFIT = fit
	r.changed = true
}

// Tables are the tables for a machine that powers on or resets: NFIT and SSDT,
// as far as there is need for them. State flags set before take effect. The
// mailbox is a page that the guest's kernel leaves alone.
func (r *Root) Tables(mailbox uint64) ([][]byte, error) {
	r.reset()
	if !r.config.Enabled || r.config.Slots == 0 {
		return nil, nil
	}
	ssdt, err := r.SSDT(mailbox)
	if err != nil {
		return nil, err
	}
	tables := [][]byte{ssdt}
	if nfit := r.NFIT(); nfit != nil {
		tables = append(tables, nfit)
	}
	return tables, nil
}

// reset is what a power-on or reset of the machine does to the DIMMs.
func (r *Root) reset() {
	for _, d := range r.dimms {
		d.state = d.next
		d.hints.writes.Store(0)
		d.management.Reset(false)
	}
	r.ars, r.late = firmware.ARS{}, LateReply{}
	r.changed = true
}
