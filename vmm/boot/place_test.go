package boot

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

const testTop = 48 << 20

func testMap() []Range {
	return []Range{{0, 0xa0000, Usable}, {1 << 20, testTop - 1<<20, Usable}, {testTop, 1 << 20, ACPIData}}
}

func TestPlace(t *testing.T) {
	initrd := bytes.Repeat([]byte("cpio"), 2000)
	for _, c := range []struct {
		name  string
		image []byte
	}{
		{"vmlinux", small()},
		{"bzImage", bzImage(packGzip(t, small()), len(small()))},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := Parse(c.image)
			if err != nil {
				t.Fatal(err)
			}
			ram := make([]byte, 64<<20)
			e, err := k.Place(ram, Params{
				Map: testMap(), Top: testTop, Cmdline: "console=ttyS0", RSDP: 0x12345,
				Seed: []byte("0123456789abcdef0123456789abcdef"), Initrd: bytes.NewReader(initrd), InitrdSize: int64(len(initrd)),
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(ram[0x100_0000:0x100_0004]); got != "text" {
				t.Errorf("memory at 16 MiB = %q, want %q", got, "text")
			}
			if got := string(ram[0x200_0000:0x200_0004]); got != "data" {
				t.Errorf("memory at 32 MiB = %q, want %q", got, "data")
			}
			if e.RIP != 0x100_0000 {
				t.Errorf("RIP = %#x, want 0x1000000", e.RIP)
			}
			checkIdentityMap(t, ram, e.CR3)
			checkSegments(t, ram, e)
			z := ram[e.RSI:]
			le := binary.LittleEndian
			for _, f := range []struct {
				name      string
				got, want uint64
			}{
				{"boot_flag", uint64(le.Uint16(z[0x1fe:])), 0xaa55},
				{"header", uint64(le.Uint32(z[0x202:])), 0x53726448},
				{"version", uint64(le.Uint16(z[0x206:])), 0x20f},
				{"type_of_loader", uint64(z[0x210]), 0xff},
				{"loadflags", uint64(z[0x211]), 1},
				{"sentinel", uint64(z[0x1ef]), 0},
				{"ramdisk_size", uint64(le.Uint32(z[0x21c:])), uint64(len(initrd))},
				{"acpi_rsdp_addr", le.Uint64(z[0x70:]), 0x12345},
				{"e820_entries", uint64(z[0x1e8]), 3},
				{"e820_table[1].addr", le.Uint64(z[0x2d0+20:]), 1 << 20},
				{"e820_table[1].size", le.Uint64(z[0x2d0+28:]), testTop - 1<<20},
				{"e820_table[2].type", uint64(le.Uint32(z[0x2d0+56:])), 3},
			} {
				if f.got != f.want {
					t.Errorf("%s = %#x, want %#x", f.name, f.got, f.want)
				}
			}
			at := le.Uint32(z[0x218:])
			if end := uint64(at) + uint64(len(initrd)); at%4096 != 0 || end > testTop || end < testTop-4096 {
				t.Errorf("initramfs at %#x: want whole pages, right below %#x", at, testTop)
			}
			if !bytes.Equal(ram[at:int(at)+len(initrd)], initrd) {
				t.Error("the initramfs in memory is not the one given")
			}
			if got := string(ram[le.Uint32(z[0x228:]):][:14]); got != "console=ttyS0\x00" {
				t.Errorf("command line = %q", got)
			}
			node := ram[le.Uint64(z[0x250:]):]
			if next, kind, n := le.Uint64(node), le.Uint32(node[8:]), le.Uint32(node[12:]); next != 0 || kind != 9 || n != 32 {
				t.Errorf("setup_data: next %#x, type %d, %d bytes, want 0, 9 (RNG seed), 32", next, kind, n)
			}
			if got := string(node[16:48]); got != "0123456789abcdef0123456789abcdef" {
				t.Errorf("seed = %q", got)
			}
		})
	}
}

// checkIdentityMap walks the page tables for some addresses below 4 GiB.
func checkIdentityMap(t *testing.T, ram []byte, cr3 uint64) {
	t.Helper()
	entry := func(table, index uint64) uint64 { return binary.LittleEndian.Uint64(ram[table&^0xfff+8*index:]) }
	for _, va := range []uint64{0, 0x1fffff, 0x100_0000, 0x4000_0000, 0xffe0_0000, 0xffff_ffff} {
		pml4 := entry(cr3, va>>39&511)
		pdpt := entry(pml4, va>>30&511)
		pd := entry(pdpt, va>>21&511)
		if pml4&1 == 0 || pdpt&1 == 0 || pd&0x83 != 0x83 {
			t.Errorf("%#x is not mapped: %#x, %#x, %#x", va, pml4, pdpt, pd)
		} else if pa := pd&^0x1fffff | va&0x1fffff; pa != va {
			t.Errorf("%#x maps to %#x, want itself", va, pa)
		}
	}
}

func checkSegments(t *testing.T, ram []byte, e Entry) {
	t.Helper()
	if e.GDTLimit < 0x1f {
		t.Fatalf("GDT limit = %#x, want selector 0x18 within", e.GDTLimit)
	}
	code := binary.LittleEndian.Uint64(ram[e.GDT+0x10:])
	data := binary.LittleEndian.Uint64(ram[e.GDT+0x18:])
	// Present, ring 0, code, long mode; present, ring 0, writable data.
	if code>>40&0xfa != 0x9a || code>>53&1 != 1 {
		t.Errorf("code segment = %#x, want a present 64-bit one", code)
	}
	if data>>40&0xfa != 0x92 {
		t.Errorf("data segment = %#x, want a present writable one", data)
	}
}

func TestPlaceErrors(t *testing.T) {
	k, err := Parse(small())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		p    Params
		want string
	}{
		{"long command line", Params{Top: testTop, Cmdline: strings.Repeat("x", 2048)},
			"the kernel command line has 2048 bytes, and this kernel takes at most 2047"},
		{"little memory", Params{Top: 20 << 20}, "the kernel does not fit in memory: it needs 33 MiB, and 20 MiB are usable"},
		{"large initramfs", Params{Top: testTop, Initrd: bytes.NewReader(nil), InitrdSize: 100 << 20},
			"the initramfs does not fit in memory: it has 100 MiB, and behind the kernel 15 MiB are free of 48 MiB usable"},
		{"short initramfs", Params{Top: testTop, Initrd: bytes.NewReader(make([]byte, 10)), InitrdSize: 20}, "reading the initramfs: unexpected EOF"},
		{"many ranges", Params{Top: testTop, Map: make([]Range, 129)}, "129 entries in the memory map, at most 128 fit"},
		{"no memory", Params{Top: 1 << 40}, "no end for"},
	} {
		_, err := k.Place(make([]byte, 64<<20), c.p)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestCmdlineFits(t *testing.T) {
	if s := DefaultCmdline(1_000_000); !strings.Contains(s, "tsc_early_khz=1000000") || len(s) > defaultCmdlineMax/2 {
		t.Errorf("DefaultCmdline = %q", s)
	}
}
