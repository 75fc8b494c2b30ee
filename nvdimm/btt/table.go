// Package btt judges a block translation table: it does what Linux does when
// it attaches one, and says whether every sector then has a block of its own.
//
// A sector is written to a free block; the lane's log entry then says which
// block the sector had and which it gets; then the map says so. Until then
// the sector has its old contents, from then on the new, never some of each.
//
// Sources: Linux Documentation/driver-api/nvdimm/btt.rst, drivers/nvdimm/btt.c
// and btt.h; UEFI 2.10 section 6.
package btt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"nvlab/nvdimm/infoblock"
)

var le = binary.LittleEndian

// Sizes in bytes.
const (
	mapEntry  = 4
	logEntry  = 16 // premap address, old and new block, sequence number: 4 each
	logGroup  = 4 * logEntry
	infoStart = 4096 // of the first arena of version 1.1; that of version 2 is at 0
)

// Bits of a map entry. With neither flag the sector was never written and has
// the block of its own number; with both it is an ordinary entry.
const (
	flagZero  = 1 << 31
	flagError = 1 << 30
	blockMask = flagError - 1
)

// Table is a namespace in sector mode. It looks at the bytes that it was
// opened on, which may change between two calls.
type Table struct {
	ns     []byte
	arenas []*arena
	seen   []uint64 // a bit per block, of one arena
}

// arena is one of the table's parts.
type arena struct {
	infoblock.BTT
	index     int
	data      int    // where its blocks begin, in the namespace
	table     []byte // map
	log       []byte
	first     int // sector
	entries   [2]int
	recovered []fix
}

// fix is a map entry that the log has and the map lacks.
type fix struct{ sector, block uint32 }

// Open finds the arenas of a namespace.
func Open(ns []byte) (*Table, error) {
	t := &Table{ns: ns}
	for _, start := range []uint64{infoStart, 0} {
		at := start
		for {
			b, err := infoblock.ParseBTT(from(ns, at))
			if err != nil {
				if len(t.arenas) > 0 {
					return nil, fmt.Errorf("arena %d: %w", len(t.arenas), err)
				}
				break
			}
			if err := t.add(at, b); err != nil {
				return nil, fmt.Errorf("arena %d: %w", len(t.arenas), err)
			}
			if b.NextOff == 0 {
				break
			}
			at += b.NextOff // above this one: see infoblock.BTT.Check
		}
		if len(t.arenas) > 0 {
			return t, nil
		}
	}
	return nil, errors.New("no arena: no info block is valid")
}

func from(ns []byte, at uint64) []byte {
	if at > uint64(len(ns)) {
		return nil
	}
	return ns[at:]
}

func (t *Table) add(at uint64, b infoblock.BTT) error {
	if err := b.Check(uint64(len(t.ns)) - at); err != nil {
		return err
	}
	first := 0
	if n := len(t.arenas); n > 0 {
		last := t.arenas[n-1]
		if last.ExternalLBASize != b.ExternalLBASize {
			return fmt.Errorf("its sectors have %d bytes, those of the one before %d", b.ExternalLBASize, last.ExternalLBASize)
		}
		first = last.first + int(last.ExternalNLBA)
	}
	part := func(off, size uint64) []byte { return t.ns[at+off:][:size:size] }
	t.arenas = append(t.arenas, &arena{
		BTT: b, index: len(t.arenas), first: first,
		data:  int(at + b.DataOff),
		table: part(b.MapOff, uint64(b.ExternalNLBA)*mapEntry),
		log:   part(b.LogOff, uint64(b.NFree)*logGroup),
	})
	t.seen = make([]uint64, max(len(t.seen), int(b.InternalNLBA+63)/64))
	return nil
}

// SectorSize is the bytes of a sector.
func (t *Table) SectorSize() int { return int(t.arenas[0].ExternalLBASize) }

// of is the arena of a sector, and its number there.
func (t *Table) of(sector int) (*arena, uint32) {
	for _, a := range t.arenas {
		if sector < a.first+int(a.ExternalNLBA) {
			return a, uint32(sector - a.first)
		}
	}
	return nil, 0
}

// Block is where a sector's contents lie, in bytes from the namespace's
// start, after the latest Check. It is false for no sector.
func (t *Table) Block(sector int) (at int, ok bool) {
	a, n := t.of(sector)
	if sector < 0 || a == nil {
		return 0, false
	}
	block := a.block(n)
	for _, f := range a.recovered {
		if f.sector == n {
			block = f.block & blockMask
		}
	}
	if block >= a.InternalNLBA {
		return 0, false
	}
	return a.data + int(block)*int(a.InternalLBASize), true
}

// Mapped is where a sector's contents lie as the map alone has it.
func (t *Table) Mapped(sector int) (at int, ok bool) {
	a, n := t.of(sector)
	if sector < 0 || a == nil || a.block(n) >= a.InternalNLBA {
		return 0, false
	}
	return a.data + int(a.block(n))*int(a.InternalLBASize), true
}

// IsData says that a line of the namespace belongs to no structure of the
// table, as far as its arenas are known.
func (t *Table) IsData(at int) bool {
	for _, a := range t.arenas {
		if at >= a.data && at < a.data+int(a.InternalNLBA)*int(a.InternalLBASize) {
			return true
		}
	}
	return false
}

// Entries is the sectors whose map entries lie in n bytes of the namespace.
func (t *Table) Entries(at, n int) (first, count int) {
	for _, a := range t.arenas {
		start := a.data - int(a.DataOff) + int(a.MapOff)
		from, to := max(at, start), min(at+n, start+len(a.table))
		if from < to {
			return a.first + (from-start)/mapEntry, (to-start+mapEntry-1)/mapEntry - (from-start)/mapEntry
		}
	}
	return 0, 0
}
