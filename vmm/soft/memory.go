package soft

import (
	"fmt"
	"slices"

	"nvlab/internal/pages"
	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// region is memory at a guest-physical range, with what the block cache knows
// of its pages.
type region struct {
	base, size uint64
	mem        []byte
	readOnly   bool
	observed   bool
	watched    bool // observed, and there is an observer
	revocable  bool

	// dirty, if not nil, is told which pages are stored to. tracked is what it
	// is from the first Cleaned on.
	dirty, tracked *pages.Set

	// marks holds what was made of the region's pages, per 2 MiB and page
	// within it.
	marks []*[512]mark
}

// A mark says what was made of a page's bytes, so that a store to them is no
// matter of the fast path.
type mark struct {
	code  content // what code was made of; 0 is none
	table uint32  // its number in processors.tables; 0 is none
}

// direct says whether the fast path may store to the region's pages.
func (r *region) direct() bool { return !r.readOnly && !r.watched }

// mark is that of the page at an offset.
func (r *region) mark(off uint64) mark {
	if p := r.marks[off>>21]; p != nil {
		return p[off>>x86.PageShift&511]
	}
	return mark{}
}

// marked says that a store to the page at an offset must be told to stored.
func (r *region) marked(off uint64) bool { return r.mark(off) != mark{} }

// setMark is for changing the mark of the page at an offset.
func (r *region) setMark(off uint64) *mark {
	p := r.marks[off>>21]
	if p == nil {
		p = new([512]mark)
		r.marks[off>>21] = p
	}
	return &p[off>>x86.PageShift&511]
}

// touch notes that the page at an offset is stored to.
func (r *region) touch(off uint64) {
	if r.dirty != nil {
		r.dirty.Add(off >> x86.PageShift)
	}
}

// page is the page of memory in which pa is, or nil.
func (m *memory) page(pa uint64) []byte {
	r := m.find(pa)
	if r == nil {
		return nil
	}
	return r.mem[pa&^x86.PageMask-r.base:][:x86.PageSize]
}

// memory is the guest-physical address space.
type memory struct {
	limit   uint64    // the end of what addresses reach
	regions []*region // by address
	last    *region   // that find returned
}

// find returns the region that holds pa, or nil.
func (m *memory) find(pa uint64) *region {
	if r := m.last; r != nil && pa-r.base < r.size {
		return r
	}
	if i := m.after(pa); i < len(m.regions) && m.regions[i].base <= pa {
		m.last = m.regions[i]
		return m.last
	}
	return nil
}

// after is the number of the first region that ends behind pa.
func (m *memory) after(pa uint64) int {
	lo, hi := 0, len(m.regions)
	for lo < hi {
		if i := int(uint(lo+hi) / 2); m.regions[i].base+m.regions[i].size > pa {
			hi = i
		} else {
			lo = i + 1
		}
	}
	return lo
}

func (m *memory) add(g vmm.Region) (*region, error) {
	n := uint64(len(g.Mem))
	switch {
	case g.Base&x86.PageMask != 0 || n&x86.PageMask != 0 || n == 0:
		return nil, fmt.Errorf("memory at %#x of %d bytes: base and size must be multiples of 4 KiB, and size not 0", g.Base, n)
	case g.Base >= m.limit || n > m.limit-g.Base:
		return nil, fmt.Errorf("memory at %#x of %#x bytes: must lie below %#x", g.Base, n, m.limit)
	}
	i := m.after(g.Base)
	if i < len(m.regions) && m.regions[i].base < g.Base+n {
		r := m.regions[i]
		return nil, fmt.Errorf("memory at %#x of %#x bytes overlaps the memory at %#x of %#x bytes", g.Base, n, r.base, r.size)
	}
	r := &region{
		base: g.Base, size: n, mem: g.Mem,
		readOnly: g.ReadOnly, observed: g.Observed, revocable: g.Revocable, tracked: g.Dirty,
		marks: make([]*[512]mark, (n+1<<21-1)>>21),
	}
	m.regions = slices.Insert(m.regions, i, r)
	return r, nil
}

func (m *memory) remove(base uint64) (*region, error) {
	if i := m.after(base); i < len(m.regions) && m.regions[i].base == base {
		r := m.regions[i]
		m.regions = slices.Delete(m.regions, i, i+1)
		m.last = nil
		return r, nil
	}
	return nil, fmt.Errorf("no memory starts at %#x", base)
}

// readPhys reads n bytes, 1 to 8, that lie in one page.
func (c *cpu) readPhys(pa uint64, n uint8) uint64 {
	if c.apic.At(pa) {
		c.order(observe.Uncached)
		return c.apic.Read(pa&x86.PageMask, n)
	}
	if r := c.p.mem.find(pa); r != nil {
		if c.p.watch != nil {
			c.observeLoad(r, pa-r.base, uint64(n), 0)
		}
		return x86.GetLE(r.mem[pa-r.base:], n)
	}
	c.orderNow(observe.Uncached)
	if n&(n-1) == 0 {
		return c.p.bus.MMIORead(pa, int(n)) & x86.SizeMask(n)
	}
	var v uint64
	for i := uint8(0); i < n; i++ {
		v |= c.p.bus.MMIORead(pa+uint64(i), 1) & 0xff << (8 * i)
	}
	return v
}

// writePhys writes n bytes, 1 to 8, that lie in one page.
func (c *cpu) writePhys(pa uint64, n uint8, v uint64) {
	if c.apic.At(pa) {
		c.order(observe.Uncached)
		c.apic.Write(pa&x86.PageMask, n, v)
		return
	}
	if r := c.p.mem.find(pa); r != nil {
		c.writeRegion(r, pa-r.base, n, v)
		return
	}
	c.orderNow(observe.Uncached)
	if n&(n-1) == 0 {
		c.p.bus.MMIOWrite(pa, int(n), v&x86.SizeMask(n))
		return
	}
	for i := uint8(0); i < n; i++ {
		c.p.bus.MMIOWrite(pa+uint64(i), 1, v>>(8*i)&0xff)
	}
}

// writeRegion is where every store that the fast path does not do reaches
// memory, and so where a store to observed memory is seen.
func (c *cpu) writeRegion(r *region, off uint64, n uint8, v uint64) {
	if r.readOnly {
		return
	}
	if r.marked(off) {
		c.stored(r, off, uint64(n))
	}
	r.touch(off)
	if r.watched {
		c.observeStore(r, off, n, v)
	}
	c.p.overwritten(r, r.base+off, uint64(n))
	x86.PutLE(r.mem[off:], n, v)
}

// stored is told of every store of n bytes to a page that has a mark, before
// memory changes: what was made of the bytes goes.
func (c *cpu) stored(r *region, off, n uint64) {
	m := r.mark(off)
	if m.code != 0 {
		c.dropPage(r, off)
	}
	if m.table != 0 {
		c.storedToTable(r, off, n)
	}
}
