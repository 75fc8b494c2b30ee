package lab

import (
	"context"
	"errors"
	"fmt"

	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
)

// A Trace is what a command did to the NVDIMMs of its VM, store by store.
type Trace struct {
	*persist.Journal
	Result *Result

	vm        *VM
	snapshots map[*Backend]*nvdimm.Snapshot // of the beginning
	areas     []*NVDIMM                     // with label areas, by number
	names     map[*persist.Medium]*NVDIMM
	symbols   *symbols
}

// Trace runs a command and records every store, flush, fence and label write.
func (v *VM) Trace(ctx context.Context, c Command) (*Trace, error) {
	if err := v.on(); err != nil {
		return nil, err
	}
	p := &v.power
	if err := p.unseen(); err != nil {
		return nil, err
	}
	t := &Trace{vm: v, snapshots: map[*Backend]*nvdimm.Snapshot{}, names: map[*persist.Medium]*NVDIMM{}}
	p.areas = map[*nvdimm.DIMM]int{}
	var labels []*persist.Labels
	for _, d := range v.dimms {
		s, err := d.backend.Snapshot()
		if err != nil {
			return nil, &Error{Class: ClassHost, Err: err}
		}
		t.snapshots[d.backend] = s
		t.names[p.media[d]] = d
		if d.LabelSize() > 0 {
			p.areas[d.DIMM] = len(labels)
			t.areas = append(t.areas, d)
			labels = append(labels, &persist.Labels{Name: d.ID(), Read: func() ([]byte, error) {
				return d.backend.Bytes(d.backend.Size()-d.LabelSize(), d.LabelSize())
			}})
		}
	}
	j, err := p.model.Record(labels)
	if err != nil {
		return nil, &Error{Class: ClassHost, Err: err}
	}
	t.Journal, p.journal = j, j
	defer func() { p.journal = nil }()
	t.Result, err = v.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	p.journal = nil
	if t.symbols, err = v.readSymbols(ctx); err != nil && v.state != Off {
		return nil, err
	}
	if j.Dropped > 0 {
		return nil, fmt.Errorf("%v made more events than a trace holds: %d were left out", c, j.Dropped)
	}
	return t, nil
}

// DIMM is the NVDIMM of a medium of the trace.
func (t *Trace) DIMM(m *persist.Medium) *NVDIMM { return t.names[m] }

// Symbol is the function of the guest's kernel at an address, "" if it is none.
func (t *Trace) Symbol(pc uint64) string { return t.symbols.at(pc) }

// Area is the NVDIMM of a label area of the trace.
func (t *Trace) Area(i int) *NVDIMM { return t.areas[i] }

// Apply makes a crash state the contents of the backends.
func (t *Trace) Apply(s *persist.State) error {
	v := t.vm
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state != Off:
		return errors.New("the VM is on: power_cut() or kill() it before another state is applied")
	}
	for b := range t.snapshots {
		if !b.Share() && b.Kind() == "file" {
			return fmt.Errorf("%s has share=False: a crash state of it would be the end of the file as it is; share=True lets it be written", b)
		}
	}
	for b, s := range t.snapshots {
		changes, err := b.Diff(s)
		if err != nil {
			return &Error{Class: ClassHost, Err: err}
		}
		for _, c := range changes {
			if err := b.Write(c.Offset, c.Before); err != nil {
				return err
			}
		}
	}
	lines, labels := s.Image()
	for _, l := range lines {
		if err := t.names[l.Medium].backend.Write(l.N*persist.LineSize, l.Bytes[:]); err != nil {
			return err
		}
	}
	for i, area := range labels {
		d := t.areas[i]
		if err := d.backend.Write(d.backend.Size()-d.LabelSize(), area); err != nil {
			return err
		}
	}
	return nil
}
