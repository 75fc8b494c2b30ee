package qemutest

import (
	"fmt"
	"io"
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
	Nodes          int    // NUMA nodes; 0 for a machine without NUMA
	DIMMs          []DIMM

	// Files opens what the guest's agent asks for by name; see proto.Client.
	Files func(name string) (io.Reader, error)
}

// A DIMM is a backend with the -device nvdimm on it.
type DIMM struct {
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
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		// The processor with all that TCG knows: its kernel's copies and hashes
		// are the quickest.
		"-machine", machine, "-cpu", "max", "-smp", "1", "-m", memory,
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
	for _, d := range o.DIMMs {
		args = append(args, "-object", keyValues(d.backend()), "-device", keyValues(d.device()))
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
	list := []property{{"driver", "nvdimm"}, {"id", d.ID}, {"memdev", d.memdev()}}
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
	if d.Addr != 0 {
		list = append(list, property{"addr", d.Addr})
	}
	if d.UUID != "" {
		list = append(list, property{"uuid", d.UUID})
	}
	return list
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
