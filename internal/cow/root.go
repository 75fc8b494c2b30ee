package cow

import (
	"sync"
	"sync/atomic"
)

// A root is the bytes that all memories and images of one descent share. They
// do not change after the first Freeze.
type root struct {
	store store
	size  uint64
	spare bool         // the store is one for others afterwards
	refs  atomic.Int64 // memories and images

	found sync.Once
	parts []Range // that have pages, of a root that is frozen

	summed sync.Once
	sums   []pageSum
	err    error
}

// A store is how a host keeps the bytes of a root.
type store interface {
	// first maps the root's own bytes, which can be stored to until freeze.
	first() ([]byte, error)
	// freeze makes what mem, of first, holds the root's for good. Stores to
	// mem are its own from then on.
	freeze(mem []byte) error
	// private maps bytes that are the root's until they are stored to.
	private() ([]byte, error)
	unmap(mem []byte) error
	// retire ends the use of mem, of first, that was not frozen.
	retire(mem []byte) error
	// reset makes a store that nobody uses any more one of zeros that is not frozen,
	// and says whether it could. All that is not zeros is in the ranges.
	reset(used []Range) bool

	// page is a page of a root that is frozen, which must not be stored to.
	page(n uint64) ([]byte, error)
	// leave says that nobody reads n pages soon, one of which page gave.
	leave(first, n uint64)
	read(p []byte, off uint64) error
	// write is for a root that nobody maps.
	write(p []byte, off uint64) error
	touched() []Range

	close() error
}

func newRoot(s store, size uint64) *root {
	r := &root{store: s, size: size}
	r.retain()
	return r
}

func (r *root) retain() { r.refs.Add(1) }

// touched are the parts of a root that is frozen, or that nobody uses, that may hold anything but zeros.
func (r *root) touched() []Range {
	r.found.Do(func() { r.parts = r.store.touched() })
	return r.parts
}

func (r *root) release() error {
	if r.refs.Add(-1) > 0 {
		return nil
	}
	if r.spare && spares.add(r) {
		return nil
	}
	return r.store.close()
}
