package power

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/vmm/observe"
)

// A Snapshot is all that a machine's NVDIMMs were at a moment: what is plugged,
// what it holds, and what of that would survive. It does not change.
type Snapshot struct {
	Root     *nvdimm.RootState
	Power    *State
	Backends *backend.Saved // of the DIMMs, by slot
}

// On says that the machine was on.
func (s *Snapshot) On() bool { return s.Power.Model != nil }

// Freeze returns what the NVDIMMs are; the machine goes on. It clears the sets of
// dirty pages of their memory, unless it fails: the processors are to be told.
// It fails with ErrRecording, or a *backend.InUseError.
func (t *Tracker) Freeze() (*Snapshot, error) {
	state, err := t.Save()
	if err != nil {
		return nil, err
	}
	backends, err := backend.Save(t.used())
	if err != nil {
		return nil, err
	}
	return &Snapshot{t.root.Save(), state, backends}, nil
}

func (t *Tracker) used() (list []backend.Used) {
	for _, d := range t.root.DIMMs() {
		list = append(list, d.Used())
	}
	return list
}

// Fork returns backends for another machine that goes on from the snapshot, by
// the slots of the DIMMs that they are for.
func (s *Snapshot) Fork() (map[int]*backend.Backend, error) {
	list, err := s.Backends.Fork()
	if err != nil {
		return nil, err
	}
	backends := map[int]*backend.Backend{}
	for i, b := range list {
		backends[s.Root.DIMMs[i].Slot] = b
	}
	return backends, nil
}

// Restore makes a machine's NVDIMMs what those of a snapshot were, and says by
// slot what became of the memory that the guest sees. The snapshot is of this
// machine, of one that it was forked from, or of a fork; the machines' roots
// have one Config. Backends are those that were plugged, by slot, or those of
// Fork.
//
// The memory of DIMMs that are plugged and were not, and all of it if the
// machine was off, is not touched any more: it is unmapped. If the machine was
// on, DIMMs are mapped, and attach is called as in PowerOn. It clears the sets of
// dirty pages.
//
// A snapshot that does not fit, or of a file that another running VM maps, leaves
// the machine as it is. After any other error its power is off.
func (t *Tracker) Restore(s *Snapshot, backends map[int]*backend.Backend, attach func(observe.Observer) error) (map[int]backend.Restored, error) {
	was := t.root.DIMMs()
	if err := s.fits(was, backends); err != nil {
		return nil, err
	}
	if err := t.root.Load(s.Root, backends); err != nil {
		return nil, err
	}
	*t = Tracker{root: t.root, host: t.host, watcher: t.watcher}
	now := map[*nvdimm.DIMM]bool{}
	for _, d := range t.root.DIMMs() {
		now[d] = true
	}
	for _, d := range was {
		if !s.On() || !now[d] {
			if err := d.Unmap(); err != nil {
				return nil, err
			}
		}
	}
	restored, err := s.Backends.Restore(t.used())
	if err != nil {
		return nil, err
	}
	if err := t.Load(s.Power, attach); err != nil {
		return nil, fmt.Errorf("power: %w", err)
	}
	bySlot := map[int]backend.Restored{}
	for i, d := range t.root.DIMMs() {
		bySlot[d.Slot()] = restored[i]
	}
	return bySlot, nil
}

// Changed lists by slot, of a machine with the NVDIMMs that the snapshot's had, the pages in
// which they may hold something else than in the snapshot.
func (t *Tracker) Changed(s *Snapshot) (map[int][]uint64, error) {
	list, err := s.Backends.Changed(t.used())
	if err != nil {
		return nil, err
	}
	changed := map[int][]uint64{}
	for i, d := range t.root.DIMMs() {
		changed[d.Slot()] = list[i]
	}
	return changed, nil
}

// fits says why a machine with some DIMMs cannot be what the snapshot is of, on
// these backends.
func (s *Snapshot) fits(dimms []*nvdimm.DIMM, backends map[int]*backend.Backend) error {
	var list []backend.Used
	for i := range s.Root.DIMMs {
		o := &s.Root.DIMMs[i]
		u := backend.Used{Backend: backends[o.Slot]}
		if u.Backend == nil {
			return fmt.Errorf("there is no backend for NVDIMM %s in slot %d", o.ID, o.Slot)
		}
		for _, d := range dimms {
			if d.Slot() == o.Slot && d.Backend() == u.Backend {
				u = d.Used()
			}
		}
		list = append(list, u)
	}
	return s.Backends.Fits(list)
}

// Hash names the snapshot: machines whose NVDIMMs are the same to their guests
// and to power failures have equal hashes, whatever their files are called.
func (s *Snapshot) Hash() (sum [sha256.Size]byte, err error) {
	rest := *s.Power
	rest.Model, rest.Past, rest.Epochs = nil, nil, nil
	state, err := json.Marshal([]any{s.Root, rest})
	if err != nil {
		return sum, err
	}
	parts := [][]byte{state}
	if s.On() {
		// The past is left out: an engine may tell of fences sooner or later.
		model, err := s.Power.Model.MarshalBinary()
		if err != nil {
			return sum, err
		}
		parts = append(parts, model)
	}
	for _, slot := range slices.Sorted(maps.Keys(s.Power.Epochs)) {
		epoch, err := s.Power.Epochs[slot].MarshalBinary()
		if err != nil {
			return sum, err
		}
		parts = append(parts, binary.LittleEndian.AppendUint64(epoch, uint64(slot)))
	}
	contents, err := s.Backends.Hash()
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	for _, p := range append(parts, contents[:]) {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(p))))
		h.Write(p)
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// Close gives back what the snapshot alone keeps. Closing twice does nothing.
func (s *Snapshot) Close() error { return s.Backends.Close() }
