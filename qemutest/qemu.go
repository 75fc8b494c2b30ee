package qemutest

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Program is the command that runs QEMU.
const Program = "qemu-system-x86_64"

// Options describe a QEMU machine: one processor in software, and no device
// that the tests have no use for.
type Options struct {
	Kernel, Initrd string // paths
	Cmdline        string
	Machine        string // "pc" or "q35"; "" is "pc"
	Memory         uint64 // bytes of RAM, a multiple of 1 MiB
	Slots          int
	MaxMem         uint64 // bytes of RAM and NVDIMMs
	Persistence    string // nvdimm-persistence: "cpu", "mem-ctrl" or ""
	Nodes          int    // NUMA nodes, all but the first of them empty; 0 for a machine without NUMA
	NUMA           []Node // instead of Nodes
	CPUs           int    // 0 is 1
	Append         string // to the kernel's command line
	DIMMs          []DIMM

	// Files opens what the guest's agent asks for by name; see proto.Client.
	Files func(name string) (io.Reader, error)
}

// A Node is what is on a NUMA node.
type Node struct {
	Memory    uint64 // bytes
	CPU       int    // its one CPU; -1 for none
	Distances []int  // to each node; nil for none
	Latency   []int  // nanoseconds, from each node with a CPU; nil for none
	Bandwidth []int  // MiB/s, likewise
}

// A DIMM is a backend with the -device nvdimm on it, or the -device pc-dimm.
type DIMM struct {
	RAM       bool // pc-dimm
	Virtio    bool // virtio-pmem-pci
	ID        string
	Path      string // of the backend's file; "" for memory-backend-ram
	Size      uint64 // bytes
	Share     bool
	ReadOnly  bool
	Align     uint64 // bytes; 0 is QEMU's choice
	LabelSize uint64 // bytes; 0 for no label
	Unarmed   bool
	Slot      *int // nil for the lowest free one
	Node      int
	Addr      uint64 // guest-physical; 0 for the lowest that is free
	UUID      string
}

// args is the command line, without console and agent.
func (o *Options) args() []string {
	machine := o.Machine
	if machine == "" {
		machine = "pc"
	}
	machine += ",accel=tcg,nvdimm=on,usb=off,vmport=off"
	if o.Persistence != "" {
		machine += ",nvdimm-persistence=" + o.Persistence
	}
	memory := fmt.Sprintf("%dM", o.Memory>>20)
	if o.MaxMem > 0 {
		memory += fmt.Sprintf(",slots=%d,maxmem=%dM", o.Slots, o.MaxMem>>20)
	}
	if slices.ContainsFunc(o.NUMA, func(n Node) bool { return n.Latency != nil }) {
		machine += ",hmat=on"
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		// The processor with all that TCG knows: its kernel's copies and hashes
		// are the quickest.
		"-machine", machine, "-cpu", "max", "-smp", fmt.Sprint(max(o.CPUs, 1)), "-m", memory,
		"-kernel", o.Kernel, "-initrd", o.Initrd, "-append", o.Cmdline,
	}
	for n := range o.Nodes {
		node := fmt.Sprintf("node,nodeid=%d", n)
		if n == 0 {
			args = append(args, "-object", fmt.Sprintf("memory-backend-ram,id=ram,size=%dM", o.Memory>>20))
			node += ",memdev=ram,cpus=0"
		}
		args = append(args, "-numa", node)
	}
	args = append(args, o.numa()...)
	for _, d := range o.DIMMs {
		args = append(args, "-object", keyValues(d.backend()), "-device", keyValues(d.device()))
	}
	return args
}

// numa are the nodes, their distances, latencies and bandwidths.
func (o *Options) numa() (args []string) {
	for i, n := range o.NUMA {
		node := fmt.Sprintf("node,nodeid=%d", i)
		if n.Memory > 0 {
			args = append(args, "-object", fmt.Sprintf("memory-backend-ram,id=ram%d,size=%dM", i, n.Memory>>20))
			node += fmt.Sprintf(",memdev=ram%d", i)
		}
		if n.CPU >= 0 {
			node += fmt.Sprintf(",cpus=%d", n.CPU)
		}
		if n.Latency != nil && n.CPU >= 0 {
			node += fmt.Sprintf(",initiator=%d", i)
		}
		args = append(args, "-numa", node)
	}
	for i, n := range o.NUMA {
		for to, d := range n.Distances {
			args = append(args, "-numa", fmt.Sprintf("dist,src=%d,dst=%d,val=%d", i, to, d))
		}
		initiator := 0
		for from, f := range o.NUMA {
			if n.Latency == nil || f.CPU < 0 {
				continue
			}
			lb := fmt.Sprintf("hmat-lb,initiator=%d,target=%d,hierarchy=memory", from, i)
			args = append(args,
				"-numa", fmt.Sprintf("%s,data-type=access-latency,latency=%d", lb, n.Latency[initiator]),
				"-numa", fmt.Sprintf("%s,data-type=access-bandwidth,bandwidth=%dM", lb, n.Bandwidth[initiator]))
			initiator++
		}
	}
	return args
}

// A property is one option of an object or a device.
type property struct {
	name  string
	value any // string, uint64, int or bool
}

func (d *DIMM) memdev() string { return "mem-" + d.ID }

// backend are the options of the object; the first is its type.
func (d *DIMM) backend() []property {
	list := []property{{"qom-type", "memory-backend-ram"}, {"id", d.memdev()}, {"size", d.Size}, {"share", d.Share}}
	if d.Path != "" {
		list[0].value = "memory-backend-file"
		list = append(list, property{"mem-path", d.Path})
		if d.ReadOnly {
			list = append(list, property{"readonly", true})
		}
		if d.Align != 0 {
			list = append(list, property{"align", d.Align})
		}
	}
	return list
}

// device are the options of the device; the first is its driver.
func (d *DIMM) device() []property {
	list := []property{{"driver", d.driver()}, {"id", d.ID}, {"memdev", d.memdev()}}
	if d.LabelSize != 0 {
		list = append(list, property{"label-size", d.LabelSize})
	}
	if d.Unarmed {
		list = append(list, property{"unarmed", true})
	}
	if d.Slot != nil {
		list = append(list, property{"slot", *d.Slot})
	}
	if d.Node != 0 {
		list = append(list, property{"node", d.Node})
	}
	switch {
	case d.Addr != 0 && d.Virtio:
		list = append(list, property{"memaddr", d.Addr})
	case d.Addr != 0:
		list = append(list, property{"addr", d.Addr})
	}
	if d.UUID != "" {
		list = append(list, property{"uuid", d.UUID})
	}
	return list
}

func (d *DIMM) driver() string {
	if d.Virtio {
		return "virtio-pmem-pci"
	}
	if d.RAM {
		return "pc-dimm"
	}
	return "nvdimm"
}

// keyValues is the form of the command line: the value of the first property,
// and the others by name.
func keyValues(list []property) string {
	words := []string{fmt.Sprint(list[0].value)}
	for _, p := range list[1:] {
		value := fmt.Sprint(p.value)
		if on, ok := p.value.(bool); ok {
			value = map[bool]string{false: "off", true: "on"}[on]
		}
		words = append(words, p.name+"="+strings.ReplaceAll(value, ",", ",,"))
	}
	return strings.Join(words, ",")
}
