package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	"nvlab/internal/units"
	"nvlab/nvdimm"
	"nvlab/vmm"
)

// MemoryOptions describe RAM in a slot: -device pc-dimm.
type MemoryOptions struct {
	Size uint64  // bytes, a multiple of 2 MiB
	ID   string  // "" for a name of nvlab's choice
	Slot *int    // nil for the lowest free one
	Node int     // NUMA node
	Addr *uint64 // guest-physical; nil for the lowest that is free
}

// PlugMemory puts RAM into a slot: of a machine that is off it is there at
// power-on, of one that runs at once, and the guest is told. What is refused
// leaves no trace.
func (v *VM) PlugMemory(o MemoryOptions) (nvdimm.Memory, error) {
	switch {
	case v.x.closed:
		return nvdimm.Memory{}, ErrClosed
	case v.state == Crashed:
		return nvdimm.Memory{}, &StateError{State: Crashed, Next: StepKill}
	}
	m, err := v.root.PlugMemory(nvdimm.MemoryConfig{Size: o.Size, ID: o.ID, Slot: o.Slot, Node: o.Node, Addr: o.Addr, Nodes: v.nodes})
	if err != nil {
		return nvdimm.Memory{}, err
	}
	if v.m != nil {
		err := v.reserveBytes(context.Background(), int64(m.Size)) // who has some already does not wait
		if err == nil {
			err = v.addRAM(m)
		}
		if err != nil {
			v.root.WithdrawMemory(m.Slot)
			return nvdimm.Memory{}, err
		}
		v.note(KindPlug, fmt.Sprintf("%s is plugged: %s of RAM at %#x", m.ID, units.Size(m.Size), m.Addr))
	}
	return m, nil
}

// addRAM has the machine have RAM in a slot.
func (v *VM) addRAM(m nvdimm.Memory) error {
	err := v.m.PlugRAM(vmm.DIMM{Slot: m.Slot, Range: vmm.Range{Base: m.Addr, Size: m.Size}, Node: m.Node})
	if err != nil {
		return &Error{Class: ClassHost, Err: fmt.Errorf("memory device %q: %w", m.ID, err)}
	}
	return nil
}

// MemoryByID finds RAM in a slot by its name.
func (v *VM) MemoryByID(id string) (nvdimm.Memory, bool) {
	list := v.root.Memory()
	i := slices.IndexFunc(list, func(m nvdimm.Memory) bool { return m.ID == id })
	if i < 0 {
		return nvdimm.Memory{}, false
	}
	return list[i], true
}

// UnplugMemory takes RAM out of its slot. A guest that runs is asked to let it
// go, and has timeout of its time for that, 0 being DefaultTimeout; what it does
// not let go stays.
func (v *VM) UnplugMemory(ctx context.Context, id string, timeout time.Duration) error {
	m, ok := v.MemoryByID(id)
	switch {
	case v.x.closed:
		return ErrClosed
	case !ok:
		return fmt.Errorf("memory device %q is not plugged into this VM", id)
	case v.state == Crashed:
		return &StateError{State: Crashed, Next: StepKill}
	case v.state == Off:
		v.root.WithdrawMemory(m.Slot)
		return nil
	}
	if err := v.m.AskRemoval(m.Slot); err != nil {
		return err
	}
	v.note(KindNotify, fmt.Sprintf("the guest is asked to let %s go", m.ID))
	var how vmm.Removal
	stop, err := v.run(ctx, timeout, func() bool {
		how = v.m.Removal(m.Slot)
		return how.Gone || how.Refused
	})
	switch {
	case err != nil:
		v.crash()
		return err
	case how.Gone:
		return v.oops()
	case how.Refused:
		return fmt.Errorf("the guest keeps memory device %q: _OST status %#x: all of its memory must be offline, or such that the guest can move what is there", id, how.Status)
	case stop == vmm.StopDeadline:
		return fmt.Errorf("the guest was asked to let memory device %q go, and did not answer", id)
	}
	return v.guestError(stop, fmt.Sprintf("the guest was asked to let memory device %q go", id), timeout)
}

// settleMemory takes note of RAM that the guest let go.
func (v *VM) settleMemory() {
	if v.m == nil {
		return
	}
	there := v.m.DIMMs()
	for _, m := range v.root.Memory() {
		if !slices.ContainsFunc(there, func(d vmm.DIMM) bool { return d.Slot == m.Slot }) {
			v.root.WithdrawMemory(m.Slot)
			v.note(KindPlug, fmt.Sprintf("the guest let %s go", m.ID))
		}
	}
}
