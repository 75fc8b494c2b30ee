package persist

import (
	"encoding/binary"

	"nvlab/vmm/observe"
)

// event is one of the five kinds. What it has not is zero.
type event struct {
	observe.Store // a flush uses Offset and Base
	what          What
	flush         observe.FlushOp
	order         observe.Order
	process       uint32
	number        int32 // of a label write, in writes; of a hint's medium, in media
}

// A log is a list of events, each as what it has beyond the one before: a
// store of 8 bytes is about 14.
//
// A record begins with a byte: the kind of event in bits 0 to 2; in bit 3
// that CPU, privilege level, page tables, process and region are those of the
// event before, else they follow; in bits 4 to 6 a store's size minus 1, or
// which flush it is; in bit 7 that the store's group is that of the one
// before. What follows is in the order of encode and encodeStore. Numbers are LEB128, those
// that may fall zigzag. Stores of a loop are one record, see storeLoop.
type log struct {
	pieces [][]byte
	bytes  int
	n      int
	last   context
}

const (
	firstPiece = 4 << 10 // bytes; each piece has twice the room of the one before
	pieceBytes = 1 << 20 // at most
	maxRecord  = 96      // bytes, more than the longest but for what a storeLoop stores
)

const (
	recordSame  = 1 << 3
	recordGroup = 1 << 7
)

// add appends an event.
func (l *log) add(e *event) {
	if e.what == AtStore {
		l.store(&e.Store, e.process)
		return
	}
	p := l.room(maxRecord)
	l.added(p, encode(*p, &l.last, e), 1)
	l.last.follow(e)
}

// store appends a store: most events are, and have no use for an event.
func (l *log) store(e *observe.Store, process uint32) {
	p := l.room(maxRecord)
	l.added(p, encodeStore(*p, &l.last, e, process), 1)
	l.last.followStore(e, process)
}

// room is the piece for the next record, of at most so many bytes.
func (l *log) room(bytes int) *[]byte {
	k := len(l.pieces) - 1
	if k < 0 || cap(l.pieces[k])-len(l.pieces[k]) < bytes {
		l.pieces = append(l.pieces, make([]byte, 0, max(bytes, min(pieceBytes, firstPiece<<min(len(l.pieces), 8)))))
		k++
	}
	return &l.pieces[k]
}

// added takes over a piece that a record of n events was added to.
func (l *log) added(p *[]byte, with []byte, n int) {
	l.bytes += len(with) - len(*p)
	*p = with
	l.n += n
}

// orders adds to the order of the last event, which is AtOrder or AtFence.
func (l *log) orders(o observe.Order) {
	p := l.pieces[len(l.pieces)-1]
	p = p[len(p)-2:]
	binary.LittleEndian.PutUint16(p, binary.LittleEndian.Uint16(p)|uint16(o))
}

// context is what a record is compared with: what the events before had. Only
// stores and flushes have a region and an offset, only stores a group.
type context struct {
	observe.At
	base, offset, group uint64
	process             uint32
	what                What
}

func (c *context) follow(e *event) {
	if e.what == AtStore {
		c.followStore(&e.Store, e.process)
		return
	}
	c.At, c.process, c.what = e.At, e.process, e.what
	if e.what == AtFlush {
		c.base, c.offset = e.Base, e.Offset
	}
}

// followStore goes field by field, see op.set.
func (c *context) followStore(e *observe.Store, process uint32) {
	c.Seq, c.PC, c.CR3, c.VCPU, c.CPL = e.Seq, e.PC, e.CR3, e.VCPU, e.CPL
	c.process, c.what = process, AtStore
	c.base, c.offset, c.group = e.Base, e.Offset, e.Group
}

// same says that a record need not say whose the event is.
func (c *context) same(at *observe.At, process uint32) bool {
	return at.CR3 == c.CR3 && at.VCPU == c.VCPU && at.CPL == c.CPL && process == c.process
}

func zigzag(d uint64) uint64   { return d<<1 ^ uint64(int64(d)>>63) }
func unzigzag(z uint64) uint64 { return z>>1 ^ -(z & 1) }

// encode appends the record of e, which is no store, after last.
func encode(p []byte, last *context, e *event) []byte {
	head := byte(e.what)
	if e.what == AtFlush {
		head |= byte(e.flush) << 4
	}
	same := last.same(&e.At, e.process) && (e.what != AtFlush || e.Base == last.base)
	p = begin(p, last, head, same, &e.At, e.Base, e.process)
	switch e.what {
	case AtFlush:
		p = number(p, zigzag(e.Offset-last.offset))
	case AtHint, AtLabel:
		p = binary.AppendUvarint(p, uint64(uint32(e.number)))
		p = binary.AppendUvarint(p, e.Offset)
	case AtFence, AtOrder:
		p = binary.LittleEndian.AppendUint16(p, uint16(e.order))
	}
	return p
}

// encodeStore appends the record of a store after last.
func encodeStore(p []byte, last *context, e *observe.Store, process uint32) []byte {
	head := byte(AtStore) | (e.Size-1)<<4
	if e.Group == last.group {
		head |= recordGroup
	}
	p = begin(p, last, head, last.same(&e.At, process) && e.Base == last.base, &e.At, e.Base, process)
	p = number(p, zigzag(e.Offset-last.offset))
	p = append(p, byte(e.Kind))
	if e.Group != last.group {
		p = number(p, zigzag(e.Group-last.group))
	}
	p = binary.LittleEndian.AppendUint64(p, e.Value)
	return p[:len(p)-8+int(e.Size)]
}

// begin appends what all records have.
func begin(p []byte, last *context, head byte, same bool, at *observe.At, base uint64, process uint32) []byte {
	if same {
		p = append(p, head|recordSame)
	} else {
		p = append(p, head, at.VCPU, at.CPL)
		p = binary.AppendUvarint(p, at.CR3)
		p = binary.AppendUvarint(p, base)
		p = binary.AppendUvarint(p, uint64(process))
	}
	p = number(p, zigzag(at.Seq-last.Seq))
	return number(p, zigzag(at.PC-last.PC))
}

// begin reads what begin appended after the head. Events without a region have none.
func (r *record) begin(head byte, last *context, e *event) {
	if head&recordSame != 0 {
		e.VCPU, e.CPL, e.CR3, e.process = last.VCPU, last.CPL, last.CR3, last.process
		if e.what <= AtFlush {
			e.Base = last.base
		}
	} else {
		e.VCPU, e.CPL = r.byte(), r.byte()
		e.CR3, e.Base, e.process = r.number(), r.number(), uint32(r.number())
	}
	e.Seq = last.Seq + unzigzag(r.number())
	e.PC = last.PC + unzigzag(r.number())
}

// number appends a LEB128 number, which is small most of the time.
func number(p []byte, v uint64) []byte {
	if v < 0x80 {
		return append(p, byte(v))
	}
	return binary.AppendUvarint(p, v)
}

// A cursor reads a log from its beginning.
type cursor struct {
	log   *log
	piece int
	at    int // in the piece
	left  int // events
	last  context
	loop  storeLoop // whose stores are next, if there are more
	bad   bool      // the log is no log
}

func (l *log) read() cursor { return cursor{log: l, left: l.n} }

// next decodes an event, and is false at the end.
func (c *cursor) next(e *event) bool {
	if c.left == 0 || c.bad {
		return false
	}
	if !c.loop.next(e) && !c.decode(e) {
		c.bad = true
		return false
	}
	c.left--
	c.last.follow(e)
	return true
}

// decode reads the next record, of which e becomes the first event.
func (c *cursor) decode(e *event) bool {
	for c.piece < len(c.log.pieces) && c.at == len(c.log.pieces[c.piece]) {
		c.piece, c.at = c.piece+1, 0
	}
	if c.piece == len(c.log.pieces) {
		return false
	}
	p := c.log.pieces[c.piece][c.at:]
	n := 0
	if len(p) > 0 && What(p[0]&7) == recordLoop {
		n = c.loop.decode(p, &c.last)
		c.loop.next(e)
	} else {
		n = decode(p, &c.last, e)
	}
	c.at += n
	return n > 0
}

// decode reads a record and gives its length, 0 if it is none.
func decode(p []byte, last *context, e *event) int {
	r := record{p: p}
	head := r.byte()
	*e = event{what: What(head & 7)}
	r.begin(head, last, e)
	switch e.what {
	case AtStore:
		e.Size = head>>4&7 + 1
		e.Offset = last.offset + unzigzag(r.number())
		e.Kind = observe.Kind(r.byte())
		e.Group = last.group
		if head&recordGroup == 0 {
			e.Group += unzigzag(r.number())
		}
		for i, b := range r.bytes(int(e.Size)) {
			e.Value |= uint64(b) << (8 * i)
		}
		if e.Offset&7+uint64(e.Size) > 8 {
			return 0
		}
	case AtFlush:
		e.flush, e.Size = observe.FlushOp(head>>4&7), LineSize
		e.Offset = last.offset + unzigzag(r.number())
	case AtHint, AtLabel:
		e.number = int32(uint32(r.number()))
		e.Offset = r.number()
	case AtFence, AtOrder:
		if b := r.bytes(2); b != nil {
			e.order = observe.Order(binary.LittleEndian.Uint16(b))
		}
	default:
		return 0
	}
	if r.short {
		return 0
	}
	return len(p) - len(r.p)
}

// record is what is left of a record.
type record struct {
	p     []byte
	short bool
}

func (r *record) bytes(n int) []byte {
	if len(r.p) < n {
		r.short, r.p = true, nil
		return nil
	}
	b := r.p[:n]
	r.p = r.p[n:]
	return b
}

func (r *record) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *record) number() uint64 {
	if len(r.p) > 0 && r.p[0] < 0x80 {
		v := r.p[0]
		r.p = r.p[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.short, r.p = true, nil
		return 0
	}
	r.p = r.p[n:]
	return v
}
