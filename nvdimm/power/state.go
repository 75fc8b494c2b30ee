package power

import (
	"crypto/sha256"
	"errors"
	"maps"
	"slices"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// A State is what a Tracker is at a moment, apart from the bytes of the DIMMs:
// plain data that nobody changes. DIMMs are named by their slots.
type State struct {
	Model *persist.ModelState // nil while off
	Past  *persist.Past       // likewise
	Media []Medium            // the model's, in its order

	Armed   *Cut
	Counted int
	Faults  []Fault

	// Epochs are what DIMMs held at their latest flush hint, of a machine
	// that shows no single stores.
	Epochs map[int]*backend.Snapshot
}

// A Medium is whose bytes are in a DIMM's medium.
type Medium struct {
	Slot  int
	Parts []Part
}

// A Part is bytes of a DIMM, from Start to End, which are those from At on of
// the medium of a DIMM.
type Part struct {
	Start, End uint64
	Slot       int
	At         uint64
}

// ErrRecording says that what a journal being recorded needs cannot be saved.
var ErrRecording = errors.New("a trace is being recorded: a snapshot can be made before or after it")

// errFailed says that there is nothing to go on from.
var errFailed = errors.New("the power has failed, and the machine has not stopped yet")

// Save returns the tracker's state. It fails while a journal is recorded.
func (t *Tracker) Save() (*State, error) {
	switch {
	case t.recording != nil:
		return nil, ErrRecording
	case t.failure != nil:
		return nil, errFailed
	}
	s := &State{Counted: t.counted, Faults: slices.Clone(t.faults)}
	if t.model != nil {
		unlessLost(t.model.Follow)
		s.Model, s.Past = t.model.Save(), t.past.Clone()
	}
	for _, m := range t.media {
		s.Media = append(s.Media, Medium{m.Slot, slices.Clone(m.Parts)})
	}
	if t.armed != nil {
		armed := *t.armed
		s.Armed = &armed
	}
	s.Epochs = cloneEpochs(t.epochs)
	return s, nil
}

// PastSum is equal for equal events of the past only: what a State's Past has,
// for less.
func (t *Tracker) PastSum() [sha256.Size]byte {
	if t.past == nil {
		return [sha256.Size]byte{}
	}
	return t.past.Sum()
}

func cloneEpochs(epochs map[int]*backend.Snapshot) map[int]*backend.Snapshot {
	clone := maps.Clone(epochs)
	for slot, e := range clone {
		clone[slot] = e.Clone()
	}
	return clone
}

// Load makes the tracker what another, or this one, was when it was saved. Its
// root has DIMMs like that one's had, in the same slots and mapped. Attach is as
// for PowerOn, and not called for a machine that is off. A tracker that fails to
// load is off.
func (t *Tracker) Load(s *State, attach func(observe.Observer) error) error {
	*t = Tracker{root: t.root, host: t.host, watcher: t.watcher, counted: s.Counted, faults: slices.Clone(s.Faults)}
	if s.Armed != nil {
		armed := *s.Armed
		t.armed = &armed
	}
	if s.Model == nil {
		return nil
	}
	dimms := map[int]*nvdimm.DIMM{}
	for _, d := range t.root.DIMMs() {
		dimms[d.Slot()] = d
	}
	var memories []persist.Memory
	var lines []uint64
	for _, m := range s.Media {
		d := dimms[m.Slot]
		if d == nil {
			return errors.New("the state is of a machine with other NVDIMMs")
		}
		mem, err := d.Map()
		if err != nil {
			return err
		}
		memories = append(memories, memory{mem, d})
		lines = append(lines, uint64(len(mem))/persist.LineSize)
	}
	if !s.Past.Fits(lines...) {
		return errors.New("the state is of a machine with other NVDIMMs")
	}
	t.model, t.past = s.Model.Model(memories...), s.Past.Clone()
	for _, m := range s.Media {
		t.media = append(t.media, Medium{m.Slot, slices.Clone(m.Parts)})
	}
	t.epochs = cloneEpochs(s.Epochs)
	t.blind = attach(t)
	return nil
}
