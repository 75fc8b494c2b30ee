package introspect

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"
)

func TestSymbolFile(t *testing.T) {
	list := ReadSymbols([]byte(`0000000000000000 A fixed_percpu_data
0000000000000040 A cpu_data
ffffffff82000000 D data
ffffffff81000000 T _text
ffffffff81000100 t helper
ffffffff81000100 W alias
junk
ffffffffc0000000 t pmem_make_request	[nd_pmem]
ffffffffc0000040 t nd_probe	[libnvdimm]
`))
	f, err := elf.NewFile(bytes.NewReader(SymbolFile(list)))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	type symbol struct {
		addr, size uint64
		section    string
		kind       elf.SymType
	}
	got := map[string]symbol{}
	for _, s := range symbols {
		section := ""
		if s.Section != elf.SHN_ABS {
			section = f.Sections[s.Section].Name
		}
		got[s.Name] = symbol{s.Value, s.Size, section, elf.ST_TYPE(s.Info)}
	}
	for name, want := range map[string]symbol{
		"cpu_data":          {0x40, 0, "", elf.STT_OBJECT},
		"_text":             {0xffffffff81000000, 0x100, ".text", elf.STT_FUNC},
		"helper":            {0xffffffff81000100, 0, ".text", elf.STT_FUNC},
		"alias":             {0xffffffff81000100, 0x10000, ".text", elf.STT_FUNC},
		"data":              {0xffffffff82000000, 0x10000, ".data", elf.STT_OBJECT},
		"pmem_make_request": {0xffffffffc0000000, 0x40, ".text.nd_pmem", elf.STT_FUNC},
		"nd_probe":          {0xffffffffc0000040, 0, ".text.libnvdimm", elf.STT_FUNC},
	} {
		if got[name] != want {
			t.Errorf("symbol %s is %+v in the file, want %+v", name, got[name], want)
		}
	}
	if len(symbols) != 7 {
		t.Errorf("the file has %d symbols, want 7", len(symbols))
	}
	var end uint64
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		if s.Addr < end {
			t.Errorf("section %s at %#x begins before the end of the last, %#x", s.Name, s.Addr, end)
		}
		end = s.Addr + s.Size
	}
}

// listed is a guest's memory with modules in a list, whose head is at its start.
type listed []byte

const listedAt = 0xffffffffc0000000

func (m listed) read(p []byte, addr uint64) bool {
	at := addr - listedAt
	return at <= uint64(len(m)) && len(p) <= len(m)-int(at) && copy(p, m[at:]) == len(p)
}

func (m listed) put(at int, words ...uint64) {
	for i, w := range words {
		binary.LittleEndian.PutUint64(m[at+8*i:], w)
	}
}

func TestModules(t *testing.T) {
	l := &ModuleLayout{State: 0, List: 8, Name: 24, Symbols: 88, Table: 0, Count: 8, Names: 16}
	m := make(listed, 0x2000)
	const first, going, second, table, names = 0x100, 0x200, 0x300, 0x400, 0x500
	m.put(0, listedAt+first+8)
	m.put(first, moduleLive, listedAt+going+8, 0)
	copy(m[first+24:], "nd_pmem\x00")
	m.put(first+88, listedAt+table)
	m.put(going, 2, listedAt+second+8, 0)
	copy(m[going+24:], "leaves\x00")
	m.put(second, moduleComing, listedAt, 0)
	copy(m[second+24:], "libnvdimm\x00")
	m.put(second+88, 0) // it has no symbols
	m.put(table, listedAt+0x1000, 4, listedAt+names)
	copy(m[names:], "\x00probe\x00taken\x00")
	var b []byte
	for _, s := range []elf.Sym64{
		{},
		{Name: 1, Info: elf.ST_INFO(elf.STB_LOCAL, elf.STT_FUNC), Shndx: 1, Value: 0xffffffffc0100000, Size: 16},
		{Name: 7, Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Value: 0xffffffff81000000}, // the kernel's
		{Name: 1 << 30, Info: elf.ST_INFO(elf.STB_LOCAL, elf.STT_FUNC), Shndx: 1, Value: 0xffffffffc0100000},
	} {
		b, _ = binary.Append(b, binary.LittleEndian, &s)
	}
	copy(m[0x1000:], b)
	list := Modules(m.read, l, listedAt)
	if len(list) != 2 || list[0].Name != "nd_pmem" || list[1].Name != "libnvdimm" {
		t.Fatalf("modules are %+v, want nd_pmem and libnvdimm", list)
	}
	got := ReadModule(m.read, l, list[0])
	want := Symbol{Addr: 0xffffffffc0100000, Size: 16, Name: "probe", Module: "nd_pmem", Code: true}
	if len(got) != 1 || got[0] != want {
		t.Errorf("symbols of nd_pmem are %+v, want %+v", got, want)
	}
	if got := ReadModule(m.read, l, list[1]); got != nil {
		t.Errorf("symbols of a module without: %+v", got)
	}
	m.put(first+8, listedAt+first+8) // a list that never ends
	if list := Modules(m.read, l, listedAt); len(list) != maxModules {
		t.Errorf("a list without an end has %d modules, want %d", len(list), maxModules)
	}
	m.put(table, listedAt+0x1000, 1<<40-1, listedAt+names)
	if got := ReadModule(m.read, l, list[0]); got != nil {
		t.Errorf("symbols of a table of 2^32: %d, want none", len(got))
	}
}

// FuzzModules: whatever a guest's memory holds, reading it ends.
func FuzzModules(f *testing.F) {
	f.Add([]byte{8, 0, 0, 0xc0, 0xff, 0xff, 0xff, 0xff}, uint16(8))
	f.Fuzz(func(t *testing.T, b []byte, at uint16) {
		m := listed(b)
		l := &ModuleLayout{List: uint64(at & 7), State: 8, Name: uint64(at >> 8), Symbols: uint64(at >> 4), Count: 8, Names: 16}
		list := Modules(m.read, l, listedAt)
		for _, one := range list[:min(len(list), 4)] {
			if len(one.Name) > maxModuleName {
				t.Fatalf("a module's name of %d bytes, want at most %d", len(one.Name), maxModuleName)
			}
			if n := len(SymbolFile(ReadModule(m.read, l, one))); n < 64 {
				t.Fatalf("a file of %d bytes, which are no header", n)
			}
		}
	})
}
