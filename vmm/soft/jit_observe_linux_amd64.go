package soft

import "nvlab/vmm/observe"

// plainStores has the size of what an op stores that does nothing else: 1, 2,
// 4, 8 or 16 bytes; 0 for other ops.
var plainStores = func() (sizes [opCount]uint8) {
	for w, size := range opSizes {
		sizes[opMOVMR8+opcode(w)*movStride] = size
		sizes[opMOVMI8+opcode(w)*movStride] = size
	}
	sizes[opMOVMX32], sizes[opMOVMX64], sizes[opMOVHMX] = 4, 8, 8
	sizes[opMOVMX], sizes[opMOVAMX] = 16, 16
	for i, full := range fullOps {
		if full != opcode(i) {
			sizes[i] = sizes[full]
		}
	}
	return sizes
}()

// storeObserved does op k, at which code was left, if it is a plain store to
// observed memory, and tells of it. Where it can, this spares decoding and
// looking the instruction up again; what it says is what the executor would.
func (c *cpu) storeObserved(k *op) bool {
	n := plainStores[k.code]
	if n == 0 || k.link == 0 {
		return false
	}
	va := c.r[k.base] + c.r[k.index]<<(k.scale&63) + uint64(int64(k.disp))
	m := &c.tlbs[c.privilege()].meta[va>>pageShift&(tlbSize-1)]
	if (va+uint64(n)-1)&^pageMask != m.vtag || va&^pageMask != m.vtag || m.pa&tlbWritable == 0 {
		return false
	}
	pa := m.pa&^pageMask | va&pageMask
	r := c.p.mem.find(pa)
	if r == nil || !r.watched || r.readOnly || r.firstBlock(pa-r.base) != 0 {
		return false
	}
	if n == 16 && va&15 != 0 && fullOps[k.code] == opMOVAMX {
		return false
	}
	x := &c.native
	c.rip = c.nativePage() + uint64(k.pc)
	c.now = x.limit - x.left + uint64(k.n)
	c.kind = observe.Kind(k.sel)
	c.group = c.now | uint64(c.id)<<56
	off := pa - r.base
	var v uint64
	switch full := fullOps[k.code]; {
	case full < opMOVX && (full-opMOVRR8)%movStride == opMOVMR8-opMOVRR8:
		v = c.r[k.src]
	case full < opMOVX:
		v = uint64(k.imm)
	case full == opMOVHMX:
		v = c.fpu.xmm[k.src&31][1]
	default:
		v = c.fpu.xmm[k.src&31][0]
	}
	if n == 16 {
		c.kind |= observe.Vector
		c.observeStore(r, off, 8, v)
		putLE(r.mem[off:], 8, v)
		n, off, v = 8, off+8, c.fpu.xmm[k.src&31][1]
	}
	c.observeStore(r, off, n, v)
	putLE(r.mem[off:], n, v)
	return true
}
