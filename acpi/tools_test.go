package acpi_test

import (
	"bytes"
	"testing"

	"nvlab/acpi"
	"nvlab/acpi/acpitest"
)

// TestTools compares encodings with what iasl makes of its own reading of them.
func TestTools(t *testing.T) {
	fitTable := nfitAll()
	apics := madt()
	// Older iasl does not know the multiprocessor wakeup structures, the last.
	apics.Entries = apics.Entries[:len(apics.Entries)-2]
	for name, table := range map[string][]byte{
		"FADT": fadt().Encode(), "MADT": apics.Encode(), "SRAT": srat().Encode(), "NFIT": fitTable.Encode(),
		"MCFG": mcfg().Encode(), "HMAT": hmat().Encode(), "DSDT": dsdt(), "SLIT": acpi.SLIT{Header: oem, Distances: [][]uint8{{10, 20}, {20, 10}}}.Encode(),
	} {
		t.Run(name, func(t *testing.T) {
			source, again := acpitest.Recompile(t, table)
			body := func(b []byte) []byte { return b[36:] }
			if !bytes.Equal(body(again), body(table)) {
				t.Errorf("iasl reads and recompiles the table to\n% X, want\n% X\n%s", again, table, source)
			}
		})
	}
}

// TestTextCompiles compiles our own disassembly.
func TestTextCompiles(t *testing.T) {
	table := dsdt()
	text, err := acpi.Decode(table)
	if err != nil {
		t.Fatal(err)
	}
	source := text[bytes.Index([]byte(text), []byte("DefinitionBlock")):]
	if again := acpitest.Compile(t, source); !bytes.Equal(again[36:], table[36:]) {
		t.Errorf("the disassembly compiles to\n% X, want\n% X", again, table)
	}
}
