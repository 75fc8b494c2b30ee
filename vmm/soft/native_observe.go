package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// storeObserved does op k, at which code was left, if it is a plain store to
// observed memory, and tells of it. Where it can, this spares decoding and
// looking the instruction up again; what it says is what the executor would.
func (c *cpu) storeObserved(k *ir.Op) bool {
	if !ir.PlainStore(k.Code) || k.Link == 0 {
		return false
	}
	x := &ir.OpTable[k.Code]
	n := x.Size
	va := c.address(k)
	m := &c.tlbs[c.privilege()].meta[va>>x86.PageShift&(abi.TLBSize-1)]
	if (va+uint64(n)-1)&^x86.PageMask != m.vtag || va&^x86.PageMask != m.vtag || m.pa&tlbWritable == 0 || x.Kind == ir.KindCopyAligned && va&15 != 0 {
		return false
	}
	pa := m.pa&^x86.PageMask | va&x86.PageMask
	r := c.p.mem.find(pa)
	if r == nil || !r.watched || r.readOnly {
		return false
	}
	off := pa - r.base
	if r.marked(off) {
		return false
	}
	r.touch(off)
	c.rip = c.nativePage() + uint64(k.PC)
	c.now = c.native.Limit - c.native.Left + uint64(k.N)
	c.kind = observe.Kind(k.Sel)
	c.memType = uint8(m.pa >> tlbTypeShift & tlbTypeMask)
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
	ops := c.p.cache.Ops
	if x.Why != abi.LeftOp || !c.streamStores() && !c.storeObserved(&ops[x.Op]) {
		return 0
	}
	for !c.attn {
		if x.Op++; !c.streamStores() && !c.storeObserved(&ops[x.Op]) {
			return ops[x.Op-1].Link
		}
	}
	c.leaveAfter(x.Op)
	return 0
}
