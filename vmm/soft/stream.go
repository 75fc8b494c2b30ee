package soft

import "nvlab/vmm/observe"

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

// streamStores does the op at which code was left, and those right after it, as
// storeObserved does, if they are non-temporal stores of 8 bytes to one page.
// They are told before the next event.
func (c *cpu) streamStores() bool {
	x := &c.native
	ops := c.p.cache.ops
	k := &ops[x.op]
	if c.p.streams == nil || !k.streams() {
		return false
	}
	va := k.address(c)
	page := va &^ pageMask
	m := &c.tlbs[c.privilege()].meta[va>>pageShift&(tlbSize-1)]
	if page != m.vtag || m.pa&tlbWritable == 0 || m.pa>>tlbTypeShift&tlbTypeMask != 0 || va&7 != 0 {
		return false
	}
	r := c.p.mem.find(m.pa)
	if r == nil || !r.watched || r.readOnly {
		return false
	}
	at := m.pa&^pageMask - r.base
	if r.marked(at) {
		return false
	}
	r.touch(at)
	if c.ordered != 0 {
		c.tellOrder()
	}
	s := &c.events.stream
	if s.Base != r.base || s.CR3 != c.cr3 || s.CPL != c.cpl {
		c.tellStream()
	}
	mem := r.mem[at:][:pageSize]
	code, clock, id := c.nativePage(), x.limit-x.left, uint64(c.id)<<56
	seq := c.others + clock - c.idle
	for n := x.op; k.streams(); n, k = n+1, &ops[n+1] {
		off := k.address(c) - page
		if off >= pageSize || off&7 != 0 {
			break
		}
		if len(s.Stores) == maxStream {
			c.tellStream()
		}
		after, pc := uint64(k.n), code+uint64(k.pc)
		if len(s.Stores) == 0 {
			s.At = observe.At{Seq: seq + after, PC: pc, CR3: c.cr3, VCPU: c.id, CPL: c.cpl}
			s.Base, s.Kind = r.base, observe.NonTemporal
		}
		p := mem[off : off+8]
		v, old := c.r[k.src], le.Uint64(p)
		le.PutUint64(p, v)
		s.Stores = append(s.Stores, observe.Streamed{Seq: seq + after, PC: pc, Offset: at + off, Value: v, Old: old, Group: (clock + after) | id})
		x.op = n
	}
	k = &ops[x.op]
	c.rip, c.now = code+uint64(k.pc), clock+uint64(k.n)
	return true
}

// streams says that the op is a non-temporal store of 8 bytes, after which code
// can go on.
func (k *op) streams() bool {
	return (k.code == opMOVMR64 || k.code == opMOVMR64B) && k.sel == uint8(observe.NonTemporal) && k.link != 0
}

// address is that of the op's memory operand.
func (k *op) address(c *cpu) uint64 {
	return c.r[k.base] + c.r[k.index]<<(k.scale&63) + uint64(int64(k.disp))
}
