package lab

import (
	"fmt"

	"nvlab/nvdimm"
)

// PlugOptions describe a DIMM: -device nvdimm.
type PlugOptions struct {
	Backend   *Backend
	ID        string // "" for a name of nvlab's choice
	LabelSize uint64 // bytes at the end of the backend; 0 for no label
	Unarmed   bool
	Slot      *int // nil for the lowest free one
	Node      int
	Addr      *uint64
	UUID      string
}

// An NVDIMM is a plugged DIMM.
type NVDIMM struct {
	*nvdimm.DIMM
	vm      *VM
	backend *Backend
}

// Backend is the memory behind the DIMM.
func (d *NVDIMM) Backend() *Backend { return d.backend }

// Plug puts a DIMM into a machine that is off. What is refused leaves no
// trace.
func (v *VM) Plug(o PlugOptions) (*NVDIMM, error) {
	switch {
	case v.x.closed:
		return nil, ErrClosed
	case o.Backend.x != v.x:
		return nil, fmt.Errorf("the backend belongs to another test")
	case v.state != Off:
		return nil, &NotYetError{"hotplug: plugging a DIMM into a VM that is on"}
	case o.Node != 0:
		return nil, &NotYetError{"node"}
	case o.Addr != nil:
		return nil, &NotYetError{"addr"}
	case o.UUID != "":
		return nil, &NotYetError{"uuid"}
	}
	d, err := v.root.Plug(nvdimm.PlugConfig{
		Backend: o.Backend.Backend, ID: o.ID, LabelSize: o.LabelSize, Unarmed: o.Unarmed, Slot: o.Slot,
	})
	if err != nil {
		return nil, err
	}
	dimm := &NVDIMM{DIMM: d, vm: v, backend: o.Backend}
	v.dimms = append(v.dimms, dimm)
	return dimm, nil
}
