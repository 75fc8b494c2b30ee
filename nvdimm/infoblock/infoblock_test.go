package infoblock

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"nvlab/nvdimm/label"
)

// seal gives a block its checksum.
func seal(block []byte) []byte {
	binary.LittleEndian.PutUint64(block[checksumAt:], label.ChecksumOf(block, checksumAt))
	return block
}

// arena is the info block of an arena of size bytes with n blocks of 512
// bytes, laid out as the kernel does: data, map, log, info copy.
func arena(size, n, next uint64) []byte {
	p := make([]byte, Size)
	copy(p, bttSignature)
	p[16], p[32] = 0x11, 0x22
	le := binary.LittleEndian
	le.PutUint16(p[52:], 1)
	le.PutUint16(p[54:], 1)
	le.PutUint32(p[56:], 512)
	le.PutUint32(p[60:], uint32(n))
	le.PutUint32(p[64:], 512)
	le.PutUint32(p[68:], uint32(n)+256)
	le.PutUint32(p[72:], 256)
	le.PutUint32(p[76:], Size)
	le.PutUint64(p[80:], next)
	le.PutUint64(p[88:], Size)
	le.PutUint64(p[96:], size-3*Size)  // map
	le.PutUint64(p[104:], size-2*Size) // log
	le.PutUint64(p[112:], size-Size)   // copy
	return seal(p)
}

func pfn(signature string, dataOff uint64) []byte {
	p := make([]byte, Size)
	copy(p, signature)
	p[16], p[32] = 0x11, 0x22
	le := binary.LittleEndian
	le.PutUint16(p[52:], 1)
	le.PutUint16(p[54:], 4)
	le.PutUint64(p[56:], dataOff)
	le.PutUint64(p[64:], 1000)
	le.PutUint32(p[72:], 2)
	le.PutUint32(p[84:], 2<<20)
	le.PutUint32(p[88:], 4096)
	le.PutUint16(p[92:], 64)
	return seal(p)
}

func TestParse(t *testing.T) {
	b, err := ParseBTT(arena(1<<20, 100, 1<<20))
	want := BTT{
		UUID: label.UUID{0x11}, ParentUUID: label.UUID{0x22}, Major: 1, Minor: 1,
		ExternalLBASize: 512, ExternalNLBA: 100, InternalLBASize: 512, InternalNLBA: 356, NFree: 256, InfoSize: 4096,
		NextOff: 1 << 20, DataOff: 4096, MapOff: 1<<20 - 3*4096, LogOff: 1<<20 - 2*4096, Info2Off: 1<<20 - 4096,
	}
	if err != nil || b != want {
		t.Errorf("ParseBTT = %+v, %v, want %+v", b, err, want)
	}
	for _, dax := range []bool{false, true} {
		signature := pfnSignature
		if dax {
			signature = daxSignature
		}
		p, err := ParsePFN(pfn(signature, 2<<20))
		want := PFN{
			DAX: dax, UUID: label.UUID{0x11}, ParentUUID: label.UUID{0x22}, Major: 1, Minor: 4,
			DataOff: 2 << 20, NPFNs: 1000, Mode: 2, Align: 2 << 20, PageSize: 4096, PageStructSize: 64,
		}
		if err != nil || p != want {
			t.Errorf("ParsePFN = %+v, %v, want %+v", p, err, want)
		}
	}
	for name, damage := range map[string]func(p []byte) []byte{
		"short":     func(p []byte) []byte { return p[:100] },
		"empty":     func(p []byte) []byte { return nil },
		"checksum":  func(p []byte) []byte { p[100] ^= 1; return p },
		"signature": func(p []byte) []byte { p[3] ^= 1; return seal(p) },
	} {
		if _, err := ParseBTT(damage(arena(1<<20, 100, 0))); err == nil {
			t.Errorf("%s: ParseBTT gave no error", name)
		}
		if _, err := ParsePFN(damage(pfn(pfnSignature, 8192))); err == nil {
			t.Errorf("%s: ParsePFN gave no error", name)
		}
	}
}

// text is a layout as one line.
func text(l Layout) string {
	var parts []string
	for _, s := range l.Spans {
		parts = append(parts, fmt.Sprintf("%s %#x+%#x", s.Name, s.Offset, s.Length))
	}
	return strings.Join(parts, ", ")
}

func TestRead(t *testing.T) {
	const size = 64 << 10
	image := func(at int, block []byte) []byte {
		p := make([]byte, size)
		copy(p[at:], block)
		return p
	}
	two := image(4096, arena(0x6000, 3, 0x6000))
	copy(two[0x7000:], arena(0x5000, 2, 0))
	endless := image(4096, arena(0x6000, 3, 0x6000))
	copy(endless[0x7000:], arena(0x5000, 2, ^uint64(0)-0x5fff)) // back to the first
	for _, c := range []struct {
		name  string
		image []byte
		want  string
	}{
		{"nothing", make([]byte, size), ""},
		{"too small", make([]byte, 4096), ""},
		{"btt 1.1", image(4096, arena(0xf000, 3, 0)), "btt.info 0x1000+0x1000, btt.map 0xd000+0x1000, btt.log 0xe000+0x1000, btt.info2 0xf000+0x1000"},
		{"btt 2", image(0, arena(0xf000, 3, 0)), "btt.info 0x0+0x1000, btt.map 0xc000+0x1000, btt.log 0xd000+0x1000, btt.info2 0xe000+0x1000"},
		{"two arenas", two, "btt.info 0x1000+0x1000, btt.map 0x4000+0x1000, btt.log 0x5000+0x1000, btt.info2 0x6000+0x1000, btt.info 0x7000+0x1000, btt.map 0x9000+0x1000, btt.log 0xa000+0x1000, btt.info2 0xb000+0x1000"},
		{"arenas in a ring", endless, "btt.info 0x1000+0x1000, btt.map 0x4000+0x1000, btt.log 0x5000+0x1000, btt.info2 0x6000+0x1000, btt.info 0x7000+0x1000, btt.map 0x9000+0x1000, btt.log 0xa000+0x1000, btt.info2 0xb000+0x1000"},
		{"btt that claims more than there is", image(4096, arena(1<<30, 3, 0)), "btt.info 0x1000+0x1000"},
		{"fsdax", image(4096, pfn(pfnSignature, 0x4000)), "pfn.info 0x1000+0x1000, pfn.pages 0x2000+0x2000"},
		{"devdax", image(4096, pfn(daxSignature, 0x4000)), "dax.info 0x1000+0x1000, dax.pages 0x2000+0x2000"},
		{"fsdax with its pages in RAM", image(4096, pfn(pfnSignature, 0x2000)), "pfn.info 0x1000+0x1000"},
	} {
		if got := text(Read(io.NewSectionReader(bytes.NewReader(c.image), 0, int64(len(c.image))))); got != c.want {
			t.Errorf("%s: Read = %s, want %s", c.name, got, c.want)
		}
	}
}

func FuzzInfoblock(f *testing.F) {
	f.Add(arena(0xf000, 3, 0), uint16(4096), true)
	f.Add(arena(0x6000, 3, 0x6000), uint16(0), true)
	f.Add(pfn(pfnSignature, 0x4000), uint16(4096), false)
	f.Add(pfn(daxSignature, ^uint64(0)), uint16(4096), true)
	f.Fuzz(func(t *testing.T, block []byte, at uint16, sealed bool) {
		if sealed && len(block) >= Size {
			seal(block)
		}
		image := make([]byte, 64<<10)
		copy(image[at:], block)
		ParseBTT(block)
		ParsePFN(block)
		for _, s := range Read(io.NewSectionReader(bytes.NewReader(image), 0, int64(len(image)))).Spans {
			if s.Length == 0 || s.Offset > uint64(len(image)) || s.Length > uint64(len(image))-s.Offset {
				t.Errorf("%s lies at %#x+%#x of %#x bytes", s.Name, s.Offset, s.Length, len(image))
			}
		}
	})
}
