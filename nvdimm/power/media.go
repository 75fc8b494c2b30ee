package power

import (
	"cmp"
	"slices"

	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
)

// of is the index of a slot's medium, -1 if it has none.
func (t *Tracker) of(slot int) int {
	return slices.IndexFunc(t.media, func(m Medium) bool { return m.Slot == slot })
}

// Add shows a DIMM's memory to the tracker. It is for each DIMM of a machine
// that powers on or resets, and for one that is plugged into a running machine.
// It fails if contents cannot be read.
func (t *Tracker) Add(d *nvdimm.DIMM) error {
	mem, err := d.Map()
	if err != nil {
		return err
	}
	i := t.of(d.Slot())
	if i < 0 {
		platform := persist.PlatformOf(t.root.Capabilities(), t.root.FlushHints())
		if d.Unarmed() {
			platform = persist.Nothing
		}
		if d.Virtio() {
			platform = persist.Requests
		}
		t.model.Add(persist.NewMedium(d.ID(), platform, memory{mem, d}))
		i = len(t.media)
		t.media = append(t.media, Medium{d.Slot(), t.divide(d)})
	}
	offset := uint64(0)
	for _, piece := range d.Pieces(mem) {
		end := offset + uint64(len(piece.Mem))
		for _, p := range t.media[i].Parts {
			if from, to := max(p.Start, offset), min(p.End, end); from < to {
				t.model.MapPart(piece.Addr, from-offset, to-offset, t.model.Media()[t.of(p.Slot)], p.At+from-p.Start)
			}
		}
		offset = end
	}
	return t.trackEpoch(d)
}

// Remove takes a DIMM out whose plugging failed after Add.
func (t *Tracker) Remove(d *nvdimm.DIMM) {
	if i := t.of(d.Slot()); i >= 0 {
		t.model.Remove(t.model.Media()[i])
		t.media = slices.Delete(t.media, i, i+1)
		delete(t.epochs, d.Slot())
	}
}

// zeroed is firmware that made zeros of bytes of a DIMM: no power failure brings
// back what was there.
func (t *Tracker) zeroed(d *nvdimm.DIMM, offset, n uint64) {
	i := t.of(d.Slot())
	if i < 0 {
		return
	}
	for _, p := range t.media[i].Parts {
		from, to := max(p.Start, offset), min(p.End, offset+n)
		if from >= to {
			continue
		}
		first := (p.At + from - p.Start) / persist.LineSize
		n := t.of(p.Slot)
		t.model.Media()[n].Settle(first, (to-from)/persist.LineSize)
		t.past.Settle(n, first, (to-from)/persist.LineSize)
	}
}

// medium is the medium of a slot's DIMM, nil if there is none.
func (t *Tracker) medium(slot int) *persist.Medium {
	if i := t.of(slot); i >= 0 {
		return t.model.Media()[i]
	}
	return nil
}

// divide says in whose media the bytes of a DIMM are: its own, or that of one
// which was plugged before and shows the same bytes of a file. So a byte of a
// file is in one medium, whoever stores to it.
func (t *Tracker) divide(d *nvdimm.DIMM) (parts []Part) {
	for _, o := range t.root.DIMMs() {
		i := t.of(o.Slot())
		if i < 0 || o == d {
			continue
		}
		start, end, at := d.Backend().Overlap(o.Backend())
		for _, p := range t.media[i].Parts {
			if p.Slot != o.Slot() {
				continue // in the medium of yet another, which is looked at too
			}
			// In o, then in d.
			from, to := max(p.Start, at), min(p.End, at+end-start)
			if from >= to {
				continue
			}
			s, e := from-at+start, min(to-at+start, d.Size())
			if s < e {
				parts = append(parts, Part{s, e, o.Slot(), from})
			}
		}
	}
	slices.SortFunc(parts, func(x, y Part) int { return cmp.Compare(x.Start, y.Start) })
	next := uint64(0)
	var all []Part
	for _, p := range append(parts, Part{Start: d.Size(), End: d.Size()}) {
		if p.Start > next {
			all = append(all, Part{next, p.Start, d.Slot(), next})
		}
		if p.End > p.Start {
			all = append(all, p)
		}
		next = p.End
	}
	return all
}
