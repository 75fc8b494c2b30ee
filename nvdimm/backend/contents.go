package backend

import (
	"errors"
	"io"
	"sync"

	"nvlab/internal/cow"
)

// contents are bytes in memory: anonymous ones, or a copy of which no file
// learns anything. Backends on one part of one file may have them in common.
type contents struct {
	size int64

	mu    sync.Mutex
	mem   *cow.Memory // nil while all is zero
	users int         // backends
}

func newContents(size int64, mem *cow.Memory) *contents {
	return &contents{size: size, mem: mem, users: 1}
}

// memory is what holds the bytes. Its address stays until it is replaced, which
// is while no backend is mapped, or at a restore.
func (c *contents) memory() (*cow.Memory, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.locked()
}

func (c *contents) locked() (*cow.Memory, error) {
	if c.mem == nil {
		mem, err := cow.New(uint64(c.size))
		if err != nil {
			return nil, err
		}
		c.mem = mem
	}
	return c.mem, nil
}

// freeze is what they are now.
func (c *contents) freeze() (*cow.Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mem, err := c.locked()
	if err != nil {
		return nil, err
	}
	return mem.Freeze()
}

// replace makes mem what holds the bytes.
func (c *contents) replace(mem *cow.Memory) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.mem
	c.mem = mem
	if old != nil {
		return old.Close()
	}
	return nil
}

func (c *contents) use() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
}

// release gives the memory back with the last backend.
func (c *contents) release() error {
	c.mu.Lock()
	c.users--
	last := c.users == 0
	c.mu.Unlock()
	if last {
		return c.replace(nil)
	}
	return nil
}

// memoryStore is a store of contents.
type memoryStore struct {
	*contents
	original store // that they are a copy of, kept open; nil if there is none
}

func (s memoryStore) within(p []byte, off int64) error {
	if off < 0 || off > s.contents.size || int64(len(p)) > s.contents.size-off {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func (s memoryStore) ReadAt(p []byte, off int64) (int, error) {
	if err := s.within(p, off); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mem == nil {
		clear(p)
		return len(p), nil
	}
	return copy(p, s.mem.Bytes()[off:]), nil
}

func (s memoryStore) WriteAt(p []byte, off int64) (int, error) {
	if err := s.within(p, off); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	mem, err := s.locked()
	if err != nil {
		return 0, err
	}
	mem.Dirty().AddRange(uint64(off), uint64(len(p)))
	return copy(mem.Bytes()[off:], p), nil
}

func (s memoryStore) size() (int64, error) { return s.contents.size, nil }

func (s memoryStore) data(from, to int64) ([]extent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mem == nil {
		return nil, nil
	}
	return touched(s.mem, from, to), nil
}

// touched are the parts of [from, to) that may hold anything but zeros.
func touched(mem *cow.Memory, from, to int64) (list []extent) {
	for _, r := range mem.Touched() {
		if e := (extent{max(int64(r.Offset), from), min(int64(r.Offset+r.Size), to)}); e.start < e.end {
			list = append(list, e)
		}
	}
	return list
}

func (memoryStore) sync() error { return nil }

func (s memoryStore) Close() error {
	err := s.release()
	if s.original != nil {
		err = errors.Join(err, s.original.Close())
	}
	return err
}
