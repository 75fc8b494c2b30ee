package persist

import (
	"encoding/binary"

	"nvlab/vmm/observe"
)

// loopStores is how many stores a loop has, as a rule: Linux's memcpy_flushcache
// is unrolled so.
const loopStores = 4

// minLoop is how many stores are a storeLoop at least: fewer are no shorter as one.
const minLoop = 2 * loopStores

// recordLoop is the kind of a record of a storeLoop.
const recordLoop = AtEnd

// storeLoop is stores of 8 bytes that follow each other in memory, made by a loop of
// a few instructions: store i is by instruction i modulo loopStores. In a log it is one
// record, as big as what is stored.
//
// The record begins like a store's. Offset, kind and group of the first store
// follow, how many there are, by how much the next instructions of the loop are away
// from those before them in instructions retired and in bytes, how many
// instructions the loop has, and what each stores.
type storeLoop struct {
	first   event
	seq, pc [loopStores]uint64 // of the first round
	period  uint64             // instructions
	values  []byte
	n       int // stores that were read
}

// loopOf is how many stores, from the first of some on, are a storeLoop.
func loopOf(list []observe.Streamed) int {
	first := &list[0]
	number, period := first.Group-first.Seq, uint64(0)
	for n := 1; n < len(list); n++ {
		o := &list[n]
		if o.Offset != list[n-1].Offset+8 || o.Group-o.Seq != number {
			return n
		}
		if n < loopStores {
			continue
		}
		if n == loopStores {
			period = o.Seq - first.Seq
		}
		if before := &list[n-loopStores]; o.PC != before.PC || o.Seq != before.Seq+period {
			return n
		}
	}
	return len(list)
}

// loop appends stores of a stream that loopOf says are a storeLoop, at least minLoop
// of them.
func (l *log) loop(s *observe.Stream, list []observe.Streamed, process uint32) {
	piece := l.room(maxRecord + 8*len(list))
	first := observe.Store{At: s.At, Base: s.Base, Offset: list[0].Offset, Kind: s.Kind, Group: list[0].Group}
	first.Seq, first.PC = list[0].Seq, list[0].PC
	p := begin(*piece, &l.last, byte(recordLoop), l.last.same(&s.At, process) && s.Base == l.last.base, &first.At, s.Base, process)
	p = number(p, zigzag(first.Offset-l.last.offset))
	p = append(p, byte(s.Kind))
	p = number(p, zigzag(first.Group-l.last.group))
	p = number(p, uint64(len(list)))
	for i := 1; i < loopStores; i++ {
		p = number(p, list[i].Seq-list[i-1].Seq)
		p = number(p, zigzag(list[i].PC-list[i-1].PC))
	}
	p = number(p, list[loopStores].Seq-first.Seq)
	values := p[len(p):][:8*len(list)]
	for i := range list {
		binary.LittleEndian.PutUint64(values[8*i:], list[i].Value)
	}
	l.added(piece, p[:len(p)+len(values)], len(list))
	last := &list[len(list)-1]
	first.Seq, first.PC, first.Offset, first.Group = last.Seq, last.PC, last.Offset, last.Group
	l.last.followStore(&first, process)
}

// decode reads a record and gives its length, 0 if it is none.
func (o *storeLoop) decode(p []byte, last *context) int {
	r := record{p: p}
	head := r.byte()
	o.first, o.n = event{what: AtStore}, 0
	e := &o.first
	r.begin(head, last, e)
	e.Offset = last.offset + unzigzag(r.number())
	e.Kind, e.Size = observe.Kind(r.byte()), 8
	e.Group = last.group + unzigzag(r.number())
	n := r.number()
	o.seq[0], o.pc[0] = e.Seq, e.PC
	for i := 1; i < loopStores; i++ {
		o.seq[i] = o.seq[i-1] + r.number()
		o.pc[i] = o.pc[i-1] + unzigzag(r.number())
	}
	o.period = r.number()
	if n < minLoop || n > uint64(len(r.p)/8) || e.Offset%8 != 0 {
		o.values = nil
		return 0
	}
	o.values = r.bytes(int(n) * 8)
	return len(p) - len(r.p)
}

// next makes e the next store, if there is one more.
func (o *storeLoop) next(e *event) bool {
	at := 8 * o.n
	if at >= len(o.values) {
		return false
	}
	*e = o.first
	i, round := o.n%loopStores, uint64(o.n/loopStores)
	e.Seq, e.PC = o.seq[i]+round*o.period, o.pc[i]
	e.Offset += uint64(at)
	e.Group += e.Seq - o.first.Seq
	e.Value = binary.LittleEndian.Uint64(o.values[at:])
	o.n++
	return true
}
