package introspect

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
)

// A Binary is what a program's file says of its instructions.
type Binary struct {
	segments []*elf.Prog
	symbols  []elf.Symbol // functions
	lines    *dwarf.Data  // nil if it has none
}

// ReadBinary reads an ELF file. One that says nothing of its instructions, or
// is broken, is an error.
func ReadBinary(r io.ReaderAt) (b *Binary, err error) {
	defer func() { // the file is anybody's
		if recover() != nil {
			b, err = nil, fmt.Errorf("a broken ELF file")
		}
	}()
	f, err := elf.NewFile(r)
	if err != nil {
		return nil, err
	}
	b = &Binary{}
	for _, p := range f.Progs {
		if p.Type == elf.PT_LOAD {
			b.segments = append(b.segments, p)
		}
	}
	symbols, err := f.Symbols()
	if err != nil {
		symbols, err = f.DynamicSymbols()
	}
	b.symbols = slices.DeleteFunc(symbols, func(s elf.Symbol) bool { return elf.ST_TYPE(s.Info) != elf.STT_FUNC || s.Size == 0 })
	if f.Section(".debug_line") != nil {
		b.lines, _ = f.DWARF()
	}
	if len(b.symbols) == 0 && b.lines == nil {
		return nil, fmt.Errorf("no symbols: %w", err)
	}
	return b, nil
}

// At is the function and line of an instruction at an offset in the file, as
// far as they are known: "store+0x16, prog.c:12".
func (b *Binary) At(offset uint64) (what string) {
	defer func() {
		if recover() != nil {
			what = ""
		}
	}()
	for _, p := range b.segments {
		if offset < p.Off || offset-p.Off >= p.Filesz {
			continue
		}
		addr := offset - p.Off + p.Vaddr
		what = b.function(addr)
		if line := b.line(addr); line != "" && what != "" {
			what += ", " + line
		} else {
			what += line
		}
	}
	return what
}

func (b *Binary) function(addr uint64) string {
	for _, s := range b.symbols {
		if addr >= s.Value && addr-s.Value < s.Size {
			return fmt.Sprintf("%s+%#x", s.Name, addr-s.Value)
		}
	}
	return ""
}

func (b *Binary) line(addr uint64) string {
	if b.lines == nil {
		return ""
	}
	unit, err := b.lines.Reader().SeekPC(addr)
	if err != nil {
		return ""
	}
	lines, err := b.lines.LineReader(unit)
	if err != nil || lines == nil {
		return ""
	}
	var e dwarf.LineEntry
	if lines.SeekPC(addr, &e) != nil || e.File == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", path.Base(e.File.Name), e.Line)
}
