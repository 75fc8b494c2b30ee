package soft

import (
	"math/bits"

	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// A processor may use a translation until the guest flushes it, whatever the
// paging structures say by then, and may forget it at any time (SDM 3A,
// 4.10.2.3). So what a TLB holds would be part of a run: which entries there are
// decides whether an accessed bit is set again, and the tiers fill the TLB
// differently. Here nobody can tell. A page that a translation was read from is
// marked as a table, and a store to an entry of it forgets what depends on the
// entry, in the TLB, the jump cache and the links between blocks alike. Each of
// these says what a walk would find at that moment, and so is derived of memory
// and of the control registers.
//
// A table whose entries are stored to again and again while nobody walks
// through it loses its mark, and what depends on it is forgotten at once: it
// may no longer be a table, or a process is being made or ended.

// pageTable is a page that translations were read from.
type pageTable struct {
	pa     uint64 // of the page
	base   uint64 // linear address that its entry 0 translates
	level  uint8  // 0 holds the entries of pages, 3 is where CR3 points
	many   bool   // it is a table at another level or address as well
	stores uint8  // since the latest walk through it
}

// maxTableStores is how many stores a table's mark outlives.
const maxTableStores = 64

// tableAt has the page at off of r marked as a table of that level for va.
func (p *processors) tableAt(r *region, off uint64, level int, va uint64) {
	base := va &^ (1<<(21+9*level) - 1)
	if level == 3 {
		base = 0
	}
	if i := r.mark(off).table; i != 0 {
		t := &p.tables[i]
		t.stores = 0
		if t.base != base || int(t.level) != level {
			t.many = true
		}
		return
	}
	m := r.setMark(off)
	if *m == (mark{}) {
		p.protectPage(r.base + off)
		p.cpu.attn = true // code that runs may have found already that it may store there
	}
	t := pageTable{pa: r.base + off&^x86.PageMask, base: base, level: uint8(level)}
	if n := len(p.freeTables); n > 0 {
		m.table = p.freeTables[n-1]
		p.freeTables = p.freeTables[:n-1]
		p.tables[m.table] = t
		return
	}
	m.table = uint32(len(p.tables))
	p.tables = append(p.tables, t)
}

// storedToTable is told of a store of n bytes at off of r, in a table, before
// memory changes.
func (c *cpu) storedToTable(r *region, off, n uint64) {
	p := c.p
	i := r.mark(off).table
	t := &p.tables[i]
	if t.stores++; t.stores == maxTableStores || n == x86.PageSize {
		p.forgetTable(i)
		return
	}
	for e := off &^ 7; e < off+n; e += 8 {
		if le.Uint64(r.mem[e:])&pteP == 0 {
			continue // nothing depends on it
		}
		if t.many {
			p.forgetTable(i)
			return
		}
		shift := 12 + 9*t.level
		va := t.base | e&x86.PageMask>>3<<shift
		p.forgetRange(uint64(int64(va<<16)>>16), shift)
	}
}

// forgetTable forgets all that was read from a table, and its mark.
func (p *processors) forgetTable(i uint32) {
	t := &p.tables[i]
	r := p.mem.find(t.pa)
	r.setMark(t.pa - r.base).table = 0
	p.freeTables = append(p.freeTables, i)
	switch {
	case t.many:
		p.forgetTranslations()
	case t.level == 3:
		// Of another process's, global translations are none that are not of
		// the current one as well: see sameGlobals.
		for _, c := range p.cpus {
			if c.cr3&pteAddr == t.pa {
				p.forgetTranslations()
				return
			}
		}
	default:
		p.forgetRange(t.base, 21+9*t.level)
	}
}

// forgetRange forgets the translations of 1<<shift bytes at va, on all
// processors. Code that runs looks its own up again.
func (p *processors) forgetRange(va uint64, shift uint8) {
	for _, c := range p.cpus {
		for s := range c.tlbs {
			c.tlbs[s].dropRange(va, shift)
		}
		switch shift {
		case x86.PageShift:
			c.forgetPage(va)
		case 21:
			c.forgetLarge(va)
		default:
			c.newGen(ir.GenLower + int(va>>63))
		}
		c.attn = true
	}
}

// forgetTranslations forgets those of all processors.
func (p *processors) forgetTranslations() {
	for _, c := range p.cpus {
		c.flushTLB(false)
		c.attn = true
	}
}

// resetTables takes all marks of tables away, once no translation is left.
func (p *processors) resetTables() {
	for _, t := range p.tables[1:] {
		if r := p.mem.find(t.pa); r != nil {
			r.setMark(t.pa - r.base).table = 0
		}
	}
	p.tables = append(p.tables[:0], pageTable{})
	p.freeTables = p.freeTables[:0]
}

// setCR3 makes other tables the current ones. Translations that are global stay
// if both have the same entries for them, which then depend on the new table
// as well.
func (c *cpu) setCR3(v uint64) {
	was := c.cr3 & pteAddr
	c.cr3 = v
	c.flushTLB(c.sameGlobals(was, v&pteAddr))
	c.attn = true
}

// sameGlobals says whether what is known of global pages is so with the table
// at to as it was with that at from.
func (c *cpu) sameGlobals(from, to uint64) bool {
	if from == to {
		return true
	}
	a, b := c.p.mem.page(from), c.p.mem.page(to)
	if a == nil || b == nil {
		return false
	}
	none := true
	for i, w := range c.globals {
		for ; w != 0; w &= w - 1 {
			e := (64*i + bits.TrailingZeros64(w)) << 3
			if (le.Uint64(a[e:])^le.Uint64(b[e:]))&^(pteA|pteD) != 0 {
				return false
			}
			none = false
		}
	}
	if !none {
		r := c.p.mem.find(to)
		c.p.tableAt(r, to-r.base, 3, 0)
	}
	return true
}
