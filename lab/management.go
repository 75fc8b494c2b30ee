package lab

import (
	"errors"
	"fmt"

	"nvlab/internal/option"
	"nvlab/nvdimm/firmware"
)

// Manage reads or changes what the DIMM's management knows. The DIMM is of one
// of the families, or of any if none is given.
func (d *NVDIMM) Manage(change func(*firmware.State) error, families ...*firmware.Family) error {
	if err := d.faulty(); err != nil {
		return err
	}
	f := d.Family()
	if f == nil {
		return fmt.Errorf("nvdimm %q has no management functions: plug it with family=\"intel\", for one", d.ID())
	}
	for i, want := range families {
		if f == want {
			break
		}
		if i == len(families)-1 {
			return fmt.Errorf("nvdimm %q is of family %q, which has no such functions: plug it with family=%q", d.ID(), f.Name, want.Name)
		}
	}
	s := d.Management()
	s.Advance(d.vm.root.Now())
	next := *s
	if err := change(&next); err != nil {
		return err
	}
	*s = next
	return d.vm.relock()
}

// misplaced are the DIMMs whose memory the guest reaches though they are
// locked, and those that it does not though they are not.
func (v *VM) misplaced() (list []*NVDIMM) {
	for _, d := range v.dimms {
		if v.m != nil && d.hidden != d.Management().Security.Locked {
			list = append(list, d)
		}
	}
	return list
}

// relock has the guest reach the memory of the DIMMs that are not locked.
func (v *VM) relock() error {
	for _, d := range v.misplaced() {
		v.poison = nil // its lines count as such only while they are there
		if d.hidden {
			if err := v.showMemory(d); err != nil {
				return err
			}
			continue
		}
		mem, err := d.Map()
		if err != nil {
			return &Error{Class: ClassHost, Err: err}
		}
		for _, p := range d.Pieces(mem) {
			if err := v.m.RemoveMemory(p.Addr); err != nil {
				return fmt.Errorf("nvdimm %q: %w", d.ID(), err)
			}
		}
		d.hidden = true
	}
	return v.armPoison()
}

// NotifyHealth makes the guest look at the DIMM's health, if it runs.
func (d *NVDIMM) NotifyHealth() { d.vm.root.NotifyHealth(d.DIMM) }

// Poison makes bytes of the medium unreadable.
func (d *NVDIMM) Poison(r firmware.PoisonedRange) error {
	if err := d.reachable(r.Offset, r.Length); err != nil {
		return err
	}
	if !d.vm.root.HasARS() {
		return &option.Error{Err: fmt.Errorf("the machine of nvdimm %q has no functions for errors of the media, so that nobody would see the poison", d.ID()), Option: "ars", Want: true}
	}
	s := d.Management()
	list, err := s.Poison.Add(r)
	if err != nil {
		return err
	}
	s.Poison = list
	return d.vm.armPoison()
}

// Heal repairs bytes of the medium.
func (d *NVDIMM) Heal(offset, length uint64) error {
	if err := d.reachable(offset, length); err != nil {
		return err
	}
	s := d.Management()
	s.Poison = s.Poison.Heal(offset, length)
	return d.vm.armPoison()
}

// Poisoned lists what cannot be read.
func (d *NVDIMM) Poisoned() firmware.Poison { return d.Management().Poison }

// reachable refuses bytes that are not the DIMM's memory.
func (d *NVDIMM) reachable(offset, length uint64) error {
	if err := d.faulty(); err != nil {
		return err
	}
	switch {
	case length == 0:
		return errors.New("length=0: give the number of bytes")
	case offset >= d.Size() || length > d.Size()-offset:
		return fmt.Errorf("offset=%d, length=%d are not within the memory of nvdimm %q, which has %d bytes", offset, length, d.ID(), d.Size())
	}
	return nil
}

// HasARS says that the VM has functions for errors of the media.
func (v *VM) HasARS() bool { return v.root.HasARS() }

// NotifyErrors tells the guest that there are errors of the media: root
// Notify 0x81.
func (v *VM) NotifyErrors() error {
	if err := v.on(); err != nil {
		return err
	}
	if !v.root.HasARS() {
		return &option.Error{Err: errors.New("the VM has no functions for errors of the media, so that its guest would find none"), Option: "ars", Want: true}
	}
	v.root.NotifyErrors()
	return nil
}
