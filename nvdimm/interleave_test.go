package nvdimm

import (
	"fmt"
	"slices"
	"testing"

	"nvlab/acpi"
	"nvlab/internal/expect"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/label"
)

func TestInterleave(t *testing.T) {
	r := newRoot(t, Config{})
	alone := plug(t, r, PlugConfig{Backend: newRAM(t, 8*mib)})
	a := plug(t, r, PlugConfig{Backend: newRAM(t, 8*mib)})
	b := plug(t, r, PlugConfig{Backend: newRAM(t, 8*mib)})
	if err := r.Interleave([]*DIMM{b, a}, 2*mib); err != nil {
		t.Fatal(err)
	}
	if a.Addr() != b.Addr() || a.Addr() < alone.Addr()+alone.Size() {
		t.Errorf("the set is at %#x and %#x, besides a DIMM at %#x", a.Addr(), b.Addr(), alone.Addr())
	}
	next := plug(t, r, PlugConfig{Backend: newRAM(t, 8*mib)})
	if next.Addr() < a.Addr()+16*mib {
		t.Errorf("the next DIMM is at %#x, within the set at %#x", next.Addr(), a.Addr())
	}
	// Every line is at its place, and only there.
	seen := make(map[uint64]string)
	for name, d := range map[string]*DIMM{"a": a, "b": b} {
		mem := make([]byte, d.Size())
		for _, p := range d.Pieces(mem) {
			if len(p.Mem) != 2*mib {
				t.Errorf("a piece of %#x bytes", len(p.Mem))
			}
			seen[p.Addr-a.Addr()] = name
			at, offset, ok := r.Locate(p.Addr + 5)
			p.Mem[5] = 'x'
			if !ok || at != d || mem[offset] != 'x' {
				t.Errorf("Locate(%#x) = %#x, %v, which is not the byte", p.Addr+5, offset, ok)
			}
		}
	}
	for i := range uint64(8) {
		if want := string("ba"[i%2]); seen[i*2*mib] != want {
			t.Errorf("line %d is of DIMM %q, want %q", i, seen[i*2*mib], want)
		}
	}
	if d, _, ok := r.Locate(alone.Addr() + alone.Size() - 1); !ok || d != alone {
		t.Errorf("Locate does not find the plain DIMM")
	}
	if _, _, ok := r.Locate(0x1000); ok {
		t.Errorf("Locate finds a DIMM in RAM")
	}

	var spas, lines int
	list, err := acpi.ParseNFIT(r.NFIT())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Structures {
		switch s := s.(type) {
		case *acpi.SPARange:
			spas++
			if s.Base == a.Addr() && (s.Length != 16*mib || s.Index != b.spaIndex()) {
				t.Errorf("the set's range is %+v", s)
			}
		case *acpi.Interleave:
			lines++
			if s.LineSize != 2*mib || len(s.LineOffsets) != 1 || s.Index != b.spaIndex() {
				t.Errorf("the interleave structure is %+v", s)
			}
		case *acpi.MemoryDevice:
			var offset uint64
			switch s.Handle {
			case a.Handle():
				offset = 2 * mib
			case b.Handle():
			default:
				continue
			}
			if s.RegionOffset != offset || s.InterleaveWays != 2 || s.SPAIndex != b.spaIndex() || s.InterleaveIndex != b.spaIndex() || s.RegionSize != 8*mib {
				t.Errorf("the mapping of handle %d is %+v", s.Handle, s)
			}
		}
	}
	if spas != 3 || lines != 1 {
		t.Errorf("%d ranges and %d interleaves, want 3 and 1", spas, lines)
	}
	want := label.Cookie12(label.Mapping{SerialNumber: b.Serial(), VendorID: vendorID}, label.Mapping{RegionOffset: 2 * mib, SerialNumber: a.Serial(), VendorID: vendorID})
	if a.Cookie(label.V12) != want || b.Cookie(label.V12) != want {
		t.Errorf("cookies %#x and %#x, want %#x", a.Cookie(label.V12), b.Cookie(label.V12), want)
	}
}

// TestDefaultLine: DIMMs of each size have a line that they can be interleaved by,
// if they have one at all.
func TestDefaultLine(t *testing.T) {
	for _, c := range []struct{ size, want uint64 }{
		{4 * kib, 4 * kib},
		{mib, mib},
		{64 * mib, 2 * mib},
		{65 * mib, mib},
		{2 << 30, 2 * mib},
		{4 << 30, 4 * mib},
		{6 << 30, 8 * mib},
		{1600 << 30, 2 << 30},
		{2<<30 + 4*kib, 4 * kib}, // too many lines: nothing else divides it
	} {
		if got := DefaultLine(c.size); got != c.want {
			t.Errorf("DefaultLine(%#x) = %#x, want %#x", c.size, got, c.want)
		}
	}
}

// TestPagesInTurn interleaves by single pages, and looks where each line is.
func TestPagesInTurn(t *testing.T) {
	const line, lines = 4 * kib, 2048
	r := newRoot(t, Config{Slots: 2})
	list := []*DIMM{plug(t, r, PlugConfig{Backend: newRAM(t, line*lines)}), plug(t, r, PlugConfig{Backend: newRAM(t, line*lines)})}
	if err := r.Interleave(list, line); err != nil {
		t.Fatal(err)
	}
	mem := make([]byte, line*lines)
	for n, d := range list {
		pieces := d.Pieces(mem)
		if len(pieces) != lines {
			t.Fatalf("DIMM %d is in %d pieces, want %d", n, len(pieces), lines)
		}
		for i, p := range pieces {
			want := d.Addr() + uint64(2*i+n)*line
			at, offset, ok := r.Locate(want + 5)
			if p.Addr != want || &p.Mem[0] != &mem[i*line] || !ok || at != d || offset != uint64(i*line+5) {
				t.Fatalf("line %d of DIMM %d is at %#x, want %#x; what is there is of %s at %#x", i, n, p.Addr, want, at.ID(), offset)
			}
		}
		// Three parts: the end of line 6, line 7, and the beginning of line 8.
		at := uint64(7 * line)
		var got [][2]uint64
		for addr, size := range d.Addresses(at-64, line+128) {
			got = append(got, [2]uint64{addr, size})
		}
		first := d.Addr() + uint64(2*6+n)*line
		if want := [][2]uint64{{first + line - 64, 64}, {first + 2*line, line}, {first + 4*line, 64}}; !slices.Equal(got, want) {
			t.Errorf("bytes of three lines of DIMM %d are at %#x, want %#x", n, got, want)
		}
	}
}

func TestInterleaveRefuses(t *testing.T) {
	r := newRoot(t, Config{Slots: 8})
	a, b := plug(t, r, PlugConfig{Backend: newRAM(t, 8*mib)}), plug(t, r, PlugConfig{Backend: newRAM(t, 8*mib)})
	other := plug(t, r, PlugConfig{Backend: newRAM(t, 16*mib)})
	far := plug(t, r, PlugConfig{Backend: newRAM(t, 8*mib), Node: 1})
	c, d := plug(t, r, PlugConfig{Backend: newRAM(t, 64*mib)}), plug(t, r, PlugConfig{Backend: newRAM(t, 64*mib)})
	foreign := plug(t, newRoot(t, Config{}), PlugConfig{Backend: newRAM(t, 8*mib), ID: "foreign"})
	for _, c := range []struct {
		dimms []*DIMM
		line  uint64
		want  string
	}{
		{nil, mib, "an interleave set of 0: it has at least 2 DIMMs"},
		{[]*DIMM{a}, mib, "an interleave set of 1: it has at least 2 DIMMs"},
		{[]*DIMM{a, a}, mib, "DIMM nvdimm0 is given twice"},
		{[]*DIMM{a, foreign}, mib, "DIMM foreign is not plugged into this machine"},
		{[]*DIMM{a, other}, mib, "DIMM nvdimm2 has 0x1000000 bytes of persistent memory, nvdimm0 has 0x800000: those of an interleave set have one size"},
		{[]*DIMM{a, far}, mib, "DIMM nvdimm3 is on node 1, nvdimm0 on node 0: those of an interleave set are on one"},
		{[]*DIMM{a, b}, 0, "an interleave line of 0x0 bytes: want a power of two from 4KiB to 2GiB"},
		{[]*DIMM{a, b}, 3 * mib, "an interleave line of 0x300000 bytes: want a power of two from 4KiB to 2GiB"},
		{[]*DIMM{a, b}, 16 * mib, "an interleave line of 0x1000000 bytes does not divide the 0x800000 bytes of a DIMM: the largest that does is 8MiB"},
		{[]*DIMM{c, d}, 4 * kib, "an interleave line of 0x1000 bytes makes 16384 lines of a DIMM: at most 8192 in a set of 2"},
	} {
		expect.Error(t, fmt.Sprintf("Interleave of %d", len(c.dimms)), r.Interleave(c.dimms, c.line), "", c.want)
	}
	if err := r.Interleave([]*DIMM{a, b}, mib); err != nil {
		t.Fatal(err)
	}
	expect.Error(t, "Interleave again", r.Interleave([]*DIMM{a, b}, mib), "", "DIMM nvdimm0 is in an interleave set already")
}

func TestHints(t *testing.T) {
	_, err := NewRoot(Config{FlushHints: 513})
	expect.Error(t, "NewRoot with many hints", err, "", "flush_hints=513: a DIMM has 0 to 512 flush hint addresses")
	if newRoot(t, Config{}).Hints() != nil {
		t.Errorf("a machine without flush hints has a device for them")
	}
	r := newRoot(t, Config{FlushHints: 3, HintBase: 0xd8000000})
	plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
	two := 2
	d := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib), Slot: &two})
	list, err := acpi.ParseNFITStructures(r.FIT())
	if err != nil {
		t.Fatal(err)
	}
	var hints []*acpi.FlushHint
	for _, s := range list {
		if h, ok := s.(*acpi.FlushHint); ok {
			hints = append(hints, h)
		}
	}
	if len(hints) != 2 || fmt.Sprintf("%#x", hints[1].Addresses) != "[0xd8002000 0xd8002008 0xd8002010]" || hints[1].Handle != 3 {
		t.Fatalf("flush hints are %+v", hints)
	}
	seen := 0
	r.OnFlushHint = func(of *DIMM) {
		if of == d {
			seen++
		}
	}
	dev := r.Hints()
	if dev.Size() != 4*backend.PageSize || dev.Read(0, 8) != 0 {
		t.Errorf("the device has %#x bytes and reads as %#x", dev.Size(), dev.Read(0, 8))
	}
	for _, at := range []uint64{0x2000, 0x2008, 0x2010, 0x2018, 0x1000, 0x2ff8, 0x3000} { // the last four are no hints
		dev.Write(at, 8, 1)
	}
	if d.FlushHintWrites() != 3 || seen != 3 || r.dimms[0].FlushHintWrites() != 0 {
		t.Errorf("writes to the hints: %d and %d, of which %d were seen, want 3, 0 and 3", d.FlushHintWrites(), r.dimms[0].FlushHintWrites(), seen)
	}
	r.Tables(0x1000)
	if d.FlushHintWrites() != 0 {
		t.Errorf("a power-on does not count from zero")
	}
}
