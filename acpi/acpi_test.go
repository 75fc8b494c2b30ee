package acpi_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"nvlab/acpi"
)

// filled sets what encoding pads, so that a decoded header is the same.
func filled(revision uint8, signature string) acpi.Header {
	h := oem
	h.Signature, h.Revision = signature, revision
	h.OEMID += " "
	h.OEMTableID += " "
	return h
}

func TestRoundTrip(t *testing.T) {
	f, m, s, n := fadt(), madt(), srat(), nfitAll()
	x := acpi.XSDT{Header: oem, Tables: []uint64{1 << 40, 2}}
	l := acpi.SLIT{Header: oem, Distances: [][]uint8{{10, 20}, {20, 10}}}
	check := func(name string, got, want any, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("Parse%s of an encoded table: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Parse%s(Encode(x)) = %+v, want x = %+v", name, got, want)
		}
	}
	gotF, err := acpi.ParseFADT(f.Encode())
	f.Header = filled(6, "FACP")
	check("FADT", gotF, f, err)
	gotM, err := acpi.ParseMADT(m.Encode())
	m.Header = filled(5, "APIC")
	check("MADT", gotM, m, err)
	gotS, err := acpi.ParseSRAT(s.Encode())
	s.Header = filled(3, "SRAT")
	check("SRAT", gotS, s, err)
	gotN, err := acpi.ParseNFIT(n.Encode())
	n.Header = filled(1, "NFIT")
	check("NFIT", gotN, n, err)
	gotX, err := acpi.ParseXSDT(x.Encode())
	x.Header = filled(1, "XSDT")
	check("XSDT", gotX, x, err)
	gotL, err := acpi.ParseSLIT(l.Encode())
	l.Header = filled(1, "SLIT")
	check("SLIT", gotL, l, err)
	g := mcfg()
	gotG, err := acpi.ParseMCFG(g.Encode())
	g.Header = filled(1, "MCFG")
	check("MCFG", gotG, g, err)
	e := hmat()
	gotE, err := acpi.ParseHMAT(e.Encode())
	e.Header = filled(2, "HMAT")
	check("HMAT", gotE, e, err)
	list, err := acpi.ParseNFITStructures(acpi.EncodeNFITStructures(n.Structures...))
	check("NFITStructures", list, n.Structures, err)
}

// TestSizes compares with the sizes in the specification.
func TestSizes(t *testing.T) {
	one := func(s acpi.NFITStructure) int { return len(acpi.EncodeNFITStructures(s)) }
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"RSDP", len(acpi.RSDP{}.Encode()), 36},
		{"FADT", len(acpi.FADT{}.Encode()), 276},
		{"MADT without entries", len(acpi.MADT{}.Encode()), 44},
		{"SRAT without entries", len(acpi.SRAT{}.Encode()), 48},
		{"NFIT without structures", len(acpi.NFIT{}.Encode()), 40},
		{"NFIT of one NVDIMM", len(acpi.NFIT{Structures: dimm(0, 0, 1)}.Encode()), 0xE0},
		{"SPA range", one(&acpi.SPARange{}), 56},
		{"SPA range with cookie", one(&acpi.SPARange{Long: true}), 64},
		{"region mapping", one(&acpi.MemoryDevice{}), 48},
		{"interleave of 3 lines", one(&acpi.Interleave{LineOffsets: make([]uint32, 3)}), 28},
		{"SMBIOS of 5 bytes", one(&acpi.SMBIOSInfo{Data: make([]byte, 5)}), 13},
		{"control region", one(&acpi.ControlRegion{}), 80},
		{"short control region", one(&acpi.ControlRegion{Short: true}), 32},
		{"block window", one(&acpi.BlockWindow{}), 40},
		{"2 flush hints", one(&acpi.FlushHint{Addresses: make([]uint64, 2)}), 32},
		{"capabilities", one(&acpi.PlatformCapabilities{}), 16},
		{"structure longer than its length field", one(&acpi.SMBIOSInfo{Data: make([]byte, 1<<17)}), 0xFFFF},
	} {
		if c.got != c.want {
			t.Errorf("%s has %d bytes, want %d", c.name, c.got, c.want)
		}
	}
}

// TestNFITBytes compares with the bytes that QEMU 7.2 gives its first NVDIMM.
func TestNFITBytes(t *testing.T) {
	got := acpi.EncodeNFITStructures(dimm(0, 0x100000000, 0x4000000)...)
	want := []byte{
		0, 0, 56, 0, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb,
		0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 8, 0x80, 0, 0, 0, 0, 0, 0,
		1, 0, 48, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0,
		4, 0, 80, 0, 3, 0, 0x86, 0x80, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0x56, 0x34, 0x12, 0, 1, 3, 0, 0,
	}
	want = append(want, make([]byte, 48)...)
	if !bytes.Equal(got, want) {
		t.Errorf("EncodeNFITStructures = \n% x, want\n% x", got, want)
	}
}

func TestInstall(t *testing.T) {
	const base = 0xE0000
	f := fadt()
	f.DSDT, f.XDSDT = 0, 0
	given := f.Encode()
	before := bytes.Clone(given)
	area, err := acpi.Install(base, given, madt().Encode(), dsdt())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(given, before) {
		t.Errorf("Install changed the FADT that it was given")
	}
	at := func(address uint64) []byte { return area[address-base:] }
	rsdp, err := acpi.ParseRSDP(area)
	if err != nil || rsdp.OEMID != "EXMPL " {
		t.Fatalf("ParseRSDP(area) = %+v, %v, want OEM EXMPL", rsdp, err)
	}
	xsdt, err := acpi.ParseXSDT(at(rsdp.XSDTAddress))
	if err != nil || len(xsdt.Tables) != 2 {
		t.Fatalf("ParseXSDT = %+v, %v, want two tables", xsdt, err)
	}
	parsed, err := acpi.ParseFADT(at(xsdt.Tables[0]))
	if err != nil || uint64(parsed.DSDT) != parsed.XDSDT {
		t.Fatalf("ParseFADT = %+v, %v, want equal addresses of the DSDT", parsed, err)
	}
	if got := at(parsed.XDSDT)[:len(dsdt())]; !bytes.Equal(got, dsdt()) {
		t.Errorf("the FADT points to % x..., want the DSDT", got[:16])
	}
	tables, err := acpi.Split(area)
	if err != nil || len(tables) != 5 {
		t.Fatalf("Split(area) = %d tables, %v, want 5", len(tables), err)
	}
	for _, table := range tables {
		for _, err := range acpi.Check(table) {
			t.Errorf("Check(installed %.4s): %v", table, err)
		}
	}
}

func TestInstallErrors(t *testing.T) {
	d, f := dsdt(), fadt().Encode()
	short := oem.Table("FACP", 1, make([]byte, 80))
	for _, c := range []struct {
		name   string
		base   uint64
		tables [][]byte
		want   string
	}{
		{"unaligned base", 8, [][]byte{f}, "multiple of 16"},
		{"no tables", 0, nil, "no tables"},
		{"truncated table", 0, [][]byte{f[:40]}, "states a length of 276"},
		{"trailing bytes", 0, [][]byte{append(bytes.Clone(f), 0)}, "1 bytes after"},
		{"two DSDTs", 0, [][]byte{f, d, d}, "two DSDTs"},
		{"two FADTs", 0, [][]byte{f, f}, "two FADTs"},
		{"DSDT without FADT", 0, [][]byte{d}, "no FADT"},
		{"old FADT", 0, [][]byte{short, d}, "revision 3"},
		{"end of memory", 1<<64 - 64, [][]byte{f}, "beyond the end"},
	} {
		_, err := acpi.Install(c.base, c.tables...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Install with %s: error %v, want one that says %q", c.name, err, c.want)
		}
	}
}

func TestRulesOfTheNFIT(t *testing.T) {
	type change func(spa *acpi.SPARange, dev *acpi.MemoryDevice, dcr *acpi.ControlRegion)
	for _, c := range []struct {
		name   string
		change change
		more   []acpi.NFITStructure
		want   string // "" for none
	}{
		{name: "a sound table"},
		{name: "unknown range", change: func(s *acpi.SPARange, d *acpi.MemoryDevice, _ *acpi.ControlRegion) { d.SPAIndex = 9 }, want: "SPA range 9, which does not exist"},
		{name: "unmapped", change: func(_ *acpi.SPARange, d *acpi.MemoryDevice, _ *acpi.ControlRegion) { d.SPAIndex = 0 }, want: "does not say that mapping failed"},
		{name: "map failed", change: func(_ *acpi.SPARange, d *acpi.MemoryDevice, _ *acpi.ControlRegion) {
			d.SPAIndex, d.Flags = 0, acpi.MapFailed
		}},
		{name: "missing control region", change: func(_ *acpi.SPARange, d *acpi.MemoryDevice, _ *acpi.ControlRegion) { d.ControlIndex = 7 }, want: "control region 7, which does not exist"},
		{name: "missing interleave", change: func(_ *acpi.SPARange, d *acpi.MemoryDevice, _ *acpi.ControlRegion) { d.InterleaveIndex = 7 }, want: "interleave 7, which does not exist"},
		{name: "no ways", change: func(_ *acpi.SPARange, d *acpi.MemoryDevice, _ *acpi.ControlRegion) { d.InterleaveWays = 0 }, want: "0 interleave ways"},
		{name: "region too large", change: func(s *acpi.SPARange, _ *acpi.MemoryDevice, _ *acpi.ControlRegion) { s.Length = 1 }, want: "larger than SPA range"},
		{name: "zero length", change: func(s *acpi.SPARange, _ *acpi.MemoryDevice, _ *acpi.ControlRegion) { s.Length = 0 }, want: "has length 0"},
		{name: "wrap", change: func(s *acpi.SPARange, _ *acpi.MemoryDevice, _ *acpi.ControlRegion) { s.Base = 1<<64 - 4096 }, want: "end of the address space"},
		{name: "unknown range type", change: func(s *acpi.SPARange, _ *acpi.MemoryDevice, _ *acpi.ControlRegion) { s.Type[0] = 0 }, want: "unknown type 66f0d300"},
		{name: "cookie without room", change: func(s *acpi.SPARange, _ *acpi.MemoryDevice, _ *acpi.ControlRegion) { s.Flags |= acpi.SPACookieValid }, want: "56-byte form"},
		{name: "index 0", change: func(_ *acpi.SPARange, _ *acpi.MemoryDevice, c *acpi.ControlRegion) { c.Index = 0 }, want: "index 0, which is reserved"},
		{name: "overlap", more: []acpi.NFITStructure{&acpi.SPARange{Index: 9, Type: acpi.SPAVolatile, Base: 4<<30 + 4096, Length: 1}}, want: "overlap"},
		{name: "disk in memory", more: []acpi.NFITStructure{&acpi.SPARange{Index: 9, Type: acpi.SPAVolatileDisk, Base: 4<<30 + 4096, Length: 1}}},
		{name: "duplicate index", more: []acpi.NFITStructure{&acpi.SPARange{Index: 2, Type: acpi.SPAPersistent, Base: 0, Length: 1}}, want: "two structures for SPA range 2"},
		{name: "unknown type", more: []acpi.NFITStructure{&acpi.UnknownEntry{Type: 99}}, want: "unknown type 99"},
		{name: "capability beyond highest", more: []acpi.NFITStructure{&acpi.PlatformCapabilities{HighestValid: 1, Capabilities: 6}}, want: "bit 2 is set, but the highest valid bit is 1"},
		{name: "capability 0 alone", more: []acpi.NFITStructure{&acpi.PlatformCapabilities{Capabilities: 1}}, want: "requires bit 1"},
		{name: "two capabilities", more: []acpi.NFITStructure{&acpi.PlatformCapabilities{}, &acpi.PlatformCapabilities{}}, want: "more than one"},
		{name: "hints of nobody", more: []acpi.NFITStructure{&acpi.FlushHint{Handle: 77, Addresses: []uint64{1}}}, want: "handle 0x4D"},
		{name: "no hints", more: []acpi.NFITStructure{&acpi.FlushHint{Handle: 1}}, want: "no address"},
		{name: "window without control", more: []acpi.NFITStructure{&acpi.BlockWindow{ControlIndex: 7}}, want: "control region 7"},
		{name: "empty interleave", more: []acpi.NFITStructure{&acpi.Interleave{Index: 1}}, want: "0 lines"},
	} {
		list := dimm(0, 4<<30, 64<<20)
		if c.change != nil {
			c.change(list[0].(*acpi.SPARange), list[1].(*acpi.MemoryDevice), list[2].(*acpi.ControlRegion))
		}
		errs := acpi.Check(acpi.NFIT{Header: oem, Structures: append(list, c.more...)}.Encode())
		found := c.want == "" && len(errs) == 0
		for _, err := range errs {
			found = found || c.want != "" && strings.Contains(err.Error(), c.want)
		}
		if !found {
			t.Errorf("Check(NFIT with %s) = %v, want %q", c.name, errs, c.want)
		}
	}
}

func TestCheckTable(t *testing.T) {
	edit := func(f func(b []byte) []byte) []byte { return f(nfitAll().Encode()) }
	sealed := func(f func(b []byte)) []byte {
		return edit(func(b []byte) []byte { f(b); acpi.Seal(b); return b })
	}
	for _, c := range []struct {
		name  string
		table []byte
		want  string
	}{
		{"wrong checksum", edit(func(b []byte) []byte { b[9]++; return b }), "checksum"},
		{"shorter than stated", edit(func(b []byte) []byte { return b[:60] }), "states a length"},
		{"longer than stated", edit(func(b []byte) []byte { return append(b, 0) }), "1 bytes follow"},
		{"revision", sealed(func(b []byte) { b[8] = 9 }), "revision 9"},
		{"structure too short", sealed(func(b []byte) { b[40+2] = 8 }), "too short"},
		{"structure of length 0", sealed(func(b []byte) { b[40+2] = 0 }), "length of 0"},
		{"nothing", nil, "no table"},
		{"RSDP of no length", []byte("RSD PTR "), "no RSDP"},
		{"bad byte code", oem.Table("SSDT", 2, []byte{0xFE}), "opcode 0xFE"},
		{"overlapping memory", acpi.SRAT{Entries: []acpi.SRATEntry{
			&acpi.MemoryAffinity{Length: 2, Flags: 1}, &acpi.MemoryAffinity{Base: 1, Length: 2, Flags: 1}}}.Encode(), "overlap"},
	} {
		errs := acpi.Check(c.table)
		found := false
		for _, err := range errs {
			found = found || strings.Contains(err.Error(), c.want)
		}
		if !found {
			t.Errorf("Check(table with %s) = %v, want one that says %q", c.name, errs, c.want)
		}
	}
	for name, table := range map[string][]byte{"FADT": fadt().Encode(), "MADT": madt().Encode(), "SRAT": srat().Encode(),
		"NFIT": nfitAll().Encode(), "DSDT": dsdt(), "RSDP": acpi.RSDP{XSDTAddress: 1}.Encode()} {
		if errs := acpi.Check(table); errs != nil {
			t.Errorf("Check(%s) = %v, want nothing", name, errs)
		}
	}
}
