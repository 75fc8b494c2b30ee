package persist

import (
	"encoding/binary"
	"slices"

	"nvlab/internal/splitmix"
	"nvlab/vmm/observe"
)

// Keep says which of the legal states a power failure leaves.
type Keep uint8

const (
	KeepNone   Keep = iota // what is guaranteed
	KeepAll                // all that was visible
	KeepRandom             // any, chosen by a seed
)

// place is a line of a medium.
type place struct {
	medium *Medium
	n      uint64
}

// A Cut is what a power failure leaves of the lines that were undecided.
type Cut struct {
	lines      map[place][LineSize]byte
	Kept, Lost []Op
}

// Cut chooses a state. The memory is as it was until Apply.
func (m *Model) Cut(keep Keep, seed uint64) *Cut {
	m.endWhole(nil)
	c := &Cut{lines: map[place][LineSize]byte{}}
	random := generator(seed)
	for _, d := range m.media {
		for _, l := range d.sorted() {
			chosen := content{bytes: l.durable}
			switch keep {
			case KeepAll:
				chosen = l.everything()
			case KeepRandom:
				l.draw(l.units(&m.Config), &random, &chosen)
			}
			c.add(l, &chosen)
		}
	}
	return c
}

func (c *Cut) add(l *line, chosen *content) {
	c.lines[place{l.medium, l.n}] = chosen.bytes
	kept, lost := l.divide(&chosen.kept)
	c.Kept = append(c.Kept, l.report(kept)...)
	c.Lost = append(c.Lost, l.report(lost)...)
}

// Abandon takes back what was told of the instruction of e, of which e would
// be the next store, if power failure does not tear it there.
func (m *Model) Abandon(e *observe.Store) {
	m.follow()
	d, n := m.find(e.Base, e.Offset)
	if d == nil || d.lines.get(n) == nil {
		return
	}
	l := d.lines.get(n)
	l.known, l.half = nil, true
	var next op
	next.set(e, 0, 0)
	gone := map[uint64]bool{}
	had := len(l.ops)
	l.ops = slices.DeleteFunc(l.ops, func(o op) bool {
		gone[o.id] = o.atomicWith(&next, &m.Config)
		return gone[o.id]
	})
	d.added -= had - len(l.ops)
	c := m.cpu(&e.At)
	c.parts = slices.DeleteFunc(c.parts, func(r ref) bool { return gone[r.id] })
}

// Touch tells of a store after the power failed, which must leave no trace:
// the instruction that it came in the middle of runs to its end.
func (c *Cut) Touch(m *Model, e *observe.Store) {
	d, n := m.find(e.Base, e.Offset)
	if d == nil {
		return
	}
	p := place{d, n}
	if _, ok := c.lines[p]; !ok {
		c.lines[p] = [LineSize]byte(d.mem.Line(p.n))
	}
}

// TouchStream is Touch of stores that were made already.
func (c *Cut) TouchStream(m *Model, s *observe.Stream) {
	fresh := map[place]*[LineSize]byte{}
	for _, o := range slices.Backward(s.Stores) {
		d, n := m.find(s.Base, o.Offset)
		if d == nil {
			continue
		}
		p := place{d, n}
		if _, ok := c.lines[p]; ok {
			continue
		}
		if fresh[p] == nil {
			fresh[p] = (*[LineSize]byte)(slices.Clone(d.mem.Line(n)))
		}
		binary.LittleEndian.PutUint64(fresh[p][o.Offset%LineSize:], o.Old)
	}
	for p, bytes := range fresh {
		c.lines[p] = *bytes
	}
}

// Apply makes the memory what survived. The media are then all durable.
func (c *Cut) Apply(m *Model) {
	for p, bytes := range c.lines {
		copy(p.medium.mem.Line(p.n), bytes[:])
	}
	m.Clean()
}

// generator is a splitmix64 sequence.
type generator uint64

func (g *generator) next() uint64 { return splitmix.Next((*uint64)(g)) }

// below is a number from 0 to n-1.
func (g *generator) below(n uint64) uint64 { return g.next() % n }
