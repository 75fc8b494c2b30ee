package lab

import (
	"errors"
	"fmt"
	"slices"

	"nvlab/acpi"
	"nvlab/internal/units"
	"nvlab/vmm"
)

// A NUMANode is what is on one node of a machine (-numa node).
type NUMANode struct {
	Memory    uint64   // bytes of RAM, a multiple of 1 MiB
	CPUs      []int    // by number
	Distances []int    // to each node, 10 to 254, 10 to itself; nil if none are told
	Latency   []uint64 // of access, in nanoseconds, from each node with CPUs; one for all, or none
	Bandwidth []uint64 // of access, in bytes a second, in the same way
}

// Bounds of what tables have room for (ACPI 6.5, 5.2.17, 5.2.28.4).
const (
	maxNUMANodes  = 128 // QEMU's MAX_NODES
	localDistance = 10
	maxDistance   = 254
	maxLatency    = 0xfffe // nanoseconds
	maxBandwidth  = 0xfffe // units of bandwidthUnit
	bandwidthUnit = 1 << 20
)

// checkNUMA follows QEMU's numa_complete_configuration.
func (o *VMOptions) checkNUMA() error {
	if len(o.NUMA) == 0 {
		return nil
	}
	if len(o.NUMA) > maxNUMANodes {
		return fmt.Errorf("numa with %d nodes: at most %d", len(o.NUMA), maxNUMANodes)
	}
	on := make([]int, o.CPUs)
	memory, told := uint64(0), 0
	for i, n := range o.NUMA {
		if n.Memory%(1<<20) != 0 {
			return fmt.Errorf("node %d has %d bytes of memory: want a multiple of 1 MiB", i, n.Memory)
		}
		memory += n.Memory
		for _, cpu := range n.CPUs {
			if cpu < 0 || cpu >= o.CPUs {
				return fmt.Errorf("CPU index (%d) of node %d should be smaller than cpus (%d)", cpu, i, o.CPUs)
			}
			if on[cpu]++; on[cpu] > 1 {
				return fmt.Errorf("CPU %d is on node %d, and on another one too", cpu, i)
			}
		}
		if n.Distances != nil {
			told++
		}
	}
	if told != 0 && told != len(o.NUMA) {
		return errors.New("the distances of some nodes are given, and of others not: give those of all, or of none")
	}
	if memory != 0 && memory != o.Memory {
		return fmt.Errorf("total memory for NUMA nodes (%#x) should equal RAM size (%#x): memory is %s", memory, o.Memory, units.Size(o.Memory))
	}
	if i := slices.Index(on, 0); i >= 0 && slices.Max(on) > 0 {
		return fmt.Errorf("CPU %d is on no node: name all of the %d, or none, which is all of them on node 0", i, o.CPUs)
	}
	for i := range o.NUMA {
		if err := o.checkNode(i); err != nil {
			return err
		}
	}
	return nil
}

func (o *VMOptions) checkNode(i int) error {
	n := &o.NUMA[i]
	if n.Distances != nil && len(n.Distances) != len(o.NUMA) {
		return fmt.Errorf("node %d has %d distances: there are %d nodes", i, len(n.Distances), len(o.NUMA))
	}
	for to, d := range n.Distances {
		switch {
		case to == i && d != localDistance:
			//lint:ignore ST1005 QEMU's words
			return fmt.Errorf("Local distance of node %d should be %d: it is %d", i, localDistance, d)
		case d < localDistance || d > maxDistance || to != i && d == localDistance:
			return fmt.Errorf("NUMA distance (%d) from node %d to node %d is invalid: it is %d to %d, and %d to itself only", d, i, to, localDistance+1, maxDistance, localDistance)
		}
	}
	initiators := len(o.initiators())
	for what, list := range map[string][]uint64{"latencies": n.Latency, "bandwidths": n.Bandwidth} {
		if len(list) > 1 && len(list) != initiators {
			return fmt.Errorf("node %d has %d %s: want one, or one from each of the %d nodes with CPUs", i, len(list), what, initiators)
		}
	}
	for _, ns := range n.Latency {
		if ns == 0 || ns > maxLatency {
			return fmt.Errorf("node %d has a latency of %d ns: want 1 to %d", i, ns, maxLatency)
		}
	}
	for _, b := range n.Bandwidth {
		if b < bandwidthUnit || b/bandwidthUnit > maxBandwidth {
			return fmt.Errorf("node %d has a bandwidth of %d bytes a second: want 1 MiB to %d MiB", i, b, maxBandwidth)
		}
	}
	return nil
}

// cores is how many CPUs are in a package, 0 for all: the most with which no package
// is on two nodes, which Linux warns of (arch/x86/kernel/smpboot.c,
// topology_sane).
func (o *VMOptions) cores() int {
	node := make([]int, o.CPUs)
	for i, n := range o.NUMA {
		for _, cpu := range n.CPUs {
			node[cpu] = i
		}
	}
	cores := 0
	for n := 1; n < o.CPUs; n *= 2 {
		for cpu := range node {
			if node[cpu] != node[cpu&^(n-1)] {
				return cores
			}
		}
		cores = n
	}
	if len(slices.Compact(node)) <= 1 {
		return 0
	}
	return cores
}

// initiators are the nodes with CPUs.
func (o *VMOptions) initiators() (list []uint32) {
	for i, n := range o.NUMA {
		if len(n.CPUs) > 0 {
			list = append(list, uint32(i))
		}
	}
	if list == nil {
		return []uint32{0}
	}
	return list
}

// cpuNode is the node of a CPU.
func (o *VMOptions) cpuNode(cpu int) uint32 {
	return uint32(max(slices.IndexFunc(o.NUMA, func(n NUMANode) bool { return slices.Contains(n.CPUs, cpu) }), 0))
}

// ramByNode divides RAM into what each node has, from the lowest address on.
func (o *VMOptions) ramByNode(layout vmm.Layout) (list []*acpi.MemoryAffinity) {
	parts := []vmm.Range{layout.Low, layout.High}
	add := func(node int, want uint64) {
		for i := range parts {
			p := &parts[i]
			n := min(want, p.Size)
			if n == 0 {
				continue
			}
			list = append(list, &acpi.MemoryAffinity{Proximity: uint32(node), Base: p.Base, Length: n, Flags: acpi.AffinityEnabled})
			p.Base, p.Size, want = p.Base+n, p.Size-n, want-n
		}
	}
	for i, n := range o.NUMA {
		add(i, n.Memory)
	}
	add(0, o.Memory) // all of it, if no node has any
	return list
}

// tableOEM names the maker of the tables below.
var tableOEM = acpi.Header{OEMID: "NVLAB", OEMTableID: "NVLAB", OEMRevision: 1, CreatorID: "NVLB", CreatorRevision: 1}

// numaTables say which node has what: CPUs, RAM, memory devices, how far nodes
// are from each other, and how fast memory is. Linux must know of nodes at
// boot. A machine with slots has an SRAT even with one node, as QEMU's has
// (auto_enable_numa_with_memhp): without it Linux has no target node for a DIMM,
// and refuses to make system RAM of it. The DIMMs are left out then: memory
// above 4 GiB would make Linux set some aside for devices that cannot reach it.
func (v *VM) numaTables(layout vmm.Layout) (tables [][]byte) {
	o := &v.opts
	if o.Slots == 0 && o.NUMA == nil {
		return nil
	}
	srat := acpi.SRAT{Header: tableOEM}
	for i := range o.CPUs {
		srat.Entries = append(srat.Entries, &acpi.ProcessorAffinity{Proximity: o.cpuNode(i), APICID: uint8(i), Flags: acpi.AffinityEnabled})
	}
	for _, m := range o.ramByNode(layout) {
		srat.Entries = append(srat.Entries, m)
	}
	for _, s := range v.root.Spans() {
		if v.nodes < 2 {
			break
		}
		flags := uint32(acpi.AffinityEnabled | acpi.MemoryHotPluggable)
		if s.Persistent {
			flags = acpi.AffinityEnabled | acpi.MemoryNonVolatile
		}
		srat.Entries = append(srat.Entries, &acpi.MemoryAffinity{Proximity: uint32(s.Node), Base: s.Addr, Length: s.Size, Flags: flags})
	}
	tables = append(tables, srat.Encode())
	if slit := o.slit(v.nodes); slit != nil {
		tables = append(tables, slit)
	}
	if hmat := o.hmat(); hmat != nil {
		tables = append(tables, hmat)
	}
	return tables
}

// slit has the distances of the nodes, nil if none were given. A node that
// memory devices alone name is 20 from all others.
func (o *VMOptions) slit(nodes int) []byte {
	if len(o.NUMA) == 0 || o.NUMA[0].Distances == nil {
		return nil
	}
	t := acpi.SLIT{Header: tableOEM}
	for from := range nodes {
		row := make([]uint8, nodes)
		for to := range row {
			switch {
			case from < len(o.NUMA) && to < len(o.NUMA):
				row[to] = uint8(o.NUMA[from].Distances[to])
			case from == to:
				row[to] = localDistance
			default:
				row[to] = 2 * localDistance
			}
		}
		t.Distances = append(t.Distances, row)
	}
	return t.Encode()
}

// hmat has the latencies and bandwidths of the nodes, nil if none were given.
func (o *VMOptions) hmat() []byte {
	initiators := o.initiators()
	t := acpi.HMAT{Header: tableOEM}
	for i, n := range o.NUMA {
		if len(n.CPUs) > 0 || i == int(initiators[0]) {
			t.Structures = append(t.Structures, &acpi.ProximityAttributes{Flags: acpi.InitiatorValid, Initiator: uint32(i), Memory: uint32(i)})
		}
	}
	given := false
	for _, kind := range []struct {
		data acpi.HMATData
		base uint64 // of an entry
		unit uint64 // that an entry counts, of what a NUMANode has
		of   func(NUMANode) []uint64
	}{
		{acpi.AccessLatency, 1000, 1, func(n NUMANode) []uint64 { return n.Latency }},
		{acpi.AccessBandwidth, 1, bandwidthUnit, func(n NUMANode) []uint64 { return n.Bandwidth }},
	} {
		info := &acpi.LocalityInfo{Data: kind.data, Base: kind.base, Initiators: initiators}
		for i, n := range o.NUMA {
			if len(kind.of(n)) > 0 {
				info.Targets = append(info.Targets, uint32(i))
			}
		}
		for from := range initiators {
			for _, to := range info.Targets {
				list := kind.of(o.NUMA[to])
				info.Entries = append(info.Entries, uint16(list[min(from, len(list)-1)]/kind.unit))
			}
		}
		if len(info.Targets) > 0 {
			given = true
			t.Structures = append(t.Structures, info)
		}
	}
	if !given {
		return nil
	}
	return t.Encode()
}
