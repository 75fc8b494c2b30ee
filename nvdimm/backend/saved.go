package backend

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

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

// Save saves backends. It fails if a guest of another VM stores to them, or
// sees what is stored to them: an [InUseError].
func Save(list []Used) (_ *Saved, err error) {
	s := &Saved{}
	defer func() {
		if err != nil {
			s.Close()
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
		if err := b.save(&o, u.Mapping, below); err != nil {
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

// save fills in what a backend holds. Below are its contents if others have
// them too and saved them already.
func (b *Backend) save(s *savedBackend, m *Mapping, below *cow.Image) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return err
	}
	if m != nil && (m.backend != b || m.mem == nil) {
		return fmt.Errorf("%s: the mapping is not of this backend, or closed", b)
	}
	if below == nil {
		if c := b.contents(); c != nil {
			s.contents, err = c.freeze()
		} else {
			s.contents, err = b.copy()
		}
		if err != nil {
			return err
		}
		below = s.contents
	}
	switch {
	case b.kind != private:
	case m != nil && m.memory != nil:
		s.overlay, err = m.memory.Freeze()
	case m != nil:
		s.overlay, err = m.copyOverlay(below)
	case b.overlaid != nil:
		s.overlay, err = b.overlaid.Freeze()
	}
	return err
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

// An InUseError says that another running VM maps a file that a VM stores to,
// or stores to one that it maps: what either holds is not one VM's to save.
type InUseError struct{ Backend *Backend }

func (e *InUseError) Error() string {
	return fmt.Sprintf("%s: another running VM maps this file too, and what it stored cannot be told from this VM's: power it off first", e.Backend)
}

// alone says whether no guest of another VM stores to the backends, or sees what
// is stored to them.
func alone(list []Used) error {
	own := map[*Mapping]bool{}
	for _, u := range list {
		own[u.Mapping] = true
	}
	var others []*Mapping
	mappings.Lock()
	for m := range mappings.open {
		if !own[m] {
			others = append(others, m)
		}
	}
	mappings.Unlock()
	for _, u := range list {
		for _, m := range others {
			if b := u.Backend; (b.writes() || m.backend.writes()) && b.meets(m.backend) {
				return &InUseError{b}
			}
		}
	}
	return nil
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

// Restored is what a restore did to a mapping.
type Restored struct {
	Moved   bool        // Bytes are elsewhere
	Changed []cow.Range // pages that hold something else than before, if they are not
}

// Restore has backends hold what was saved: those that were saved, or forks of
// them, in that order. One that was a file goes on with a copy, as after
// UseCopy. A mapping stays, and has what was saved of one; a VM that was off
// when it was saved has none. A restore that fails half-way leaves backends that
// hold neither.
func (s *Saved) Restore(list []Used) ([]Restored, error) {
	if err := s.Fits(list); err != nil {
		return nil, err
	}
	for i, u := range list {
		if err := u.Backend.ready(&s.backends[i], u.Mapping); err != nil {
			return nil, err
		}
	}
	done := make([]Restored, len(list))
	for i, u := range list {
		o := &s.backends[i]
		var with *Used
		if o.with < i {
			with = &list[o.with]
			done[i] = done[o.with]
		}
		if err := u.Backend.restore(o, u.Mapping, with, &done[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", u.Backend, err)
		}
	}
	return done, nil
}

// Fits says why Restore would refuse these backends, once they are mapped or not
// as they have to be; nil if it would not.
func (s *Saved) Fits(list []Used) error {
	if len(list) != len(s.backends) {
		return fmt.Errorf("%d backends were saved, and %d are to be restored", len(s.backends), len(list))
	}
	for i, u := range list {
		if err := u.Backend.fits(&s.backends[i], u.Mapping); err != nil {
			return err
		}
	}
	return alone(list)
}

func (b *Backend) fits(s *savedBackend, m *Mapping) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return b.check(0, 0)
	case b.size != s.size || b.kind != s.kind || b.path != s.path || b.offset != s.offset:
		return fmt.Errorf("%s: what was saved is of another backend, %s", b, (&Backend{options: s.options}).String())
	case m != nil && (m.backend != b || m.mem == nil):
		return fmt.Errorf("%s: the mapping is not of this backend, or closed", b)
	}
	return nil
}

// ready says why a backend cannot be restored while it is mapped, or not.
func (b *Backend) ready(s *savedBackend, m *Mapping) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case m != nil && b.kind == private && s.overlay == nil:
		return fmt.Errorf("%s: it was saved while it was not mapped: unmap it first", b)
	case m == nil && b.kind != shared && len(b.mappings) > 0:
		return b.unmapped("first")
	}
	return nil
}

// restore restores a backend, whose contents are those of another that is
// restored already, if with is not nil.
func (b *Backend) restore(s *savedBackend, m *Mapping, with *Used, done *Restored) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	direct := m != nil && b.kind != private // m shows the contents
	old := b.contents()
	if direct && old == nil {
		if err := b.store.(mappable).munmap(m.mem); err != nil {
			return err
		}
		m.mem = nil
	}
	switch c := old; {
	case with != nil:
		if c = with.Backend.contents(); c != old {
			b.leave(c)
			c.use()
		}
	case c != nil:
		changed, err := c.restore(s.contents)
		if err != nil {
			return err
		}
		done.Changed = changed
	default:
		mem, err := s.contents.Fork()
		if err != nil {
			return err
		}
		b.leave(newContents(b.size, mem))
	}
	if direct {
		mem, err := b.contents().memory()
		if err != nil {
			return err
		}
		done.Moved = m.show(mem)
		return nil
	}
	if b.kind != private {
		return nil
	}
	done.Changed = nil // of what no guest sees
	if m != nil && m.memory != nil {
		if changed, err := m.memory.Restore(s.overlay); err == nil {
			done.Changed = changed
			return nil
		}
	}
	b.dropOverlaid()
	if s.overlay == nil {
		return nil
	}
	mem, err := s.overlay.Fork()
	if err != nil {
		return err
	}
	if m == nil {
		b.overlaid = mem
		return nil
	}
	if m.memory != nil {
		err = m.memory.Close()
	} else {
		err = unmapFile(m.mem)
	}
	done.Moved = m.show(mem)
	return err
}

// leave has the backend go on with contents. What it had, if it is no file, is
// another's or nobody's.
func (b *Backend) leave(c *contents) {
	if s, ok := b.store.(memoryStore); ok {
		s.release()
		b.store = memoryStore{c, s.original}
		return
	}
	b.become(c)
}

// show has a mapping show memory, and says whether that is elsewhere.
func (m *Mapping) show(mem *cow.Memory) (moved bool) {
	moved = m.mem == nil || addressOf(m.mem) != addressOf(mem.Bytes())
	m.mem, m.memory = mem.Bytes(), mem
	return moved
}

// restore has the contents be what an image is: in place, if they come from
// where it comes from.
func (c *contents) restore(i *cow.Image) (changed []cow.Range, err error) {
	c.mu.Lock()
	if c.mem != nil {
		if changed, err := c.mem.Restore(i); err == nil {
			c.mu.Unlock()
			return changed, nil
		}
	}
	c.mu.Unlock()
	mem, err := i.Fork()
	if err != nil {
		return nil, err
	}
	return nil, c.replace(mem)
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
