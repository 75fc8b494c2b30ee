package power

import (
	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// A Recording is a journal of what happens to the DIMMs of a machine that is on.
type Recording struct {
	Journal *persist.Journal
	Areas   []*nvdimm.DIMM                   // those with label areas, by the journal's numbers
	Media   map[*persist.Medium]*nvdimm.DIMM // whose the journal's media are

	tracker *Tracker
}

// Record begins a recording, which replaces one that has not ended. It fails if
// a label area cannot be read.
func (t *Tracker) Record() (*Recording, error) {
	r := &Recording{Media: map[*persist.Medium]*nvdimm.DIMM{}, tracker: t}
	var labels []*persist.Labels
	for _, d := range t.root.DIMMs() {
		if m := t.medium(d.Slot()); m != nil {
			r.Media[m] = d
		}
		if d.LabelSize() == 0 {
			continue
		}
		r.Areas = append(r.Areas, d)
		labels = append(labels, &persist.Labels{Name: d.ID(), Read: func() ([]byte, error) {
			area := make([]byte, d.LabelSize())
			_, err := d.Backend().ReadAt(area, int64(d.Backend().Size()-d.LabelSize()))
			return area, err
		}})
	}
	var err error
	if r.Journal, err = t.model.Record(labels); err != nil {
		return nil, err
	}
	t.recording = r
	return r, nil
}

// End ends the recording. The journal stays. Ending twice does nothing.
func (r *Recording) End() {
	if r.tracker.recording == r {
		r.tracker.recording = nil
	}
}

// label records a write to a label area that was there when the recording
// began.
func (r *Recording) label(slot int, offset uint64, data []byte, at observe.At) {
	for i, d := range r.Areas {
		if d.Slot() == slot {
			r.Journal.Label(i, offset, data, at)
		}
	}
}
