package btt

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"nvlab/nvdimm/infoblock"
	"nvlab/nvdimm/label"
)

const (
	sectors = 64
	lanes   = 4
	size    = 512
)

// newTable lays a namespace out as the kernel does: sectors 3 and 5 have been
// written, the others never.
func newTable(t testing.TB, arenas int) (*Table, []byte) {
	t.Helper()
	const blocks = sectors + lanes
	dataOff, mapOff := uint64(infoblock.Size), uint64(infoblock.Size+blocks*size+4095)&^4095
	logOff, info2Off := mapOff+4096, mapOff+8192
	length := int(info2Off) + infoblock.Size
	ns := make([]byte, infoStart+arenas*length)
	for i := range arenas {
		at := infoStart + i*length
		info := ns[at:][:infoblock.Size]
		copy(info, "BTT_ARENA_INFO")
		le.PutUint16(info[52:], 1)
		le.PutUint16(info[54:], 1)
		for off, v := range map[int]uint32{56: size, 60: sectors, 64: size, 68: blocks, 72: lanes, 76: infoblock.Size} {
			le.PutUint32(info[off:], v)
		}
		if i < arenas-1 {
			le.PutUint64(info[80:], uint64(length))
		}
		le.PutUint64(info[88:], dataOff)
		le.PutUint64(info[96:], mapOff)
		le.PutUint64(info[104:], logOff)
		le.PutUint64(info[112:], info2Off)
		le.PutUint64(info[4088:], label.ChecksumOf(info, 4088))
		copy(ns[at+int(info2Off):], info)
		for lane := range lanes {
			e := ns[at+int(logOff)+lane*logGroup:]
			for j, v := range []uint32{uint32(lane), uint32(sectors + lane), uint32(sectors + lane), 1} {
				le.PutUint32(e[4*j:], v)
			}
		}
	}
	table, err := Open(ns)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []int{3, 5} {
		for _, store := range write(table, 0, s, byte(s)) {
			copy(ns[store.at:], store.data)
		}
	}
	return table, ns
}

// store is one that the kernel makes.
type store struct {
	at   int
	data []byte
}

// write lists the stores that write a sector by a lane, in order (btt.c,
// btt_write_pg): the data, the halves of the log entry, the map entry.
func write(t *Table, lane, sector int, fill byte) (list []store) {
	if err := t.Check(); err != nil {
		panic(err)
	}
	a, n := t.of(sector)
	e, _ := a.later(lane)
	free, seq := le.Uint32(e[4:])&blockMask, le.Uint32(e[12:])%3+1
	for at := 0; at < size; at += 8 {
		list = append(list, store{a.data + int(free)*size + at, bytes.Repeat([]byte{fill}, 8)})
	}
	into := 0
	if bytes.Equal(e, a.log[lane*logGroup:][:logEntry]) {
		into = logEntry
	}
	at := a.data - infoblock.Size + int(a.LogOff) + lane*logGroup + into
	half := func(x, y uint32) []byte { return le.AppendUint32(le.AppendUint32(nil, x), y) }
	return append(list,
		store{at, half(n, a.block(n))},
		store{at + 8, half(free, seq)},
		store{a.data - infoblock.Size + int(a.MapOff) + int(n)*mapEntry, le.AppendUint32(nil, free|flagZero|flagError)})
}

func countSectors(t *Table) int {
	last := t.arenas[len(t.arenas)-1]
	return last.first + int(last.ExternalNLBA)
}

func contents(t *Table, sector int) []byte {
	at, ok := t.Block(sector)
	if !ok {
		return nil
	}
	return t.ns[at : at+size]
}

// TestTornWrites: whenever power fails within a write, the table is sound and
// the sector has its old or its new contents; and the states are as many as
// the stores.
func TestTornWrites(t *testing.T) {
	for _, arenas := range []int{1, 2} {
		table, ns := newTable(t, arenas)
		if countSectors(table) != arenas*sectors || table.SectorSize() != size {
			t.Fatalf("%d sectors of %d bytes, want %d of %d", countSectors(table), table.SectorSize(), arenas*sectors, size)
		}
		states := 0
		// The lane's entries take turns, its sequence numbers come round.
		for i, sector := range []int{3, 7, 3, 5, arenas*sectors - 1, arenas*sectors - 1, 0} {
			before := bytes.Clone(contents(table, sector))
			after := bytes.Repeat([]byte{byte(0x80 + i)}, size)
			for _, s := range write(table, 1, sector, byte(0x80+i)) {
				copy(ns[s.at:], s.data)
				states++
				if err := table.Check(); err != nil {
					t.Fatalf("%d arenas, write %d, state %d: %v", arenas, i, states, err)
				}
				if got := contents(table, sector); !bytes.Equal(got, before) && !bytes.Equal(got, after) {
					t.Fatalf("%d arenas, write %d, state %d: sector %d is torn", arenas, i, states, sector)
				}
			}
			if got := contents(table, sector); !bytes.Equal(got, after) {
				t.Errorf("%d arenas, write %d: the sector does not have its new contents", arenas, i)
			}
		}
		if states != 7*(size/8+3) {
			t.Errorf("%d states", states)
		}
	}
}

func TestRecovery(t *testing.T) {
	table, ns := newTable(t, 1)
	stores := write(table, 2, 9, 0xaa)
	for _, s := range stores[:len(stores)-1] { // all but the map
		copy(ns[s.at:], s.data)
	}
	if err := table.Check(); err != nil {
		t.Fatal(err)
	}
	if got := contents(table, 9); got[0] != 0xaa || got[size-1] != 0xaa {
		t.Error("the log has the write, the map has not: the sector should be the new one")
	}
	for _, bad := range []int{-1, sectors} {
		if _, ok := table.Block(bad); ok {
			t.Errorf("sector %d has a block", bad)
		}
	}
}

func TestDamage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(a *arena)
		want   string
	}{
		{"two sectors with one block", func(a *arena) { le.PutUint32(a.table[4*8:], 9|flagZero|flagError) }, "sector 9 has block 9, which another has too"},
		{"a block beyond the end", func(a *arena) { le.PutUint32(a.table[4*8:], 1000|flagError) }, "sector 8 has block 1000, of 68"},
		{"a free block in use", func(a *arena) { le.PutUint32(a.log[3*logGroup+4:], 8); le.PutUint32(a.log[3*logGroup+8:], 8) }, "lane 3: its free block 8 is in use"},
		{"a free block beyond the end", func(a *arena) { le.PutUint32(a.log[3*logGroup+4:], 99); le.PutUint32(a.log[3*logGroup+8:], 99) }, "lane 3: its free block is 99"},
		{"equal sequence numbers", func(a *arena) { le.PutUint32(a.log[12:], 2); le.PutUint32(a.log[logEntry+12:], 2) }, "lane 0: the sequence numbers of its log are 2 and 2"},
		{"a sequence number too large", func(a *arena) { le.PutUint32(a.log[12:], 77) }, "lane 0: the sequence numbers of its log are 77"},
		{"an empty log", func(a *arena) { clear(a.log[2*logGroup:][:logGroup]) }, "lane 2: the first entry of its log is empty"},
		{"a fourth entry", func(a *arena) { a.log[3*logEntry] = 1 }, "lane 0: the fourth entry of its log is not empty"},
		{"entries in another place", func(a *arena) { a.log[2*logGroup+2*logEntry] = 1 }, "lane 2: entry 2 of its log is in use, in other lanes it is entry 1"},
		{"a log of no sector", func(a *arena) {
			le.PutUint32(a.log[3*logGroup:], sectors)
			le.PutUint32(a.log[3*logGroup+4:], 1)
		}, "lane 3: its log is of sector 64, of 64"},
	} {
		table, _ := newTable(t, 1)
		if err := table.Check(); err != nil {
			t.Fatalf("before any damage: %v", err)
		}
		tt.damage(table.arenas[0])
		if err := table.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Check() = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	_, good := newTable(t, 2)
	next := int(le.Uint64(good[infoStart+80:]))
	seal := func(block []byte) { le.PutUint64(block[4088:], label.ChecksumOf(block[:4096], 4088)) }
	for _, tt := range []struct {
		name   string
		damage func(ns []byte) []byte
		want   string
	}{
		{"nothing", func([]byte) []byte { return nil }, "no info block is valid"},
		{"a torn info block", func(ns []byte) []byte { ns[infoStart+56]++; return ns }, "no info block is valid"},
		{"a torn second one", func(ns []byte) []byte { ns[infoStart+next+56]++; return ns }, "arena 1"},
		{"free blocks that do not add up", func(ns []byte) []byte { ns[infoStart+72]++; seal(ns[infoStart:]); return ns }, "64 sectors and 5 free blocks"},
		{"a map behind the end", func(ns []byte) []byte { ns[infoStart+100] = 1; seal(ns[infoStart:]); return ns }, "do not fit"},
		{"a next arena before this one's end", func(ns []byte) []byte { le.PutUint64(ns[infoStart+80:], 8); seal(ns[infoStart:]); return ns }, "not behind it"},
		{"other sectors behind", func(ns []byte) []byte {
			le.PutUint32(ns[infoStart+next+56:], size/2)
			seal(ns[infoStart+next:])
			return ns
		}, "its sectors have 256 bytes, those of the one before 512"},
		{"no sectors", func(ns []byte) []byte { le.PutUint32(ns[infoStart+56:], 0); seal(ns[infoStart:]); return ns }, "its sectors 0"},
	} {
		if _, err := Open(tt.damage(bytes.Clone(good))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Open() = %v, want an error with %q", tt.name, err, tt.want)
		}
	}
}

// FuzzTable changes a table, with a valid checksum, as it likes.
func FuzzTable(f *testing.F) {
	_, ns := newTable(f, 1)
	f.Add(uint32(infoStart+72), uint64(0), uint32(0), uint64(0))
	f.Add(uint32(infoStart+80), uint64(1)<<63, uint32(len(ns)-9000), uint64(1)<<62)
	f.Add(uint32(len(ns)-8192), uint64(2)<<32, uint32(len(ns)-8192+8), uint64(3)<<32)
	f.Fuzz(func(t *testing.T, at1 uint32, v1 uint64, at2 uint32, v2 uint64) {
		ns := bytes.Clone(ns)
		put := func(at uint32, v uint64) { binary.LittleEndian.PutUint64(ns[int(at)%(len(ns)-8):], v) }
		put(at1, v1)
		put(at2, v2)
		for _, info := range []int{infoStart, 0} {
			le.PutUint64(ns[info+4088:], label.ChecksumOf(ns[info:info+4096], 4088))
		}
		table, err := Open(ns)
		if err != nil {
			return
		}
		if table.Check() != nil {
			return
		}
		used := map[int]bool{}
		for s := range countSectors(table) {
			block, ok := table.Block(s)
			if !ok || used[block] || block < 0 || block+table.SectorSize() > len(ns) {
				t.Fatalf("a table is sound in which sector %d lies at %d (%v), as another does: %v", s, block, ok, used[block])
			}
			used[block] = true
		}
	})
}

// BenchmarkCheck judges the states of torn writes, of a namespace of 32 MiB
// with sectors of 4 KiB.
func BenchmarkCheck(b *testing.B) {
	a := &arena{table: make([]byte, 8000*mapEntry), log: make([]byte, 256*logGroup)}
	a.ExternalNLBA, a.NFree, a.InternalNLBA = 8000, 256, 8256
	for lane := range 256 {
		for j, v := range []int{lane, 8000 + lane, 8000 + lane, 1} {
			le.PutUint32(a.log[lane*logGroup+4*j:], uint32(v))
		}
	}
	t := &Table{arenas: []*arena{a}, seen: make([]uint64, 130)}
	for b.Loop() {
		if err := t.Check(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "states/s")
}
