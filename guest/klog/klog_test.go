package klog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

// memory is a guest's; virtual addresses are physical ones.
type memory []byte

func (m memory) ReadAt(p []byte, addr int64) (int, error) {
	if addr < 0 || addr+int64(len(p)) > int64(len(m)) {
		return 0, fmt.Errorf("no memory at %#x", addr)
	}
	return copy(p, m[addr:]), nil
}

func identity(_, addr uint64) (uint64, bool) { return addr, addr < 1<<40 }

// Where the test's kernel has what.
const (
	noteAt  = 0x1000
	prbAt   = 0x2000
	ringAt  = 0x2100
	descsAt = 0x3000
	infosAt = 0x4000
	dataAt  = 0x6000

	countBits, sizeBits = 3, 9 // 8 records, 512 bytes
	descSize, infoSize  = 24, 88
)

const noteText = `OSRELEASE=6.1.0
SYMBOL(prb)=2000
SYMBOL(swapper_pg_dir)=ffffffff80001000
NUMBER(phys_base)=0
SIZE(prb_desc)=24
SIZE(printk_info)=88
OFFSET(printk_ringbuffer.desc_ring)=0
OFFSET(printk_ringbuffer.text_data_ring)=48
OFFSET(prb_desc_ring.count_bits)=0
OFFSET(prb_desc_ring.descs)=8
OFFSET(prb_desc_ring.infos)=16
OFFSET(prb_desc_ring.head_id)=24
OFFSET(prb_desc_ring.tail_id)=32
OFFSET(prb_data_ring.size_bits)=0
OFFSET(prb_data_ring.data)=8
OFFSET(prb_desc.state_var)=0
OFFSET(prb_desc.text_blk_lpos)=8
OFFSET(prb_data_blk_lpos.begin)=0
OFFSET(prb_data_blk_lpos.next)=8
OFFSET(printk_info.ts_nsec)=8
OFFSET(printk_info.text_len)=16
OFFSET(atomic_long_t.counter)=0
`

// kernel writes a log as printk does (kernel/printk/printk_ringbuffer.c).
type kernel struct {
	memory
	id, tail uint64
	lpos     uint64
}

func (k *kernel) put(at int, v uint64) { binary.LittleEndian.PutUint64(k.memory[at:], v) }

func newKernel(first uint64) *kernel {
	k := &kernel{memory: make(memory, 0x7000), id: first, tail: first}
	note := k.memory[noteAt:]
	binary.LittleEndian.PutUint32(note, 11)
	binary.LittleEndian.PutUint32(note[4:], uint32(len(noteText)))
	copy(note[12:], "VMCOREINFO")
	copy(note[24:], noteText)
	k.put(prbAt, ringAt)
	for at, v := range map[int]uint64{0: countBits, 8: descsAt, 16: infosAt, 24: k.id, 32: k.tail, 48: sizeBits, 56: dataAt} {
		k.put(ringAt+at, v)
	}
	k.put(descsAt+int(k.id%8)*descSize, 3<<stateShift|k.id&idMask) // as the kernel makes it: to be used
	return k
}

func (k *kernel) log(facility, level uint8, state uint64, text string) {
	k.id = (k.id + 1) & idMask
	if (k.id-k.tail)&idMask >= 8 {
		k.tail = (k.tail + 1) & idMask
	}
	size := (8 + uint64(len(text)) + 7) &^ 7
	begin, at := k.lpos, k.lpos%512
	if at+size > 512 { // it wraps: the block is at the start
		at, k.lpos = 0, (k.lpos+511)&^511
	}
	k.lpos += size
	copy(k.memory[dataAt+at+8:], text)
	i := int(k.id % 8)
	k.put(infosAt+i*infoSize+8, uint64(time.Second))
	binary.LittleEndian.PutUint16(k.memory[infosAt+i*infoSize+16:], uint16(len(text)))
	k.memory[infosAt+i*infoSize+18], k.memory[infosAt+i*infoSize+19] = facility, level<<5
	k.put(descsAt+i*descSize, state<<stateShift|k.id)
	k.put(descsAt+i*descSize+8, begin)
	k.put(descsAt+i*descSize+16, k.lpos)
	k.put(ringAt+24, k.id|3<<stateShift) // the two upper bits mean nothing there
	k.put(ringAt+32, k.tail)
}

func open(t *testing.T, m memory) *Log {
	t.Helper()
	note, err := ReadNote(m, noteAt)
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(m, identity, note)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t *testing.T, l *Log) string {
	t.Helper()
	var b strings.Builder
	lost, err := l.Read(func(r Record) { fmt.Fprintf(&b, "%v %d %d %s|", r.Time, r.Facility, r.Level, r.Text) })
	if err != nil {
		t.Error(err)
	}
	if lost {
		return "lost|" + b.String()
	}
	return b.String()
}

func TestRead(t *testing.T) {
	for _, first := range []uint64{0, 7, idMask - 8, idMask} { // ids wrap
		k := newKernel(first)
		l := open(t, k.memory)
		step := func(want string) {
			t.Helper()
			if got := read(t, l); got != want {
				t.Errorf("first id %#x: Read() = %q, want %q", first, got, want)
			}
		}
		step("")
		k.log(0, 0, stateFinalized, "Kernel panic")
		k.log(1, 4, stateFinalized, "of a program")
		step("1s 0 0 Kernel panic|1s 1 4 of a program|")
		step("")
		long := strings.Repeat("x", 200)
		for range 5 { // 208 bytes each, in a ring of 512
			k.log(0, 6, stateFinalized, long)
			step("1s 0 6 " + long + "|")
		}
		k.log(0, 6, stateCommitted, "may grow")
		step("1s 0 6 may grow|")
		step("1s 0 6 may grow|")
		k.put(descsAt+int(k.id%8)*descSize, stateFinalized<<stateShift|k.id)
		step("1s 0 6 may grow|")
		k.log(0, 6, stateReserved, "being written")
		step("")
		for i := range 9 {
			k.log(0, 6, stateFinalized, fmt.Sprint(i))
		}
		step("lost|1s 0 6 1|1s 0 6 2|1s 0 6 3|1s 0 6 4|1s 0 6 5|1s 0 6 6|1s 0 6 7|1s 0 6 8|")
	}
}

func TestNewRefuses(t *testing.T) {
	k := newKernel(0)
	for _, broken := range []struct{ old, new, want string }{
		{"SYMBOL(prb)", "SYMBOL(log)", "no SYMBOL(prb)"},
		{"desc)=24", "desc)=16", "lies outside"},
		{"=88", "=88888888", "is 88888888"},
		{"phys_base)=0", "phys_base)=x", "is no number"},
		{"SYMBOL(prb)=2000", "SYMBOL(prb)=ffffffffffff", "no memory"},
	} {
		m := memory(bytes.Clone(k.memory))
		text := strings.Replace(noteText, broken.old, broken.new, 1)
		binary.LittleEndian.PutUint32(m[noteAt+4:], uint32(len(text)))
		copy(m[noteAt+24:], text)
		note, err := ReadNote(m, noteAt)
		if err == nil {
			_, err = New(m, identity, note)
		}
		if err == nil || !strings.Contains(err.Error(), broken.want) {
			t.Errorf("with %q for %q: %v, want %q", broken.new, broken.old, err, broken.want)
		}
	}
	if _, err := ReadNote(k.memory, prbAt); err == nil {
		t.Error("ReadNote of a page without a note gives no error")
	}
}

// FuzzRead reads logs of kernels that wrote over their own memory.
func FuzzRead(f *testing.F) {
	k := newKernel(idMask)
	for range 12 {
		k.log(0, 1, stateFinalized, "text")
	}
	f.Add([]byte(k.memory[prbAt:]))
	f.Add([]byte(k.memory[noteAt:]))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := memory(bytes.Clone(k.memory))
		at := prbAt
		if isNote(data) {
			at = noteAt
		}
		copy(m[at:], data)
		note, err := ReadNote(m, noteAt)
		if err != nil {
			return
		}
		l, err := New(m, identity, note)
		if err != nil {
			return
		}
		for range 2 {
			l.Read(func(r Record) {
				if len(r.Text) > maxText {
					t.Errorf("a record of %d bytes", len(r.Text))
				}
			})
		}
	})
}
