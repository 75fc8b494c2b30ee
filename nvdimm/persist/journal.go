package persist

import (
	"maps"
	"slices"

	"nvlab/vmm/observe"
)

// A Journal is a record of a machine's events, from which the states that a
// power failure at any of them may leave are computed. It is an observer, and
// must be told of an event before the model is.
type Journal struct {
	model  *Model
	start  *Model // as it was, with contents of its own
	base   map[place]*[LineSize]byte
	labels []*Labels
	events events
	kept   place // the latest line of base
	root   hash  // of the lines of base, as many as rooted
	rooted int
	writes []labelWrite

	// Process, if set, numbers the process that an event is of; 0 is unknown.
	Process func(*observe.At) uint32

	Stores, Flushes, Fences int // SFENCE and MFENCE are fences
	// Dropped counts events beyond the most that a journal holds.
	Dropped int
}

// maxEvents bounds the memory of a journal to about 2 GiB.
const maxEvents = 20_000_000

// event is one of the five kinds. What it has not is zero.
type event struct {
	observe.Store // a flush uses Offset and Base
	what          What
	flush         observe.FlushOp
	order         observe.Order
	process       uint32
	number        int32 // of a label write, in writes; of a hint's medium, in media
}

// What is a kind of event.
type What uint8

const (
	AtStore What = iota
	AtFlush
	AtFence // SFENCE, MFENCE, WBINVD
	AtOrder // another instruction that orders
	AtHint
	AtLabel
	AtEnd // after the last
	AtAny // of them
)

var whatNames = []string{"store", "flush", "fence", "order", "flush_hint", "label_write", "end", "any"}

func (w What) String() string { return whatNames[w] }

// Labels is the label area of a DIMM, a medium that is written by a firmware
// call in pieces of 8 bytes, in order, and durable when the call returns.
type Labels struct {
	Name string
	Read func() ([]byte, error) // the whole area

	start []byte
}

type labelWrite struct {
	area int
	off  uint64
	data []byte
}

// atomBytes is what a label write is torn at.
const atomBytes = 8

// Record begins a journal.
func (m *Model) Record(labels []*Labels) (*Journal, error) {
	m.Settle()
	j := &Journal{model: m, base: map[place]*[LineSize]byte{}, labels: labels}
	for _, a := range labels {
		var err error
		if a.start, err = a.Read(); err != nil {
			return nil, err
		}
	}
	for _, d := range m.media {
		for _, l := range d.lines {
			j.keep(d, l.n)
		}
	}
	j.start = m.clone(nil)
	return j, nil
}

// keep notes what a line holds before the journal's first store to it.
func (j *Journal) keep(d *Medium, n uint64) {
	p := place{d, n}
	if p == j.kept {
		return
	}
	if j.kept = p; j.base[p] == nil {
		j.base[p] = (*[LineSize]byte)(slices.Clone(d.mem.Line(n)))
	}
}

// events is a list in pieces, which never move.
type events struct {
	pieces [][]event
	n      int
}

const pieceEvents = 1 << 14

func (l *events) at(i int) *event { return &l.pieces[i/pieceEvents][i%pieceEvents] }

func (l *events) add(e *event) {
	if l.n%pieceEvents == 0 {
		l.pieces = append(l.pieces, make([]event, 0, pieceEvents))
	}
	last := &l.pieces[len(l.pieces)-1]
	*last = append(*last, *e)
	l.n++
}

func (j *Journal) add(e *event) bool {
	if j.Process != nil {
		e.process = j.Process(&e.At)
	}
	if j.events.n >= maxEvents {
		j.Dropped++
		return false
	}
	j.events.add(e)
	return true
}

// Store records a store about to become visible.
func (j *Journal) Store(e *observe.Store) {
	d, n := j.model.find(e.Base, e.Offset)
	if d != nil && j.add(&event{Store: *e, what: AtStore}) {
		j.keep(d, n)
		j.Stores++
	}
}

// Flush records a flush.
func (j *Journal) Flush(e *observe.Flush) {
	if j.add(&event{Store: observe.Store{At: e.At, Base: e.Base, Offset: e.Offset, Size: LineSize}, what: AtFlush, flush: e.Op}) {
		j.Flushes++
	}
}

// Fence records a fence.
func (j *Journal) Fence(e *observe.Fence) {
	what := AtOrder
	if e.Order&observe.Explicit != 0 {
		what = AtFence
		j.Fences++
	}
	if n := j.events.n; what == AtOrder && n > 0 && j.events.at(n-1).what == AtOrder && j.events.at(n-1).VCPU == e.VCPU {
		j.events.at(n - 1).order |= e.Order // nothing came between
		return
	}
	j.add(&event{Store: observe.Store{At: e.At}, what: what, order: e.Order})
}

// Hint records a store to a flush hint of a medium.
func (j *Journal) Hint(d *Medium, at observe.At) {
	j.add(&event{Store: observe.Store{At: at}, what: AtHint, number: int32(slices.Index(j.model.media, d))})
}

// Label records a write of data at off of label area i.
func (j *Journal) Label(i int, off uint64, data []byte, at observe.At) {
	j.writes = append(j.writes, labelWrite{i, off, slices.Clone(data)})
	j.add(&event{Store: observe.Store{At: at, Offset: off}, what: AtLabel, number: int32(len(j.writes) - 1)})
}

// LabelWrites counts the label writes.
func (j *Journal) LabelWrites() int { return len(j.writes) }

// Events counts all events.
func (j *Journal) Events() int { return j.events.n }

// copies is Memory made of the lines that a journal knows.
type copies map[uint64]*[LineSize]byte

func (c copies) Line(n uint64) []byte { return c[n][:] }

// clone copies the model. Its media get the memory that a journal's base has,
// or that of the original.
func (m *Model) clone(base map[place]*[LineSize]byte) *Model {
	n := NewModel(m.Config)
	n.nextID = m.nextID
	media := map[*Medium]*Medium{}
	lines := map[*line]*line{}
	for i, d := range m.media {
		e := NewMedium(d.Name, d.Platform, d.mem)
		if base != nil {
			e.mem, e.hashed = copies{}, true
		}
		e.index = i
		media[d] = e
		n.media = append(n.media, e)
		for k, l := range d.lines {
			c := *l
			c.medium, c.ops, c.known = e, slices.Clone(l.ops), nil
			e.lines[k], lines[l] = &c, &c
			if d.accepted[l] {
				e.accepted[&c] = true
			}
		}
	}
	for base, b := range m.bases {
		n.bases[base] = mapped{media[b.medium], b.line}
	}
	for i := range m.cpus {
		c, o := n.cpu(i), &m.cpus[i]
		c.wb, c.clf = remap(o.wb, lines), remap(o.clf, lines)
		for _, r := range o.nt {
			if lines[r.line] != nil {
				c.nt = append(c.nt, run{lines[r.line], r.first, r.last})
			}
		}
	}
	return n
}

func remap(set map[*line]uint64, lines map[*line]*line) map[*line]uint64 {
	n := map[*line]uint64{}
	for l, id := range maps.All(set) {
		if lines[l] != nil {
			n[lines[l]] = id
		}
	}
	return n
}

// replay goes through a journal again.
type replay struct {
	j      *Journal
	model  *Model
	media  map[*Medium]*Medium // of the live model, to those here
	labels [][]byte
	hash   hash    // of the labels
	at     int     // events done
	fresh  []place // lines stored to since a View told of them
}

func (j *Journal) replay() *replay {
	r := &replay{j: j, model: j.start.clone(j.base), media: map[*Medium]*Medium{}, hash: j.origin()}
	for i, d := range j.model.media {
		r.media[d] = r.model.media[i]
	}
	for p, bytes := range j.base {
		if d := r.media[p.medium]; d != nil {
			b := *bytes
			d.mem.(copies)[p.n] = &b
		}
	}
	for _, a := range j.labels {
		r.labels = append(r.labels, slices.Clone(a.start))
	}
	return r
}

// origin hashes what is there at the beginning, as far as the journal knows it.
func (j *Journal) origin() hash {
	if j.rooted != len(j.base) {
		j.root, j.rooted = hash{}, len(j.base)
		for p, bytes := range j.base {
			j.root = j.root.xor(hashLine(slices.Index(j.model.media, p.medium), p.n, bytes))
		}
		for i, a := range j.labels {
			for off := 0; off < len(a.start); off += LineSize {
				var b [LineSize]byte
				copy(b[:], a.start[off:])
				j.root = j.root.xor(hashLine(^i, uint64(off), &b))
			}
		}
	}
	return j.root
}

// step does the event that is next.
func (r *replay) step() {
	e := r.j.events.at(r.at)
	switch e.what {
	case AtStore:
		r.model.process = e.process
		r.model.Store(&e.Store)
		d, n := r.model.find(e.Base, e.Offset)
		o := makeOp(&e.Store)
		o.apply((*[LineSize]byte)(d.mem.Line(n)))
		if p := (place{d, n}); len(r.fresh) == 0 || r.fresh[len(r.fresh)-1] != p {
			r.fresh = append(r.fresh, p)
		}
	case AtFlush:
		r.model.Flush(&observe.Flush{At: e.At, Base: e.Base, Offset: e.Offset, Op: e.flush})
	case AtFence, AtOrder:
		r.model.Fence(&observe.Fence{At: e.At, Order: e.order})
	case AtHint:
		r.model.Hint(r.model.media[e.number])
	case AtLabel:
		w := r.j.writes[e.number]
		r.hash = r.hash.xor(r.labelChange(w, len(w.data)))
		copy(r.labels[w.area][w.off:], w.data)
	}
	r.at++
}

// labelChange is how the first n bytes of a label write change the hash.
func (r *replay) labelChange(w labelWrite, n int) hash {
	var h hash
	area := r.labels[w.area]
	for at := 0; at < n; at += atomBytes {
		end := min(at+atomBytes, n)
		now, then := area[int(w.off)+at:int(w.off)+end], w.data[at:end]
		for i := range now {
			if now[i] != then[i] {
				h = h.xor(hashByte(w.area, w.off+uint64(at+i), now[i])).xor(hashByte(w.area, w.off+uint64(at+i), then[i]))
			}
		}
	}
	return h
}

// hashByte hashes a byte of a label area in its place.
func hashByte(area int, off uint64, b byte) hash {
	g := generator(uint64(area)<<48 | off<<8 | uint64(b))
	return hash{g.next(), g.next()}
}
