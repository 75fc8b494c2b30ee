package persist

import (
	"encoding/binary"
	"errors"

	"nvlab/vmm/observe"
)

// stateMagic begins a ModelState as bytes.
const stateMagic = "nvlab model 3\n"

// MarshalBinary gives the state as bytes: equal ones for equal states.
func (s *ModelState) MarshalBinary() ([]byte, error) {
	c := coder{record: record{p: []byte(stateMagic)}}
	s.code(&c)
	return c.p, nil
}

// errModel says that bytes are no ModelState.
var errModel = errors.New("no saved persistence model, or one that is damaged")

// UnmarshalBinary reads what MarshalBinary gave, and refuses what no model can
// go on from.
func (s *ModelState) UnmarshalBinary(b []byte) error {
	c := coder{record: record{p: b}, read: true}
	if string(c.bytes(len(stateMagic))) != stateMagic {
		return errModel
	}
	var n ModelState
	n.code(&c)
	if c.short || len(c.p) > 0 || !n.sound() {
		return errModel
	}
	*s = n
	return nil
}

// A coder appends values to its record, or reads them from it: the order of
// both is one piece of code.
type coder struct {
	record
	read bool
}

// unsigned codes an unsigned number as LEB128. One that is not of its type is an
// error.
func unsigned[T ~uint8 | ~uint16 | ~uint32 | ~uint64](c *coder, v *T) {
	if !c.read {
		c.p = binary.AppendUvarint(c.p, uint64(*v))
		return
	}
	n := c.number()
	if *v = T(n); uint64(*v) != n {
		c.short = true
	}
}

// signed is unsigned for what may be -1 or a count.
func signed(c *coder, v *int) {
	z := zigzag(uint64(*v))
	unsigned(c, &z)
	*v = int(unzigzag(z))
}

func (c *coder) bool(v *bool) {
	var n uint8
	if *v {
		n = 1
	}
	unsigned(c, &n)
	*v = n != 0
}

func (c *coder) raw(p []byte) {
	if !c.read {
		c.p = append(c.p, p...)
		return
	}
	copy(p, c.bytes(len(p)))
}

func (c *coder) text(v *string) {
	p := []byte(*v)
	list(c, &p, unsigned)
	*v = string(p)
}

// list codes a list. Each element takes a byte at least, which bounds what a
// damaged count makes.
func list[T any](c *coder, l *[]T, code func(*coder, *T)) {
	n := uint64(len(*l))
	unsigned(c, &n)
	if c.read {
		if n > uint64(len(c.p)) {
			c.short = true
			return
		}
		if *l = nil; n > 0 {
			*l = make([]T, n)
		}
	}
	for i := range *l {
		code(c, &(*l)[i])
	}
}

func (s *ModelState) code(c *coder) {
	c.bool(&s.config.Explicit)
	c.bool(&s.config.Atomic16)
	c.bool(&s.config.IntelCLFLUSH)
	list(c, &s.media, codeMedium)
	list(c, &s.maps, func(c *coder, m *mapState) {
		unsigned(c, &m.base)
		signed(c, &m.medium)
		unsigned(c, &m.line)
		unsigned(c, &m.from)
		unsigned(c, &m.to)
	})
	list(c, &s.cpus, codeCPU)
	unsigned(c, &s.nextID)
	unsigned(c, &s.clean)
	unsigned(c, &s.group)
	unsigned(c, &s.latest.Seq)
	unsigned(c, &s.latest.PC)
	unsigned(c, &s.latest.CR3)
	unsigned(c, &s.latest.VCPU)
	unsigned(c, &s.latest.CPL)
	c.bool(&s.waiting)
	unsigned(c, &s.process)
}

func codeMedium(c *coder, s *mediumState) {
	c.text(&s.name)
	unsigned(c, &s.platform)
	for _, v := range []*int{&s.truncated, &s.spilled, &s.drained, &s.raced, &s.added, &s.most} {
		signed(c, v)
	}
	c.bool(&s.drains)
	list(c, &s.lines, func(c *coder, l *lineState) {
		unsigned(c, &l.n)
		c.raw(l.durable[:])
		unsigned(c, &l.latest)
		unsigned(c, &l.owner)
		c.bool(&l.half)
		c.bool(&l.accepted)
		signed(c, &l.ops)
	})
	list(c, &s.ops, codeOp)
}

func codeOp(c *coder, o *op) {
	for _, v := range []*uint64{&o.id, &o.value, &o.group, &o.pc, &o.cr3, &o.since} {
		unsigned(c, v)
	}
	for _, v := range []*uint8{&o.chunk, &o.mask, &o.under, &o.vcpu, &o.hinted} {
		unsigned(c, v)
	}
	unsigned(c, &o.kind)
	unsigned(c, &o.process)
	unsigned(c, &o.flushed)
	c.bool(&o.accepted)
	c.bool(&o.full)
}

func codeCPU(c *coder, s *cpuState) {
	unsigned(c, &s.vcpu)
	list(c, &s.wb, codeFlush)
	list(c, &s.clf, codeFlush)
	list(c, &s.nt, func(c *coder, r *runState) {
		codePlace(c, &r.at)
		unsigned(c, &r.first)
		unsigned(c, &r.last)
	})
	signed(c, &s.sealed)
	c.bool(&s.strong)
	unsigned(c, &s.seen)
	list(c, &s.parts, func(c *coder, p *partState) {
		codePlace(c, &p.at)
		unsigned(c, &p.id)
	})
	unsigned(c, &s.group)
	c.bool(&s.torn)
	list(c, &s.hinted, signed)
}

func codePlace(c *coder, p *linePlace) {
	signed(c, &p.medium)
	signed(c, &p.line)
}

func codeFlush(c *coder, f *flushState) {
	codePlace(c, &f.at)
	unsigned(c, &f.cover)
}

// sound says that what was read names only what is there.
func (s *ModelState) sound() bool {
	ok := true
	medium := func(n int) bool {
		ok = ok && n >= 0 && n < len(s.media)
		return ok
	}
	place := func(p linePlace, orDecided bool) {
		if medium(p.medium) {
			ok = p.line >= 0 && p.line < len(s.media[p.medium].lines) || orDecided && p.line == decided
		}
	}
	for i := range s.media {
		ok = ok && s.media[i].sound()
	}
	for _, m := range s.maps {
		medium(m.medium)
	}
	for i := range s.cpus {
		c := &s.cpus[i]
		ok = ok && c.sealed >= 0 && c.sealed <= len(c.nt) && c.vcpu == uint8(i/2) && i/2 < 1<<8
		for _, f := range append(c.wb[:len(c.wb):len(c.wb)], c.clf...) {
			place(f.at, false)
		}
		for _, r := range c.nt {
			place(r.at, false)
		}
		for _, p := range c.parts {
			place(p.at, true)
		}
		for _, n := range c.hinted {
			medium(n)
		}
	}
	return ok && len(s.cpus)%2 == 0
}

func (s *mediumState) sound() bool {
	left := len(s.ops)
	for i := range s.lines {
		l := &s.lines[i]
		if l.ops < 0 || l.ops > min(left, maxOps) || i > 0 && l.n <= s.lines[i-1].n {
			return false
		}
		left -= l.ops
	}
	for i := range s.ops {
		if o := &s.ops[i]; o.chunk >= LineSize/8 || o.kind >= observe.KindEnd || o.flushed > FlushedWaiting {
			return false
		}
	}
	return left == 0 && s.platform < platforms
}
