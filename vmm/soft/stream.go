package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/abi"
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
		for _, c := range p.cpus {
			if s := &c.events.stream; s.Stores == nil {
				s.Stores = make([]observe.Streamed, 0, maxStream)
			}
		}
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
// before the next event. P becomes that page.
func (c *cpu) streamStores(p *storePage) bool {
	x := &c.native
	ops := c.p.cache.Ops
	k := &ops[x.Op]
	va := c.address(k)
	found, ok := c.observedPage(va)
	if !ok || found.memType != 0 || va&7 != 0 {
		return false
	}
	*p = found
	r, at, page := p.r, p.off, p.va
	code, clock, id := c.nativePage(), x.Limit-x.Left, uint64(c.id)<<56
	if c.ordered != 0 {
		c.rip, c.now = code+uint64(k.PC), clock+uint64(k.N)
		c.tellOrder()
	}
	s := &c.events.stream
	if s.Base != r.base || s.CR3 != c.cr3 || s.CPL != c.cpl {
		c.tellStream()
	}
	mem := r.mem[at:][:x86.PageSize]
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

// streamTo lets compiled code note further stores to the page p by itself, until it
// is left: no sooner can anything change that concerns them. To memory that may be
// taken away it must not store: that is done when it has been left.
func (c *cpu) streamTo(p *storePage) {
	s := &c.events.stream
	x := &c.native.Stream
	first := streamAddr(s.Stores)
	x.Next = first + uint64(len(s.Stores))*streamedSize
	x.End = first + uint64(min(cap(s.Stores), maxStream))*streamedSize
	x.Offset = p.off - p.va
	x.Host, c.events.later = hostAddr(p.r.mem, 0), nil
	if p.r.revocable {
		x.Host, c.events.later = hostAddr(c.events.page[:], 0)-p.off, p.r
	}
	x.Seq = c.others - c.idle + c.native.Limit
	x.Group = uint64(c.id)<<56 + c.idle - c.others
	x.Page = p.va
}

// streamed takes over what compiled code noted, which has been left.
func (c *cpu) streamed() {
	s := &c.events.stream
	first, end := len(s.Stores), int((c.native.Stream.Next-streamAddr(s.Stores))/streamedSize)
	c.native.Stream = abi.Stream{}
	c.p.cache.native.Count.Streamed += uint64(end - first)
	if r := c.events.later; r != nil {
		for i := first; i < end; i++ {
			o := &s.Stores[:end][i]
			was := r.mem[o.Offset:][:8]
			o.Old = le.Uint64(was)
			le.PutUint64(was, o.Value)
			s.Stores = s.Stores[:i+1] // no more are told if this one was the last there was memory for
		}
	}
	s.Stores = s.Stores[:end]
}

// streams says that the op is a non-temporal store of 8 bytes, after which code
// can go on.
func streams(k *ir.Op) bool { return ir.Streams(k) && k.Link != 0 }

// address is that of the op's memory operand.
func (c *cpu) address(k *ir.Op) uint64 {
	return c.r[k.Base] + c.r[k.Index]<<(k.Scale&63) + uint64(int64(k.Disp))
}
