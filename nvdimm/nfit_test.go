package nvdimm

import (
	"bytes"
	"encoding/binary"
	"testing"

	"nvlab/acpi"
	"nvlab/nvdimm/label"
)

// field is a number in a table.
type field struct {
	name  string
	at, n int
	want  uint64
}

func checkFields(t *testing.T, what string, p []byte, fields []field) {
	t.Helper()
	for _, f := range fields {
		var b [8]byte
		copy(b[:], p[f.at:f.at+f.n])
		if got := binary.LittleEndian.Uint64(b[:]); got != f.want {
			t.Errorf("%s: %s at %d = %#x, want %#x", what, f.name, f.at, got, f.want)
		}
	}
}

// structuresOf are the fields of the DIMM in a slot, as QEMU has them
// (hw/acpi/nvdimm.c), from the start of its first structure.
func structuresOf(slot, addr, size, flags uint64) []field {
	spa := (slot + 1) * 2
	return []field{
		{"type", 0, 2, 0}, {"length", 2, 2, 56}, {"SPA index", 4, 2, spa}, {"flags", 6, 2, 3}, {"reserved", 8, 4, 0},
		{"proximity", 12, 4, 0}, {"GUID", 16, 8, 0x4074b4f366f0d379}, {"GUID", 24, 8, 0xdb8cb718330d43ac},
		{"base", 32, 8, addr}, {"length", 40, 8, size}, {"attributes", 48, 8, 0x8008},

		{"type", 56, 2, 1}, {"length", 58, 2, 48}, {"handle", 60, 4, slot + 1}, {"physical id", 64, 2, 0}, {"region id", 66, 2, 0},
		{"SPA index", 68, 2, spa}, {"control index", 70, 2, spa + 1}, {"region size", 72, 8, size}, {"region offset", 80, 8, 0},
		{"DPA", 88, 8, 0}, {"interleave index", 96, 2, 0}, {"ways", 98, 2, 1}, {"flags", 100, 2, flags}, {"reserved", 102, 2, 0},

		{"type", 104, 2, 4}, {"length", 106, 2, 80}, {"control index", 108, 2, spa + 1}, {"vendor", 110, 2, 0x8086}, {"device", 112, 2, 1},
		{"revision", 114, 2, 1}, {"subsystem", 116, 6, 0}, {"valid fields", 122, 1, 0}, {"manufacturing", 123, 3, 0}, {"serial", 128, 4, 0x123456 + slot},
		{"format", 132, 2, 0x301}, {"windows", 134, 2, 0}, {"window size", 136, 8, 0}, {"flags", 176, 8, 0},
	}
}

func TestNFIT(t *testing.T) {
	r := newRoot(t, Config{Persistence: "cpu"})
	if r.NFIT() != nil || len(r.FIT()) != 0 {
		t.Errorf("a machine without DIMMs has an NFIT of %d bytes and a FIT of %d", len(r.NFIT()), len(r.FIT()))
	}
	// The higher slot first: the table is in slot order all the same.
	one := 1
	high := plug(t, r, PlugConfig{Backend: newRAM(t, 64*mib), Slot: &one, Unarmed: true})
	low := plug(t, r, PlugConfig{Backend: newRAM(t, 32*mib), LabelSize: 128 * kib})

	nfit := r.NFIT()
	if len(nfit) != 0x1a8 {
		t.Fatalf("NFIT of 2 DIMMs with capabilities has %#x bytes, want 0x1a8", len(nfit))
	}
	if string(nfit[:4]) != "NFIT" || nfit[8] != 1 || acpi.Sum(nfit) != 0 || binary.LittleEndian.Uint32(nfit[4:]) != 0x1a8 {
		t.Errorf("NFIT header is % x", nfit[:40])
	}
	checkFields(t, "slot 0", nfit[40:], structuresOf(0, low.Addr(), 30*mib, 0))
	checkFields(t, "slot 1", nfit[40+184:], structuresOf(1, high.Addr(), 64*mib, 8))
	checkFields(t, "capabilities", nfit[40+2*184:], []field{{"type", 0, 2, 7}, {"length", 2, 2, 16}, {"highest", 4, 1, 1}, {"reserved", 5, 3, 0}, {"capabilities", 8, 4, 3}, {"reserved", 12, 4, 0}})
	if !bytes.Equal(r.FIT(), nfit[40:]) {
		t.Errorf("the FIT is not the NFIT without its header")
	}
	if _, err := acpi.ParseNFIT(nfit); err != nil {
		t.Errorf("ParseNFIT: %v", err)
	}
}

func TestNFITSizes(t *testing.T) {
	caps := int64(0x80000001)
	r := newRoot(t, Config{Cap: &caps})
	plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
	nfit := r.NFIT()
	checkFields(t, "capabilities", nfit[40+184:], []field{{"highest", 4, 1, 31}, {"capabilities", 8, 4, 0x80000001}})
	plain := newRoot(t, Config{})
	plug(t, plain, PlugConfig{Backend: newRAM(t, 4*mib)})
	if n := len(plain.NFIT()); n != 0xe0 {
		t.Errorf("NFIT of 1 DIMM without capabilities has %#x bytes, want 0xe0", n)
	}
}

func TestTables(t *testing.T) {
	signatures := func(r *Root) (list string) {
		tables, err := r.Tables(0x1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			list += string(table[:4]) + " "
		}
		return list
	}
	r := newRoot(t, Config{})
	if got := signatures(r); got != "SSDT " {
		t.Errorf("tables without a DIMM: %q, want the SSDT, for hotplug", got)
	}
	plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
	if got := signatures(r); got != "SSDT NFIT " {
		t.Errorf("tables with a DIMM: %q, want SSDT and NFIT", got)
	}
	for _, c := range []Config{{Enabled: true, Memory: gib}, {Memory: gib, Slots: 2, MaxMem: 2 * gib}} {
		off, err := NewRoot(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := signatures(off); got != "" {
			t.Errorf("tables of %+v: %q, want none", c, got)
		}
	}
	for _, page := range []uint64{0, 0x1001, 4 * gib} {
		if _, err := r.Tables(page); err == nil {
			t.Errorf("a mailbox at %#x was accepted", page)
		}
	}
}

func TestCookie(t *testing.T) {
	r := newRoot(t, Config{})
	d := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
	three := 3
	last := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib), Slot: &three})
	if got := d.Cookie(label.V11); got != 0x2468ac00123456 {
		t.Errorf("cookie 1.1 of slot 0 = %#x, want 0x2468ac00123456", got)
	}
	if got := last.Cookie(label.V12); got != 0xba90300012b4df {
		t.Errorf("cookie 1.2 of slot 3 = %#x, want 0xba90300012b4df", got)
	}
}
