package boot

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Where the loader puts what the kernel is handed. All of it is below
// LowMemory, in pages that the kernel reserves or copies before it reuses them.
const (
	gdtAddr       = 0x1000
	setupDataAddr = 0x2000
	zeroPageAddr  = 0x3000
	pageTables    = 0x10000 // 6 pages: PML4, PDPT, four page directories
	cmdlineAddr   = 0x20000 // at most 64 KiB
	stackTop      = 0x8000
)

// Entry is the state of the first CPU (Linux, boot.rst, "64-bit Boot
// Protocol"): long mode, flat segments, the low 4 GiB identity-mapped.
type Entry struct {
	RIP, RSI, RSP uint64
	CR3           uint64
	GDT           uint64 // selectors 0x10 code, 0x18 data
	GDTLimit      uint16
}

// A Range is an entry of the memory map (ACPI 6.5, 15.2, table 15.5).
type Range struct {
	Base, Size uint64
	Type       RangeType
}

// RangeType is an address range type of ACPI 6.5, table 15.4.
type RangeType uint32

const (
	Usable   RangeType = 1
	Reserved RangeType = 2
	ACPIData RangeType = 3
)

// Params is what a kernel is started with.
type Params struct {
	Map        []Range // at most 128
	Top        uint64  // first byte that kernel and initramfs must not use; below 4 GiB
	Cmdline    string
	RSDP       uint64
	Seed       []byte // for SETUP_RNG_SEED; empty: none
	Initrd     io.ReaderAt
	InitrdSize int64
}

// Place writes the kernel, its initramfs and the boot structures into ram,
// zeroed memory that starts at physical address 0.
func (k *Kernel) Place(ram []byte, p Params) (Entry, error) {
	if p.Top > uint64(len(ram)) || p.Top < LowMemory {
		return Entry{}, fmt.Errorf("boot: %#x is no end for %d bytes of memory", p.Top, len(ram))
	}
	if len(p.Cmdline) > k.CmdlineMax {
		return Entry{}, fmt.Errorf("the kernel command line has %d bytes, and this kernel takes at most %d", len(p.Cmdline), k.CmdlineMax)
	}
	if end := k.End(); end > p.Top {
		return Entry{}, fmt.Errorf("the kernel does not fit in memory: it needs %d MiB, and %d MiB are usable", mib(end), p.Top>>20)
	}
	for _, s := range k.segments {
		if _, err := k.image.ReadAt(ram[s.paddr:s.paddr+s.filesz], int64(s.offset)); err != nil {
			return Entry{}, fmt.Errorf("reading the kernel: %w", err)
		}
	}
	initrd, err := k.placeInitrd(ram, p)
	if err != nil {
		return Entry{}, err
	}
	PlacePageTables(ram, pageTables)
	PlaceGDT(ram, gdtAddr)
	copy(ram[cmdlineAddr:], p.Cmdline)
	ram[cmdlineAddr+len(p.Cmdline)] = 0
	if err := k.zeroPage(ram[zeroPageAddr:zeroPageAddr+0x1000], p, initrd); err != nil {
		return Entry{}, err
	}
	if len(p.Seed) > 0 {
		placeSeed(ram, p.Seed)
	}
	return Entry{
		RIP: k.Entry, RSI: zeroPageAddr, RSP: stackTop,
		CR3: pageTables, GDT: gdtAddr, GDTLimit: GDTLimit,
	}, nil
}

// placeInitrd puts the initramfs as high as the kernel can take it.
func (k *Kernel) placeInitrd(ram []byte, p Params) (addr uint64, err error) {
	if p.InitrdSize == 0 {
		return 0, nil
	}
	size := uint64(p.InitrdSize)
	top := min(p.Top, k.InitrdMax+1)
	low := (k.End() + 0xfff) &^ 0xfff
	if low > top || size > top-low {
		return 0, fmt.Errorf("the initramfs does not fit in memory: it has %d MiB, and behind the kernel %d MiB are free of %d MiB usable",
			mib(size), (top-min(low, top))>>20, p.Top>>20)
	}
	addr = (top - size) &^ 0xfff
	if _, err := io.ReadFull(io.NewSectionReader(p.Initrd, 0, p.InitrdSize), ram[addr:addr+size]); err != nil {
		return 0, fmt.Errorf("reading the initramfs: %w", err)
	}
	return addr, nil
}

func mib(n uint64) uint64 { return (n + 1<<20 - 1) >> 20 }

// PlacePageTables maps the low 4 GiB to itself with 2 MiB pages. The tables
// have 6 pages from at; the first is the PML4.
func PlacePageTables(ram []byte, at uint64) {
	const (
		table = 0x3  // present, writable
		large = 0x83 // present, writable, 2 MiB
	)
	put := func(addr, v uint64) { binary.LittleEndian.PutUint64(ram[addr:], v) }
	put(at, (at+0x1000)|table)
	for i := range uint64(4) {
		put(at+0x1000+8*i, (at+0x2000+0x1000*i)|table)
	}
	for i := range uint64(4 * 512) {
		put(at+0x2000+8*i, i<<21|large)
	}
}

// gdt is the two flat segments that the boot protocol asks for.
var gdt = [...]uint64{0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff}

// GDTLimit is the limit of the table that PlaceGDT writes.
const GDTLimit uint16 = 8*uint16(len(gdt)) - 1

// PlaceGDT writes a table of flat segments: selector 0x10 for code, 0x18 for
// data.
func PlaceGDT(ram []byte, at uint64) {
	for i, d := range gdt {
		binary.LittleEndian.PutUint64(ram[at+8*uint64(i):], d)
	}
}

// placeSeed writes a setup_data node of type SETUP_RNG_SEED (9).
func placeSeed(ram []byte, seed []byte) {
	seed = seed[:min(len(seed), 512)]
	node := ram[setupDataAddr:]
	binary.LittleEndian.PutUint64(node, 0)
	binary.LittleEndian.PutUint32(node[8:], 9)
	binary.LittleEndian.PutUint32(node[12:], uint32(len(seed)))
	copy(node[16:], seed)
}
