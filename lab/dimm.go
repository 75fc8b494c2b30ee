package lab

import (
	"cmp"
	"fmt"
	"slices"

	"nvlab/internal/units"
	"nvlab/nvdimm"
	"nvlab/nvdimm/firmware"
	"nvlab/vmm"
)

// PlugOptions describe a DIMM: -device nvdimm.
type PlugOptions struct {
	Backend   *Backend
	ID        string // "" for a name of nvlab's choice
	LabelSize uint64 // bytes at the end of the backend; 0 for no label
	Unarmed   bool
	Slot      *int // nil for the lowest free one
	Node      int
	Addr      *uint64 // guest-physical; nil for the lowest that is free
	UUID      string
	Virtio    bool   // -device virtio-pmem
	Regions   int    // equal parts; 0 is 1
	Family    string // whose _DSM it speaks: "intel", "msft", "hyperv", "hpe1"; "" for labels only
	nvdimm.Identity
}

// An NVDIMM is a plugged DIMM.
type NVDIMM struct {
	*nvdimm.DIMM
	vm         *VM
	backend    *Backend
	replaces   *Backend // of a fork's: the backend that this one is a copy of
	hotPlugged bool     // since the latest power-on
	hidden     bool     // the machine has not its memory, as it is locked
}

// Backend is the memory behind the DIMM.
func (d *NVDIMM) Backend() *Backend { return d.backend }

// Plug puts a DIMM into a machine: one that is off has it at power-on, one
// that runs at once, and its guest is told. What is refused leaves no trace.
func (v *VM) Plug(o PlugOptions) (*NVDIMM, error) {
	switch {
	case v.x.closed:
		return nil, ErrClosed
	case o.Backend.x != v.x:
		return nil, fmt.Errorf("the backend belongs to another test")
	case v.state == Crashed:
		return nil, &StateError{State: Crashed, Next: StepKill}
	}
	var family *firmware.Family
	if o.Family != "" {
		var err error
		if family, err = firmware.FamilyByName(o.Family); err != nil {
			return nil, err
		}
	}
	d, err := v.root.Plug(nvdimm.PlugConfig{
		Backend: o.Backend.b, Family: family, ID: o.ID, LabelSize: o.LabelSize, Unarmed: o.Unarmed, Slot: o.Slot,
		Node: o.Node, Addr: o.Addr, UUID: o.UUID, Virtio: o.Virtio, Regions: o.Regions, Identity: o.Identity, Nodes: v.nodes,
		Management: o.Backend.knew(family, o.LabelSize),
	})
	if err != nil {
		return nil, err
	}
	dimm := &NVDIMM{DIMM: d, vm: v, backend: o.Backend, hotPlugged: v.m != nil}
	if v.m != nil {
		if err := v.hotPlug(dimm); err != nil {
			v.power.Remove(d)
			d.Unmap()
			v.root.Withdraw(d)
			return nil, err
		}
	}
	v.dimms = append(v.dimms, dimm)
	if v.m != nil {
		v.note(KindPlug, fmt.Sprintf("%s is plugged: %s at %#x", d.ID(), units.Size(d.Size()), d.Addr()))
	}
	return dimm, nil
}

// Unplug takes a DIMM out of a machine that is off. A running one keeps it, as
// in QEMU: Linux has no way to let an NVDIMM or a virtio-pmem device go.
func (v *VM) Unplug(d *NVDIMM) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case v.has(d) != nil:
		return v.has(d)
	case v.state != Off && d.Virtio():
		return fmt.Errorf("virtio based memory devices cannot be unplugged: power the VM off to take %q out", d.ID())
	case v.state != Off:
		return fmt.Errorf("nvdimm device hot unplug is not supported yet: power the VM off to take %q out", d.ID())
	case d.Interleaved():
		return fmt.Errorf("nvdimm %q is in an interleave set, which needs all of its members", d.ID())
	}
	d.backend.unplugged = &unplugged{d.Family(), d.LabelSize(), *d.Management()}
	v.root.Withdraw(d.DIMM)
	v.dimms = slices.DeleteFunc(v.dimms, func(o *NVDIMM) bool { return o == d })
	return nil
}

// unplugged is what a DIMM that was taken out knows of itself.
type unplugged struct {
	family    *firmware.Family
	labelSize uint64
	state     firmware.State
}

// knew is what the DIMM of a backend knew when it was taken out, nil if it
// never was, or was another one: of another family or with other labels.
func (b *Backend) knew(family *firmware.Family, labelSize uint64) *firmware.State {
	if u := b.unplugged; u != nil && u.family == family && u.labelSize == labelSize {
		return &u.state
	}
	return nil
}

// NVDIMMs are what is plugged, in slot order.
func (v *VM) NVDIMMs() []*NVDIMM {
	return slices.SortedFunc(slices.Values(v.dimms), func(a, b *NVDIMM) int { return cmp.Compare(a.Slot(), b.Slot()) })
}

// has returns an error if a DIMM was taken out, or is another VM's.
func (v *VM) has(d *NVDIMM) error {
	if !slices.Contains(v.dimms, d) {
		return fmt.Errorf("nvdimm %q is not plugged into this VM", d.ID())
	}
	return nil
}

// hotPlug is device_add: the memory first, then the event, which makes the
// guest read _FIT when it runs on.
func (v *VM) hotPlug(d *NVDIMM) error {
	if err := v.addMemory(d); err != nil {
		return err
	}
	if d.Virtio() {
		err := v.m.PlugPMEM(vmm.Range{Base: d.Addr(), Size: d.Size()})
		if err != nil {
			v.m.RemoveMemory(d.Addr())
		}
		return err
	}
	return v.m.Notify(fitEvent)
}

// addMemory has the machine have a DIMM's memory.
func (v *VM) addMemory(d *NVDIMM) error {
	if err := v.power.Add(d.DIMM); err != nil {
		return &Error{Class: ClassHost, Err: err}
	}
	return v.showMemory(d)
}

// showMemory shows the guest a DIMM's memory.
func (v *VM) showMemory(d *NVDIMM) error {
	mem, err := d.Map()
	if err != nil {
		return &Error{Class: ClassHost, Err: err}
	}
	for i, p := range d.Shown(mem) {
		if err := v.m.AddMemory(v.region(d, p)); err != nil {
			for _, p := range d.Shown(mem)[:i] {
				v.m.RemoveMemory(p.Addr)
			}
			return fmt.Errorf("nvdimm %q: %w", d.ID(), err)
		}
	}
	d.hidden = d.Management().Security.Locked
	if v.reads != nil {
		return v.armReads() // of what was not there until now
	}
	return nil
}

// region is a piece of a DIMM as the machine has it.
func (v *VM) region(d *NVDIMM, p nvdimm.Piece) vmm.Region {
	return vmm.Region{Base: p.Addr, Mem: p.Mem, Dirty: p.Dirty,
		ReadOnly: d.backend.ReadOnly(), Observed: v.power.Blind() == nil, Revocable: d.backend.b.Revocable()}
}

// Interleave makes one region of several DIMMs of a machine that is off; line
// is how many bytes of it each has in turn, nil for nvdimm.DefaultLine.
func (v *VM) Interleave(dimms []*NVDIMM, line *uint64) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state != Off:
		return fmt.Errorf("DIMMs are interleaved while the VM is off: the guest would have to forget where they are")
	}
	var list []*nvdimm.DIMM
	for _, d := range dimms {
		list = append(list, d.DIMM)
	}
	size := uint64(0)
	switch {
	case line != nil:
		size = *line
	case len(list) > 0:
		size = nvdimm.DefaultLine(list[0].Size())
	}
	return v.root.Interleave(list, size)
}

// pmem is where the virtio-pmem devices have their memory.
func (v *VM) pmem() (list []vmm.Range) {
	for _, d := range v.root.PMEM() {
		list = append(list, vmm.Range{Base: d.Addr(), Size: d.Size()})
	}
	return list
}

// flushPMEM is a guest's flush request: what it stored is on the medium when the
// guest is answered.
func (v *VM) flushPMEM(i int) bool {
	list := v.root.PMEM()
	if i >= len(list) {
		return false
	}
	if err := list[i].Backend().Sync(); err != nil {
		v.lose(err)
		return false
	}
	v.power.Flushed(list[i])
	return true
}
