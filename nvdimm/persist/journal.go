package persist

import (
	"encoding/binary"
	"slices"

	"nvlab/vmm/observe"
)

// A Journal is a record of a machine's events, from which the states that a
// power failure at any of them may leave are computed. It is an observer, and
// must be told of an event before the model is.
type Journal struct {
	model  *Model
	start  *ModelState  // the model as it was
	media  []*Medium    // of the model when it began
	base   []*originals // of each
	labels []*Labels
	events log
	next   event // to be added
	root   hash  // of the lines of base, one less than rooted
	rooted int
	writes []labelWrite
	ends   []int // of loops of the stream at hand

	// Process, if set, numbers the process that an event is of; 0 is unknown.
	Process func(*observe.At) uint32

	Stores, Flushes, Fences int // SFENCE and MFENCE are fences

	kinds   observe.Kind // of all stores
	cpus    uint64       // that stored, a bit for each
	clflush bool         // there is one
	// Dropped counts events beyond the most that a journal holds.
	Dropped int
}

// maxBytes bounds the memory of a journal's events.
const maxBytes = 2 << 30

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
	m.endWhole(nil)
	j := newJournal(m, labels)
	for _, a := range labels {
		var err error
		if a.start, err = a.Read(); err != nil {
			return nil, err
		}
	}
	for _, d := range m.media {
		for _, l := range d.sorted() {
			d.keep(l.n)
		}
	}
	j.start = m.Save()
	return j, nil
}

func newJournal(m *Model, labels []*Labels) *Journal {
	j := &Journal{model: m, media: slices.Clone(m.media), labels: labels}
	for _, d := range j.media {
		d.originals = &originals{}
		j.base = append(j.base, d.originals)
	}
	return j
}

// keep notes what a line holds before the journal's first store to it, and
// returns that, or nil if it is no such line.
func (d *Medium) keep(n uint64) *original {
	if d.originals != nil && d.originals.new(n) {
		return d.originals.add(n, d.mem.Line(n))
	}
	return nil
}

// add appends the event that was put together in j.next.
func (j *Journal) add() bool {
	e := &j.next
	e.process = j.processOf(&e.At)
	if j.full(1) {
		return false
	}
	j.events.add(e)
	return true
}

func (j *Journal) processOf(at *observe.At) uint32 {
	if j.Process == nil {
		return 0
	}
	return j.Process(at)
}

// full says that n events have to be left out.
func (j *Journal) full(n int) bool {
	if j.events.bytes < maxBytes {
		return false
	}
	j.Dropped += n
	return true
}

// Store records a store about to become visible.
func (j *Journal) Store(e *observe.Store) {
	d, n := j.model.find(e.Base, e.Offset)
	if d == nil {
		return
	}
	process := uint32(0) // a device's store is no process's
	if e.Kind&observe.Device == 0 {
		process = j.processOf(&e.At)
	}
	if j.full(1) {
		return
	}
	j.events.store(e, process)
	d.keep(n)
	j.Stores++
	j.saw(e.Kind, e.VCPU)
}

// Stream records stores that were made already.
func (j *Journal) Stream(s *observe.Stream) {
	process := j.processOf(&s.At)
	upwards := j.loopsOf(s.Stores)
	at := 0
	for _, end := range j.ends {
		for at < end {
			d, _ := j.model.find(s.Base, s.Stores[at].Offset)
			to := end
			for d != nil && !j.model.last.has(s.Stores[to-1].Offset/LineSize) {
				to-- // the rest is another medium's
			}
			if d != nil {
				j.keepBefore(s, at, to, upwards)
				j.stream(s, s.Stores[at:to], process)
			}
			at = to
		}
	}
}

// loopsOf makes j.ends where the loops of some stores end, and says whether each store is
// above the one before.
func (j *Journal) loopsOf(list []observe.Streamed) (upwards bool) {
	j.ends, upwards = j.ends[:0], true
	for at := 0; at < len(list); {
		upwards = upwards && (at == 0 || list[at].Offset > list[at-1].Offset)
		at += loopOf(list[at:])
		j.ends = append(j.ends, at)
	}
	return upwards
}

// stream records stores of a stream, to one medium.
func (j *Journal) stream(s *observe.Stream, list []observe.Streamed, process uint32) {
	if j.full(len(list)) {
		return
	}
	if len(list) >= minLoop {
		j.events.loop(s, list, process)
	} else {
		for i := range list {
			e := s.Of(&list[i])
			j.events.store(&e, process)
		}
	}
	j.Stores += len(list)
	j.saw(s.Kind, s.VCPU)
}

// keepBefore is keep for some stores of a stream, from one to another, that follow each
// other in the memory of one medium. They and those after them were made already.
func (j *Journal) keepBefore(s *observe.Stream, from, to int, upwards bool) {
	for i := from; i < to; {
		at := s.Stores[i].Offset
		d, n := j.model.find(s.Base, at)
		if o := d.keep(n); o != nil {
			list := s.Stores[i:]
			if upwards {
				list = list[:min(len(list), LineSize/8)] // none of the others is to the line
			}
			o.undo(at/LineSize, list)
		}
		i += int(LineSize-at%LineSize) / 8
	}
}

// undo has a line hold what it did before those stores that went to a line of the
// region.
func (o *original) undo(line uint64, list []observe.Streamed) {
	for i := len(list) - 1; i >= 0; i-- {
		if e := &list[i]; e.Offset/LineSize == line {
			binary.LittleEndian.PutUint64(o.bytes[e.Offset%LineSize:], e.Old)
		}
	}
}

// saw notes what readings differ in, of a store.
func (j *Journal) saw(kind observe.Kind, vcpu uint8) {
	if j.kinds |= kind; kind&observe.Device == 0 {
		j.cpus |= 1 << (vcpu & 63)
	}
}

// Flush records a flush.
func (j *Journal) Flush(e *observe.Flush) {
	j.next.At, j.next.Base, j.next.Offset, j.next.what, j.next.flush = e.At, e.Base, e.Offset, AtFlush, e.Op
	if j.add() {
		j.Flushes++
		j.clflush = j.clflush || e.Op == observe.CLFLUSH
	}
}

// Fence records a fence.
func (j *Journal) Fence(e *observe.Fence) {
	what := AtOrder
	if e.Order&observe.Explicit != 0 {
		what = AtFence
		if e.Order&(observe.SFENCE|observe.MFENCE) != 0 {
			j.Fences++
		}
	}
	if last := &j.events.last; what == AtOrder && j.events.n > 0 && last.what == AtOrder && last.VCPU == e.VCPU {
		j.events.orders(e.Order) // nothing came between
		return
	}
	j.next.At, j.next.what, j.next.order = e.At, what, e.Order
	j.add()
}

// Hint records a store to a flush hint of a medium.
func (j *Journal) Hint(d *Medium, at observe.At) {
	if n := slices.Index(j.media, d); n >= 0 {
		j.next.At, j.next.Offset, j.next.what, j.next.number = at, 0, AtHint, int32(n)
		j.add()
	}
}

// Label records a write of data at off of label area i.
func (j *Journal) Label(i int, off uint64, data []byte, at observe.At) {
	j.writes = append(j.writes, labelWrite{i, off, slices.Clone(data)})
	j.next.At, j.next.Offset, j.next.what, j.next.number = at, off, AtLabel, int32(len(j.writes)-1)
	j.add()
}

// LabelWrites counts the label writes.
func (j *Journal) LabelWrites() int { return len(j.writes) }

// Events counts all events.
func (j *Journal) Events() int { return j.events.n }

// copies is Memory made of the lines that a journal knows.
type copies map[uint64]*[LineSize]byte

func (c copies) Line(n uint64) []byte { return c[n][:] }

// replay goes through a journal again.
type replay struct {
	j      *Journal
	model  *Model
	labels [][]byte
	hash   hash  // of the labels
	at     int   // events done
	last   event // the latest of them
	event  event // the next, if there is more
	more   bool
	cursor cursor
	fresh  []place // lines stored to since a View told of them
}

func (j *Journal) replay() *replay {
	r := &replay{j: j, model: j.start.Model(), hash: j.origin()}
	for i, o := range j.base {
		mem := make(copies, o.n)
		o.all(func(l *original) {
			b := l.bytes
			mem[l.n] = &b
		})
		d := r.model.media[i]
		d.mem, d.hashed = mem, true
	}
	for _, a := range j.labels {
		r.labels = append(r.labels, slices.Clone(a.start))
	}
	r.cursor = j.events.read()
	r.more = r.cursor.next(&r.event)
	return r
}

// origin hashes what is there at the beginning, as far as the journal knows it.
func (j *Journal) origin() hash {
	n := 0
	for _, o := range j.base {
		n += o.n
	}
	if j.rooted != n+1 {
		j.root, j.rooted = hash{}, n+1
		for i, o := range j.base {
			o.all(func(l *original) { j.root = j.root.xor(hashLine(i, l.n, &l.bytes)) })
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
	e := &r.event
	switch e.what {
	case AtStore:
		d, n := r.model.find(e.Base, e.Offset)
		if d == nil {
			break // it came after the journal began
		}
		r.model.process = e.process
		r.model.Store(&e.Store)
		apply(&e.Store, (*[LineSize]byte)(d.mem.Line(n)))
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
	r.last = r.event
	r.more = r.cursor.next(&r.event)
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
