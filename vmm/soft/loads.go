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
	was := p.watch
	p.watch, p.loads = w, o
	p.copies, _ = o.(observe.CopyObserver)
	p.values, p.lookups = nil, nil
	clear(p.refetched)
	if v, ok := o.(observe.ValueObserver); ok && v.Follows() {
		p.values = v
	}
	for _, c := range p.cpus {
		c.values = values{}
	}
	p.forgetWatched(was)
	p.forgetWatched(w)
	return nil
}

// forgetWatched has the pages of a watch looked up anew. All is, if a page table or
// code is among them: what was read of these is told as well.
func (p *processors) forgetWatched(w *observe.Watch) {
	if w == nil {
		return
	}
	for _, r := range p.mem.regions {
		if r.observed && r.marksAny(w) {
			p.forgetTranslations()
			return
		}
	}
	for _, c := range p.cpus {
		for s := range c.tlbs {
			t := &c.tlbs[s]
			for _, i := range t.filled {
				if w.Page(t.meta[i].pa) != 0 {
					t.drop(i)
				}
			}
		}
		c.attn = true
	}
}

// marksAny says that a page of a watch has a mark.
func (r *region) marksAny(w *observe.Watch) bool {
	for k, list := range r.marks {
		if list == nil {
			continue
		}
		for i, m := range list {
			if m != (mark{}) && w.Page(r.base+uint64(k)<<21+uint64(i)<<x86.PageShift) != 0 {
				return true
			}
		}
	}
	return false
}

// watches says that lines of a region may be watched.
func (p *processors) watches(r *region) bool {
	return p.watch != nil && (r.observed || p.copies != nil)
}

// observeLoad tells of the watched lines among n bytes at off of r, within one
// page.
func (c *cpu) observeLoad(r *region, off, n uint64, kind observe.LoadKind) {
	if !c.p.watches(r) || c.p.watch.Page(r.base+off) == 0 || c.effect.loads && kind == 0 {
		return
	}
	c.tellStream()
	c.p.tellLoads(c.here(), r, off, n, kind)
}

// tellLoads tells of the watched lines among n bytes at off of r.
func (p *processors) tellLoads(at observe.At, r *region, off, n uint64, kind observe.LoadKind) {
	for end := off + n; off < end; {
		next := min(end, (off|63)+1)
		if p.watch.Has(r.base + off) {
			e := observe.Load{At: at, Base: r.base, Offset: off, Size: uint8(next - off), Kind: kind}
			if p.loads.Load(&e) && p.watch.Drop(r.base+off) {
				p.eachOf(r.base+off, (*tlbSet).drop) // the fast path may load from the page again
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

// observeOverwritten tells of n bytes that a string instruction with elements of size
// bytes stores from va on, in the direction of DF, within one page.
func (c *cpu) observeOverwritten(va, n uint64, size uint8) {
	if c.p.copies == nil {
		return
	}
	pa, ok := c.translate(va, c.privilege(), accessWrite)
	r := c.p.mem.find(pa)
	if !ok || r == nil {
		return
	}
	if c.flags&x86.FlagDF != 0 {
		pa -= n - uint64(size)
	}
	c.p.overwritten(r, pa, n)
}

// observeCopy tells of n bytes that a string instruction copies upwards, within
// one page each, and says that they are told of: as a copy, or not at all where
// nothing has to be.
func (c *cpu) observeCopy(src, dst, n uint64) bool {
	if c.p.copies == nil || c.flags&x86.FlagDF != 0 {
		return false
	}
	from, ok := c.translate(src, c.privilege(), accessRead)
	if !ok {
		return false
	}
	to, ok := c.translate(dst, c.privilege(), accessWrite)
	if !ok || from>>x86.PageShift == to>>x86.PageShift {
		return false
	}
	r, ordinary := c.p.mem.find(from), c.p.mem.find(to)
	if r == nil || ordinary == nil || ordinary.observed {
		return false
	}
	if !c.watchedIn(from, n) {
		c.p.overwritten(ordinary, to, n)
		return true
	}
	c.tellStream()
	c.p.follow(to, c.p.copies.Copy(&observe.Copy{At: c.here(), Base: r.base, Offset: from - r.base, To: to, Size: n}))
	return true
}

// watchedIn says that one of the lines of n bytes within a page is watched.
func (c *cpu) watchedIn(pa, n uint64) bool {
	lines := c.p.watch.Page(pa)
	if lines == 0 {
		return false
	}
	first, last := pa&x86.PageMask>>6, (pa+n-1)&x86.PageMask>>6
	return lines>>first<<(63-last+first) != 0
}

// overwritten is told of stores to ordinary memory that the executor does, and
// of string instructions' within a page.
func (p *processors) overwritten(r *region, pa, n uint64) {
	if p.copies != nil && !r.observed && p.watch.Page(pa) != 0 {
		p.follow(pa, p.copies.Overwritten(pa, n))
	}
}

// follow has lines of a page of ordinary memory watched, and no others.
func (p *processors) follow(pa, lines uint64) {
	before := p.watch.Page(pa)
	p.watch.SetPage(pa, lines)
	if (before == 0) != (lines == 0) {
		p.eachOf(pa, (*tlbSet).drop)
	}
}

// ReadByHost is told before somebody who is no processor reads RAM: a device, or
// the host.
func (p *processors) ReadByHost(base, size uint64) {
	p.stop.passedBy(base, size)
	if p.copies == nil || size == 0 {
		return
	}
	if r := p.mem.find(base); r != nil && !r.observed {
		p.tellLoads(observe.At{}, r, base-r.base, size, observe.DeviceLoad)
	}
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
