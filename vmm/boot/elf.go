package boot

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	elfMagic = "\x7fELF"

	ehdrSize = 64
	phdrSize = 56
	ptLoad   = 1
)

// LowMemory is where the loader's own structures end; a kernel's segments lie
// above it.
const LowMemory = 1 << 20

// segment is a PT_LOAD program header (System V gABI, "Program Header").
type segment struct {
	offset, filesz uint64
	paddr, memsz   uint64
}

// parseELF reads the headers of an x86-64 vmlinux.
func parseELF(r io.ReaderAt, size int64) (*Kernel, error) {
	notKernel := func(format string, args ...any) error {
		return fmt.Errorf("not a kernel: %s (%w)", fmt.Sprintf(format, args...), errNotKernel)
	}
	var h [ehdrSize]byte
	if n, _ := r.ReadAt(h[:], 0); n < ehdrSize || string(h[:4]) != elfMagic {
		return nil, notKernel("%s", describe(h[:n]))
	}
	le := binary.LittleEndian
	switch class, data, kind, machine := h[4], h[5], le.Uint16(h[16:]), le.Uint16(h[18:]); {
	case class != 2 || data != 1:
		return nil, notKernel("an ELF file that is not 64-bit little-endian")
	case machine != 62:
		return nil, notKernel("an ELF file for machine %d, not for x86-64", machine)
	case kind != 2:
		return nil, notKernel("an ELF file of type %d, not an executable", kind)
	}
	entry, phoff := le.Uint64(h[24:]), le.Uint64(h[32:])
	phentsize, phnum := le.Uint16(h[54:]), le.Uint16(h[56:])
	if phentsize != phdrSize || phnum == 0 || phnum > 128 {
		return nil, notKernel("an ELF file with %d program headers of %d bytes", phnum, phentsize)
	}
	table := make([]byte, int(phnum)*phdrSize)
	if phoff > uint64(size) || uint64(size)-phoff < uint64(len(table)) {
		return nil, fmt.Errorf("truncated kernel: program headers at %#x of a file of %d bytes", phoff, size)
	}
	if _, err := r.ReadAt(table, int64(phoff)); err != nil {
		return nil, fmt.Errorf("program headers: %w", err)
	}
	k := &Kernel{Entry: entry, CmdlineMax: defaultCmdlineMax, InitrdMax: defaultInitrdMax, image: r}
	entered := false
	for p := table; len(p) > 0; p = p[phdrSize:] {
		if le.Uint32(p) != ptLoad || le.Uint64(p[40:]) == 0 {
			continue
		}
		s := segment{offset: le.Uint64(p[8:]), filesz: le.Uint64(p[32:]), paddr: le.Uint64(p[24:]), memsz: le.Uint64(p[40:])}
		switch {
		case s.filesz > s.memsz || s.memsz > maxImage:
			return nil, notKernel("a segment of %d bytes in memory with %d in the file", s.memsz, s.filesz)
		case s.offset > uint64(size) || uint64(size)-s.offset < s.filesz:
			return nil, fmt.Errorf("truncated kernel: a segment is bytes %d to %d of a file of %d", s.offset, s.offset+s.filesz, size)
		case s.paddr < LowMemory || s.paddr > 1<<32:
			return nil, notKernel("a segment at physical address %#x, not between 1 MiB and 4 GiB", s.paddr)
		}
		entered = entered || entry >= s.paddr && entry < s.paddr+s.filesz
		k.segments = append(k.segments, s)
	}
	if !entered {
		return nil, notKernel("an ELF file whose entry point %#x is in no loaded segment's physical range", entry)
	}
	return k, nil
}
