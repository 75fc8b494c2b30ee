package backend

import (
	"fmt"

	"nvlab/internal/cow"
)

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
func (b *Backend) restore(s *savedBackend, m *Mapping, with *Used, done *Restored) (err error) {
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
	if m != nil && m.memory != nil && m.memory.CanRestore(s.overlay) == nil {
		done.Changed, err = m.memory.Restore(s.overlay)
		return err
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
	if c.mem != nil && c.mem.CanRestore(i) == nil {
		defer c.mu.Unlock()
		return c.mem.Restore(i)
	}
	c.mu.Unlock()
	mem, err := i.Fork()
	if err != nil {
		return nil, err
	}
	return nil, c.replace(mem)
}
