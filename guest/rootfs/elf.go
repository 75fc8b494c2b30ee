package rootfs

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Linkage is what an ELF file needs to run.
type Linkage struct {
	Interpreter string   // PT_INTERP; "" for a static program and most libraries
	Needed      []string // DT_NEEDED
}

// ReadLinkage reads a program or library; ok is false if the file is no ELF
// file for x86-64.
func ReadLinkage(r io.ReaderAt) (l Linkage, ok bool, err error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil || string(magic[:]) != elf.ELFMAG {
		return l, false, nil
	}
	f, err := elf.NewFile(r)
	if err != nil {
		return l, false, fmt.Errorf("broken ELF file: %w", err)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 {
		return l, false, nil
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz > 4096 {
			return l, false, fmt.Errorf("broken ELF file: interpreter's name of %d bytes", p.Filesz)
		}
		b, err := io.ReadAll(io.LimitReader(p.Open(), int64(p.Filesz)))
		if err != nil {
			return l, false, fmt.Errorf("broken ELF file: %w", err)
		}
		l.Interpreter = string(bytes.TrimRight(b, "\x00"))
	}
	if l.Needed, err = f.DynString(elf.DT_NEEDED); err != nil {
		return l, false, fmt.Errorf("broken ELF file: %w", err)
	}
	return l, true, nil
}

// ErrNotStatic says that a program cannot be pid 1 of a guest by itself.
var ErrNotStatic = errors.New("not a static Linux program for x86-64")

// StripStatic returns a static x86-64 Linux program without what the kernel
// does not load: symbols, debug information, section headers.
func StripStatic(program []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("%w: no ELF file", ErrNotStatic)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("%w: it is for %v", ErrNotStatic, f.Machine)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return nil, fmt.Errorf("%w: ELF type %v", ErrNotStatic, f.Type)
	}
	const headerSize = 64 // Elf64_Ehdr
	end := uint64(headerSize)
	phoff := binary.LittleEndian.Uint64(program[32:])
	phentsize := uint64(binary.LittleEndian.Uint16(program[54:]))
	end = max(end, phoff+phentsize*uint64(len(f.Progs)))
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			return nil, fmt.Errorf("%w: it is linked dynamically; build it with CGO_ENABLED=0", ErrNotStatic)
		case elf.PT_LOAD, elf.PT_NOTE, elf.PT_TLS:
			if p.Off+p.Filesz < p.Off {
				return nil, fmt.Errorf("%w: a segment wraps", ErrNotStatic)
			}
			end = max(end, p.Off+p.Filesz)
		}
	}
	if end > uint64(len(program)) {
		return nil, fmt.Errorf("%w: cut off after %d of %d bytes", ErrNotStatic, len(program), end)
	}
	out := bytes.Clone(program[:end])
	clear(out[40:48]) // e_shoff
	clear(out[60:64]) // e_shnum, e_shstrndx
	return out, nil
}
