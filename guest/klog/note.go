package klog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// A Note is the text of a kernel's VMCOREINFO, a value by its name.
type Note map[string]string

// noteHead begins the page that holds the note: lengths of name and text (the
// latter between), type 0, name (kernel/crash_core.c, kernel/vmcore_info.c).
const (
	noteName   = "VMCOREINFO\x00\x00"
	noteHeader = 12
	noteStart  = noteHeader + len(noteName)
	maxNote    = 4096
)

// NoteAlign is what a note's address is a multiple of: it has a page of its own
// (kernel/crash_core.c, crash_save_vmcoreinfo_init).
const NoteAlign = 4096

// isNote says whether a page may be the kernel's note, from its first noteStart
// bytes.
func isNote(head []byte) bool {
	le := binary.LittleEndian
	return len(head) >= noteStart && le.Uint32(head) == uint32(len("VMCOREINFO")+1) && string(head[noteHeader:noteStart]) == noteName &&
		le.Uint32(head[8:]) == 0 && le.Uint32(head[4:]) <= maxNote
}

// ReadNote reads the note at a physical address.
func ReadNote(mem Memory, addr uint64) (Note, error) {
	head := make([]byte, noteStart)
	if _, err := mem.ReadAt(head, int64(addr)); err != nil {
		return nil, err
	}
	if !isNote(head) {
		return nil, fmt.Errorf("no VMCOREINFO at %#x", addr)
	}
	text := make([]byte, binary.LittleEndian.Uint32(head[4:]))
	if _, err := mem.ReadAt(text, int64(addr)+int64(noteStart)); err != nil {
		return nil, err
	}
	note := Note{}
	for line := range bytes.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(string(line)), "="); ok {
			note[name] = value
		}
	}
	return note, nil
}

// number is a value of the note; those to base 10 may be negative.
func (n Note) number(name string, base int) (uint64, error) {
	value, ok := n[name]
	if !ok {
		return 0, fmt.Errorf("VMCOREINFO has no %s", name)
	}
	if base == 10 {
		i, err := strconv.ParseInt(value, 10, 64)
		if err == nil {
			return uint64(i), nil
		}
	}
	u, err := strconv.ParseUint(value, base, 64)
	if err != nil {
		return 0, fmt.Errorf("VMCOREINFO: %s=%s is no number", name, value)
	}
	return u, nil
}

// offsets are those of members in the log's structures, in bytes.
type offsets struct {
	descRing, dataRing                      uint64 // printk_ringbuffer
	countBits, descs, infos, headID, tailID uint64 // prb_desc_ring
	sizeBits, data                          uint64 // prb_data_ring
	descSize, stateVar, begin, endAt        uint64 // prb_desc
	infoSize, time, textLen                 uint64 // printk_info
}

// maxStruct bounds a structure of the log.
const maxStruct = 1024

func (n Note) offsets() (o offsets, err error) {
	get := func(format, name string) uint64 {
		v, e := n.number(fmt.Sprintf(format, name), 10)
		switch {
		case err != nil:
		case e != nil:
			err = e
		case v > maxStruct:
			err = fmt.Errorf("VMCOREINFO: %s is %d", name, v)
		}
		return v
	}
	offset := func(name string) uint64 { return get("OFFSET(%s)", name) }
	size := func(name string) uint64 { return get("SIZE(%s)", name) }
	block := offset("prb_desc.text_blk_lpos")
	counter := offset("atomic_long_t.counter")
	o = offsets{
		descRing: offset("printk_ringbuffer.desc_ring"), dataRing: offset("printk_ringbuffer.text_data_ring"),
		countBits: offset("prb_desc_ring.count_bits"), descs: offset("prb_desc_ring.descs"), infos: offset("prb_desc_ring.infos"),
		headID: offset("prb_desc_ring.head_id") + counter, tailID: offset("prb_desc_ring.tail_id") + counter,
		sizeBits: offset("prb_data_ring.size_bits"), data: offset("prb_data_ring.data"),
		descSize: size("prb_desc"), stateVar: offset("prb_desc.state_var") + counter,
		begin: block + offset("prb_data_blk_lpos.begin"), endAt: block + offset("prb_data_blk_lpos.next"),
		infoSize: size("printk_info"), time: offset("printk_info.ts_nsec"), textLen: offset("printk_info.text_len"),
	}
	if err == nil && (max(o.stateVar, o.begin, o.endAt)+8 > o.descSize || max(o.time+8, o.textLen+4) > o.infoSize) {
		err = fmt.Errorf("VMCOREINFO: a member of the log's records lies outside of them")
	}
	return o, err
}
