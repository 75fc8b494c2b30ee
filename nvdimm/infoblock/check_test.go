package infoblock

import (
	"strings"
	"testing"
)

func TestPFNCheck(t *testing.T) {
	const addr, size = 4 << 30, 64 << 20
	good := PFN{Major: 1, Minor: 4, DataOff: 2 << 20, NPFNs: 15872, Mode: 2, Align: 2 << 20, PageSize: 4096, PageStructSize: 64}
	for _, tt := range []struct {
		name   string
		change func(p *PFN)
		want   string // "" for none
	}{
		{"as Linux makes it", func(*PFN) {}, ""},
		{"page structures in RAM", func(p *PFN) { p.Mode, p.DataOff = 1, 2<<20 }, ""},
		{"an old one, whose align does not count", func(p *PFN) { p.Minor, p.Align, p.DataOff = 1, 3, 8192 }, ""},
		{"an older one, whose ends do not count", func(p *PFN) { p.Minor, p.StartPad, p.EndTrunc = 0, 1, 1<<31 }, ""},
		{"mode", func(p *PFN) { p.Mode = 3 }, "mode is 3"},
		{"align", func(p *PFN) { p.Align = 3 << 20 }, "no power of two"},
		{"align of a GiB", func(p *PFN) { p.Align = 1 << 30 }, "more than the namespace's"},
		{"data behind the end", func(p *PFN) { p.DataOff = size }, "not within"},
		{"nothing left", func(p *PFN) { p.EndTrunc = 62 << 20 }, "not within"},
		{"data that is not aligned", func(p *PFN) { p.DataOff += 4096 }, "not aligned"},
		{"data that is not aligned for its start", func(p *PFN) { p.StartPad = 4096 }, "not aligned"},
		{"too many page structures", func(p *PFN) { p.NPFNs = 1 << 20 }, "do not fit"},
		{"more than any file has", func(p *PFN) { p.NPFNs, p.DataOff = 1<<63, 4096 }, "not aligned"},
	} {
		p := good
		tt.change(&p)
		if err := p.Check(addr, size); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: Check() = %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(arena(1<<20, 100, 0), uint64(1<<20))
	f.Add(pfn(pfnSignature, 2<<20), uint64(64<<20))
	f.Fuzz(func(t *testing.T, block []byte, size uint64) {
		block = append(block, make([]byte, Size)...)[:Size]
		seal(block)
		if b, err := ParseBTT(block); err == nil && b.Check(size) == nil {
			if end := b.MapOff + 4*uint64(b.ExternalNLBA); end < b.MapOff || end > size || b.LogOff < end || b.LogOff+64*uint64(b.NFree) > size {
				t.Errorf("an arena is sound whose map or log lies outside of %#x bytes: %+v", size, b)
			}
		}
		if p, err := ParsePFN(block); err == nil && p.Check(0, size) == nil && p.DataOff >= size {
			t.Errorf("a block is sound whose data begin at %#x of %#x bytes", p.DataOff, size)
		}
	})
}
