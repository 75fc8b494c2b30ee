// Package cow has memory that can be frozen, forked and restored in place,
// each at the cost of what was stored to since, not of what there is.
//
// A [Memory] starts as zeros. Its first Freeze makes what it holds the root of
// all that descends from it: bytes that never change again, which the memory
// itself and all its forks map privately from then on. Every [Image] is the
// root and copies of the pages in which it differs; images share those copies.
// Whoever stores to a memory says so in its set of dirty pages, by which later
// calls find what to copy.
package cow

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"nvlab/internal/pages"
)

// A Range is a part of a memory or an image, in bytes. Both are multiples of
// the size of a page.
type Range struct{ Offset, Size uint64 }

// Memory is bytes whose address does not change before Close. One goroutine at
// a time uses it.
type Memory struct {
	mem   []byte // nil once closed
	root  *root
	base  *contents // what it held when the dirty pages were last cleared; nil before the first Freeze
	dirty *pages.Set
}

var errClosed = errors.New("the memory is closed")

// New returns size bytes of zeros. The size is a multiple of that of a page.
func New(size uint64) (*Memory, error) {
	s, err := newStore(size)
	if err != nil {
		return nil, err
	}
	return newMemory(s, size)
}

func newMemory(s store, size uint64) (*Memory, error) {
	r := newRoot(s, size)
	mem, err := s.first()
	if err != nil {
		return nil, errors.Join(err, r.release())
	}
	return &Memory{mem: mem, root: r, dirty: pages.NewSet(size)}, nil
}

// maxSize is what pages are numbered in, 32 bits.
const maxSize = pages.Size << 32

func checkSize(size uint64) error {
	if size == 0 || size%pages.Size != 0 || size > maxSize || size != uint64(int(size)) {
		return fmt.Errorf("memory of %d bytes: want a multiple of %d, at most %d TiB", size, pages.Size, uint64(maxSize)>>40)
	}
	return nil
}

// Bytes is the memory. Whoever stores to it adds the page to Dirty.
func (m *Memory) Bytes() []byte { return m.mem }

// Dirty is the set of the pages that were stored to since the last Freeze,
// Restore or Fork. It is the same set all the time. Before the first Freeze it
// does not matter what is in it.
func (m *Memory) Dirty() *pages.Set { return m.dirty }

// Frozen says that there was a Freeze: from then on the dirty pages count.
func (m *Memory) Frozen() bool { return m.base != nil }

// Freeze returns what the memory holds now, and clears Dirty.
func (m *Memory) Freeze() (*Image, error) {
	if m.mem == nil {
		return nil, errClosed
	}
	if m.base == nil {
		if err := m.root.store.freeze(m.mem); err != nil {
			return nil, err
		}
		m.base = &contents{root: m.root}
	} else {
		base, err := m.base.with(m.mem, m.dirty)
		if err != nil {
			return nil, err
		}
		m.base = base
	}
	m.dirty.Clear()
	return newImage(m.base), nil
}

// CanRestore says why an image cannot be restored: it is a stranger's, or what
// it needs is closed.
func (m *Memory) CanRestore(i *Image) error {
	_, err := m.restorable(i)
	return err
}

// restorable are the contents of an image that can be restored.
func (m *Memory) restorable(i *Image) (*contents, error) {
	to, err := i.held()
	switch {
	case m.mem == nil:
		return nil, errClosed
	case err != nil:
		return nil, err
	case m.base == nil || m.root != to.root:
		return nil, errors.New("it is not of this machine's memory, nor of a fork of it")
	}
	return to, nil
}

// Restore has the memory hold what an image does, and returns the pages whose
// bytes that changed, in ascending order. It clears Dirty. The image is the
// memory's own, or one of a memory that has the same root.
func (m *Memory) Restore(i *Image) ([]Range, error) {
	to, err := m.restorable(i)
	if err != nil {
		return nil, err
	}
	m.base.differing(to, m.dirty.Add)
	var changed []Range
	want := to.cursor()
	for n := range m.dirty.All() {
		page, err := want.page(n)
		if err != nil {
			return changed, err
		}
		if have := pageOf(m.mem, n); !bytes.Equal(have, page) {
			copy(have, page)
			changed = appendPage(changed, n)
		}
	}
	m.base = to
	m.dirty.Clear()
	return changed, nil
}

// Differing lists the pages in which the memory may hold something else than an image
// does, in ascending order.
func (m *Memory) Differing(i *Image) ([]uint64, error) {
	to, err := m.restorable(i)
	if err != nil {
		return nil, err
	}
	list := slices.Collect(m.dirty.All())
	m.base.differing(to, func(n uint64) { list = append(list, n) })
	slices.Sort(list)
	return slices.Compact(list), nil
}

// Touched are the parts that may hold anything but zeros. To read the rest
// would only make the host find memory for it.
func (m *Memory) Touched() []Range {
	switch {
	case m.mem == nil:
		return nil
	case m.base == nil:
		return m.root.store.touched()
	}
	list := m.base.touched()
	for n := range m.dirty.All() {
		list = appendPage(list, n)
	}
	return union(list)
}

// Close gives the memory back. Images of it stay. Closing twice does nothing.
func (m *Memory) Close() error {
	if m.mem == nil {
		return nil
	}
	var err error
	if m.base == nil {
		err = m.root.store.retire(m.mem)
	} else {
		err = m.root.store.unmap(m.mem)
	}
	m.mem, m.base = nil, nil // who keeps it keeps no pages
	return errors.Join(err, m.root.release())
}

func pageOf(mem []byte, n uint64) []byte {
	return mem[n*pages.Size : (n+1)*pages.Size : (n+1)*pages.Size]
}

// appendPage adds a page to ranges. It grows the last if the page follows it.
func appendPage(list []Range, n uint64) []Range {
	at := n * pages.Size
	if k := len(list) - 1; k >= 0 && list[k].Offset+list[k].Size == at {
		list[k].Size += pages.Size
		return list
	}
	return append(list, Range{at, pages.Size})
}
