package acpi_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/acpi"
)

// samples are the tables that have a golden file in testdata: the bytes in
// hexadecimal, an empty line, and the text.
func samples() map[string][]byte {
	nfit := nfitAll().Encode()
	badLength := append([]byte(nil), nfit...)
	badLength[40+2] = 0
	unknown := acpi.NFIT{Header: oem, Structures: []acpi.NFITStructure{
		&acpi.UnknownEntry{Type: 8, Data: []byte{1, 2, 3, 4}},
		&acpi.SPARange{Index: 1, Type: acpi.SPAVolatile, Base: 1 << 32, Length: 1 << 20, Long: true, Flags: acpi.SPACookieValid, Cookie: 7},
		&acpi.ControlRegion{Index: 1, Short: true},
	}}.Encode()
	badCode := oem.Table("SSDT", 2, append([]byte{0x08}, "NAME\x0a\x05\xfe\x01\x02\x03"...))
	return map[string][]byte{
		"rsdp":            acpi.RSDP{OEMID: "EXMPL", XSDTAddress: 0xE0040}.Encode(),
		"xsdt":            acpi.XSDT{Header: oem, Tables: []uint64{0xE0080, 0x1_0000_0000}}.Encode(),
		"fadt":            fadt().Encode(),
		"madt":            madt().Encode(),
		"srat":            srat().Encode(),
		"hmat":            hmat().Encode(),
		"mcfg":            mcfg().Encode(),
		"slit":            acpi.SLIT{Header: oem, Distances: [][]uint8{{10, 20}, {20, 10}}}.Encode(),
		"nfit":            nfit,
		"nfit-forms":      unknown,
		"nfit-bad-length": badLength,
		"dsdt":            dsdt(),
		"ssdt-bad-opcode": badCode,
		"facs":            append([]byte("FACS\x40\x00\x00\x00"), make([]byte, 56)...),
		"unknown":         oem.Table("OEM1", 1, []byte("vendor's own")),
	}
}

func TestGolden(t *testing.T) {
	for name, table := range samples() {
		t.Run(name, func(t *testing.T) {
			text, err := acpi.Decode(table)
			if err != nil {
				text += fmt.Sprintf("\nerror: %v\n", err)
			}
			for _, err := range acpi.Check(table) {
				text += fmt.Sprintf("check: %v\n", err)
			}
			got := hexText(table) + "\n" + text
			file := filepath.Join("testdata", name+".golden")
			if os.Getenv("NVLAB_UPDATE") == "1" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("Decode(%s) = \n%s\nwant\n%s", name, got, want)
			}
		})
	}
}

func hexText(b []byte) string {
	var s strings.Builder
	for len(b) > 0 {
		n := min(16, len(b))
		fmt.Fprintf(&s, "% x\n", b[:n])
		b = b[n:]
	}
	return s.String()
}

// goldenTables reads the bytes of the golden files, the seeds of fuzzing.
func goldenTables(tb testing.TB) [][]byte {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no golden files in testdata: %v", err)
	}
	var list [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		head, _, _ := strings.Cut(string(b), "\n\n")
		table, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "").Replace(head))
		if err != nil {
			tb.Fatalf("%s: %v", f, err)
		}
		list = append(list, table)
	}
	return list
}
