package backend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"nvlab/internal/cow"
)

// Used is a backend that a VM has plugged, and what its guest sees of it.
type Used struct {
	Backend *Backend
	Mapping *Mapping // nil while the VM is off
}

// A Saved is what the backends of one VM held at a moment. It does not change.
// Of a file it has a copy; the file goes on being the file for the VM.
type Saved struct {
	backends []savedBackend
}

// savedBackend is one of them.
type savedBackend struct {
	options
	with     int        // of the list: the first with the same contents, maybe itself
	contents *cow.Image // nil of one that has them with another
	overlay  *cow.Image // what the guest sees of a private backend; nil while off
}

// Save saves backends, and clears the sets of dirty pages. It fails if a guest of
// another VM stores to them, or sees what is stored to them: an [InUseError].
// Then nothing is cleared.
func Save(list []Used) (_ *Saved, err error) {
	s := &Saved{}
	var frozen []*frozen
	defer func() {
		if err != nil {
			s.Close()
			for _, f := range frozen {
				f.undo()
			}
		}
	}()
	if err := alone(list); err != nil {
		return nil, err
	}
	for i, u := range list {
		b := u.Backend
		o := savedBackend{options: b.options, with: i}
		for k, other := range list[:i] {
			switch {
			case !b.meets(other.Backend):
			case b.span() == other.Backend.span():
				o.with = min(o.with, k)
			case b.writes() || other.Backend.writes():
				return nil, fmt.Errorf("%s: two NVDIMMs show overlapping parts of this file, %#x bytes from %#x and %#x from %#x, and copies of both would not: give both the same offset and size", b, b.size, b.offset, other.Backend.size, other.Backend.offset)
			}
		}
		var below *cow.Image
		if o.with < i {
			below = s.backends[o.with].contents
		}
		f, err := b.save(&o, u.Mapping, below)
		frozen = append(frozen, f...)
		if err != nil {
			return nil, errors.Join(err, o.close())
		}
		s.backends = append(s.backends, o)
	}
	return s, nil
}

// meets says that two backends have bytes in common.
func (b *Backend) meets(o *Backend) bool {
	x, y := b.span(), o.span()
	return b.SameStorage(o) && x.start < y.end && y.start < x.end
}

// Fork returns backends that hold what was saved, in the order in which they
// were given. They are as those were but for their contents: writes stay in
// memory, and the file is untouched. What was saved of a mapping their next one
// has. What it costs does not depend on their size.
func (s *Saved) Fork() (list []*Backend, err error) {
	defer func() {
		if err != nil {
			for _, b := range list {
				b.Close()
			}
		}
	}()
	for i := range s.backends {
		o := &s.backends[i]
		b := &Backend{options: o.options, durability: Volatile}
		if o.with < i {
			c := list[o.with].contents()
			c.use()
			b.store = memoryStore{contents: c}
		} else {
			mem, err := o.contents.Fork()
			if err != nil {
				return list, fmt.Errorf("%s: %w", b, err)
			}
			b.store = memoryStore{contents: newContents(b.size, mem)}
		}
		list = append(list, b)
		if o.overlay != nil {
			if b.overlaid, err = o.overlay.Fork(); err != nil {
				return list, fmt.Errorf("%s: %w", b, err)
			}
		}
	}
	return list, nil
}

// An Entry is what was saved of one backend, to be kept elsewhere.
type Entry struct {
	With     int        // the first backend with the same contents; its own number if there is none before it
	Contents *cow.Image // nil of one that has them with another
	Overlay  *cow.Image // what the guest saw of a private backend; nil if it was off
}

// Entries are what was saved, in the order of the backends. The images stay
// those of s.
func (s *Saved) Entries() []Entry {
	list := make([]Entry, len(s.backends))
	for i := range s.backends {
		o := &s.backends[i]
		list[i] = Entry{o.with, o.contents, o.overlay}
	}
	return list
}

// NewSaved returns what Save returned of backends like these, opened with the
// same options, when these were its entries. The images are its own from then
// on, unless it fails.
func NewSaved(backends []*Backend, entries []Entry) (*Saved, error) {
	if len(backends) != len(entries) {
		return nil, fmt.Errorf("%d backends, and what was saved of %d", len(backends), len(entries))
	}
	s := &Saved{}
	for i, e := range entries {
		b := backends[i]
		fits := func(image *cow.Image) bool { return image == nil || image.Size() == b.Size() }
		switch {
		case e.With < 0 || e.With > i || entries[e.With].With != e.With || backends[e.With].size != b.size:
			return nil, fmt.Errorf("%s: it has its contents with backend %d, which is none of its size before it", b, e.With)
		case (e.Contents == nil) != (e.With < i):
			return nil, fmt.Errorf("%s: contents of its own, and with another, or neither", b)
		case !fits(e.Contents) || !fits(e.Overlay):
			return nil, fmt.Errorf("%s: it has %#x bytes, and what was saved has not", b, b.size)
		case e.Overlay != nil && b.kind != private:
			return nil, fmt.Errorf("%s: an overlay of a backend that is not private", b)
		}
		s.backends = append(s.backends, savedBackend{b.options, e.With, e.Contents, e.Overlay})
	}
	return s, nil
}

// Changed lists, for each of the backends that were saved, or of forks of them, in that
// order, the pages in which it may hold something else than what was saved: in which a guest
// sees something else, if there is one.
func (s *Saved) Changed(list []Used) ([][]uint64, error) {
	if err := s.Fits(list); err != nil {
		return nil, err
	}
	changed := make([][]uint64, len(list))
	for i, u := range list {
		was := s.backends[i].overlay
		if was == nil {
			was = s.backends[s.backends[i].with].contents
		}
		var err error
		if changed[i], err = u.Backend.differs(was, u.Mapping); err != nil {
			return nil, fmt.Errorf("%s: %w", u.Backend, err)
		}
	}
	return changed, nil
}

// differs lists the pages that may differ from an image.
func (b *Backend) differs(was *cow.Image, m *Mapping) (list []uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var mem *cow.Memory
	if m != nil {
		mem = m.memory
	} else if c := b.contents(); c != nil {
		if mem, err = c.memory(); err != nil {
			return nil, err
		}
	}
	if mem != nil && mem.CanRestore(was) == nil {
		return mem.Differing(was)
	}
	return b.differsAnywhere(was) // memory of its own, such as anonymous memory has after each power-on
}

// differsAnywhere lists the pages that differ from an image of which nothing is known. What
// is zero in both is not looked at.
func (b *Backend) differsAnywhere(was *cow.Image) (list []uint64, err error) {
	var others []int64
	err = was.Pages(func(p cow.Page) error {
		others = append(others, int64(p.Number)*PageSize)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var old [PageSize]byte
	err = b.eachPage(context.Background(), slices.Values(others), func(off int64, now []byte) error {
		_, err := was.ReadAt(old[:], off)
		if err == nil && !bytes.Equal(now, old[:]) {
			list = append(list, uint64(off/PageSize))
		}
		return err
	})
	slices.Sort(list)
	return list, err
}

// Hash names what was saved: equal backends that held the same have equal
// hashes.
func (s *Saved) Hash() ([sha256.Size]byte, error) {
	h := sha256.New()
	for i := range s.backends {
		o := &s.backends[i]
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(o.with)))
		for _, image := range []*cow.Image{o.contents, o.overlay} {
			if image == nil {
				h.Write([]byte{0})
				continue
			}
			sum, err := image.Hash()
			if err != nil {
				return sum, err
			}
			h.Write(append(sum[:], 1))
		}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}

// Close gives back what the saved contents alone keep. Forks stay. Closing twice
// does nothing.
func (s *Saved) Close() error {
	var errs []error
	for i := range s.backends {
		errs = append(errs, s.backends[i].close())
	}
	return errors.Join(errs...)
}

func (s *savedBackend) close() error {
	var errs []error
	for _, image := range []*cow.Image{s.contents, s.overlay} {
		if image != nil {
			errs = append(errs, image.Close())
		}
	}
	return errors.Join(errs...)
}
