package lab

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"nvlab/guest/introspect"
	"nvlab/guest/proto"
	"nvlab/nvdimm"
	"nvlab/nvdimm/firmware"
	"nvlab/nvdimm/power"
	"nvlab/vmm"
)

// A VM is a machine and what is plugged into it. It may be switched on and off
// many times.
type VM struct {
	vmState

	x      *Experiment
	number int // in its test, from 1
	origin *VM // that it was forked from
	engine vmm.Engine
	root   *nvdimm.Root
	dimms  []*NVDIMM
	power  *power.Tracker

	m      *vmm.Machine // nil while off
	client *proto.Client

	console   console
	timeline  timeline
	klog      kernelLog
	tasks     *introspect.Tasks
	beginning *beginning  // of a recovery; nil once it used the VM
	reads     *readWatch  // of an exploration; nil if nobody looks
	touched   *pageWatch  // of a boot that is to be remembered, while it lasts
	recalled  bool        // the latest boot was taken from the states
	asked     bool        // the guest asked the NVDIMM root device for something since the boot began
	continued bool        // the latest boot went on from a prefix that was
	reached   *reached    // how the VM came to what it is; nil if that is not known
	answered  int         // calls whose answers were taken from the states
	turn      sync.Locker // held by who uses the experiment, if several goroutines do: not while the guest runs
	lost      error       // of the storage behind a DIMM
	quiet     bool        // gdb does not see it
	reserved  int64       // bytes of the memory gate

	poison map[int]firmware.Poison // that the processors know, by slot; nil if they know nothing
	missed string                  // the poison that ended the machine
}

// vmState is what a VM is besides its machine and its NVDIMMs. It is copied
// to save it.
type vmState struct {
	opts  VMOptions
	place int // number of the VM that the first of its forks was of: seeds depend on it

	state  State
	boots  int
	tables [][]byte // of the latest power-on

	replaced map[string][]byte // tables of the next power-on, by signature

	clock time.Duration // while off
	stats vmm.Stats     // while off
	image *image        // of the latest power-on

	reported   bool  // somebody was told of this boot's fault
	unreported error // the fault of an earlier boot, of which nobody was

	nodes int // NUMA nodes of the latest power-on, 0 while off

	symbols *introspect.Symbols // of the latest power-on, once they were read
	modules string              // that were loaded then
	pushed  []pushed            // since then, in order
}

// State is what a VM is doing between two calls.
type State string

const (
	Off     State = "off"
	Running State = "running"
	Crashed State = "crashed" // the kernel stopped; the VM holds what it left
)

// VM makes a machine that is off.
func (x *Experiment) VM(o VMOptions) (*VM, error) {
	if x.closed {
		return nil, ErrClosed
	}
	o.complete()
	if err := o.check(); err != nil {
		return nil, err
	}
	engine := x.lab.engine
	if o.Engine != "" {
		var err error
		if engine, err = newEngine(o.Engine, x.lab.translations); err != nil {
			return nil, err
		}
	}
	if err := vmm.CheckMemory(o.Memory, o.PhysBits); err != nil {
		return nil, err
	}
	number := len(x.vms) + 1
	if err := o.bites(engine.Name()); err != nil {
		return nil, err
	}
	return x.newVM(vmState{opts: o, place: number, state: Off}, engine)
}

// newVM makes a VM that has no machine.
func (x *Experiment) newVM(s vmState, engine vmm.Engine) (*VM, error) {
	o := &s.opts
	layout := vmm.NewLayout(o.Memory, o.PhysBits)
	root, err := nvdimm.NewRoot(nvdimm.Config{
		Enabled: !o.NoNVDIMM, Slots: o.Slots, Memory: o.Memory, MaxMem: o.MaxMem,
		Base: layout.DeviceMemory, Limit: layout.AddressLimit,
		FlushHints: o.FlushHints, HintBase: layout.Devices.Base,
		Cap: o.Cap, Persistence: o.Persistence, Strict: !o.Malformed, ARS: o.ARS,
	})
	if err != nil {
		return nil, err
	}
	v := &VM{vmState: s, x: x, number: len(x.vms) + 1, engine: engine, root: root}
	v.power = power.New(root, powerHost{v})
	v.console.clock = v.Clock
	decide := root.OnCall
	root.OnCall = func(c *nvdimm.Call) {
		decide(c)
		v.noteCall(c)
	}
	root.OnError, root.OnEvent, root.Clock = v.lose, v.tell, v.Clock
	root.OnPoison = func() {
		v.noteScrub()
		if err := v.armPoison(); err != nil {
			v.lose(err)
		}
		if len(v.misplaced()) > 0 {
			v.m.Later(v.relock)
		}
	}
	x.vms = append(x.vms, v)
	return v, nil
}

// Number is the VM's place in its test, from 1.
func (v *VM) Number() int { return v.number }

// State is what the VM is doing.
func (v *VM) State() State { return v.state }

// Engine is the name of the engine that runs it.
func (v *VM) Engine() string { return v.engine.Name() }

// Clock is the guest's time since the latest power-on.
func (v *VM) Clock() time.Duration {
	if v.m != nil {
		return v.m.Clock()
	}
	return v.clock
}

// Stats counts what the processors did since the latest power-on.
func (v *VM) Stats() vmm.Stats {
	if v.m != nil {
		return v.m.Stats()
	}
	return v.stats
}

// Console is what the guest printed on its serial console, over all boots.
func (v *VM) Console() string { return v.console.String() }

// ConsoleSinceBoot is what the guest printed since the latest boot was over:
// what it says of what it was told to do.
func (v *VM) ConsoleSinceBoot() string { return v.console.sinceBoot() }

// Printed is how many bytes are on the console.
func (v *VM) Printed() int { return len(v.console.text) }

// PrintedSince is what the guest printed since there were n bytes on the console,
// "" if a restore took these away; and when each of its lines ended, by the guest's
// clock, which starts anew with each boot. A line that has not ended has no time, and
// nor have those that are too many.
func (v *VM) PrintedSince(n int) (text string, at []time.Duration) {
	c := &v.console
	n = min(n, len(c.text))
	return string(c.text[n:]), c.endsSince(n)
}

// Dmesg is the kernel's log of the running guest.
func (v *VM) Dmesg(ctx context.Context) (string, error) {
	r, err := v.Run(ctx, Command{Args: []string{"dmesg"}, Check: true})
	if err != nil {
		return "", err
	}
	return string(r.Stdout), nil
}

// on returns an error unless the VM is running.
func (v *VM) on() error {
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state == Off:
		return &StateError{State: Off}
	case v.state == Crashed:
		return &StateError{State: Crashed, Next: StepRevive}
	}
	return nil
}

// A MemoryDevice is a line of QEMU's query-memory-devices.
type MemoryDevice struct {
	Type       string // "nvdimm", "virtio-pmem", or "dimm" for RAM
	ID         string
	Addr       uint64 // guest-physical
	Slot, Node int    // slot -1 of virtio-pmem, which is in none
	Size       uint64 // bytes, without the label area
	HotPlugged bool
}

// MemoryDevices lists what is plugged, by slot.
func (v *VM) MemoryDevices() []MemoryDevice {
	var list []MemoryDevice
	for _, m := range v.root.Memory() {
		list = append(list, MemoryDevice{Type: "dimm", ID: m.ID, Addr: m.Addr, Slot: m.Slot, Node: m.Node, Size: m.Size, HotPlugged: m.HotPlugged})
	}
	for _, d := range v.dimms {
		kind, slot := "nvdimm", d.Slot()
		if d.Virtio() {
			kind, slot = "virtio-pmem", -1
		}
		list = append(list, MemoryDevice{Type: kind, ID: d.ID(), Addr: d.Addr(), Slot: slot, Node: d.Node(), Size: d.Size(), HotPlugged: d.hotPlugged})
	}
	slices.SortFunc(list, func(a, b MemoryDevice) int { return cmp.Compare(a.Slot, b.Slot) })
	return list
}
