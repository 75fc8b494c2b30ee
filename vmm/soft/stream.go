package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// maxStream is how many stores are told at once.
const maxStream = 512

// beginStreams finds out whether the observer may be told of stores late.
func (p *processors) beginStreams() {
	p.streams = nil
	if o, ok := p.observer.(observe.StreamObserver); ok && o.Streams() {
		p.streams = o
	}
}

// tellStream tells of the stores that were made and not told.
func (c *cpu) tellStream() {
	s := &c.events.stream
	if len(s.Stores) > 0 {
		c.p.streams.Stream(s)
		s.Stores = s.Stores[:0]
	}
}

// streamStores does the op at which code was left, which streams, and those right
// after it that do and store to the same page, as storeObserved does. They are told
// before the next event.
func (c *cpu) streamStores() bool {
	x := &c.native
	ops := c.p.cache.Ops
	k := &ops[x.Op]
	va := c.address(k)
	p, ok := c.observedPage(va)
	if !ok || p.memType != 0 || va&7 != 0 {
		return false
	}
	r, at, page := p.r, p.off, p.va
	if c.ordered != 0 {
		c.tellOrder()
	}
	s := &c.events.stream
	if s.Base != r.base || s.CR3 != c.cr3 || s.CPL != c.cpl {
		c.tellStream()
	}
	mem := r.mem[at:][:x86.PageSize]
	code, clock, id := c.nativePage(), x.Limit-x.Left, uint64(c.id)<<56
	seq := c.others + clock - c.idle
	list, n := s.Stores, x.Op
	for ; streams(k); n, k = n+1, &ops[n+1] {
		off := c.address(k) - page
		if off >= x86.PageSize || off&7 != 0 {
			break
		}
		after, pc := uint64(k.N), code+uint64(k.PC)
		switch len(list) {
		case maxStream:
			s.Stores = list
			c.tellStream()
			list = s.Stores
			fallthrough
		case 0:
			s.At = observe.At{Seq: seq + after, PC: pc, CR3: c.cr3, VCPU: c.id, CPL: c.cpl}
			s.Base, s.Kind = r.base, observe.NonTemporal
		}
		was := mem[off : off+8]
		v, old := c.r[k.Src], le.Uint64(was)
		le.PutUint64(was, v)
		list = append(list, observe.Streamed{Seq: seq + after, PC: pc, Offset: at + off, Value: v, Old: old, Group: (clock + after) | id})
	}
	s.Stores, x.Op = list, n-1
	k = &ops[n-1]
	c.rip, c.now = code+uint64(k.PC), clock+uint64(k.N)
	return true
}

// streams says that the op is a non-temporal store of 8 bytes, after which code
// can go on.
func streams(k *ir.Op) bool {
	return (k.Code == ir.OpMOVMR64 || k.Code == ir.OpMOVMR64B) && k.Sel == uint8(observe.NonTemporal) && k.Link != 0
}

// address is that of the op's memory operand.
func (c *cpu) address(k *ir.Op) uint64 {
	return c.r[k.Base] + c.r[k.Index]<<(k.Scale&63) + uint64(int64(k.Disp))
}
