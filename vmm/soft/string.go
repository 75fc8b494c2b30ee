package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

func registerString() {
	register(execMOVS, 0xa4, 0xa5)
	register(execCMPS, 0xa6, 0xa7)
	register(execSTOS, 0xaa, 0xab)
	register(execLODS, 0xac, 0xad)
	register(execSCAS, 0xae, 0xaf)
	register(execINS, 0x6c, 0x6d)
	register(execOUTS, 0x6e, 0x6f)
}

// A repeated string instruction executes in pieces that end where an operand
// enters another page. A piece counts as one instruction; after all but the
// last the instruction stays the next one, so that interrupts can come
// between, as the architecture lets them.

// source and dest are the linear addresses of the operands.

func (c *cpu) source(in *x86.Inst) uint64 {
	return c.linear(in.Seg, in.Wrap(c.r[x86.RSI]))
}

func (c *cpu) dest(in *x86.Inst) uint64 {
	return c.linear(x86.SegES, in.Wrap(c.r[x86.RDI]))
}

// advance moves an index register by n elements.
func (c *cpu) advance(in *x86.Inst, r uint8, size uint8, n uint64) {
	d := n * uint64(size)
	if c.flags&x86.FlagDF != 0 {
		d = -d
	}
	c.setReg(in, r, in.AddressSize, c.r[r]+d)
}

// inPage is how many whole elements from va on, in the direction of DF, lie
// in va's page; 0 if the first crosses its end.
func (c *cpu) inPage(va uint64, size uint8) uint64 {
	if c.flags&x86.FlagDF == 0 {
		return (x86.PageSize - va&x86.PageMask) / uint64(size)
	}
	if va&x86.PageMask+uint64(size) > x86.PageSize {
		return 0
	}
	return va&x86.PageMask/uint64(size) + 1
}

// again ends a piece: n elements are done, and if more remain the instruction
// is the next one again.
func (c *cpu) again(in *x86.Inst, n uint64) bool {
	left := c.count(in) - n
	c.setCount(in, left)
	if left != 0 {
		c.next = c.rip
	}
	return true
}

func execMOVS(c *cpu, in *x86.Inst) bool {
	n := uint64(1)
	if in.Rep != 0 {
		if n = c.count(in); n == 0 {
			return true
		}
	}
	src, dst := c.source(in), c.dest(in)
	piece := min(n, c.inPage(src, in.Size), c.inPage(dst, in.Size))
	if done := c.moveBytes(in.Seg, src, dst, piece, in.Size); done != 0 {
		piece = done
	} else {
		piece = 1
		v, ok := c.load(in.Seg, src, in.Size)
		if !ok || !c.store(x86.SegES, dst, in.Size, v) {
			return false
		}
	}
	c.advance(in, x86.RSI, in.Size, piece)
	c.advance(in, x86.RDI, in.Size, piece)
	if in.Rep != 0 {
		return c.again(in, piece)
	}
	return true
}

// plainPage is the memory from va to the end of its page, and from the start
// of its page to va, if an access reaches ordinary memory without a fault.
func (c *cpu) plainPage(va uint64, kind access) (page []byte, ok bool) {
	if !x86.Canonical(va) || !c.long || c.aligned() || c.traced() {
		return nil, false
	}
	pa, ok := c.translate(va, c.privilege(), kind)
	if !ok {
		return nil, false
	}
	if c.apic.At(pa) {
		return nil, false
	}
	r := c.p.mem.find(pa)
	if r == nil {
		return nil, false
	}
	off := pa&^x86.PageMask - r.base
	if kind == accessWrite {
		if !r.direct() {
			return nil, false
		}
		if r.marked(off) {
			c.stored(r, off, x86.PageSize)
		}
	}
	return r.mem[off : off+x86.PageSize], true
}

// moveBytes does n elements of MOVS within one page each, and returns how many
// it did, or 0 if that cannot be done in bulk.
func (c *cpu) moveBytes(seg uint8, src, dst, n uint64, size uint8) uint64 {
	if n = c.intact(src, n, size); n < 2 {
		return 0
	}
	from, ok := c.plainPage(src, accessRead)
	if !ok {
		return 0
	}
	to, ok := c.plainPage(dst, accessWrite)
	if c.p.watch != nil && !(ok && c.observeCopy(src, dst, n*uint64(size))) {
		c.observeMove(src, n*uint64(size), size)
		if ok {
			c.observeOverwritten(dst, n*uint64(size), size)
		}
	}
	if !ok {
		return c.storeEach(dst, n, size, func(i uint64) uint64 { return x86.GetLE(from[src&x86.PageMask+i:], size) })
	}
	s, d, len := src&x86.PageMask, dst&x86.PageMask, n*uint64(size)
	if c.flags&x86.FlagDF == 0 {
		// Bytes that the copy itself writes must be read as written.
		if &from[0] == &to[0] && d > s && d < s+len {
			for i := uint64(0); i < len; i += uint64(size) {
				x86.PutLE(to[d+i:], size, x86.GetLE(from[s+i:], size))
			}
			return n
		}
		copy(to[d:d+len], from[s:s+len])
		return n
	}
	for i := uint64(0); i < len; i += uint64(size) {
		x86.PutLE(to[d-i:], size, x86.GetLE(from[s-i:], size))
	}
	return n
}

func execSTOS(c *cpu, in *x86.Inst) bool {
	n := uint64(1)
	if in.Rep != 0 {
		if n = c.count(in); n == 0 {
			return true
		}
	}
	dst := c.dest(in)
	piece := min(n, c.inPage(dst, in.Size))
	if done := c.fillBytes(dst, piece, in.Size); done != 0 {
		piece = done
	} else {
		piece = 1
		if !c.store(x86.SegES, dst, in.Size, c.reg(in, x86.RAX, in.Size)) {
			return false
		}
	}
	c.advance(in, x86.RDI, in.Size, piece)
	if in.Rep != 0 {
		return c.again(in, piece)
	}
	return true
}

// fillBytes does n elements of STOS within a page, and returns n, or what
// moveBytes would.
func (c *cpu) fillBytes(dst, n uint64, size uint8) uint64 {
	if n < 2 {
		return 0
	}
	to, ok := c.plainPage(dst, accessWrite)
	if !ok {
		return c.storeEach(dst, n, size, func(uint64) uint64 { return c.r[x86.RAX] })
	}
	len := n * uint64(size)
	d := dst & x86.PageMask
	if c.flags&x86.FlagDF != 0 {
		d -= len - uint64(size)
	}
	if c.p.copies != nil {
		if pa, ok := c.translate(dst&^x86.PageMask, c.privilege(), accessWrite); ok {
			c.p.overwritten(c.p.mem.find(pa), pa+d, len)
		}
	}
	to = to[d : d+len]
	v := c.r[x86.RAX] & x86.SizeMask(size)
	if v == 0 {
		clear(to)
		return n
	}
	x86.PutLE(to, size, v)
	for done := int(size); done < int(len); done *= 2 {
		copy(to[done:], to[:done])
	}
	return n
}

// storeEach does up to n elements of a repeated store within a page of memory
// that has an observer, and tells of each. It returns how many, fewer if the
// observer wants the machine to stop, and 0 for any other memory. They take the
// time that they take in memory without an observer.
func (c *cpu) storeEach(dst, n uint64, size uint8, value func(at uint64) uint64) uint64 {
	if !c.observing || c.aligned() || c.traced() || !x86.Canonical(dst) {
		return 0
	}
	pa, ok := c.translate(dst, c.privilege(), accessWrite)
	if !ok {
		return 0
	}
	r := c.p.mem.find(pa)
	if r == nil || !r.watched || r.readOnly {
		return 0
	}
	off, step := pa-r.base, uint64(size)
	if r.marked(off) {
		c.stored(r, off&^x86.PageMask, x86.PageSize)
	}
	r.touch(off)
	if c.flags&x86.FlagDF != 0 {
		step = -step
	}
	for i := range n {
		at := i * step
		v := value(at)
		c.observeStore(r, off+at, size, v)
		x86.PutLE(r.mem[off+at:], size, v)
		if c.p.stopping {
			return i + 1
		}
	}
	return n
}

func execLODS(c *cpu, in *x86.Inst) bool {
	if in.Rep != 0 && c.count(in) == 0 {
		return true
	}
	v, ok := c.load(in.Seg, c.source(in), in.Size)
	if !ok {
		return false
	}
	c.setReg(in, x86.RAX, in.Size, v)
	c.advance(in, x86.RSI, in.Size, 1)
	if in.Rep != 0 {
		return c.again(in, 1)
	}
	return true
}

// repeatCompare bounds the elements that one piece of CMPS or SCAS does.
func (c *cpu) repeatCompare() int {
	if c.traced() {
		return 1
	}
	return 4096
}

// more decides whether a repeated comparison goes on, after c's flags are set.
func (c *cpu) more(in *x86.Inst) bool {
	return (c.fz == 0) == (in.Rep == 0xf3)
}

func execCMPS(c *cpu, in *x86.Inst) bool {
	for left := c.repeatCompare(); ; left-- {
		if in.Rep != 0 && c.count(in) == 0 {
			return true
		}
		if left == 0 {
			c.next = c.rip
			return true
		}
		a, ok := c.load(in.Seg, c.source(in), in.Size)
		if !ok {
			return false
		}
		b, ok := c.load(x86.SegES, c.dest(in), in.Size)
		if !ok {
			return false
		}
		c.alu(x86.AluCMP, a, b, in.Size)
		c.advance(in, x86.RSI, in.Size, 1)
		c.advance(in, x86.RDI, in.Size, 1)
		if in.Rep == 0 {
			return true
		}
		c.setCount(in, c.count(in)-1)
		if !c.more(in) {
			return true
		}
	}
}

func execSCAS(c *cpu, in *x86.Inst) bool {
	for left := c.repeatCompare(); ; left-- {
		if in.Rep != 0 && c.count(in) == 0 {
			return true
		}
		if left == 0 {
			c.next = c.rip
			return true
		}
		b, ok := c.load(x86.SegES, c.dest(in), in.Size)
		if !ok {
			return false
		}
		c.alu(x86.AluCMP, c.reg(in, x86.RAX, in.Size), b, in.Size)
		c.advance(in, x86.RDI, in.Size, 1)
		if in.Rep == 0 {
			return true
		}
		c.setCount(in, c.count(in)-1)
		if !c.more(in) {
			return true
		}
	}
}

func execINS(c *cpu, in *x86.Inst) bool {
	size := min(in.Size, 4)
	port := uint16(c.r[x86.RDX])
	if !c.portAllowed(port, size) {
		return false
	}
	if in.Rep != 0 && c.count(in) == 0 {
		return true
	}
	s, ok := c.span(x86.SegES, c.dest(in), size, accessWrite)
	if !ok {
		return false
	}
	c.orderNow(observe.PortIO)
	c.write(&s, uint64(c.p.bus.PortIn(port, int(size))))
	c.advance(in, x86.RDI, size, 1)
	if in.Rep != 0 {
		return c.again(in, 1)
	}
	return true
}

func execOUTS(c *cpu, in *x86.Inst) bool {
	size := min(in.Size, 4)
	port := uint16(c.r[x86.RDX])
	if !c.portAllowed(port, size) {
		return false
	}
	if in.Rep != 0 && c.count(in) == 0 {
		return true
	}
	v, ok := c.load(in.Seg, c.source(in), size)
	if !ok {
		return false
	}
	c.orderNow(observe.PortIO)
	c.p.bus.PortOut(port, int(size), uint32(v))
	c.advance(in, x86.RSI, size, 1)
	if in.Rep != 0 {
		return c.again(in, 1)
	}
	return true
}
