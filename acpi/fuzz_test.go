package acpi_test

import (
	"reflect"
	"testing"

	"nvlab/acpi"
)

// FuzzDecode gives any bytes to every reader of tables.
func FuzzDecode(f *testing.F) {
	for _, table := range goldenTables(f) {
		f.Add(table)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text, err := acpi.Decode(b)
		if err == nil && text == "" {
			t.Errorf("Decode gives neither text nor an error")
		}
		acpi.Check(b)
		acpi.ParseRSDP(b)
		acpi.ParseFADT(b)
		acpi.ParseMADT(b)
		acpi.ParseSRAT(b)
		acpi.ParseSLIT(b)
		acpi.ParseMCFG(b)
		acpi.ParseHMAT(b)
		acpi.ParseXSDT(b)
		tables, err := acpi.Split(b)
		if err == nil && len(tables) > 0 {
			acpi.Install(0, tables...)
		}
	})
}

// FuzzNFIT encodes the structures that any bytes give: what comes back from
// that must be the same structures.
func FuzzNFIT(f *testing.F) {
	f.Add(acpi.EncodeNFITStructures(nfitAll().Structures...))
	f.Add(acpi.EncodeNFITStructures(&acpi.ControlRegion{Short: true}, &acpi.SPARange{Long: true}, &acpi.UnknownEntry{Type: 8}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := acpi.ParseNFITStructures(b)
		if err != nil {
			return
		}
		again, err := acpi.ParseNFITStructures(acpi.EncodeNFITStructures(list...))
		if err != nil {
			t.Fatalf("structures that were decoded and encoded do not decode: %v", err)
		}
		if !reflect.DeepEqual(again, list) {
			t.Fatalf("structures decode to %+v, and after encoding to %+v", list, again)
		}
		acpi.Check(acpi.NFIT{Structures: list}.Encode())
	})
}
