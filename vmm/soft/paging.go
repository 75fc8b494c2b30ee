package soft

import (
	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/x86"
)

// Bits of paging-structure entries (SDM 3A, 4.5.4).
const (
	pteP  = 1 << 0
	pteW  = 1 << 1
	pteU  = 1 << 2
	pteA  = 1 << 5
	pteD  = 1 << 6
	ptePS = 1 << 7
	pteG  = 1 << 8
	pteNX = 1 << 63

	// The address, for as many bits as a processor may have. What of them this
	// one has not is reserved, see processors.reserved.
	maxPhysBits = vmm.MaxPhysBits
	pteAddr     = (1<<maxPhysBits - 1) &^ x86.PageMask
)

// leafReserved has the bits below the address of a page that are reserved in an
// entry that maps one, by its level: 4 KiB, 2 MiB, 1 GiB (SDM 3A, tables 4-16,
// 4-18 and 4-20). Bit 12 of the larger ones is PAT.
var leafReserved = [...]uint64{0, 0x1fe000, 0x3fffe000}

// Bits of the page-fault error code (SDM 3A, 4.7).
const (
	pfPresent = 1 << 0
	pfWrite   = 1 << 1
	pfUser    = 1 << 2
	pfRsvd    = 1 << 3
	pfFetch   = 1 << 4
)

// access is the kind of a memory access.
type access uint8

const (
	accessRead access = iota
	accessWrite
	accessFetch
)

// pageFault raises #PF for va, with CR2.
func (c *cpu) pageFault(va uint64, set int, kind access, bits uint32) bool {
	switch kind {
	case accessWrite:
		bits |= pfWrite
	case accessFetch:
		// Reported only where instruction fetches can be refused.
		if c.efer&x86.EFERNXE != 0 || c.cr4&x86.CR4SMEP != 0 {
			bits |= pfFetch
		}
	}
	if set == 1 {
		bits |= pfUser
	}
	c.exc = exception{vec: excPF, hasErr: true, err: bits, cr2: va}
	return false
}

// translate returns the physical address of va for an access by privilege set
// (0 supervisor, 1 user), or raises #PF. va is canonical.
func (c *cpu) translate(va uint64, set int, kind access) (uint64, bool) {
	m := &c.tlbs[set].meta[va>>x86.PageShift&(abi.TLBSize-1)]
	if m.vtag == va&^x86.PageMask && (m.pa&tlbUser == 0 || kind == accessFetch || !c.guarded()) {
		switch {
		case kind == accessWrite && m.pa&tlbWritable != 0:
			c.memType = uint8(m.pa >> tlbTypeShift & tlbTypeMask)
			return m.pa&^x86.PageMask | va&x86.PageMask, true
		case kind == accessRead,
			kind == accessFetch && m.pa&tlbExec != 0:
			return m.pa&^x86.PageMask | va&x86.PageMask, true
		}
	}
	return c.walk(va, set, kind)
}

// walk reads the paging structures, sets accessed and dirty bits, and fills
// the TLB (SDM 3A, 4.5, 4.6, 4.8). See tables.go for what it fills it with.
func (c *cpu) walk(va uint64, set int, kind access) (uint64, bool) {
	if c.cr0&x86.CR0PG == 0 {
		c.memType = 0
		return va, true
	}
	var (
		entry, at  uint64
		offs       [4]uint64
		regions    [4]*region
		entries    [4]uint64
		all        = uint64(pteW | pteU)
		nx         uint64
		rsvd       uint64
		base       = c.cr3 & pteAddr
		level      = 3
		pageLevel  int
		flags, off uint64
	)
	if c.efer&x86.EFERNXE == 0 {
		rsvd = pteNX
	}
	for ; ; level-- {
		at = base | va>>(12+9*uint(level))&511<<3
		r := c.p.mem.find(at)
		entry = ^uint64(0) // a table that is no memory
		if r != nil {
			if c.p.watch != nil {
				c.observeLoad(r, at-r.base, 8, observe.Walk)
			}
			if !c.readable(at, 8) {
				return 0, false
			}
			entry = le.Uint64(r.mem[at-r.base:])
			regions[level], offs[level] = r, at-r.base
		}
		if entry&pteP == 0 {
			return 0, c.pageFault(va, set, kind, 0)
		}
		bad := rsvd | c.p.reserved
		leaf := level == 0 || level < len(leafReserved) && entry&ptePS != 0
		if leaf {
			bad |= leafReserved[level]
		} else {
			bad |= ptePS // of a PML4E: of all others it makes leaves
		}
		if entry&bad != 0 {
			return 0, c.pageFault(va, set, kind, pfPresent|pfRsvd)
		}
		all &= entry
		nx |= entry & pteNX
		entries[level] = entry
		if leaf {
			break
		}
		base = entry & pteAddr
	}
	pageLevel = level
	user := all&pteU != 0
	writable := all&pteW != 0
	if set == 0 && c.cr0&x86.CR0WP == 0 {
		writable = true
	}
	exec := nx == 0
	if set == 0 && user && c.cr4&x86.CR4SMEP != 0 {
		exec = false
	}
	if set == 1 && !user || kind == accessWrite && !writable || kind == accessFetch && !exec ||
		set == 0 && user && kind != accessFetch && c.guarded() {
		return 0, c.pageFault(va, set, kind, pfPresent)
	}
	for l := 3; l >= pageLevel; l-- {
		e := entries[l] | pteA
		if l == pageLevel && kind == accessWrite {
			e |= pteD
		}
		if e != entries[l] {
			c.setEntry(regions[l], offs[l], e)
		}
		entry = e
		c.p.tableAt(regions[l], offs[l], l, va)
	}
	size := uint64(1) << (12 + 9*pageLevel)
	off = va & (size - 1)
	base = entry & pteAddr &^ (size - 1)
	flags = tlbSizes[pageLevel]
	if writable && entry&pteD != 0 {
		flags |= tlbWritable
	}
	if exec {
		flags |= tlbExec
	}
	if entry&pteG != 0 {
		flags |= tlbGlobal
	}
	if set == 0 && user && c.cr4&x86.CR4SMAP != 0 {
		flags |= tlbUser
	}
	if t := c.pageType(entry, pageLevel > 0, base|off); t != 0 {
		flags |= uint64(t) << tlbTypeShift
	}
	c.fill(set, va, base|off, flags, kind)
	if kind == accessWrite {
		c.memType = uint8(flags >> tlbTypeShift)
	}
	return base | off, true
}

// setEntry sets accessed and dirty bits of an entry at off of r. No translation
// depends on them.
func (c *cpu) setEntry(r *region, off, e uint64) {
	if r.readOnly {
		return
	}
	if r.mark(off).code != 0 {
		c.dropPage(r, off)
	}
	r.touch(off)
	if r.watched {
		kind, group := c.beginWalk()
		c.observeStore(r, off, 8, e)
		c.endWalk(kind, group)
	}
	le.PutUint64(r.mem[off:], e)
}

// privilege is the translation set of an ordinary access.
func (c *cpu) privilege() int {
	if c.cpl == 3 {
		return 1
	}
	return 0
}
