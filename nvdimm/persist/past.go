package persist

import (
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"io"
	"slices"

	"nvlab/vmm/observe"
)

// A Past is the newest events of a machine, from which a model is made when
// somebody asks for it: to note an event costs a part of what it costs to follow
// it. What is older than those that it keeps counts as on the medium.
//
// Events are kept in two parts, each of pastPart events without the fences, or a few
// more, of which the older goes as soon as the newer is full. So what is kept depends
// on nothing but the events, and not on how an engine joins fences.
type Past struct {
	older, newer pastEvents
	forgotten    int                         // stores
	shared       struct{ older, newer bool } // with a Clone
}

// pastPart is how many events without the fences a part of a Past has at least.
const pastPart = 1 << 13

// maxFences is how many fences in a row are kept though they order nothing: a guest
// that stores nothing to NVDIMMs makes them without end.
const maxFences = 64

// pastEvents is events, and the stores that they are of.
type pastEvents struct {
	events []pastEvent
	stores []observe.Streamed // by their offsets in media
	n      int                // all but the fences
	sums   struct{ events, stores runningSum }
}

// pastEvent is an event with all that it is about, so that it does not depend
// on where media were mapped; or a run of stores that are alike but for what is
// said of each.
type pastEvent struct {
	what   pastWhat
	size   uint8 // of each store
	kind   observe.Kind
	flush  observe.FlushOp
	order  observe.Order
	medium int        // -1 for none
	at     uint64     // offset in it of a flush, in bytes; of a settlement the first line
	n      uint64     // lines of a settlement
	first  int        // of the stores of its part; up to that of the next event
	by     observe.At // of a store without Seq and PC
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

// add adds an event that is no store. No fence ends a part: an engine may tell of
// it sooner or later.
func (p *Past) add(e pastEvent) {
	if e.what != pastFence {
		p.room(nil)
		p.newer.n++
	}
	e.first = len(p.newer.stores)
	p.newer.events = append(p.newer.events, e)
}

// addStores adds stores that are alike but for what is said of each.
func (p *Past) addStores(e pastEvent, list []observe.Streamed, shift uint64) {
	for len(list) > 0 {
		n := min(len(list), max(p.room(&list[0]), 1))
		p.run(e)
		at := len(p.newer.stores)
		p.newer.stores = append(p.newer.stores, list[:n]...)
		if shift != 0 {
			for i := range p.newer.stores[at:] {
				p.newer.stores[at+i].Offset += shift
			}
		}
		p.newer.n += n
		list = list[n:]
	}
}

// run makes the last event one of stores like e.
func (p *Past) run(e pastEvent) {
	if e.what != pastStore || !p.newer.continues(e.medium, e.size, e.kind, &e.by) {
		e.first = len(p.newer.stores)
		p.newer.events = append(p.newer.events, e)
	}
}

// continues says whether a store is one more of the last event. Most are.
func (p *pastEvents) continues(medium int, size uint8, kind observe.Kind, by *observe.At) bool {
	if len(p.events) == 0 {
		return false
	}
	last := &p.events[len(p.events)-1]
	return last.what == pastStore && last.medium == medium && last.size == size && last.kind == kind &&
		last.by.CR3 == by.CR3 && last.by.VCPU == by.VCPU && last.by.CPL == by.CPL
}

// full says that what comes next may be of the next part.
func (p *pastEvents) full() bool { return p.n >= pastPart }

// room makes room for an event, a store if next is not nil, and says how many stores
// fit. A part does not end between the stores of an instruction.
func (p *Past) room(next *observe.Streamed) int {
	part := &p.newer
	if !part.full() {
		return pastPart - part.n
	}
	if n := len(part.events); n > 0 && next != nil && part.events[n-1].what == pastStore && part.stores[len(part.stores)-1].Group == next.Group {
		return 1
	}
	p.forget()
	return pastPart
}

// forget leaves the older part out. A Clone may have it still.
func (p *Past) forget() {
	for i := range p.older.events {
		if p.older.events[i].what == pastStore {
			p.forgotten += len(p.older.of(i))
		}
	}
	room := pastEvents{events: p.older.events[:0], stores: p.older.stores[:0]}
	if p.shared.older || room.stores == nil {
		room = pastEvents{stores: make([]observe.Streamed, 0, pastPart+8)}
	}
	p.older, p.shared.older = p.newer, p.shared.newer
	p.newer, p.shared.newer = room, false
}

// of is the stores of event i.
func (p *pastEvents) of(i int) []observe.Streamed {
	end := len(p.stores)
	if i+1 < len(p.events) {
		end = p.events[i+1].first
	}
	return p.stores[p.events[i].first:end]
}

// all yields the events with their stores, the oldest first.
func (p *Past) all(yield func(*pastEvent, []observe.Streamed) bool) {
	for _, part := range []*pastEvents{&p.older, &p.newer} {
		for i := range part.events {
			if !yield(&part.events[i], part.of(i)) {
				return
			}
		}
	}
}

// place is a medium's number and an offset there, -1 if an event is of none.
func (m *Model) place(base, offset uint64) (medium int, at uint64) {
	d, n := m.find(base, offset)
	if d == nil {
		return -1, 0
	}
	return d.index, n*LineSize + offset%LineSize
}

// Store notes a store about to become visible. The model, here and below, is
// one of the machine, which knows where media are.
func (p *Past) Store(m *Model, e *observe.Store) { p.store(pastStore, m, e) }

// Abandon notes that power fails before a store which may be of an instruction
// that is under way.
func (p *Past) Abandon(m *Model, e *observe.Store) { p.store(pastAbandoned, m, e) }

func (p *Past) store(what pastWhat, m *Model, e *observe.Store) {
	s := observe.Streamed{Seq: e.Seq, PC: e.PC, Value: e.Value, Group: e.Group}
	medium := -1
	if d, n := m.find(e.Base, e.Offset); d != nil {
		medium = d.index
		s.Offset = n*LineSize + e.Offset%LineSize
		word := binary.LittleEndian.Uint64(d.mem.Line(n)[e.Offset%LineSize&^7:])
		s.Old = word >> (e.Offset % 8 * 8) & (^uint64(0) >> (64 - 8*e.Size))
	}
	if part := &p.newer; what == pastStore && !part.full() && part.continues(medium, e.Size, e.Kind, &e.At) {
		part.stores = append(part.stores, s)
		part.n++
		return
	}
	p.addStores(pastEvent{what: what, size: e.Size, kind: e.Kind, medium: medium, by: ofRun(&e.At)}, []observe.Streamed{s}, 0)
}

// Stream notes stores that were made already.
func (p *Past) Stream(m *Model, s *observe.Stream) {
	for list := s.Stores; len(list) > 0; {
		medium, at := m.place(s.Base, list[0].Offset)
		n := 1
		for n < len(list) && m.last.has(list[n].Offset/LineSize) {
			n++
		}
		p.addStores(pastEvent{what: pastStore, size: 8, kind: s.Kind, medium: medium, by: ofRun(&s.At)}, list[:n], at-list[0].Offset)
		list = list[n:]
	}
}

// ofRun is what of At a run of stores has in common.
func ofRun(at *observe.At) observe.At {
	return observe.At{CR3: at.CR3, VCPU: at.VCPU, CPL: at.CPL}
}

// Flush notes a flush about to execute.
func (p *Past) Flush(m *Model, e *observe.Flush) {
	medium, at := m.place(e.Base, e.Offset)
	p.add(pastEvent{what: pastFlush, flush: e.Op, medium: medium, at: at, by: e.At})
}

// Fence notes a fence about to complete.
func (p *Past) Fence(e *observe.Fence) {
	if !p.ordered(e) {
		p.add(pastEvent{what: pastFence, order: e.Order, medium: -1, by: e.At})
	}
}

// ordered says that a fence is one of many in a row, and that its processor ordered
// as much by those before it.
func (p *Past) ordered(e *observe.Fence) bool {
	var order observe.Order
	n := len(p.newer.events)
	for i := n - 1; i >= 0 && p.newer.events[i].what == pastFence; i-- {
		if o := &p.newer.events[i]; o.by.VCPU == e.VCPU {
			order |= o.order
		}
		if n-i >= maxFences && e.Order&^order == 0 {
			return true
		}
	}
	return false
}

// Hint notes a store to a flush hint of a medium, by its number.
func (p *Past) Hint(medium int) { p.add(pastEvent{what: pastHint, medium: medium}) }

// Settle notes that n lines of a medium from one on hold there what the memory
// does.
func (p *Past) Settle(medium int, first, n uint64) {
	p.add(pastEvent{what: pastSettled, medium: medium, at: first, n: n})
}

// Reset notes that the CPUs start anew.
func (p *Past) Reset() {
	if len(p.newer.events) > 0 {
		p.add(pastEvent{what: pastReset, medium: -1})
	}
}

// Forgotten is how many stores were left out.
func (p *Past) Forgotten() int { return p.forgotten }

// Clone returns a Past that goes on from here.
func (p *Past) Clone() *Past {
	p.shared.older, p.shared.newer = true, true
	c := *p
	c.newer.events, c.newer.stores = slices.Clip(c.newer.events), slices.Clip(c.newer.stores)
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
	for _, part := range []*pastEvents{&p.newer, &p.older} {
		for i := len(part.events) - 1; i >= 0; i-- {
			if e := &part.events[i]; e.what == pastStore && e.medium >= 0 {
				for _, o := range slices.Backward(part.of(i)) {
					o.Value = o.Old
					s := e.store(&o)
					apply(&s, views[e.medium].line(o.Offset/LineSize))
				}
			}
		}
	}
	for e, stores := range p.all {
		e.tell(m, stores, views)
	}
	m.follow()
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

// store is a store of the event's.
func (e *pastEvent) store(o *observe.Streamed) observe.Store {
	s := observe.Store{At: e.by, Base: e.base(), Offset: o.Offset, Value: o.Value, Size: e.size, Kind: e.kind, Group: o.Group}
	s.Seq, s.PC = o.Seq, o.PC
	return s
}

// tell has a model follow the event.
func (e *pastEvent) tell(m *Model, stores []observe.Streamed, views []view) {
	switch e.what {
	case pastStore, pastAbandoned:
		for i := range stores {
			s := e.store(&stores[i])
			if e.what == pastAbandoned {
				m.Abandon(&s)
				continue
			}
			m.Store(&s)
			if e.medium >= 0 {
				apply(&s, views[e.medium].line(s.Offset/LineSize))
			}
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
	}
}

// pastMagic begins a Past as bytes.
const pastMagic = "nvlab past 3\n"

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
	for _, part := range []*pastEvents{&p.older, &p.newer} {
		signed(c, &part.n)
		list(c, &part.events, codePastEvent)
		list(c, &part.stores, codePastStore)
		if c.read && !part.sound() {
			c.short = true
		}
	}
}

// Sum is equal for equal events only. What was summed once is not looked at
// again.
func (p *Past) Sum() [sha256.Size]byte {
	c := coder{record: record{p: []byte(pastMagic)}}
	signed(&c, &p.forgotten)
	for _, part := range []*pastEvents{&p.older, &p.newer} {
		signed(&c, &part.n)
		c.p = sumOf(c.p, &part.sums.events, part.events, codePastEvent)
		c.p = sumOf(c.p, &part.sums.stores, part.stores, codePastStore)
	}
	return sha256.Sum256(c.p)
}

// A runningSum is of the first elements of a list that is only appended to.
type runningSum struct {
	n     int
	state []byte // of SHA-256, which nobody changes
}

// sumOf appends a list's sum to b.
func sumOf[T any](b []byte, s *runningSum, list []T, code func(*coder, *T)) []byte {
	h := sha256.New().(interface {
		io.Writer
		Sum(b []byte) []byte
		encoding.BinaryMarshaler
		encoding.BinaryUnmarshaler
	})
	if s.n > 0 {
		h.UnmarshalBinary(s.state) // which fails for what is no state
	}
	var c coder
	for i := s.n; i < len(list); i++ {
		code(&c, &list[i])
		if len(c.p) > 1<<12 || i == len(list)-1 {
			h.Write(c.p)
			c.p = c.p[:0]
		}
	}
	if s.n < len(list) {
		s.n = len(list)
		s.state, _ = h.MarshalBinary() // which does not fail
	}
	return h.Sum(binary.AppendUvarint(b, uint64(s.n)))
}

func codePastStore(c *coder, o *observe.Streamed) {
	for _, v := range []*uint64{&o.Seq, &o.PC, &o.Offset, &o.Value, &o.Old, &o.Group} {
		unsigned(c, v)
	}
}

func codePastEvent(c *coder, e *pastEvent) {
	unsigned(c, &e.what)
	unsigned(c, &e.size)
	unsigned(c, &e.kind)
	unsigned(c, &e.flush)
	unsigned(c, &e.order)
	signed(c, &e.medium)
	signed(c, &e.first)
	for _, v := range []*uint64{&e.at, &e.n, &e.by.Seq, &e.by.PC, &e.by.CR3} {
		unsigned(c, v)
	}
	unsigned(c, &e.by.VCPU)
	unsigned(c, &e.by.CPL)
}

// sound says that a model can follow the events.
func (p *pastEvents) sound() bool {
	first := 0
	for i := range p.events {
		e := &p.events[i]
		if e.first < first || e.first > len(p.stores) || i == 0 && e.first > 0 || e.what > pastAbandoned || e.medium < -1 ||
			e.medium < 0 && (e.what == pastHint || e.what == pastSettled) {
			return false
		}
		first = e.first
	}
	for i := range p.events {
		e, stores := &p.events[i], p.of(i)
		if len(stores) > 0 && e.what != pastStore && e.what != pastAbandoned {
			return false
		}
		for _, o := range stores {
			if e.size < 1 || uint64(e.size) > 8-o.Offset%8 {
				return false
			}
		}
	}
	return p.n >= 0 && (len(p.events) > 0 || len(p.stores) == 0)
}

// Fits says that all events are of so many media of so many lines.
func (p *Past) Fits(lines ...uint64) bool {
	for e, stores := range p.all {
		if e.medium >= len(lines) {
			return false
		}
		if e.medium < 0 || e.what == pastSettled {
			continue
		}
		if e.at/LineSize >= lines[e.medium] {
			return false
		}
		for i := range stores {
			if stores[i].Offset/LineSize >= lines[e.medium] {
				return false
			}
		}
	}
	return true
}
