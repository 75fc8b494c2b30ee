package persist

import (
	"encoding/binary"

	"nvlab/vmm/observe"
)

// noted is non-temporal stores that the model has not followed yet: those of one
// CPU to one medium, to lines of which nothing else is undecided, each line once
// and upwards. As a rule a fence makes them durable a moment later (R7), and then
// nothing is left to follow. Whatever else asks for the lines has the model
// follow the stores first, from what they replaced, so that nobody can tell.
type noted struct {
	medium *Medium
	by     observe.At // but for what is each store's own
	kind   observe.Kind
	runs   []notedRun
	olds   []uint64 // what the stores replaced; what they stored is in memory
	lines  int      // they store to
	next   uint64   // the offset after the latest
	seen   originals
	pages  []*seenPage // of seen, that are not empty
}

// notedRun is stores of 8 bytes that follow each other in memory, made by a loop of
// a few instructions: store i is by instruction i modulo loopStores.
type notedRun struct {
	offset uint64 // in the medium, of the first
	n      int
	pc     [loopStores]uint64
	group  [loopStores]uint64 // the first time
	period uint64             // of groups
}

func (r *notedRun) groupOf(i int) uint64 {
	return r.group[i%loopStores] + uint64(i/loopStores)*r.period
}

// next says that a store, which follows in memory, is the next of the run.
func (r *notedRun) next(o *observe.Streamed) bool {
	k := r.n % loopStores
	switch {
	case r.n > loopStores:
		return o.PC == r.pc[k] && o.Group == r.groupOf(r.n)
	case r.n == loopStores:
		r.period = o.Group - r.group[0]
		return o.PC == r.pc[0]
	}
	r.pc[k], r.group[k] = o.PC, o.Group
	return true
}

// note notes a store about to become visible, or says that the model has to
// follow it.
func (m *Model) note(e *observe.Store) bool {
	if e.Size != 8 { // and so whole
		return false
	}
	d, n := m.find(e.Base, e.Offset)
	if d == nil || !m.notes(d, &e.At, e.Kind) {
		return false
	}
	old := binary.LittleEndian.Uint64(d.mem.Line(n)[e.Offset%LineSize:])
	o := observe.Streamed{PC: e.PC, Old: old, Group: e.Group}
	return m.noteOne(&o, n*LineSize+e.Offset%LineSize)
}

// notes says that more such stores may be noted.
func (m *Model) notes(d *Medium, at *observe.At, kind observe.Kind) bool {
	s := &m.noted
	if len(s.olds) == 0 {
		if !m.canNote(d, at, kind) {
			return false
		}
		m.cpu(at)
		d.noting = m
		s.medium, s.kind, s.by = d, kind, *at
	}
	return d == s.medium && kind == s.kind && at.CR3 == s.by.CR3 && at.VCPU == s.by.VCPU && at.CPL == s.by.CPL
}

// canNote says that nothing but the fences to come concerns such stores.
func (m *Model) canNote(d *Medium, at *observe.At, kind observe.Kind) bool {
	if d.noting != m {
		d.follow()
	}
	if d.Platform != ADR && d.Platform != EADR || d.hashed || kind&^(observe.NonTemporal|observe.Vector) != 0 {
		return false
	}
	if m.waiting {
		for _, c := range m.of(at) {
			if c.strong || len(c.parts) > 0 {
				return false
			}
		}
	}
	return true
}

// noteOne notes one of the stores that notes allows for, if the medium has room
// and it is the first to its line, or above the one before.
func (m *Model) noteOne(o *observe.Streamed, offset uint64) bool {
	s := &m.noted
	d := s.medium
	if d.added+s.cost()+1 >= d.most {
		return false
	}
	if n := offset / LineSize; len(s.olds) == 0 || offset < s.next || n != (s.next-8)/LineSize {
		if !s.enter(n) {
			return false
		}
	}
	if k := len(s.runs); k > 0 && offset == s.next && s.runs[k-1].next(o) {
		s.runs[k-1].n++
	} else {
		s.runs = append(s.runs, notedRun{offset: offset, n: 1, pc: [loopStores]uint64{o.PC}, group: [loopStores]uint64{o.Group}})
	}
	s.olds = append(s.olds, o.Old)
	s.next = offset + 8
	m.nextID++
	m.group = o.Group
	return true
}

// enter says that a line may have stores noted, from now on.
func (s *noted) enter(n uint64) bool {
	if s.medium.lines.n > 0 && s.medium.lines.get(n) != nil || !s.seen.new(n) {
		return false
	}
	s.lines++
	if k := len(s.pages); k == 0 || s.pages[k-1] != s.seen.last {
		s.pages = append(s.pages, s.seen.last)
	}
	return true
}

// cost is that of Medium.cost.
func (s *noted) cost() int { return len(s.olds) + lineCost*s.lines }

// forget forgets what was noted.
func (s *noted) forget() {
	for _, p := range s.pages {
		*p = seenPage{}
	}
	s.runs, s.olds, s.pages, s.lines = s.runs[:0], s.olds[:0], s.pages[:0], 0
}

// fenced is for a fence: if it makes what was noted durable, that is forgotten.
func (m *Model) fenced(e *observe.Fence) {
	s := &m.noted
	switch {
	case len(s.olds) == 0:
	case m.drains(e.Order) && e.VCPU == s.by.VCPU && (!m.Config.Explicit || ring(&e.At) == ring(&s.by)):
		s.forget()
	case e.Order&observe.WBINVD != 0:
		m.follow()
	}
}

// Follow has the model follow the stores that it noted, which takes a look at
// memory. All but Stream, Fence and Clean do so first.
func (m *Model) Follow() { m.follow() }

func (m *Model) follow() { m.followThen(nil) }

// follow has the model that noted stores to the medium follow them.
func (d *Medium) follow() {
	if d.noting != nil {
		d.noting.follow()
	}
}

// Stream is stores that were made already.
func (m *Model) Stream(s *observe.Stream) {
	for i := 0; i < len(s.Stores); i++ {
		o := &s.Stores[i]
		d, n := m.find(s.Base, o.Offset)
		if d == nil || !m.notes(d, &s.At, s.Kind) || !m.noteOne(o, n*LineSize+o.Offset%LineSize) {
			rest := *s
			rest.Stores = s.Stores[i:]
			m.followThen(&rest)
			return
		}
		i += m.noteMore(s.Stores[i:])
	}
}

// noteMore notes what goes on with the latest run after the first of some stores,
// which was noted, and says how many there are. A loop whose first round and one store more go
// on with a run does so as a whole.
func (m *Model) noteMore(list []observe.Streamed) int {
	s := &m.noted
	d := s.medium
	r := &s.runs[len(s.runs)-1]
	n, next := 1, s.next
	room := d.most - d.added - s.cost() - 1 // as in noteOne
	for end := loopOf(list); room > 0 && n < end && (n > loopStores || r.next(&list[n])); {
		if next%LineSize == 0 {
			if !m.last.has(list[n].Offset/LineSize) || !s.enter(next/LineSize) {
				break
			}
			room -= lineCost
		}
		r.n++
		s.olds = append(s.olds, list[n].Old)
		next += 8
		room--
		n++
	}
	s.next = next
	m.nextID += uint64(n - 1)
	m.group = list[n-1].Group
	return n - 1
}

// followThen has the model follow what was noted, and then the stores of s, if it
// is not nil. Memory has changed already: what it was they say themselves.
func (m *Model) followThen(s *observe.Stream) {
	o := &m.noted
	if len(o.olds) == 0 && s == nil {
		return
	}
	views := map[*Medium]view{}
	in := func(d *Medium, offset uint64) []byte {
		if _, ok := views[d]; !ok {
			views[d] = view{d.mem, copies{}}
			d.mem = views[d]
		}
		return views[d].line(offset / LineSize)[offset%LineSize:]
	}
	put := func(d *Medium, offset, v uint64) {
		if d != nil {
			binary.LittleEndian.PutUint64(in(d, offset), v)
		}
	}
	if s != nil {
		for i := len(s.Stores) - 1; i >= 0; i-- {
			d, n := m.find(s.Base, s.Stores[i].Offset)
			put(d, n*LineSize+s.Stores[i].Offset%LineSize, s.Stores[i].Old)
		}
	}
	stores := o.stores(func(offset, old uint64) uint64 {
		v := binary.LittleEndian.Uint64(in(o.medium, offset))
		put(o.medium, offset, old)
		return v
	})
	o.forget()
	m.nextID -= uint64(len(stores))
	for i := range stores {
		e := &stores[i]
		m.store(o.medium, e.Offset/LineSize, e)
		put(o.medium, e.Offset, e.Value)
	}
	if s != nil {
		for i := range s.Stores {
			e := s.Store(i)
			d, n := m.find(e.Base, e.Offset)
			m.store(d, n, &e)
			put(d, n*LineSize+e.Offset%LineSize, e.Value)
		}
	}
	for d, v := range views {
		d.mem = v.Memory
	}
}

// stores are what was noted, of which value says what was stored.
func (s *noted) stores(value func(offset, old uint64) uint64) []observe.Store {
	list := make([]observe.Store, 0, len(s.olds))
	for k := range s.runs {
		r := &s.runs[k]
		for i := range r.n {
			offset := r.offset + uint64(i)*8
			e := observe.Store{At: s.by, Offset: offset, Value: value(offset, s.olds[len(list)]), Size: 8, Kind: s.kind, Group: r.groupOf(i)}
			e.PC = r.pc[i%loopStores]
			list = append(list, e)
		}
	}
	return list
}
