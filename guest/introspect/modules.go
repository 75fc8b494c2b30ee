package introspect

import (
	"bytes"
	"debug/elf"
	"encoding/binary"

	"nvlab/guest/btf"
)

// A ModuleLayout is where a kernel keeps what describes a module: a list of
// structures, of which each has the module's table of symbols.
type ModuleLayout struct {
	List    uint64 // module.list
	State   uint64 // module.state
	Name    uint64 // module.name
	Symbols uint64 // module.kallsyms
	Table   uint64 // mod_kallsyms.symtab
	Count   uint64 // mod_kallsyms.num_symtab
	Names   uint64 // mod_kallsyms.strtab
}

// readModules is nil for a kernel that has something else.
func readModules(types *btf.Types) *ModuleLayout {
	l := &ModuleLayout{}
	if offsets(types, map[*uint64][2]string{
		&l.List:    {"module", "list"},
		&l.State:   {"module", "state"},
		&l.Name:    {"module", "name"},
		&l.Symbols: {"module", "kallsyms"},
		&l.Table:   {"mod_kallsyms", "symtab"},
		&l.Count:   {"mod_kallsyms", "num_symtab"},
		&l.Names:   {"mod_kallsyms", "strtab"},
	}) != nil {
		return nil
	}
	return l
}

// Bounds of what a guest's memory can make us read.
const (
	maxModules       = 1024
	maxModuleSymbols = 1 << 16
	maxModuleName    = 64 - 8 // MODULE_NAME_LEN
	maxSymbolName    = 512
	maxSymbolNames   = 4 << 20
)

// States of a module (Linux, enum module_state).
const (
	moduleLive   = 0
	moduleComing = 1
)

// A Module is one that a kernel has.
type Module struct {
	Name string
	at   uint64 // of its structure
}

// Modules lists those of a kernel that are there, or about to be, from the head
// of their list at a virtual address. read fills p from one, and says whether it
// could.
func Modules(read func(p []byte, addr uint64) bool, l *ModuleLayout, head uint64) (list []Module) {
	m := virtual(read)
	for at := m.word(head); at != 0 && at != head && len(list) < maxModules; at = m.word(at) {
		one := Module{at: at - l.List}
		if state := m.half(one.at + l.State); state != moduleLive && state != moduleComing {
			continue
		}
		if one.Name = m.text(one.at+l.Name, maxModuleName); one.Name != "" {
			list = append(list, one)
		}
	}
	return list
}

// ReadModule is the symbols of a module.
func ReadModule(read func(p []byte, addr uint64) bool, l *ModuleLayout, one Module) (list []Symbol) {
	m := virtual(read)
	table := m.word(one.at + l.Symbols)
	if table == 0 {
		return nil
	}
	symbols, count, names := m.word(table+l.Table), m.half(table+l.Count), m.word(table+l.Names)
	if count > maxModuleSymbols {
		return nil
	}
	var b [elf.Sym64Size]byte
	for i := range uint64(count) {
		if !read(b[:], symbols+i*elf.Sym64Size) {
			break
		}
		var s elf.Sym64
		if _, err := binary.Decode(b[:], binary.LittleEndian, &s); err != nil {
			break
		}
		kind := elf.ST_TYPE(s.Info)
		if elf.SectionIndex(s.Shndx) == elf.SHN_UNDEF || kind != elf.STT_FUNC && kind != elf.STT_OBJECT || s.Value>>63 == 0 || s.Name > maxSymbolNames {
			continue
		}
		name := m.text(names+uint64(s.Name), maxSymbolName)
		if name == "" {
			continue
		}
		list = append(list, Symbol{Addr: s.Value, Size: min(s.Size, maxFunction), Name: name, Module: one.Name, Code: kind == elf.STT_FUNC})
	}
	return list
}

// virtual reads a guest's memory by virtual address; what cannot be read is 0.
type virtual func(p []byte, addr uint64) bool

func (read virtual) word(addr uint64) uint64 {
	var b [8]byte
	if !read(b[:], addr) {
		return 0
	}
	return binary.LittleEndian.Uint64(b[:])
}

func (read virtual) half(addr uint64) uint32 {
	var b [4]byte
	if !read(b[:], addr) {
		return 0
	}
	return binary.LittleEndian.Uint32(b[:])
}

// text is one that a zero byte ends, of at most so many bytes; "" if it is
// longer.
func (read virtual) text(addr uint64, most int) string {
	var b []byte
	for len(b) < most {
		piece := make([]byte, min(32, most-len(b), int(4096-(addr+uint64(len(b)))%4096)))
		if !read(piece, addr+uint64(len(b))) {
			return ""
		}
		if text, _, found := bytes.Cut(piece, []byte{0}); found {
			return string(bytes.ToValidUTF8(append(b, text...), []byte("?")))
		}
		b = append(b, piece...)
	}
	return ""
}
