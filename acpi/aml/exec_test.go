package aml_test

import (
	"strings"
	"testing"

	"nvlab/acpi"
	"nvlab/acpi/acpitest"
	"nvlab/acpi/aml"
)

// TestSemantics runs what firmware authors trip over in ACPICA's interpreter.
func TestSemantics(t *testing.T) {
	code, err := aml.Encode(
		aml.Name("BASE", aml.Int(0x10000000)),
		aml.Name("TEN", aml.Buffer("0123456789")),
		aml.OperationRegion("REGN", aml.SystemMemory, aml.Path("BASE"), aml.Int(0x1000)),
		aml.Field("REGN", aml.DWordAcc, aml.NoLock, aml.Preserve, aml.Skip(64), aml.Unit("WORD", 32), aml.Unit("LONG", 128)),

		aml.Method("WIDE", 0, aml.NotSerialized, aml.Return(aml.ShiftLeft(aml.One, aml.Int(40), nil))),
		aml.Method("BITS", 0, aml.NotSerialized,
			aml.If(aml.And(aml.One, aml.Int(2), nil), aml.Return(aml.One)), aml.Return(aml.Zero)),
		aml.Method("LOGI", 0, aml.NotSerialized,
			aml.If(aml.LAnd(aml.One, aml.Int(2)), aml.Return(aml.One)), aml.Return(aml.Zero)),
		aml.Method("SHRT", 0, aml.NotSerialized, aml.Return(aml.Mid(aml.Path("TEN"), aml.One, aml.Int(4), nil))),
		aml.Method("REGI", 0, aml.NotSerialized,
			aml.Store(aml.Int(0xCAFE), aml.Path("WORD")),
			aml.Store(aml.Path("TEN"), aml.Path("LONG")),
			aml.Return(aml.Package{aml.Path("WORD"), aml.Path("LONG")})),
		aml.Method("CHAI", 1, aml.NotSerialized,
			aml.If(aml.LEqual(aml.Arg0, aml.Zero), aml.Return(aml.String("zero"))).
				ElseIf(aml.LEqual(aml.Arg0, aml.One), aml.Return(aml.String("one"))).
				Else(aml.Return(aml.String("many"))),
			aml.Return(aml.String("none"))),
	)
	if err != nil {
		t.Fatal(err)
	}
	table := acpi.Header{OEMID: "EXMPL", OEMTableID: "RUN"}.Table("DSDT", 2, code)
	var commands []string
	cases := []struct{ command, want string }{
		{`evaluate \WIDE`, "[Integer] = 0000010000000000"},
		{`evaluate \BITS`, "[Integer] = 0000000000000000"},
		{`evaluate \LOGI`, "[Integer] = 0000000000000001"},
		{`evaluate \SHRT`, "[Buffer] Length 04 =     0000: 31 32 33 34"},
		{`evaluate \REGI`, "[Package] Contains 2 Elements"},
		{`evaluate \WORD`, "[Integer] = 000000000000CAFE"},
		{`evaluate \LONG`, "30 31 32 33 34 35 36 37 38 39 00 00 00 00 00 00"},
		{`evaluate \CHAI 1`, `"one"`},
		{`evaluate \CHAI 2`, `"many"`},
	}
	for _, c := range cases {
		commands = append(commands, c.command)
	}
	answers := strings.Split(acpitest.Exec(t, commands, table), "Evaluating ")[1:]
	if len(answers) != len(cases) {
		t.Fatalf("acpiexec gives %d answers to %d commands: %q", len(answers), len(cases), answers)
	}
	for i, c := range cases {
		if !strings.Contains(answers[i], c.want) {
			t.Errorf("acpiexec %s gives\n%s\nwant %s", c.command, answers[i], c.want)
		}
	}

	narrow := acpi.Header{OEMID: "EXMPL", OEMTableID: "RUN"}.Table("DSDT", 1, code)
	if out := acpitest.Exec(t, []string{`evaluate \WIDE`}, narrow); !strings.Contains(out, "= 0000000000000000") {
		t.Errorf("acpiexec of a DSDT of revision 1 gives\n%s\nwant 32-bit integers", out)
	}
}

// TestExternal loads a table that declares objects of another one before it.
func TestExternal(t *testing.T) {
	table := func(signature string, terms ...aml.Term) []byte {
		code, err := aml.Encode(terms...)
		if err != nil {
			t.Fatal(err)
		}
		return acpi.Header{OEMID: "EXMPL", OEMTableID: "RUN"}.Table(signature, 2, code)
	}
	dsdt := table("DSDT",
		aml.External(`\_SB.NUMB`, aml.MethodObj, 2),
		aml.External(`\_SB.DEV`, aml.DeviceObj, 0),
		aml.Method("RUN", 0, aml.NotSerialized,
			aml.Notify(aml.Path(`\_SB.DEV`), aml.Int(0x80)),
			aml.Return(aml.Call(`\_SB.NUMB`, aml.Int(40), aml.Int(2)))))
	ssdt := table("SSDT",
		aml.Device(`\_SB.DEV`, aml.Name("_HID", aml.EISAID("PNP0A06"))),
		aml.Method(`\_SB.NUMB`, 2, aml.NotSerialized, aml.Return(aml.Add(aml.Arg0, aml.Arg1, nil))))
	out := acpitest.Exec(t, []string{`evaluate \RUN`}, dsdt, ssdt)
	if !strings.Contains(out, "[Integer] = 000000000000002A") {
		t.Errorf("acpiexec gives\n%s\nwant 42", out)
	}
	acpitest.Recompile(t, dsdt, ssdt)
	text, err := acpi.Decode(dsdt)
	if err != nil {
		t.Error(err)
	}
	acpitest.Compile(t, text[strings.Index(text, "DefinitionBlock"):])
}
