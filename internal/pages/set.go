// Package pages has sets of pages: which of a memory were stored to.
package pages

import (
	"iter"
	"slices"
)

// Size of a page, in bytes.
const Size = 4096

// A Set is a set of the pages of one memory, by number from 0. To add and to
// ask cost the same whatever it holds; to list and to clear it cost what it
// holds. One goroutine at a time uses it.
type Set struct {
	bits []uint64
	list []uint64
}

// NewSet returns an empty set of the pages of size bytes of memory.
func NewSet(size uint64) *Set {
	pages := (size + Size - 1) / Size
	return &Set{bits: make([]uint64, (pages+63)/64)}
}

// Add puts a page into the set.
func (s *Set) Add(page uint64) {
	if w := &s.bits[page>>6]; *w>>(page&63)&1 == 0 {
		*w |= 1 << (page & 63)
		s.list = append(s.list, page)
	}
}

// AddRange puts the pages of n bytes at an offset into the set.
func (s *Set) AddRange(offset, n uint64) {
	if n == 0 {
		return
	}
	for page := offset / Size; page <= (offset+n-1)/Size; page++ {
		s.Add(page)
	}
}

// Has says whether a page is in the set.
func (s *Set) Has(page uint64) bool { return s.bits[page>>6]>>(page&63)&1 != 0 }

// Len is the number of pages in the set.
func (s *Set) Len() int { return len(s.list) }

// All yields the pages in ascending order. The set must not change meanwhile.
func (s *Set) All() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		slices.Sort(s.list)
		for _, page := range s.list {
			if !yield(page) {
				return
			}
		}
	}
}

// Clear empties the set.
func (s *Set) Clear() {
	for _, page := range s.list {
		s.bits[page>>6] = 0
	}
	s.list = s.list[:0]
}
