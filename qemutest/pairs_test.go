package qemutest

import "fmt"

// The sizes are QEMU's own units.
const (
	kib = 1 << 10
	mib = 1 << 20
)

func file(size, labelSize uint64) DIMM {
	return DIMM{Path: "file", Size: size, Share: true, LabelSize: labelSize}
}

func ram(size, labelSize uint64) DIMM { return DIMM{Size: size, LabelSize: labelSize} }

func memory(size uint64) DIMM { return DIMM{RAM: true, Size: size} }

// online puts the RAM of slots to use.
const online = `
	cd /sys/devices/system/memory; for b in memory3[2-9] memory[4-9]?; do [ -d $b ] && grep -q offline $b/state && echo online > $b/state; done; cd /`

func (d DIMM) with(change func(*DIMM)) DIMM {
	change(&d)
	return d
}

func machine(slots int, persistence string) Options {
	return Options{Memory: 256 * mib, Slots: slots, MaxMem: 8 << 30, Persistence: persistence}
}

func slot(n int) *int { return &n }

var virtio = func(d *DIMM) { d.Virtio = true }

var unarmed = func(d *DIMM) { d.Unarmed = true }

var pairs = []pair{
	{name: "labels", options: machine(9, "cpu"), rows: []configuration{
		{name: "128 KiB of labels, version 1.2, raw and sector", dimm: file(64*mib, 128*kib), script: `
			init 1.2; make 1 -m raw -s 16M; make 2 -m sector -s 32M -l 4096; try ndctl check-labels $D`},
		{name: "128 KiB of labels, version 1.1, raw and sector", dimm: file(66*mib, 128*kib), script: `
			init 1.1; make 1 -m raw -s 16M; make 2 -m sector -s 32M; try ndctl check-labels $D`},
		{name: "256 KiB of labels, fsdax", dimm: file(66*mib, 256*kib), script: `
			init 1.2; make 1 -m fsdax -s 32M; make 2 -m fsdax -M mem -s 16M -n second`},
		{name: "2 MiB of labels, devdax", dimm: file(66*mib, 2*mib), script: `
			init 1.2; make 1 -m devdax -s 32M -a 4K; make 2 -m devdax -s 16M -M mem`},
		{name: "131073 bytes of labels", dimm: file(64*mib, 128*kib+1), script: `
			init 1.2; make 1 -m raw -s 16M; make 2 -m raw -s 16M`},
		{name: "200000 bytes of labels, version 1.1", dimm: file(64*mib, 200000), script: `
			init 1.1; make 1 -m raw -s 16M; try ndctl destroy-namespace -f all -r $R; make 2 -m raw -s 32M`},
		{name: "labels that are made, read, zeroed", dimm: file(64*mib, 128*kib), script: `
			init 1.2; make 1 -m raw -s 16M; try ndctl disable-region $R
			ndctl read-labels $D | sha256sum; ndctl read-labels -j $D; try ndctl zero-labels $D; try ndctl enable-region $R`},
		{name: "untouched labels", dimm: file(64*mib, 128*kib)},
		{name: "128 KiB of labels, version 1.1, fsdax and devdax", dimm: file(66*mib, 128*kib), script: `
			init 1.1; make 1 -m fsdax -s 32M; make 2 -m devdax -s 16M; try ndctl disable-namespace $(ndctl list -N -r $R -m devdax | sed -n 's/.*"dev":"\(names[^"]*\)".*/\1/p')`},
	}},
	{name: "backends", options: machine(8, "mem-ctrl"), rows: []configuration{
		{name: "a file without labels", dimm: file(64*mib, 0), script: `
			make 1 -m fsdax -f; try ndctl init-labels $D`},
		{name: "RAM without labels", dimm: ram(64*mib, 0), script: `make 1 -m sector -f`},
		{name: "RAM with labels", dimm: ram(66*mib, 128*kib), script: `
			init 1.2; make 1 -m raw -s 16M; make 2 -m devdax -s 16M`},
		{name: "unarmed without labels", dimm: file(64*mib, 0).with(unarmed), script: `
			make 1 -m raw -f; try dd if=/dev/zero of=/dev/pmem${R#region} bs=4096 count=1`},
		{name: "unarmed with labels", dimm: file(64*mib, 128*kib).with(unarmed), script: `
			init 1.2; make 1 -m raw -s 16M; try ndctl destroy-namespace -f all -r $R`},
		{name: "share off", dimm: file(64*mib, 128*kib).with(func(d *DIMM) { d.Share = false }), script: `
			init 1.2; make 1 -m raw -s 16M; ndctl read-labels $D | sha256sum`},
		{name: "read-only and unarmed", dimm: file(64*mib, 0).with(func(d *DIMM) { d.ReadOnly, d.Unarmed = true, true }), script: `
			make 1 -m raw -f`},
		{name: "read-only, unarmed and with labels", dimm: file(64*mib, 128*kib).with(func(d *DIMM) { d.ReadOnly, d.Unarmed = true, true })},
	}},
	{name: "sizes", options: machine(16, ""), rows: []configuration{
		{name: "160 MiB, labels leave a region that is not aligned", dimm: file(160*mib, 128*kib), script: `
			init 1.2; make 1 -m raw; make 2 -m fsdax -s 16M`},
		{name: "160 MiB less 128 KiB without labels", dimm: file(160*mib-128*kib, 0), script: `make 1 -m raw -f`},
		{name: "64 MiB and 4 KiB", dimm: file(64*mib+4*kib, 0), script: `make 1 -m fsdax -f`},
		{name: "16 MiB", dimm: file(16*mib, 0), script: `make 1 -m devdax -f`},
		{name: "8 MiB", dimm: file(8*mib, 0), script: `make 1 -m fsdax -f`},
		{name: "4 MiB with labels", dimm: file(4*mib, 128*kib), script: `init 1.2; make 1 -m raw`},
		{name: "align=2M", dimm: file(64*mib, 128*kib).with(func(d *DIMM) { d.Align = 2 * mib }), script: `
			init 1.2; make 1 -m raw -s 16M`},
		{name: "align=128M", dimm: file(256*mib, 2*mib).with(func(d *DIMM) { d.Align = 128 * mib })},
		{name: "an address", dimm: file(64*mib, 0).with(func(d *DIMM) { d.Addr = 0x180000000 })},
		{name: "a uuid", dimm: file(64*mib, 128*kib).with(func(d *DIMM) { d.UUID = "e6b4f0d3-2d1f-4f3e-9a5c-0c1d2e3f4a5b" })},
		{name: "slot 14", dimm: file(64*mib, 128*kib).with(func(d *DIMM) { d.Slot = slot(14) }), script: `init 1.2; make 1 -m raw -s 16M`},
	}},
	{name: "nodes", options: Options{Memory: 256 * mib, Slots: 3, MaxMem: 8 << 30, Nodes: 2}, rows: []configuration{
		{name: "node 0", dimm: file(64*mib, 0)},
		{name: "node 1", dimm: file(64*mib, 128*kib).with(func(d *DIMM) { d.Node = 1 }), script: `init 1.2; make 1 -m raw -s 16M`},
	}},
	{name: "hotplug", options: machine(4, "cpu"), rows: []configuration{
		{name: "there at boot", dimm: file(64*mib, 128*kib), script: `init 1.2; make 1 -m raw -s 16M`},
		{name: "hot-plugged with labels", dimm: file(64*mib, 128*kib), hot: true, script: `init 1.2; make 1 -m sector -s 32M`},
		{name: "hot-plugged without labels, in quick succession", dimm: ram(64*mib, 0), hot: true, script: `make 1 -m raw -f`},
	}},
	{name: "hotplug into nothing", options: machine(3, ""), rows: []configuration{
		{name: "the first, unarmed", dimm: file(64*mib, 0).with(unarmed), hot: true},
		{name: "the second", dimm: file(64*mib, 128*kib), hot: true, script: `init 1.2; make 1 -m fsdax -s 32M`},
	}},
	{name: "packed", options: machine(2, "mem-ctrl"), packed: true, rows: []configuration{
		{name: "the first", dimm: file(64*mib, 128*kib)},
		{name: "behind an odd size", dimm: file(66*mib, 2*mib), script: `init 1.2; make 1 -m fsdax -s 16M; make 2 -m raw -s 16M`},
	}},
	{name: "system RAM", options: machine(1, "cpu"), rows: []configuration{
		{name: "devdax becomes system RAM", dimm: file(512*mib, 128*kib), script: `
			init 1.2; make 1 -m devdax; try daxctl reconfigure-device -m system-ram -N dax0.0; dmesg | grep kmem
			grep -H '' /sys/devices/system/node/node*/memory*/state | sort | tail -n 3`},
	}},
	{name: "memmap", options: Options{Memory: 768 * mib, Append: "memmap=128M!256M memmap=64M!448M memmap=64M!512M memmap=64M!576M memmap=32M%128M-1+0xefffffff"}, rows: []configuration{
		{name: "a range of RAM", none: true},
		{name: "a range with sectors", none: true, script: "try ndctl create-namespace -f -e namespace0.0 -m sector -u $(uuid 1)"},
		{name: "a range as devdax", none: true, script: "try ndctl create-namespace -f -e namespace1.0 -m devdax -u $(uuid 1)"},
		{name: "a range as fsdax, its map within", none: true, script: "try ndctl create-namespace -f -e namespace2.0 -m fsdax -M dev -u $(uuid 1)"},
		{name: "soft-reserved memory", none: true, script: "try daxctl list -RD; grep -A2 -i soft /proc/iomem"},
	}},
	{name: "memmap above 4 GiB beside an NVDIMM", options: Options{Machine: "q35", Memory: 3328 * mib, Slots: 1, MaxMem: 16 << 30, Append: "memmap=64M!1G memmap=32M!4G"}, rows: []configuration{
		{name: "the NVDIMM", dimm: file(64*mib, 128*kib).with(func(d *DIMM) { d.Addr = 8 << 30 }), script: "init 1.2; make 1 -m raw -s 16M"},
		{name: "the ranges", none: true, script: "try ndctl list -BRN -b e820"},
	}},
	{name: "RAM in slots", options: machine(7, "cpu"), rows: []configuration{
		{name: "RAM that is there at boot", dimm: memory(128 * mib), script: online},
		{name: "an NVDIMM beside it", dimm: file(64*mib, 128*kib), script: "init 1.2; make 1 -m fsdax -s 32M"},
		{name: "RAM that is hot-plugged", dimm: memory(256 * mib), hot: true, script: online},
		{name: "an NVDIMM that is hot-plugged behind it", dimm: file(64*mib, 128*kib).with(func(d *DIMM) { d.Addr = 7 << 30 }), hot: true, script: "init 1.2; make 1 -m raw -s 16M"},
		{name: "RAM in a slot of its own choice, at an address", dimm: memory(128 * mib).with(func(d *DIMM) { d.Slot, d.Addr = slot(6), 6<<30 })},
	}},
	{name: "two sockets", options: Options{Memory: 512 * mib, CPUs: 2, Slots: 4, MaxMem: 8 << 30, NUMA: []Node{
		{Memory: 256 * mib, CPU: 0, Distances: []int{10, 21, 17}},
		{Memory: 256 * mib, CPU: 1, Distances: []int{21, 10, 28}},
		{CPU: -1, Distances: []int{17, 28, 10}},
	}}, rows: []configuration{
		{name: "an NVDIMM on the second", dimm: file(64*mib, 128*kib).with(func(d *DIMM) { d.Node = 1 }), script: "init 1.2; make 1 -m raw -s 16M"},
		{name: "an NVDIMM on a node without processors", dimm: file(64*mib, 0).with(func(d *DIMM) { d.Node = 2 })},
		{name: "RAM on the second", dimm: memory(128 * mib).with(func(d *DIMM) { d.Node = 1 }), script: online},
		{name: "RAM that is hot-plugged on the first", dimm: memory(128 * mib), hot: true},
	}},
	{name: "two sockets without distances", options: Options{Memory: 512 * mib, CPUs: 2, Slots: 2, MaxMem: 8 << 30, NUMA: []Node{
		{Memory: 384 * mib, CPU: 1}, {Memory: 128 * mib, CPU: 0},
	}}, rows: []configuration{
		{name: "an NVDIMM on the first", dimm: ram(64*mib, 0)},
		{name: "an NVDIMM that is hot-plugged on the second", dimm: ram(64*mib, 0).with(func(d *DIMM) { d.Node = 1 }), hot: true},
	}},
	{name: "latencies and bandwidths", options: Options{Memory: 512 * mib, CPUs: 2, Slots: 2, MaxMem: 8 << 30, NUMA: []Node{
		{Memory: 256 * mib, CPU: 0, Latency: []int{80, 140}, Bandwidth: []int{10240, 5120}},
		{Memory: 256 * mib, CPU: 1, Latency: []int{140, 80}, Bandwidth: []int{5120, 10240}},
	}}, rows: []configuration{
		{name: "an NVDIMM on the second", dimm: ram(64*mib, 0).with(func(d *DIMM) { d.Node = 1 })},
		{name: "RAM on the first", dimm: memory(128 * mib), script: online},
	}},
	{name: "virtio-pmem", options: Options{Memory: 256 * mib, MaxMem: 4 << 30, Append: "loglevel=7"}, rows: []configuration{
		{name: "a device on a file", dimm: file(64*mib, 0).with(virtio), script: "try ndctl create-namespace -f -e namespace0.0 -m fsdax -u $(uuid 1); grep -H '' /sys/block/pmem0/dax/write_cache"},
		{name: "another one with sectors", dimm: file(32*mib, 0).with(virtio), script: "try ndctl create-namespace -f -e namespace1.0 -m sector -u $(uuid 1); try dd if=/dev/zero of=/dev/pmem0 bs=4096 count=1 conv=fsync"},
	}},
	{name: "many", options: machine(26, "cpu"), rows: many(25)},
	{name: "q35", options: Options{Machine: "q35", Memory: 512 * mib, Slots: 1, MaxMem: 4 << 30}, rows: []configuration{
		{name: "another chipset", dimm: file(64*mib, 128*kib), script: `init 1.2; make 1 -m fsdax -s 32M`},
	}},
	{name: "slots and no DIMM", options: machine(2, "cpu"), rows: []configuration{{name: "an empty root device", none: true}}},
	{name: "no slots", options: Options{Memory: 256 * mib}, rows: []configuration{{name: "no root device", none: true}}},
}

// many are more DIMMs than one page of _FIT holds: 22. All are hot-plugged.
func many(n int) (list []configuration) {
	for i := range n {
		list = append(list, configuration{name: fmt.Sprintf("DIMM %d of %d", i+1, n), dimm: ram(16*mib, 0), hot: true})
	}
	return list
}
