package power

import (
	"context"
	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
)

// Where single stores are not seen, stores to flush hints still are: they end
// an epoch, at whose end all that was visible is taken for durable (rule R13 of
// package persist). A power cut that keeps nothing more goes back there.

// trackEpoch notes what a DIMM holds, if a power cut may need it.
func (t *Tracker) trackEpoch(d *nvdimm.DIMM) error {
	if t.blind == nil || t.root.FlushHints() == 0 && !d.Virtio() || t.epochs[d.Slot()] != nil {
		return nil
	}
	s, err := d.Backend().Snapshot(context.Background())
	if err != nil {
		return err
	}
	if t.epochs == nil {
		t.epochs = map[int]*backend.Snapshot{}
	}
	t.epochs[d.Slot()] = s
	return nil
}

// endEpoch is a store to a flush hint of a DIMM.
func (t *Tracker) endEpoch(d *nvdimm.DIMM) {
	if s := t.epochs[d.Slot()]; s != nil {
		if err := d.Backend().Update(s); err != nil {
			t.host.Lost(err)
		}
	}
}

// revert undoes what came after the latest epochs. Labels are durable.
func (t *Tracker) revert() {
	for _, d := range t.root.DIMMs() {
		if s := t.epochs[d.Slot()]; s != nil {
			unlessLost(func() { d.Backend().Revert(s, d.Backend().Size()-d.LabelSize()) })
		}
	}
}
