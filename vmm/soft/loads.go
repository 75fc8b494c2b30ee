package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

var _ observe.LoadWatcher = (*processors)(nil)

// WatchLoads tells o of loads from the lines of w, in observed memory. Pages with
// such a line have no place in the fast half of the TLB, so that loads from
// them are the executor's. The guest cannot tell. It must not be called within
// Run.
func (p *processors) WatchLoads(w *observe.Watch, o observe.LoadObserver) error {
	p.watch, p.loads = w, o
	p.forgetTranslations()
	return nil
}

// observeLoad tells of the watched lines among n bytes at off of r, within one
// page.
func (c *cpu) observeLoad(r *region, off, n uint64, kind observe.LoadKind) {
	if !r.observed || c.p.watch.Page(r.base+off) == 0 {
		return
	}
	for end := off + n; off < end; {
		next := min(end, (off|63)+1)
		if c.p.watch.Has(r.base + off) {
			e := observe.Load{At: c.here(), Base: r.base, Offset: off, Size: uint8(next - off), Kind: kind}
			if c.p.loads.Load(&e) && c.p.watch.Drop(r.base+off) {
				c.p.eachOf(r.base+off, (*tlbSet).drop) // the fast path may load from the page again
				return
			}
		}
		off = next
	}
}

// observeMove tells of n bytes that a string instruction with elements of size
// bytes loads from va on, in the direction of DF, within one page.
func (c *cpu) observeMove(va, n uint64, size uint8) {
	pa, ok := c.translate(va, c.privilege(), accessRead)
	r := c.p.mem.find(pa)
	if !ok || r == nil {
		return
	}
	off := pa - r.base
	if c.flags&x86.FlagDF != 0 {
		off -= n - uint64(size)
	}
	c.observeLoad(r, off, n, 0)
}

// observeFetches tells of all watched lines of the page that a block is of: what
// of it executes is not looked at again.
func (c *cpu) observeFetches(pa uint64) {
	if c.p.watch == nil || c.p.watch.Page(pa) == 0 {
		return
	}
	if r := c.p.mem.find(pa); r != nil {
		c.observeLoad(r, pa&^x86.PageMask-r.base, x86.PageSize, observe.Fetch)
	}
}
