package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// A storePage is a page of memory that plain stores go to.
type storePage struct {
	va      uint64 // of the page
	r       *region
	off     uint64 // of the page in r
	memType uint8
}

// storePage finds the page of va for a store, if that needs no walk. What it says
// holds until attention is due.
func (c *cpu) storePage(va uint64) (p storePage, ok bool) {
	m := &c.tlbs[c.privilege()].meta[va>>x86.PageShift&(abi.TLBSize-1)]
	p.va = va &^ x86.PageMask
	if p.va != m.vtag || m.pa&tlbWritable == 0 {
		return p, false
	}
	p.r = c.p.mem.find(m.pa)
	if p.r == nil || p.r.readOnly {
		return p, false
	}
	p.off = m.pa&^x86.PageMask - p.r.base
	p.memType = uint8(m.pa >> tlbTypeShift & tlbTypeMask)
	return p, true
}

// observedPage is storePage for memory that is observed, and may be stored to
// without telling anybody else.
func (c *cpu) observedPage(va uint64) (p storePage, ok bool) {
	if p, ok = c.storePage(va); !ok || !p.r.watched || p.r.marked(p.off) {
		return storePage{}, false
	}
	p.r.touch(p.off)
	return p, true
}

// storeObserved does op k, a plain store, if it is to observed memory, and tells
// of it. Where it can, this spares decoding and
// looking the instruction up again; what it says is what the executor would.
// P is the page of the op before, and becomes that of this one; the code is of the
// page at code, and its block began when the clock was clock.
func (c *cpu) storeObserved(k *ir.Op, p *storePage, code, clock uint64) bool {
	x := &ir.OpTable[k.Code]
	n := x.Size
	va := c.address(k)
	if x.Kind == ir.KindCopyAligned && va&15 != 0 {
		return false
	}
	at := va & x86.PageMask
	if at > x86.PageSize-uint64(n) {
		return false
	}
	if p.r == nil || p.va != va-at {
		var ok bool
		if *p, ok = c.observedPage(va); !ok {
			return false
		}
	}
	r, off := p.r, p.off+at
	c.rip, c.now = code+uint64(k.PC), clock+uint64(k.N)
	c.kind = observe.Kind(k.Sel)
	c.memType = p.memType
	c.group = c.now | uint64(c.id)<<56
	v := c.storedValue(k)
	if n == 16 {
		c.kind |= observe.Vector
		c.observeStore(r, off, 8, v)
		x86.PutLE(r.mem[off:], 8, v)
		n, off, v = 8, off+8, c.fpu.xmm[k.Src&31][1]
	}
	c.observeStore(r, off, n, v)
	if n == 8 {
		le.PutUint64(r.mem[off:], v)
	} else {
		x86.PutLE(r.mem[off:], n, v)
	}
	return true
}

// storedValue is what a plain store stores, but for the upper half of 16 bytes.
func (c *cpu) storedValue(k *ir.Op) uint64 {
	switch x := &ir.OpTable[k.Code]; {
	case x.Form == ir.FormMI:
		return uint64(k.Imm)
	case x.Kind == ir.KindMovh:
		return c.fpu.xmm[k.Src&31][1]
	case x.Vectors:
		return c.fpu.xmm[k.Src&31][0]
	}
	return c.r[k.Src]
}

// toldStores does the op at which code was left, if it is a plain store that
// somebody is told of. It returns where code goes on, or 0.
func (c *cpu) toldStores() uint32 {
	if c.observing {
		if at := c.storesObserved(); at != 0 || c.native.Why != abi.LeftOp {
			return at
		}
	}
	return c.storeMarked()
}

// storesObserved does the op at which code was left, and those right after it,
// as long as they are plain stores to observed memory. It returns where code
// goes on, or 0.
func (c *cpu) storesObserved() uint32 {
	x := &c.native
	if x.Why != abi.LeftOp {
		return 0
	}
	var p storePage
	ops := c.p.cache.Ops
	code, clock := c.nativePage(), x.Limit-x.Left
	var stream storePage // of the op before, if it streams
	for first := x.Op; ; x.Op++ {
		k := &ops[x.Op]
		if c.p.streams != nil && streams(k) && c.streamStores(&stream) {
			p = stream
		} else if ir.PlainStore(k.Code) && k.Link != 0 && c.storeObserved(k, &p, code, clock) {
			stream.r = nil
		} else {
			if x.Op == first {
				return 0
			}
			if stream.r != nil {
				c.streamTo(&stream)
			}
			return ops[x.Op-1].Link
		}
		if c.attn {
			c.leaveAfter(x.Op)
			return 0
		}
	}
}
