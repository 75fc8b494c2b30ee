package soft

import (
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// storeMarked does the op at which code was left, if it is a plain store to a page
// with a mark, as a page table is: making a process and ending one are thousands
// of them. It returns where code goes on, or 0.
func (c *cpu) storeMarked() uint32 {
	x := &c.native
	if x.Why != abi.LeftOp {
		return 0
	}
	k := &c.p.cache.Ops[x.Op]
	if k.Link == 0 || !ir.PlainStore(k.Code) {
		return 0
	}
	n := uint64(ir.OpTable[k.Code].Size)
	va := c.address(k)
	p, ok := c.storePage(va)
	if !ok || n > 8 || va&x86.PageMask > x86.PageSize-n || !p.r.direct() || !p.r.marked(p.off) {
		return 0
	}
	r, off := p.r, p.off+va&x86.PageMask
	c.rip, c.now = c.nativePage()+uint64(k.PC), x.Limit-x.Left+uint64(k.N)
	r.touch(off)
	c.stored(r, off, n)
	c.p.overwritten(r, r.base+off, n)
	x86.PutLE(r.mem[off:], uint8(n), c.storedValue(k))
	if !c.attn {
		return k.Link
	}
	c.leaveAfter(x.Op)
	return 0
}
