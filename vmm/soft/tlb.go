package soft

import (
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/x86"
)

// Bits of tlbMeta.pa below the page number.
const (
	tlbWritable = 1 << iota // and dirty: a store needs no walk
	tlbExec
	tlbGlobal
	tlbLarge // from a page of 2 MiB
	tlbHuge  // from a page of 1 GiB
	tlbUser  // SMAP guards it

	tlbTypeShift = 6 // of the memory type, in tlbTypeMask; see memtype.go
	tlbTypeMask  = 7
)

// tlbSizes has the flag of what is from a page, by the level of its entry.
var tlbSizes = [len(leafReserved)]uint64{0, tlbLarge, tlbHuge}

// tlbMeta is what the exact executor looks at.
type tlbMeta struct {
	vtag uint64
	pa   uint64 // physical page, with flags
}

// tlbSet holds the translations of one privilege: 0 supervisor, 1 user.
type tlbSet struct {
	fast   [abi.TLBSize]abi.TLBEntry
	meta   [abi.TLBSize]tlbMeta
	filled []uint16 // indexes that may hold something
	users  []uint16 // indexes that may hold what SMAP guards
	locals []uint16 // indexes that may hold what is not global
	listed [abi.TLBSize]uint8
	large  uint64 // a bit per 2 MiB of address space mod 64: tlbLarge there
	huge   uint64 // and per 1 GiB: tlbHuge there
}

// Bits of tlbSet.listed.
const (
	inFilled = 1 << iota
	inLocals
)

func (s *tlbSet) drop(i uint16) {
	e := &s.fast[i]
	e.RTag, e.WTag, e.Native = abi.NoTag, abi.NoTag, abi.NoTag
	s.meta[i].vtag = abi.NoTag
}

// dropRange drops what translates the 1<<shift bytes at va, a multiple of that.
func (s *tlbSet) dropRange(va uint64, shift uint8) {
	if n := uint64(1) << (shift - x86.PageShift); n < abi.TLBSize {
		first := va >> x86.PageShift & (abi.TLBSize - 1)
		for i := first; i < first+n; i++ {
			if s.meta[i].vtag>>shift == va>>shift {
				s.drop(uint16(i))
			}
		}
		return
	}
	for _, i := range s.filled {
		if s.meta[i].vtag>>shift == va>>shift {
			s.drop(i)
		}
	}
}

// init makes a set of zeroes, in which each entry is page 0's, an empty one.
func (s *tlbSet) init() {
	for i := range s.fast {
		s.drop(uint16(i))
	}
}

// reset makes a used set a new one.
func (s *tlbSet) reset() {
	s.flush(false)
	s.users = s.users[:0]
}

// flush forgets all entries, or all but the global ones.
func (s *tlbSet) flush(keepGlobal bool) {
	locals := s.locals
	s.locals = s.locals[:0]
	if keepGlobal && len(locals) < len(s.filled)/2 {
		for _, i := range locals {
			s.listed[i] &^= inLocals
			if s.meta[i].pa&tlbGlobal == 0 {
				s.drop(i)
			}
		}
		return
	}
	kept := s.filled[:0]
	s.large, s.huge = 0, 0
	for _, i := range s.filled {
		m := &s.meta[i]
		if m.vtag == abi.NoTag {
			s.listed[i] = 0
			continue
		}
		if keepGlobal && m.pa&tlbGlobal != 0 {
			s.listed[i] = inFilled
			kept = append(kept, i)
			s.sized(m.vtag, m.pa)
			continue
		}
		s.drop(i)
		s.listed[i] = 0
	}
	s.filled = kept
}

// sized notes that flags, which are the page size's among others, are for va.
func (s *tlbSet) sized(va, flags uint64) {
	if flags&tlbLarge != 0 {
		s.large |= 1 << (va >> 21 & 63)
	}
	if flags&tlbHuge != 0 {
		s.huge |= 1 << (va >> 30 & 63)
	}
}

// flushPage forgets what translates the page of va, of whatever size that is.
func (s *tlbSet) flushPage(va uint64) {
	i := uint16(va >> x86.PageShift & (abi.TLBSize - 1))
	if s.meta[i].vtag == va&^x86.PageMask {
		s.drop(i)
	}
	if s.large>>(va>>21&63)&1 == 0 && s.huge>>(va>>30&63)&1 == 0 {
		return
	}
	for _, i := range s.filled {
		if m := &s.meta[i]; m.vtag>>21 == va>>21 && m.pa&tlbLarge != 0 || m.vtag>>30 == va>>30 && m.pa&tlbHuge != 0 {
			s.drop(i)
		}
	}
}

// fill records that the page of va is at pa; flags are tlbWritable and so on. A
// page whose first store is to be told is not writable before that.
func (c *cpu) fill(set int, va, pa, flags uint64, kind access) {
	s := &c.tlbs[set]
	r := c.p.mem.find(pa)
	if r != nil && r.dirty != nil && flags&tlbWritable != 0 {
		switch off := pa - r.base; {
		case kind == accessWrite:
			r.touch(off)
		case !r.dirty.Has(off >> x86.PageShift):
			flags &^= tlbWritable
		}
	}
	i := uint16(va >> x86.PageShift & (abi.TLBSize - 1))
	e, m := &s.fast[i], &s.meta[i]
	if s.listed[i]&inFilled == 0 {
		s.listed[i] |= inFilled
		s.filled = append(s.filled, i)
	}
	if flags&tlbGlobal == 0 && s.listed[i]&inLocals == 0 {
		s.listed[i] |= inLocals
		s.locals = append(s.locals, i)
	}
	if flags&tlbUser != 0 {
		if len(s.users) == abi.TLBSize {
			s.dropUsers()
		}
		s.users = append(s.users, i)
	}
	page := va &^ x86.PageMask
	m.vtag = page
	if flags&tlbGlobal != 0 {
		c.globals[va>>45&7] |= 1 << (va >> 39 & 63)
	}
	m.pa = pa&^x86.PageMask | flags
	s.sized(va, flags)
	e.RTag, e.WTag, e.Native = abi.NoTag, abi.NoTag, abi.NoTag
	if flags&tlbUser != 0 && c.guarded() {
		return // a fetch
	}
	if c.apic.At(pa) {
		return
	}
	if r == nil || c.p.slowLoads(r, pa) {
		return
	}
	off := pa&^x86.PageMask - r.base
	e.Addend = hostAddr(r.mem, off) - page
	e.RTag = page
	if r.revocable {
		return
	}
	e.Native = page
	if flags&tlbWritable != 0 && r.direct() && !r.marked(off) {
		e.WTag = page
	}
}

// unprotected gives the fast path its right to store to the page of va back, if
// the executor may store there without a walk and the page has no mark any more.
func (c *cpu) unprotected(set int, va uint64) bool {
	i := va >> x86.PageShift & (abi.TLBSize - 1)
	e, m := &c.tlbs[set].fast[i], &c.tlbs[set].meta[i]
	if e.Native != va&^x86.PageMask || m.pa&tlbWritable == 0 {
		return false
	}
	if r := c.p.mem.find(m.pa); r.direct() && !r.marked(m.pa&^x86.PageMask-r.base) {
		e.WTag = e.Native
		return true
	}
	return false
}

// flushTLB forgets every translation, or all but the global ones.
func (c *cpu) flushTLB(keepGlobal bool) {
	keepGlobal = keepGlobal && c.cr4&x86.CR4PGE != 0
	if !keepGlobal {
		c.globals = [8]uint64{}
	}
	c.tlbs[0].flush(keepGlobal)
	c.tlbs[1].flush(keepGlobal)
	if keepGlobal {
		c.forgetLocalJumps()
	} else {
		c.forgetJumps()
	}
}

// flushPage is INVLPG.
func (c *cpu) flushPage(va uint64) {
	c.tlbs[0].flushPage(va)
	c.tlbs[1].flushPage(va)
	c.forgetPage(va)
}

// protectPage takes the fast path's right to store away from a physical page
// that gets its first mark.
func (p *processors) protectPage(pa uint64) {
	p.eachOf(pa, func(t *tlbSet, i uint16) { t.fast[i].WTag = abi.NoTag })
}

// eachOf finds the translations to a physical page, of all processors.
func (p *processors) eachOf(pa uint64, found func(t *tlbSet, i uint16)) {
	for _, c := range p.cpus {
		for s := range c.tlbs {
			t := &c.tlbs[s]
			for _, i := range t.filled {
				if t.meta[i].pa>>x86.PageShift == pa>>x86.PageShift {
					found(t, i)
				}
			}
		}
	}
}
