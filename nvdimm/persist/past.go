package persist

import (
	"encoding/binary"
	"slices"

	"nvlab/vmm/observe"
)

// A Past is the newest events of a machine, from which a model is made when
// somebody asks for it: to note an event costs a part of what it costs to follow
// it. What is older than those that it keeps counts as on the medium.
//
// Events are kept in two parts of pastPart or a few more, of which the older
// goes as soon as the newer is full. So what is kept depends on nothing but the events.
type Past struct {
	older, newer []pastEvent
	forgotten    int                         // stores
	shared       struct{ older, newer bool } // with a Clone
}

// pastPart is how many events a part of a Past has at least.
const pastPart = 1 << 13

// pastEvent is an event with all that it is about, so that it does not depend
// on where media were mapped.
type pastEvent struct {
	what   pastWhat
	size   uint8
	kind   observe.Kind
	flush  observe.FlushOp
	order  observe.Order
	medium int    // -1 for none
	at     uint64 // offset in it, in bytes; of a settlement the first line
	n      uint64 // lines of a settlement
	value  uint64 // that a store writes
	old    uint64 // that it replaces
	group  uint64
	by     observe.At
}

type pastWhat uint8

const (
	pastStore pastWhat = iota
	pastFlush
	pastFence
	pastHint
	pastSettled
	pastReset
	pastAbandoned // the store that is next, of an instruction that power failed in
)

func (p *Past) add(e *pastEvent) {
	if n := len(p.newer); n >= pastPart && !p.newer[n-1].sameInstruction(e) {
		p.forget()
	}
	p.newer = append(p.newer, *e)
}

func (e *pastEvent) sameInstruction(o *pastEvent) bool {
	return e.what == pastStore && o.what == pastStore && e.group == o.group
}

// forget leaves the older part out. A Clone may have it still.
func (p *Past) forget() {
	for i := range p.older {
		if p.older[i].what == pastStore {
			p.forgotten++
		}
	}
	room := p.older[:0]
	if p.shared.older || room == nil {
		room = make([]pastEvent, 0, pastPart)
	}
	p.older, p.shared.older = p.newer, p.shared.newer
	p.newer, p.shared.newer = room, false
}

// all yields the events, the oldest first.
func (p *Past) all(yield func(*pastEvent) bool) {
	for _, part := range [][]pastEvent{p.older, p.newer} {
		for i := range part {
			if !yield(&part[i]) {
				return
			}
		}
	}
}

// place finds where an event is on the media of the machine's model.
func (e *pastEvent) place(m *Model, base, offset uint64) *Medium {
	d, n := m.find(base, offset)
	if d == nil {
		e.medium = -1
		return nil
	}
	e.medium, e.at = d.index, n*LineSize+offset%LineSize
	return d
}

// Store notes a store about to become visible. The model, here and below, is
// one of the machine, which knows where media are.
func (p *Past) Store(m *Model, e *observe.Store) {
	n := pastEvent{what: pastStore, size: e.Size, kind: e.Kind, value: e.Value, group: e.Group, by: e.At}
	if d := n.place(m, e.Base, e.Offset); d != nil {
		line := d.mem.Line(n.at / LineSize)
		word := binary.LittleEndian.Uint64(line[n.at%LineSize&^7:])
		n.old = word >> (n.at % 8 * 8) & (^uint64(0) >> (64 - 8*e.Size))
	}
	p.add(&n)
}

// Abandon notes that power fails before a store which may be of an instruction
// that is under way.
func (p *Past) Abandon(m *Model, e *observe.Store) {
	n := pastEvent{what: pastAbandoned, size: e.Size, kind: e.Kind, value: e.Value, group: e.Group, by: e.At}
	n.place(m, e.Base, e.Offset)
	p.add(&n)
}

// Flush notes a flush about to execute.
func (p *Past) Flush(m *Model, e *observe.Flush) {
	n := pastEvent{what: pastFlush, flush: e.Op, by: e.At}
	n.place(m, e.Base, e.Offset)
	p.add(&n)
}

// Fence notes a fence about to complete.
func (p *Past) Fence(e *observe.Fence) {
	p.add(&pastEvent{what: pastFence, order: e.Order, medium: -1, by: e.At})
}

// Hint notes a store to a flush hint of a medium, by its number.
func (p *Past) Hint(medium int) { p.add(&pastEvent{what: pastHint, medium: medium}) }

// Settle notes that n lines of a medium from one on hold there what the memory
// does.
func (p *Past) Settle(medium int, first, n uint64) {
	p.add(&pastEvent{what: pastSettled, medium: medium, at: first, n: n})
}

// Reset notes that the CPUs start anew.
func (p *Past) Reset() {
	if len(p.newer) > 0 {
		p.add(&pastEvent{what: pastReset, medium: -1})
	}
}

// Forgotten is how many stores were left out.
func (p *Past) Forgotten() int { return p.forgotten }

// Clone returns a Past that goes on from here.
func (p *Past) Clone() *Past {
	p.shared.older, p.shared.newer = true, true
	c := *p
	c.newer = c.newer[:len(c.newer):len(c.newer)]
	return &c
}

// A view is memory as it was at an event.
type view struct {
	Memory
	lines copies
}

func (v view) Line(n uint64) []byte {
	if l := v.lines[n]; l != nil {
		return l[:]
	}
	return v.Memory.Line(n)
}

// line is a line that changes with the events.
func (v view) line(n uint64) *[LineSize]byte {
	l := v.lines[n]
	if l == nil {
		l = (*[LineSize]byte)(slices.Clone(v.Memory.Line(n)))
		v.lines[n] = l
	}
	return l
}

// Model makes the model of media that are new, with the memory that the guest
// sees now. They are those of the machine's model, in the same order, and
// mapped where those are.
func (p *Past) Model(of *Model, media []*Medium) *Model {
	m := NewModel(of.Config)
	views := make([]view, len(media))
	for i, d := range media {
		m.Map(uint64(i), d, 0)
		views[i] = view{d.mem, copies{}}
		d.mem = views[i]
	}
	for _, part := range [][]pastEvent{p.newer, p.older} {
		for i := len(part) - 1; i >= 0; i-- {
			if e := &part[i]; e.what == pastStore && e.medium >= 0 {
				s := e.store()
				s.Value = e.old
				apply(&s, views[e.medium].line(e.at/LineSize))
			}
		}
	}
	for e := range p.all {
		e.tell(m, views)
	}
	for i, d := range media {
		d.mem = views[i].Memory
	}
	m.UnmapAll()
	for base, parts := range of.bases {
		for _, part := range parts {
			part.medium = media[part.medium.index]
			m.bases[base] = append(m.bases[base], part)
		}
	}
	return m
}

// nowhere is a base of no medium.
const nowhere = ^uint64(0)

func (e *pastEvent) base() uint64 {
	if e.medium < 0 {
		return nowhere
	}
	return uint64(e.medium)
}

func (e *pastEvent) store() observe.Store {
	return observe.Store{At: e.by, Base: e.base(), Offset: e.at, Value: e.value, Size: e.size, Kind: e.kind, Group: e.group}
}

// tell has a model follow the event.
func (e *pastEvent) tell(m *Model, views []view) {
	switch e.what {
	case pastStore:
		s := e.store()
		m.Store(&s)
		if e.medium >= 0 {
			apply(&s, views[e.medium].line(e.at/LineSize))
		}
	case pastFlush:
		m.Flush(&observe.Flush{At: e.by, Base: e.base(), Offset: e.at, Op: e.flush})
	case pastFence:
		m.Fence(&observe.Fence{At: e.by, Order: e.order})
	case pastHint:
		m.Hint(m.media[e.medium])
	case pastSettled:
		m.media[e.medium].Settle(e.at, e.n)
	case pastReset:
		m.Reset()
	case pastAbandoned:
		s := e.store()
		m.Abandon(&s)
	}
}

// pastMagic begins a Past as bytes.
const pastMagic = "nvlab past 1\n"

// MarshalBinary gives it as bytes: equal ones for equal events.
func (p *Past) MarshalBinary() ([]byte, error) {
	c := coder{record: record{p: []byte(pastMagic)}}
	p.code(&c)
	return c.p, nil
}

// UnmarshalBinary reads what MarshalBinary gave.
func (p *Past) UnmarshalBinary(b []byte) error {
	c := coder{record: record{p: b}, read: true}
	if string(c.bytes(len(pastMagic))) != pastMagic {
		return errModel
	}
	var n Past
	if n.code(&c); c.short || len(c.p) > 0 {
		return errModel
	}
	*p = n
	return nil
}

func (p *Past) code(c *coder) {
	signed(c, &p.forgotten)
	for _, part := range []*[]pastEvent{&p.older, &p.newer} {
		n := len(*part)
		signed(c, &n)
		for i := 0; i < n && !c.short; i++ {
			if c.read {
				*part = append(*part, pastEvent{})
			}
			(*part)[i].code(c)
		}
	}
}

func (e *pastEvent) code(c *coder) {
	unsigned(c, &e.what)
	unsigned(c, &e.size)
	unsigned(c, &e.kind)
	unsigned(c, &e.flush)
	unsigned(c, &e.order)
	signed(c, &e.medium)
	for _, v := range []*uint64{&e.at, &e.n, &e.value, &e.old, &e.group, &e.by.Seq, &e.by.PC, &e.by.CR3} {
		unsigned(c, v)
	}
	unsigned(c, &e.by.VCPU)
	unsigned(c, &e.by.CPL)
	if c.read && !e.sound() {
		c.short = true
	}
}

// sound says that a model can follow the event.
func (e *pastEvent) sound() bool {
	switch {
	case e.what > pastAbandoned, e.medium < -1, e.medium < 0 && (e.what == pastHint || e.what == pastSettled):
		return false
	case e.what == pastStore, e.what == pastAbandoned:
		return e.size >= 1 && uint64(e.size) <= 8-e.at%8
	}
	return true
}

// Fits says that all events are of so many media of so many lines.
func (p *Past) Fits(lines ...uint64) bool {
	for e := range p.all {
		if e.medium >= len(lines) || e.medium >= 0 && e.what != pastSettled && e.at/LineSize >= lines[e.medium] {
			return false
		}
	}
	return true
}
