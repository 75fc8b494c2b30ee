// Package klog reads a Linux kernel's log from a guest's memory. What the
// kernel says is there whatever its console shows, and who said it is there,
// too: a program that writes to /dev/kmsg has another facility.
//
// The kernel describes the log in its VMCOREINFO note, which is made for
// readers of memory (Linux Documentation/admin-guide/kdump/vmcoreinfo.rst); the
// format is that of Linux 5.10 and later (kernel/printk/printk_ringbuffer.h).
package klog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Memory is a guest's, by physical address.
type Memory interface {
	ReadAt(p []byte, addr int64) (int, error)
}

// Translate finds the physical address of a virtual one in the page tables at
// root.
type Translate func(root, addr uint64) (physical uint64, ok bool)

// A Record is one message.
type Record struct {
	Time     time.Duration // since boot
	Facility uint8         // 0 is the kernel's own; programs have others
	Level    uint8         // 0, emergency, to 7, debug
	Text     string        // may have several lines
}

// Kernel says that no program wrote the record (kernel/printk/printk.c,
// devkmsg_write).
func (r Record) Kernel() bool { return r.Facility == 0 }

// A Log is a guest's, from one of its boots. It remembers what was read.
type Log struct {
	mem       Memory
	translate Translate
	root      uint64 // physical, of the kernel's page tables
	at        offsets
	prb       uint64 // virtual, of the pointer to the ring buffer in use
	next      uint64 // the descriptor to read next
	ring      uint64 // virtual, of the ring buffer that next belongs to
	note      uint64 // physical, of the note that At was given
}

// New finds the log that a note describes.
func New(mem Memory, translate Translate, note Note) (*Log, error) {
	l := &Log{mem: mem, translate: translate}
	var err error
	if l.at, err = note.offsets(); err != nil {
		return nil, err
	}
	prb, err := note.number("SYMBOL(prb)", 16)
	if err != nil {
		return nil, err
	}
	root, err := note.number("SYMBOL(swapper_pg_dir)", 16)
	if err != nil {
		return nil, err
	}
	base, err := note.number("NUMBER(phys_base)", 10)
	if err != nil {
		return nil, err
	}
	l.prb, l.root = prb, root-imageBase+base
	if _, err := l.rings(); err != nil {
		return nil, err
	}
	return l, nil
}

// At is the log whose note is at a physical address, nil if there is none, or
// none that can be read.
func At(mem Memory, translate Translate, addr uint64) *Log {
	var head [noteStart]byte
	if _, err := mem.ReadAt(head[:], int64(addr)); err != nil || !isNote(head[:]) {
		return nil
	}
	note, err := ReadNote(mem, addr)
	if err != nil {
		return nil
	}
	log, err := New(mem, translate, note)
	if err != nil {
		return nil
	}
	log.note = addr
	return log
}

// In is the log of a guest that is a copy of this one, in its memory, as far as
// this one was read.
func (l *Log) In(mem Memory, translate Translate) *Log {
	c := *l
	c.mem, c.translate = mem, translate
	return &c
}

// A Position says how far a log was read, and where its note is: plain data.
type Position struct{ Note, Next, Ring uint64 }

// Position returns that of the log.
func (l *Log) Position() Position { return Position{l.note, l.next, l.ring} }

// AtPosition is the log of a guest that is a copy of another, as far as that
// one's was read; nil if there is none.
func AtPosition(mem Memory, translate Translate, p Position) *Log {
	l := At(mem, translate, p.Note)
	if l != nil {
		l.next, l.ring = p.Next, p.Ring
	}
	return l
}

// Root is the physical address of the kernel's own page tables.
func (l *Log) Root() uint64 { return l.root }

// imageBase is where a kernel's image is mapped (Linux
// Documentation/arch/x86/x86_64/mm.rst).
const imageBase = 0xffff_ffff_8000_0000

// Bits of a descriptor's state variable.
const (
	stateShift = 62
	idMask     = 1<<stateShift - 1

	stateReserved  = 0
	stateCommitted = 1 // whole, but more may be appended
	stateFinalized = 2
)

// Bounds of what a ring may say of itself.
const (
	maxCountBits = 24
	maxDataBits  = 31
	maxText      = 64 << 10 // text_len has 16 bits
)

// rings are the parts of a ring buffer.
type rings struct {
	ring         uint64
	count, size  uint64 // descriptors, and bytes of data: powers of two
	descs, infos uint64 // virtual
	data         uint64
	tail, head   uint64 // ids of descriptors
}

func (l *Log) rings() (r rings, err error) {
	word := func(addr uint64) uint64 {
		if err != nil {
			return 0
		}
		var b [8]byte
		err = l.read(b[:], addr)
		return binary.LittleEndian.Uint64(b[:])
	}
	r.ring = word(l.prb)
	desc, data := r.ring+l.at.descRing, r.ring+l.at.dataRing
	countBits, sizeBits := uint32(word(desc+l.at.countBits)), uint32(word(data+l.at.sizeBits))
	r.descs, r.infos, r.data = word(desc+l.at.descs), word(desc+l.at.infos), word(data+l.at.data)
	r.tail, r.head = word(desc+l.at.tailID)&idMask, word(desc+l.at.headID)&idMask
	if err == nil && (countBits == 0 || countBits > maxCountBits || sizeBits == 0 || sizeBits > maxDataBits) {
		err = fmt.Errorf("a kernel log of 2^%d records and 2^%d bytes", countBits, sizeBits)
	}
	r.count, r.size = 1<<(countBits&63), 1<<(sizeBits&63)
	return r, err
}

// What one call of Read looks at.
const (
	maxRecords = 64 << 10
	maxBytes   = 64 << 20
)

// Read gives each record since the last call, the oldest first, and says
// whether some were overwritten before they could be read. A record that may
// still grow is given again by the next call.
func (l *Log) Read(each func(Record)) (lost bool, err error) {
	r, err := l.rings()
	if err != nil {
		return false, err
	}
	if l.ring != r.ring { // early in boot the kernel moves to a larger one
		l.ring, l.next = r.ring, r.tail
	}
	// Ids wrap, hence differences.
	waiting := (r.head - r.tail) & idMask
	if waiting >= r.count {
		return false, fmt.Errorf("a kernel log of %d records has %d", r.count, waiting)
	}
	if (l.next-r.tail)&idMask > waiting+1 {
		l.next, lost = r.tail, true
	}
	if n := (r.head + 1 - l.next) & idMask; n > maxRecords {
		l.next, lost = r.head+1-maxRecords, true
	}
	for bytes := 0; l.next != (r.head+1)&idMask && bytes < maxBytes; l.next = (l.next + 1) & idMask {
		record, state, err := l.record(&r, l.next)
		switch {
		case err != nil:
			return lost, err
		case state == stateReserved:
			return lost, nil // it is being written
		case state == stateFinalized, state == stateCommitted:
			each(record)
			bytes += len(record.Text)
		}
		if state == stateCommitted {
			return lost, nil
		}
	}
	return lost, nil
}

var errGone = errors.New("overwritten")

// record reads one, if it is there still.
func (l *Log) record(r *rings, id uint64) (record Record, state uint64, err error) {
	const gone = ^uint64(0)
	index := id & (r.count - 1)
	desc := make([]byte, l.at.descSize)
	if err := l.read(desc, r.descs+index*l.at.descSize); err != nil {
		return record, 0, err
	}
	le := binary.LittleEndian
	variable := le.Uint64(desc[l.at.stateVar:])
	if variable&idMask != id {
		return record, gone, nil
	}
	state = variable >> stateShift
	if state != stateCommitted && state != stateFinalized {
		return record, state, nil
	}
	info := make([]byte, l.at.infoSize)
	if err := l.read(info, r.infos+index*l.at.infoSize); err != nil {
		return record, 0, err
	}
	// Facility, and flags with the level, lie behind the length.
	n := uint64(le.Uint16(info[l.at.textLen:]))
	record.Time = time.Duration(le.Uint64(info[l.at.time:]))
	record.Facility, record.Level = info[l.at.textLen+2], info[l.at.textLen+3]>>5
	begin, next := le.Uint64(desc[l.at.begin:]), le.Uint64(desc[l.at.endAt:])
	text, err := l.text(r, begin, next, n)
	if errors.Is(err, errGone) {
		return record, gone, nil
	}
	record.Text = string(text)
	return record, state, err
}

// text is the data block from begin to next, logical positions; one that does
// not fit before the end of the ring is at its start.
func (l *Log) text(r *rings, begin, next, n uint64) ([]byte, error) {
	const idSize = 8
	if begin&1 != 0 { // a record without text
		return nil, nil
	}
	at, size := begin&(r.size-1), next-begin
	if begin/r.size != next/r.size || begin >= next {
		if begin/r.size+1 != next/r.size {
			return nil, errGone
		}
		at, size = 0, next&(r.size-1)
	}
	if size < idSize || at+size > r.size {
		return nil, errGone
	}
	text := make([]byte, min(n, size-idSize, maxText))
	return text, l.read(text, r.data+at+idSize)
}

// read fills p from a virtual address, page by page.
func (l *Log) read(p []byte, addr uint64) error {
	const page = 4096
	for len(p) > 0 {
		n := min(uint64(len(p)), page-addr%page)
		at, ok := l.translate(l.root, addr)
		if !ok {
			return fmt.Errorf("the kernel has no memory at %#x", addr)
		}
		if _, err := l.mem.ReadAt(p[:n], int64(at)); err != nil {
			return err
		}
		p, addr = p[n:], addr+n
	}
	return nil
}
