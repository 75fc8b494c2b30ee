package cow

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"nvlab/internal/pages"
)

// contents are the bytes of an image: those of its root, but for some pages.
type contents struct {
	root  *root
	delta []page // ascending

	hashed sync.Once
	sum    [32]byte
	err    error
}

// A page is one that differs from the root's. Many contents may share mem,
// which does not change.
type page struct {
	n   uint32
	mem *[pages.Size]byte
}

// A cursor finds pages that are asked for in ascending order.
type cursor struct {
	root *root
	rest []page
}

func (c *contents) cursor() cursor { return cursor{c.root, c.delta} }

// own moves on to a page and returns it if it is not the root's, else nil.
func (c *cursor) own(n uint64) *[pages.Size]byte {
	for len(c.rest) > 0 && uint64(c.rest[0].n) < n {
		c.rest = c.rest[1:]
	}
	if len(c.rest) > 0 && uint64(c.rest[0].n) == n {
		return c.rest[0].mem
	}
	return nil
}

// A look is a cursor for who reads much of an image once: it finds no memory for
// what is not there, and leaves none resident.
type look struct {
	cursor
	touched []Range // of the root, from the page that was read last
	first   uint64  // page that may be resident
	read    bool    // one is
}

func (c *contents) look() look { return look{cursor: c.cursor(), touched: c.root.touched()} }

// page moves on to a page and returns it. It is gone with the next.
func (l *look) page(n uint64) ([]byte, error) {
	if n >= l.first+chunk/pages.Size {
		l.leave(n)
	}
	if own := l.own(n); own != nil {
		return own[:], nil
	}
	at := n * pages.Size
	for len(l.touched) > 0 && l.touched[0].Offset+l.touched[0].Size <= at {
		l.touched = l.touched[1:]
	}
	if len(l.touched) == 0 || at < l.touched[0].Offset {
		return zeros[:], nil
	}
	l.read = true
	return l.root.store.page(n)
}

// leave ends the reading of what is before a page.
func (l *look) leave(n uint64) {
	if l.read {
		l.root.store.leave(l.first, n-l.first)
	}
	l.first, l.read = n, false
}

// page moves on to a page and returns it.
func (c *cursor) page(n uint64) ([]byte, error) {
	if own := c.own(n); own != nil {
		return own[:], nil
	}
	return c.root.store.page(n)
}

// with returns what mem holds, which can differ from c in the dirty pages only.
func (c *contents) with(mem []byte, dirty *pages.Set) (*contents, error) {
	var changed []page // to the root's if mem is nil
	old := c.cursor()
	for n := range dirty.All() {
		now, own := pageOf(mem, n), old.own(n)
		original, err := c.root.store.page(n)
		switch {
		case err != nil:
			return nil, err
		case own != nil && bytes.Equal(now, own[:]), own == nil && bytes.Equal(now, original):
		case bytes.Equal(now, original):
			changed = append(changed, page{n: uint32(n)})
		default:
			changed = append(changed, page{uint32(n), (*[pages.Size]byte)(bytes.Clone(now))})
		}
	}
	if len(changed) == 0 {
		return c, nil
	}
	delta := make([]page, 0, len(c.delta)+len(changed))
	rest := c.delta
	for _, p := range changed {
		for len(rest) > 0 && rest[0].n < p.n {
			delta, rest = append(delta, rest[0]), rest[1:]
		}
		if len(rest) > 0 && rest[0].n == p.n {
			rest = rest[1:]
		}
		if p.mem != nil {
			delta = append(delta, p)
		}
	}
	return &contents{root: c.root, delta: append(delta, rest...)}, nil
}

// differing calls f with the number of each page in which c and another of the
// same root may differ.
func (c *contents) differing(o *contents, f func(uint64)) {
	if c == o {
		return
	}
	a, b := c.delta, o.delta
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].n < b[0].n:
			f(uint64(a[0].n))
			a = a[1:]
		case len(a) == 0 || b[0].n < a[0].n:
			f(uint64(b[0].n))
			b = b[1:]
		default:
			if a[0].mem != b[0].mem {
				f(uint64(a[0].n))
			}
			a, b = a[1:], b[1:]
		}
	}
}

// candidates are the parts in which c and another of its size may differ.
func (c *contents) candidates(o *contents) (list []Range) {
	if c.root != o.root {
		return union(slices.Concat(c.touched(), o.touched()))
	}
	c.differing(o, func(n uint64) { list = appendPage(list, n) })
	return list
}

// touched are the parts that may hold anything but zeros.
func (c *contents) touched() []Range {
	list := slices.Clone(c.root.touched())
	for _, p := range c.delta {
		list = appendPage(list, uint64(p.n))
	}
	return union(list)
}

// union sorts ranges and joins those that touch.
func union(list []Range) []Range {
	slices.SortFunc(list, func(a, b Range) int { return cmp.Compare(a.Offset, b.Offset) })
	var all []Range
	for _, r := range list {
		if k := len(all) - 1; k >= 0 && r.Offset <= all[k].Offset+all[k].Size {
			all[k].Size = max(all[k].Size, r.Offset+r.Size-all[k].Offset)
			continue
		}
		all = append(all, r)
	}
	return all
}
