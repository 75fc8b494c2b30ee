package lab

import (
	"nvlab/acpi"
	"nvlab/vmm"
)

// srat says which node has what, for a machine with more than one: CPUs and
// RAM are node 0's, and a DIMM's memory is its node's, which Linux must know of
// at boot. Nil for one node, as Linux then needs no table; one that reaches
// above 4 GiB would make it set memory aside for devices that cannot.
func (v *VM) srat(layout vmm.Layout) []byte {
	if v.nodes < 2 {
		return nil
	}
	t := acpi.SRAT{Header: acpi.Header{OEMID: "NVLAB", OEMTableID: "NVLAB", OEMRevision: 1, CreatorID: "NVLB", CreatorRevision: 1}}
	for i := range v.opts.CPUs {
		t.Entries = append(t.Entries, &acpi.ProcessorAffinity{APICID: uint8(i), Flags: acpi.AffinityEnabled})
	}
	for _, r := range []vmm.Range{layout.Low, layout.High} {
		if r.Size > 0 {
			t.Entries = append(t.Entries, &acpi.MemoryAffinity{Base: r.Base, Length: r.Size, Flags: acpi.AffinityEnabled})
		}
	}
	for _, s := range v.root.Spans() {
		t.Entries = append(t.Entries, &acpi.MemoryAffinity{Proximity: uint32(s.Node), Base: s.Addr, Length: s.Size, Flags: acpi.AffinityEnabled | acpi.MemoryNonVolatile})
	}
	return t.Encode()
}
