package backend

import (
	"context"
	"fmt"
	"slices"

	"nvlab/internal/cow"
)

// frozen is memory that was frozen, and what was dirty of it.
type frozen struct {
	mem   *cow.Memory
	dirty []uint64
}

// freeze freezes memory and adds it to a list.
func freeze(mem *cow.Memory, list *[]*frozen) (*cow.Image, error) {
	f := &frozen{mem, slices.Collect(mem.Dirty().All())}
	image, err := mem.Freeze()
	if err == nil {
		*list = append(*list, f)
	}
	return image, err
}

// undo has pages be dirty again that an engine takes for dirty.
func (f *frozen) undo() {
	for _, page := range f.dirty {
		f.mem.Dirty().Add(page)
	}
}

// save fills in what a backend holds, and returns what it froze for that, also
// if it fails. Below are its contents if others have them too and saved them
// already.
func (b *Backend) save(s *savedBackend, m *Mapping, below *cow.Image) (list []*frozen, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return nil, err
	}
	if m != nil && (m.backend != b || m.mem == nil) {
		return nil, fmt.Errorf("%s: the mapping is not of this backend, or closed", b)
	}
	if below == nil {
		if c := b.contents(); c != nil {
			mem, err := c.memory()
			if err != nil {
				return nil, err
			}
			s.contents, err = freeze(mem, &list)
			if err != nil {
				return list, err
			}
		} else if s.contents, err = b.copy(context.Background()); err != nil {
			return nil, err
		}
		below = s.contents
	}
	switch {
	case b.kind != private:
	case m != nil && m.memory != nil:
		s.overlay, err = freeze(m.memory, &list)
	case m != nil:
		s.overlay, err = m.copyOverlay(below)
	case b.overlaid != nil:
		s.overlay, err = freeze(b.overlaid, &list)
	}
	return list, err
}

// copyOverlay copies an overlay that the kernel keeps, above an image of its
// file.
func (m *Mapping) copyOverlay(below *cow.Image) (*cow.Image, error) {
	own, err := privatePages(m.mem, 0, int64(len(m.mem)))
	if err != nil {
		return nil, err
	}
	mem, err := below.Fork()
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	for _, e := range wholePages(own, int64(len(m.mem))) {
		mem.Dirty().AddRange(uint64(e.start), uint64(e.end-e.start))
		if err := guardedCopy(mem.Bytes()[e.start:e.end], m.mem[e.start:e.end]); err != nil {
			return nil, m.backend.lost(err)
		}
	}
	return mem.Freeze()
}
