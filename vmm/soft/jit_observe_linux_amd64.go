package soft

import "nvlab/vmm/observe"

// plainStore says whether an op stores and does nothing else.
func plainStore(c opcode) bool {
	switch x := &opTable[c]; x.kind {
	case kindMov:
		return x.mem == memStores
	case kindCopyVector, kindCopyAligned, kindMovd, kindMovh:
		return x.mem == memStores
	}
	return false
}

// storeObserved does op k, at which code was left, if it is a plain store to
// observed memory, and tells of it. Where it can, this spares decoding and
// looking the instruction up again; what it says is what the executor would.
func (c *cpu) storeObserved(k *op) bool {
	if !plainStore(k.code) || k.link == 0 {
		return false
	}
	x := &opTable[k.code]
	n := x.size
	va := c.r[k.base] + c.r[k.index]<<(k.scale&63) + uint64(int64(k.disp))
	m := &c.tlbs[c.privilege()].meta[va>>pageShift&(tlbSize-1)]
	if (va+uint64(n)-1)&^pageMask != m.vtag || va&^pageMask != m.vtag || m.pa&tlbWritable == 0 || x.kind == kindCopyAligned && va&15 != 0 {
		return false
	}
	pa := m.pa&^pageMask | va&pageMask
	r := c.p.mem.find(pa)
	if r == nil || !r.watched || r.readOnly {
		return false
	}
	off := pa - r.base
	if r.marked(off) {
		return false
	}
	r.touch(off)
	c.rip = c.nativePage() + uint64(k.pc)
	c.now = c.native.limit - c.native.left + uint64(k.n)
	c.kind = observe.Kind(k.sel)
	c.memType = uint8(m.pa >> tlbTypeShift & tlbTypeMask)
	c.group = c.now | uint64(c.id)<<56
	v := c.r[k.src]
	switch {
	case x.form == formMI:
		v = uint64(k.imm)
	case x.kind == kindMovh:
		v = c.fpu.xmm[k.src&31][1]
	case x.vectors:
		v = c.fpu.xmm[k.src&31][0]
	}
	if n == 16 {
		c.kind |= observe.Vector
		c.observeStore(r, off, 8, v)
		putLE(r.mem[off:], 8, v)
		n, off, v = 8, off+8, c.fpu.xmm[k.src&31][1]
	}
	c.observeStore(r, off, n, v)
	if n == 8 {
		le.PutUint64(r.mem[off:], v)
	} else {
		putLE(r.mem[off:], n, v)
	}
	return true
}

// storesObserved does the op at which code was left, and those right after it,
// as long as they are plain stores to observed memory. It returns where code
// goes on, or 0.
func (c *cpu) storesObserved() uint32 {
	x := &c.native
	ops := c.p.cache.ops
	if x.why != leftOp || !c.streamStores() && !c.storeObserved(&ops[x.op]) {
		return 0
	}
	for !c.attn {
		if x.op++; !c.streamStores() && !c.storeObserved(&ops[x.op]) {
			return ops[x.op-1].link
		}
	}
	c.rip = c.nativePage() + uint64(ops[x.op+1].pc)
	x.why = leftRun
	return 0
}
