// Package infoblock reads the blocks that Linux's block translation table,
// fsdax and devdax namespaces begin with, and finds the structures of such a
// namespace by them.
//
// Sources: Linux Documentation/driver-api/nvdimm/btt.rst, drivers/nvdimm/btt.h
// and drivers/nvdimm/pfn.h; UEFI 2.10 section 6.2 for version 2 of BTT.
package infoblock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"nvlab/nvdimm/label"
)

// Size is the size of every info block in bytes; the checksum is the last
// field.
const (
	Size       = 4096
	checksumAt = Size - 8
)

// Signatures, 16 bytes with their zeros.
const (
	bttSignature = "BTT_ARENA_INFO"
	pfnSignature = "NVDIMM_PFN_INFO"
	daxSignature = "NVDIMM_DAX_INFO"
)

// BTT is the info block of an arena. Offsets are from the arena's start.
type BTT struct {
	UUID             label.UUID // at 16
	ParentUUID       label.UUID // at 32, of the namespace
	Flags            uint32     // at 48; bit 0: the arena is in error
	Major, Minor     uint16     // at 52
	ExternalLBASize  uint32     // at 56, what users see
	ExternalNLBA     uint32     // at 60
	InternalLBASize  uint32     // at 64, with metadata and padding
	InternalNLBA     uint32     // at 68, with free blocks
	NFree            uint32     // at 72
	InfoSize         uint32     // at 76
	NextOff, DataOff uint64     // at 80, 88; NextOff 0 in the last arena
	MapOff, LogOff   uint64     // at 96, 104
	Info2Off         uint64     // at 112, of the copy of this block
}

// PFN is the info block of an fsdax (pfn) or devdax (dax) namespace.
type PFN struct {
	DAX            bool
	UUID           label.UUID // at 16
	ParentUUID     label.UUID // at 32
	Flags          uint32     // at 48
	Major, Minor   uint16     // at 52
	DataOff        uint64     // at 56, from the namespace plus StartPad
	NPFNs          uint64     // at 64
	Mode           uint32     // at 72; 1: page structures in RAM, 2: in the namespace
	StartPad       uint32     // at 76
	EndTrunc       uint32     // at 80
	Align          uint32     // at 84
	PageSize       uint32     // at 88
	PageStructSize uint16     // at 92
}

var errSignature = errors.New("no info block: the signature is another")

func open(block []byte, signatures ...string) (which int, err error) {
	if len(block) < Size {
		return 0, fmt.Errorf("info block of %d bytes: it has %d", len(block), Size)
	}
	for i, s := range signatures {
		var want [16]byte
		copy(want[:], s)
		if !bytes.Equal(block[:16], want[:]) {
			continue
		}
		if sum, stored := label.ChecksumOf(block[:Size], checksumAt), binary.LittleEndian.Uint64(block[checksumAt:]); sum != stored {
			return 0, fmt.Errorf("%s: checksum is %#016x, the block sums to %#016x", s, stored, sum)
		}
		return i, nil
	}
	return 0, errSignature
}

// ParseBTT reads an info block of an arena.
func ParseBTT(block []byte) (BTT, error) {
	if _, err := open(block, bttSignature); err != nil {
		return BTT{}, err
	}
	le := binary.LittleEndian
	return BTT{
		UUID: label.UUID(block[16:32]), ParentUUID: label.UUID(block[32:48]),
		Flags: le.Uint32(block[48:]), Major: le.Uint16(block[52:]), Minor: le.Uint16(block[54:]),
		ExternalLBASize: le.Uint32(block[56:]), ExternalNLBA: le.Uint32(block[60:]),
		InternalLBASize: le.Uint32(block[64:]), InternalNLBA: le.Uint32(block[68:]),
		NFree: le.Uint32(block[72:]), InfoSize: le.Uint32(block[76:]),
		NextOff: le.Uint64(block[80:]), DataOff: le.Uint64(block[88:]),
		MapOff: le.Uint64(block[96:]), LogOff: le.Uint64(block[104:]),
		Info2Off: le.Uint64(block[112:]),
	}, nil
}

// ParsePFN reads an info block of an fsdax or devdax namespace.
func ParsePFN(block []byte) (PFN, error) {
	which, err := open(block, pfnSignature, daxSignature)
	if err != nil {
		return PFN{}, err
	}
	le := binary.LittleEndian
	return PFN{
		DAX:  which == 1,
		UUID: label.UUID(block[16:32]), ParentUUID: label.UUID(block[32:48]),
		Flags: le.Uint32(block[48:]), Major: le.Uint16(block[52:]), Minor: le.Uint16(block[54:]),
		DataOff: le.Uint64(block[56:]), NPFNs: le.Uint64(block[64:]),
		Mode: le.Uint32(block[72:]), StartPad: le.Uint32(block[76:]), EndTrunc: le.Uint32(block[80:]),
		Align: le.Uint32(block[84:]), PageSize: le.Uint32(block[88:]), PageStructSize: le.Uint16(block[92:]),
	}, nil
}

// Span is a structure of a namespace, in bytes from the namespace's start.
type Span struct {
	Name           string // "btt.info", "btt.map", "btt.log", "btt.info2", "pfn.info", "dax.info", "pfn.pages"
	Offset, Length uint64
}

// Layout is the structures of a namespace. What none of them covers is data.
type Layout struct{ Spans []Span }

const (
	maxArenas = 1 << 10 // of 512 GiB each; the least is 16 MiB

	infoOffset = 4096 // of info blocks, save those of BTT version 2
)

// Read finds the structures of a namespace. A namespace without an info
// block, or with a damaged one, has none.
func Read(namespace *io.SectionReader) Layout {
	var l Layout
	block := make([]byte, Size)
	at := func(off uint64) []byte {
		if off > uint64(namespace.Size()) {
			return nil
		}
		if n, _ := namespace.ReadAt(block, int64(off)); n < Size {
			return nil
		}
		return block
	}
	if p, err := ParsePFN(at(infoOffset)); err == nil {
		l.addPFN(p, uint64(namespace.Size()))
		return l
	}
	// The first arena of version 1.1 leaves 4 KiB free, version 2 does not.
	for _, start := range []uint64{infoOffset, 0} {
		arena := start
		for range maxArenas {
			b, err := ParseBTT(at(arena))
			if err != nil {
				break
			}
			l.addArena(arena, b, uint64(namespace.Size()))
			if b.NextOff == 0 || arena+b.NextOff < arena {
				break
			}
			arena += b.NextOff
		}
		if l.Spans != nil {
			break
		}
	}
	return l
}

// add keeps a structure if it lies within the namespace.
func (l *Layout) add(name string, start, end, size uint64) {
	if start < end && end <= size {
		l.Spans = append(l.Spans, Span{name, start, end - start})
	}
}

func (l *Layout) addArena(base uint64, b BTT, size uint64) {
	l.add("btt.info", base, base+Size, size)
	l.add("btt.map", base+b.MapOff, base+b.LogOff, size)
	l.add("btt.log", base+b.LogOff, base+b.Info2Off, size)
	l.add("btt.info2", base+b.Info2Off, base+b.Info2Off+Size, size)
}

func (l *Layout) addPFN(p PFN, size uint64) {
	name := "pfn"
	if p.DAX {
		name = "dax"
	}
	l.add(name+".info", infoOffset, infoOffset+Size, size)
	l.add(name+".pages", infoOffset+Size, p.DataOff+uint64(p.StartPad), size)
}
