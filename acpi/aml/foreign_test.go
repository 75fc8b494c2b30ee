package aml_test

import (
	"bytes"
	"testing"

	"nvlab/acpi"
	"nvlab/acpi/acpitest"
)

// foreign has terms that tables of other firmware use and that have no
// constructor here.
const foreign = `DefinitionBlock ("", "DSDT", 2, "EXMPL ", "FOREIGN ", 0x00000001)
{
    OperationRegion (REGN, SystemMemory, 0x1000, 0x0100)
    Field (REGN, ByteAcc, NoLock, Preserve)
    {
        BANK, 8,
        AccessAs (WordAcc, 0x00),
        WIDE, 16
    }
    BankField (REGN, BANK, 0x02, ByteAcc, Lock, WriteAsZeros)
    {
        Offset (0x10),
        BNKA, 8
    }
    OperationRegion (OEMR, 0x80, Zero, 0x08)
    DataTableRegion (DTBL, "OEM1", "", "")
    Name (LIST, Package (0x03) { 0x05, 0x06, 0x07 })
    Name (IDS, EisaId ("PNP0A03"))
    Method (MTCH, 1, Serialized, 3)
    {
        Store (Match (LIST, MEQ, Arg0, MTR, Zero, Zero), Local0)
        Store (FromBCD (0x12), Local1)
        Store (ToBCD (Local1), Local1)
        Store (LoadTable ("OEM1", "MYOEM", "TABLE1", "\\_SB", "", Local1), Local2)
        If (LEqual (Local2, Zero))
        {
            Fatal (0x02, 0x00000003, Local0)
        }
        BreakPoint
        Name (DYNA, Package (Local0) {})
        Return (SizeOf (DYNA))
    }
}
`

// TestForeign compiles with iasl, disassembles, and compiles that again.
func TestForeign(t *testing.T) {
	table := acpitest.Compile(t, foreign)
	text, err := acpi.Decode(table)
	if err != nil {
		t.Error(err)
	}
	source := text[bytes.Index([]byte(text), []byte("DefinitionBlock")):]
	if again := acpitest.Compile(t, source); !bytes.Equal(again[36:], table[36:]) {
		t.Errorf("the disassembly compiles to\n% X, want\n% X\n%s", again, table, source)
	}
}
