package introspect

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"slices"
	"strconv"
)

// A Symbol is a name of a kernel or of one of its modules.
type Symbol struct {
	Addr   uint64
	Size   uint64 // 0 if it is not known
	Name   string
	Module string // "" of the kernel itself
	Code   bool   // it is a function, and not data
}

// ReadSymbols reads /proc/kallsyms (proc(5)), but for what is at no address.
func ReadSymbols(kallsyms []byte) (list []Symbol) {
	for line := range bytes.Lines(kallsyms) {
		f := bytes.Fields(line)
		if len(f) < 3 || len(f[1]) != 1 {
			continue
		}
		addr, err := strconv.ParseUint(string(f[0]), 16, 64)
		if err != nil || addr == 0 {
			continue
		}
		kind := f[1][0] | 0x20
		s := Symbol{Addr: addr, Name: string(f[2]), Code: kind == 't' || kind == 'w'}
		if len(f) > 3 {
			s.Module = string(bytes.Trim(f[3], "[]"))
		}
		list = append(list, s)
	}
	return list
}

// SymbolFile is an ELF file with symbols, for debuggers: each at its address, in
// sections without contents, of which one has what is code, or data, of the kernel
// or of one module, up to where the next begins.
func SymbolFile(list []Symbol) []byte {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Symbol) int { return cmp.Compare(a.Addr, b.Addr) })
	f := &symbolFile{names: []byte{0}, sectionNames: []byte{0}}
	f.symbols = make([]byte, elf.Sym64Size) // the first is none
	f.sections = append(f.sections, elf.Section64{})
	for i := range list {
		s := &list[i]
		if s.Addr>>63 == 0 || len(f.sections) >= maxSections {
			f.symbol(s, elf.SHN_ABS, 0) // of a CPU's own data: an offset
			continue
		}
		if i == 0 || list[i-1].Addr>>63 == 0 || s.Addr != list[i-1].Addr && (s.Code != list[i-1].Code || s.Module != list[i-1].Module) {
			f.section(s)
		}
		size := s.Size
		if i+1 < len(list) {
			next := list[i+1].Addr - s.Addr
			if size == 0 || size > next && next > 0 {
				size = min(next, maxFunction)
			}
		}
		last := &f.sections[len(f.sections)-1]
		last.Size = max(last.Size, s.Addr+size-last.Addr, 1)
		f.symbol(s, elf.SectionIndex(len(f.sections)-1), size)
	}
	return f.bytes()
}

// A symbolFile is an ELF file that is made.
type symbolFile struct {
	sections     []elf.Section64
	sectionNames []byte
	symbols      []byte
	names        []byte
}

// section begins one at a symbol.
func (f *symbolFile) section(s *Symbol) {
	name, flags := ".data", elf.SHF_ALLOC|elf.SHF_WRITE
	if s.Code {
		name, flags = ".text", elf.SHF_ALLOC|elf.SHF_EXECINSTR
	}
	if s.Module != "" {
		name += "." + s.Module
	}
	f.sections = append(f.sections, elf.Section64{
		Name: f.sectionName(name), Type: uint32(elf.SHT_NOBITS), Flags: uint64(flags), Addr: s.Addr, Addralign: 1,
	})
}

func (f *symbolFile) sectionName(name string) uint32 {
	at := len(f.sectionNames)
	f.sectionNames = append(append(f.sectionNames, name...), 0)
	return uint32(at)
}

func (f *symbolFile) symbol(s *Symbol, section elf.SectionIndex, size uint64) {
	bind, kind := elf.STB_LOCAL, elf.STT_OBJECT
	if s.Code {
		kind = elf.STT_FUNC
	}
	sym := elf.Sym64{
		Name: uint32(len(f.names)), Info: elf.ST_INFO(bind, kind), Shndx: uint16(section), Value: s.Addr, Size: size,
	}
	f.names = append(append(f.names, s.Name...), 0)
	f.symbols, _ = binary.Append(f.symbols, binary.LittleEndian, &sym)
}

// bytes is the file: its header, the tables of symbols and names, and that of
// sections.
func (f *symbolFile) bytes() []byte {
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Ehsize: 64, Shentsize: 64,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	b := make([]byte, header.Ehsize)
	add := func(name string, kind elf.SectionType, data []byte) *elf.Section64 {
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
		f.sections = append(f.sections, elf.Section64{
			Name: f.sectionName(name), Type: uint32(kind), Off: uint64(len(b)), Size: uint64(len(data)), Addralign: 8,
		})
		b = append(b, data...)
		return &f.sections[len(f.sections)-1]
	}
	symtab := add(".symtab", elf.SHT_SYMTAB, f.symbols)
	symtab.Entsize, symtab.Link = elf.Sym64Size, uint32(len(f.sections))
	symtab.Info = uint32(len(f.symbols) / elf.Sym64Size) // all are local
	add(".strtab", elf.SHT_STRTAB, f.names)
	own := f.sectionName(".shstrtab")
	data := f.sectionNames
	add("", elf.SHT_STRTAB, data).Name = own
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	header.Shoff, header.Shnum, header.Shstrndx = uint64(len(b)), uint16(len(f.sections)), uint16(len(f.sections)-1)
	for i := range f.sections {
		b, _ = binary.Append(b, binary.LittleEndian, &f.sections[i])
	}
	start, _ := binary.Append(nil, binary.LittleEndian, &header)
	copy(b, start)
	return b
}

// maxSections bounds those of a file, so that their numbers are not among the
// reserved ones (ELF, SHN_LORESERVE).
const maxSections = int(elf.SHN_LORESERVE) - 8
