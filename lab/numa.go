package lab

import (
	"nvlab/acpi"
	"nvlab/vmm"
)

// srat says which node has what: CPUs and RAM are node 0's, and a DIMM's memory
// is its node's, which Linux must know of at boot. A machine with slots has it
// even with one node, as QEMU's has (auto_enable_numa_with_memhp): without it
// Linux has no target node for a DIMM, and refuses to make system RAM of it.
// The DIMMs are left out then: memory above 4 GiB would make Linux set some
// aside for devices that cannot reach it.
func (v *VM) srat(layout vmm.Layout) []byte {
	if v.opts.Slots == 0 {
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
		if v.nodes < 2 {
			break
		}
		t.Entries = append(t.Entries, &acpi.MemoryAffinity{Proximity: uint32(s.Node), Base: s.Addr, Length: s.Size, Flags: acpi.AffinityEnabled | acpi.MemoryNonVolatile})
	}
	return t.Encode()
}
