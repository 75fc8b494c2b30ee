package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"nvlab/guest/introspect"
	"nvlab/guest/proto"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/power"
	"nvlab/vmm"
	"nvlab/vmm/observe"
)

// A VMSnapshot is all that a VM was at a moment: processors, memory, devices,
// clock, random streams, console, and its NVDIMMs with what they held and what of
// that would survive. It does not change, and ends with its experiment.
type VMSnapshot struct {
	vm      *VM
	machine *vmm.Snapshot // nil of a VM that was off
	nvdimms *power.Snapshot
	client  *proto.Client // nil of a VM that was off
	state   vmState
	console console
	klog    kernelLog
	dimms   []savedDIMM
}

// savedDIMM is what lab knows of an NVDIMM.
type savedDIMM struct {
	handle     *NVDIMM // of the VM that was saved
	slot       int
	hotPlugged bool
}

// ErrStranger says that a snapshot is of another VM than the one that was to
// become what it is of, and not of one that this was forked from.
var ErrStranger = errors.New("the snapshot is of another VM: a VM goes back to its own, or to those of the VM that it was forked from")

// Snapshot saves the VM, which is running or off and goes on.
func (v *VM) Snapshot() (_ *VMSnapshot, err error) {
	switch {
	case v.x.closed:
		return nil, ErrClosed
	case v.state == Crashed:
		return nil, &StateError{State: Crashed, Next: StepRevive}
	case v.m != nil && v.client.Busy():
		return nil, errors.New("snapshot: a command is still running in the guest")
	}
	if err := v.Settle(); err != nil {
		return nil, err
	}
	return v.save()
}

// save is Snapshot, also amid a call.
func (v *VM) save() (_ *VMSnapshot, err error) {
	for _, d := range v.dimms {
		d.backend.looks(0, d.backend.Size()) // whoever goes on from here is not watched
	}
	s := &VMSnapshot{vm: v}
	if v.m != nil {
		if err := v.m.CanFreeze(); err != nil {
			return nil, err
		}
		if s.client, err = v.client.Fork(nil); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
	}
	if s.nvdimms, err = v.power.Freeze(); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if v.m != nil {
		if s.machine, err = v.m.Freeze(); err != nil {
			v.crash() // its processors do not know which pages are clean
			return nil, &Error{Class: ClassHost, Err: errors.Join(err, s.close())}
		}
	}
	s.state = v.vmState.save()
	s.console = v.console.save()
	s.klog = v.klog.in(nil)
	for _, d := range v.NVDIMMs() {
		s.dimms = append(s.dimms, savedDIMM{d, d.Slot(), d.hotPlugged})
	}
	v.x.saved = append(v.x.saved, s)
	return s, nil
}

func (s vmState) save() vmState {
	s.replaced, s.pushed = maps.Clone(s.replaced), slices.Clip(s.pushed)
	return s
}

// close gives back the memory that the snapshot keeps.
func (s *VMSnapshot) close() error {
	err := s.nvdimms.Close()
	if s.machine != nil {
		err = errors.Join(err, s.machine.Close())
	}
	return err
}

// Restore makes the VM what it was, or what the VM was that it was forked from.
// What it stores to its NVDIMMs from then on goes to copies in memory; files stay
// as they are. A VM that fails to become that is off.
func (v *VM) Restore(ctx context.Context, s *VMSnapshot) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case !v.descends(s.vm):
		return ErrStranger
	}
	err := v.restore(ctx, s)
	var used *backend.InUseError
	if err != nil && !errors.As(err, &used) {
		v.off()
	}
	return err
}

// descends says whether v is another VM, or was forked from it.
func (v *VM) descends(from *VM) bool {
	for ; v != nil; v = v.origin {
		if v == from {
			return true
		}
	}
	return false
}

func (v *VM) restore(ctx context.Context, s *VMSnapshot) error {
	backends, err := v.backendsFor(s)
	if err != nil {
		return err
	}
	if s.machine == nil {
		v.off()
		if _, err := v.power.Restore(s.nvdimms, backends.own, nil); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		v.become(s, backends)
		return nil
	}
	if v.m == nil || v.m.CanRestore(s.machine) != nil {
		v.off()
		return v.load(ctx, s, backends, s.machine.Saved.Seed)
	}
	blind := v.power.Blind()
	attached := func(observe.Observer) error { return blind }
	were := v.regions()
	restored, err := v.power.Restore(s.nvdimms, backends.own, attached)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	v.become(s, backends)
	if err := v.remap(were, restored); err != nil {
		return err
	}
	if err := v.m.Restore(s.machine); err != nil {
		return err
	}
	return v.reconnect(s)
}

// load gives a VM that is off the machine of a snapshot.
func (v *VM) load(ctx context.Context, s *VMSnapshot, backends backendsOf, seed uint64) error {
	if err := v.reserveBytes(ctx, forkOverhead); err != nil {
		return err
	}
	config := v.config()
	config.Seed = seed
	m, err := s.machine.Machine(config)
	if err != nil {
		return &Error{Class: ClassHost, Err: err}
	}
	v.m, v.client = m, &proto.Client{}
	v.x.lab.opts.GDB.attend(v)
	if _, err := v.power.Restore(s.nvdimms, backends.own, m.Observe); err != nil {
		return fmt.Errorf("fork: %w", err)
	}
	v.become(s, backends)
	if err := v.showAll(); err != nil {
		return err
	}
	if err := v.addDevices(); err != nil {
		return err
	}
	return v.reconnect(s)
}

// forkOverhead is what of the memory gate a fork takes: it has the pages alone
// that it stored to.
const forkOverhead = 32 << 20

// become takes over what a VM is besides its machine and its NVDIMMs.
func (v *VM) become(s *VMSnapshot, backends backendsOf) {
	v.vmState = s.state.save()
	v.console.load(s.console)
	v.klog, v.tasks, v.lost = s.klog.in(nil), nil, nil
	v.takeScrub()
	v.dimms = nil
	for i, d := range v.root.DIMMs() {
		h := backends.handles[d.Slot()]
		h.DIMM, h.hotPlugged = d, s.dimms[i].hotPlugged
		v.dimms = append(v.dimms, h)
		v.x.spreadCopy(h.backend)
	}
}

// reconnect is for what looks into a machine that is there now.
func (v *VM) reconnect(s *VMSnapshot) error {
	var err error
	if v.client, err = s.client.Fork(v.image.kept.Open); err != nil {
		return err
	}
	v.poison = nil
	if err := v.armPoison(); err != nil {
		return err
	}
	ram := v.m.Memory()
	v.klog = s.klog.in(ram)
	if v.symbols != nil {
		v.tasks = introspect.NewTasks(ram, v.image.layout(), v.symbols)
	}
	return nil
}

// backendsOf are the backends and handles of a VM's NVDIMMs, by slot.
type backendsOf struct {
	own     map[int]*backend.Backend
	handles map[int]*NVDIMM
}

// backendsFor finds those that a snapshot's NVDIMMs have in this VM: its own, or
// copies of what it does not have.
func (v *VM) backendsFor(s *VMSnapshot) (backendsOf, error) {
	b := backendsOf{map[int]*backend.Backend{}, map[int]*NVDIMM{}}
	missing := false
	for _, d := range s.dimms {
		h := d.handle
		if s.vm != v {
			i := slices.IndexFunc(v.dimms, func(o *NVDIMM) bool { return o.Slot() == d.slot && o.replaces == d.handle.backend })
			if i < 0 {
				missing = true
				continue
			}
			h = v.dimms[i]
		}
		b.own[d.slot], b.handles[d.slot] = h.backend.b, h
	}
	if !missing {
		return b, nil
	}
	return v.forkBackends(s)
}

// forkBackends makes copies of what a snapshot's NVDIMMs held.
func (v *VM) forkBackends(s *VMSnapshot) (backendsOf, error) {
	b := backendsOf{handles: map[int]*NVDIMM{}}
	var err error
	if b.own, err = s.nvdimms.Fork(); err != nil {
		return b, &Error{Class: ClassHost, Err: fmt.Errorf("fork: %w", err)}
	}
	for _, d := range s.dimms {
		old := d.handle.backend
		handle := v.x.add(&Backend{x: v.x, b: b.own[d.slot], offset: old.offset, vm: v})
		b.handles[d.slot] = &NVDIMM{vm: v, backend: handle, replaces: old}
	}
	return b, nil
}

// Fork makes another VM, which goes on from the snapshot. With a seed its random
// numbers are other ones from there on. Forks share the memory that none of them
// has changed, and see nothing of each other.
func (s *VMSnapshot) Fork(ctx context.Context, seed *uint64) (*VM, error) {
	x := s.vm.x
	if x.closed {
		return nil, ErrClosed
	}
	v, err := x.newVM(s.state.save(), s.vm.engine)
	if err != nil {
		return nil, err
	}
	v.origin, v.state, v.turn = s.vm, Off, s.vm.turn
	if err := v.fork(ctx, s, seed); err != nil {
		v.off()
		return nil, err
	}
	if seed != nil {
		v.opts.Seed = *seed
	}
	return v, nil
}

func (v *VM) fork(ctx context.Context, s *VMSnapshot, seed *uint64) error {
	backends, err := v.forkBackends(s)
	if err != nil {
		return err
	}
	if s.machine == nil {
		if _, err := v.power.Restore(s.nvdimms, backends.own, nil); err != nil {
			return fmt.Errorf("fork: %w", err)
		}
		v.become(s, backends)
		return nil
	}
	machineSeed := s.machine.Saved.Seed
	if seed != nil {
		machineSeed = bootSeed(v.x.lab.opts.Seed, *seed, v.place, v.boots)
	}
	return v.load(ctx, s, backends, machineSeed)
}

// Fork is Snapshot and its Fork.
func (v *VM) Fork(ctx context.Context, seed *uint64) (*VM, error) {
	s, err := v.Snapshot()
	if err != nil {
		return nil, err
	}
	return s.Fork(ctx, seed)
}

// ID names what the VM was: equal states have equal ids, in another run too.
func (s *VMSnapshot) ID() (string, error) {
	h := sha256.New()
	if s.vm.x.closed {
		return "", ErrClosed
	}
	c := &s.console
	err := json.NewEncoder(h).Encode([]any{s.state.opts, s.state.place, s.state.state, s.state.boots, s.state.replaced, s.state.clock,
		s.state.nodes, s.state.modules, c.text, c.dropped, c.booted})
	if err != nil {
		return "", err
	}
	for _, d := range s.dimms {
		fmt.Fprintln(h, d.slot, d.hotPlugged)
	}
	sum, err := s.nvdimms.Hash()
	if err != nil {
		return "", err
	}
	h.Write(sum[:])
	if s.machine != nil {
		if sum, err = s.machine.Hash(); err != nil {
			return "", err
		}
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// regions is the memory of NVDIMMs that the machine has, or is to have.
func (v *VM) regions() (list []vmm.Region) {
	for _, d := range v.dimms {
		mem, err := d.Map()
		if err != nil {
			continue // it is not mapped: the power is off
		}
		for _, p := range d.Shown(mem) {
			list = append(list, v.region(d, p))
		}
	}
	return list
}

// showAll shows the guest of a machine that goes on from a state the NVDIMMs'
// memory.
func (v *VM) showAll() error {
	for _, r := range v.regions() {
		if err := v.m.AddMemory(r); err != nil {
			return err
		}
	}
	v.hide()
	return nil
}

// wrote tells the machine, which has the NVDIMM's memory, that the host stored to it.
func (v *VM) wrote(d *NVDIMM, offset, n uint64) {
	for addr, n := range d.Addresses(offset, n) {
		v.m.Wrote(addr, n)
	}
}

// hide notes which DIMMs' memory regions leaves out.
func (v *VM) hide() {
	for _, d := range v.dimms {
		d.hidden = d.Management().Security.Locked
	}
}

// remap has a machine that stays show the NVDIMMs' memory as it is now.
func (v *VM) remap(were []vmm.Region, restored map[int]backend.Restored) error {
	now := v.regions()
	same := func(list []vmm.Region) func(r vmm.Region) bool {
		at := make(map[uint64]vmm.Region, len(list))
		for _, r := range list {
			at[r.Base] = r
		}
		return func(r vmm.Region) bool {
			o, ok := at[r.Base]
			return ok && len(o.Mem) == len(r.Mem) && &o.Mem[0] == &r.Mem[0] && o.Revocable == r.Revocable
		}
	}
	stays, stayed := same(now), same(were)
	for _, r := range were {
		if !stays(r) {
			if err := v.m.RemoveMemory(r.Base); err != nil {
				return err
			}
		}
	}
	for _, r := range now {
		if !stayed(r) {
			if err := v.m.AddMemory(r); err != nil {
				return err
			}
		}
	}
	for _, d := range v.dimms {
		for _, c := range restored[d.Slot()].Changed {
			v.wrote(d, c.Offset, c.Size)
		}
	}
	v.hide()
	return nil
}
