package nvdimm

import (
	"errors"
	"fmt"
	"slices"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/firmware"
)

// A RootState is what a Root knows at a moment that its Config does not say:
// plain data that nobody changes. What backends hold is not part of it.
type RootState struct {
	DIMMs      []DIMMState // by slot
	Memory     []Memory    // by slot
	Sets       []SetState
	Changed    bool // since the guest began to read the FIT
	ReplaceFIT bool // by ForeignFIT
	ForeignFIT []byte
	ARS        firmware.ARS
	Late       LateReply
}

// A DIMMState is that part of it which is a DIMM's.
type DIMMState struct {
	ID         string
	Slot       int
	Addr       uint64
	Size       uint64
	LabelSize  uint64
	Unarmed    bool
	Node       int
	UUID       string
	Virtio     bool
	Identity   identity
	Regions    int
	State      State
	Next       State
	HintWrites uint64
	Family     string // its name, or ""
	Management firmware.State
	Unsaved    bool // the flush at the latest power failure failed
	Ringing    bool // the guest is to be told of its health
}

// A SetState is an interleave set.
type SetState struct {
	Slots []int // of its members, in their order
	Line  uint64
}

// Save returns the root's state.
func (r *Root) Save() *RootState {
	s := &RootState{Memory: r.Memory(), Changed: r.changed, ReplaceFIT: r.foreignFIT != nil, ForeignFIT: append([]byte(nil), r.foreignFIT...), ARS: r.ars, Late: r.late}
	for _, d := range r.dimms {
		s.DIMMs = append(s.DIMMs, DIMMState{
			ID: d.id, Slot: d.slot, Addr: d.addr, Size: d.size, LabelSize: d.labelSize, Unarmed: d.unarmed, Node: d.node,
			UUID: d.uuid, Virtio: d.virtio, Identity: d.identity, Regions: d.regions, State: d.state, Next: d.next, HintWrites: d.hints.writes.Load(),
			Family: d.familyName(), Management: d.management, Unsaved: d.unsaved, Ringing: d.ringing,
		})
		if d.set != nil && d.position() == 0 {
			set := SetState{Line: d.set.line}
			for _, m := range d.set.members {
				set.Slots = append(set.Slots, m.slot)
			}
			s.Sets = append(s.Sets, set)
		}
	}
	return s
}

// Load makes the root what another of its Config, or this one, was when it was
// saved. Its DIMMs are on the backends that are given by slot, which have the
// sizes of those that were there. A DIMM that the root has in a slot, on the
// backend given, stays the same DIMM, and mapped if it is; one that is plugged
// besides is to be unmapped before. A state that does not fit changes nothing.
func (r *Root) Load(s *RootState, backends map[int]*backend.Backend) error {
	dimms := make([]*DIMM, 0, len(s.DIMMs))
	bySlot := map[int]*DIMM{}
	for i := range s.DIMMs {
		o := &s.DIMMs[i]
		b := backends[o.Slot]
		switch {
		case o.Slot < 0 || o.Virtio != (o.Slot >= maxSlots) || !o.Virtio && o.Slot >= r.config.Slots || o.Slot >= maxSlots+MaxPMEM:
			return fmt.Errorf("a state with a DIMM in slot %d: the machine has %d slots", o.Slot, r.config.Slots)
		case b == nil:
			return fmt.Errorf("a state with DIMM %s in slot %d: there is no backend for it", o.ID, o.Slot)
		case o.LabelSize > b.Size() || o.Size > b.Size()-o.LabelSize:
			return fmt.Errorf("a state with DIMM %s of %#x and %#x bytes: its backend %s has %#x", o.ID, o.Size, o.LabelSize, b, b.Size())
		}
		if _, err := familyOf(o.Family); err != nil {
			return fmt.Errorf("a state with DIMM %s: %w", o.ID, err)
		}
		d := &DIMM{}
		if k := slices.IndexFunc(r.dimms, func(d *DIMM) bool { return d.slot == o.Slot && d.backend == b }); k >= 0 {
			d = r.dimms[k]
		}
		dimms, bySlot[o.Slot] = append(dimms, d), d
	}
	sets := map[*DIMM]*set{}
	for _, o := range s.Sets {
		n := &set{line: o.Line}
		for _, slot := range o.Slots {
			d := bySlot[slot]
			if d == nil || sets[d] != nil {
				return errors.New("a state with an interleave set of DIMMs that are not there, or in another")
			}
			n.members, sets[d] = append(n.members, d), n
		}
	}
	for i, d := range dimms {
		o := &s.DIMMs[i]
		d.id, d.slot, d.addr, d.size, d.labelSize, d.unarmed, d.node = o.ID, o.Slot, o.Addr, o.Size, o.LabelSize, o.Unarmed, o.Node
		d.virtio = o.Virtio
		d.uuid, d.identity, d.regions, d.state, d.next = o.UUID, o.Identity, o.Regions, o.State, o.Next
		d.hints.writes.Store(o.HintWrites)
		d.family, _ = familyOf(o.Family)
		d.management, d.unsaved, d.ringing = o.Management, o.Unsaved, o.Ringing
		d.set, d.backend = sets[d], backends[o.Slot]
		if err := d.backend.SetLabelSize(d.labelSize); err != nil {
			return err
		}
	}
	r.dimms, r.memory, r.changed, r.foreignFIT = dimms, slices.Clone(s.Memory), s.Changed, nil
	r.ars, r.late = s.ARS, s.Late
	if s.ReplaceFIT {
		r.foreignFIT = append([]byte{}, s.ForeignFIT...)
	}
	return nil
}
