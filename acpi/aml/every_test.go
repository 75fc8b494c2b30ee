package aml_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"nvlab/acpi"
	"nvlab/acpi/acpitest"
	"nvlab/acpi/aml"
)

// every is a program with all terms that have a constructor.
func every(tb testing.TB) []byte {
	l, a := aml.Local0, aml.Arg0
	n := aml.Path("NUMB")
	code, err := aml.Encode(
		aml.Name("NUMB", aml.Int(0x1234)),
		aml.Name("BIG", aml.Int(0x123456789A)),
		aml.Name("TEXT", aml.String("say \"hi\\\x01\"")),
		aml.Name("LIST", aml.Package{aml.One, aml.Package{aml.String("a"), aml.Path("NUMB")}, aml.Buffer{1, 2, 3}}),
		aml.Name("DATA", aml.Buffer("twenty-four bytes of data")),
		aml.Name("NONE", aml.Package{}),
		aml.Alias("NUMB", "OTHR"),
		aml.Mutex("MUTX", 1),
		aml.Event("EVNT"),
		aml.OperationRegion("REGN", aml.SystemMemory, aml.Path("NUMB"), aml.Int(0x1000)),
		aml.Field("REGN", aml.AnyAcc, aml.Lock, aml.WriteAsOnes,
			aml.Unit("FLDA", 8), aml.AccessAs(aml.WordAcc, 0), aml.Skip(3), aml.Unit("FLDB", 5), aml.Skip(16), aml.Unit("FLDC", 32)),
		aml.Field("REGN", aml.ByteAcc, aml.NoLock, aml.Preserve, aml.Unit("IDX", 8), aml.Unit("DAT", 8)),
		aml.IndexField("IDX", "DAT", aml.ByteAcc, aml.NoLock, aml.Preserve, aml.Unit("BNK0", 8), aml.Skip(8), aml.Unit("BNK2", 8)),
		aml.PowerResource("PWR", 1, 2, aml.Name("_STA", aml.One)),
		aml.ThermalZone("TZ", aml.Name("LOW", aml.Zero)),
		aml.Scope(`\_SB`, aml.Device("DEV0", aml.Name("_HID", aml.EISAID("PNP0A06")), aml.Name("_CID", aml.DWord(0x12345678)))),
		aml.Method("MATH", 7, aml.Serialized,
			aml.Store(n, l), aml.CopyObject(n, aml.Local1), aml.Store(aml.Local1, aml.Debug),
			aml.Add(a, aml.Arg1, l), aml.Subtract(a, aml.Arg2, l), aml.Multiply(a, aml.Arg3, l),
			aml.Divide(a, aml.Arg4, aml.Debug, l), aml.Divide(a, aml.Arg5, nil, l), aml.Mod(a, aml.Arg6, l),
			aml.And(a, n, l), aml.Or(a, n, l), aml.XOr(a, n, l), aml.NAnd(a, n, l), aml.NOr(a, n, l), aml.Not(a, l),
			aml.ShiftLeft(a, aml.One, l), aml.ShiftRight(a, aml.One, l),
			aml.FindSetLeftBit(a, l), aml.FindSetRightBit(a, l), aml.Increment(l), aml.Decrement(l),
			aml.Store(aml.Add(a, aml.Mod(a, aml.Int(3), nil), nil), aml.Debug),
			aml.Return(aml.Ones)),
		aml.Method("LOGI", 2, aml.NotSerialized,
			aml.Store(aml.LAnd(aml.LEqual(a, n), aml.LOr(aml.LGreater(a, n), aml.LLess(a, n))), l),
			aml.Store(aml.LNotEqual(a, n), l), aml.Store(aml.LLessEqual(a, n), l), aml.Store(aml.LGreaterEqual(a, n), l),
			aml.Store(aml.LNot(a), l),
			aml.Return(l)),
		aml.Method("DATS", 2, aml.Serialized,
			aml.Store(aml.BufferOf(aml.Int(8)), l),
			aml.Store(aml.BufferOf(a), aml.Local1),
			aml.CreateField(l, aml.Int(4), aml.Int(12), "BF"), aml.CreateBitField(l, aml.One, "B1"),
			aml.CreateByteField(l, aml.One, "B8"), aml.CreateWordField(l, aml.Int(2), "B16"),
			aml.CreateDWordField(l, aml.Int(4), "B32"), aml.CreateQWordField(l, aml.Zero, "B64"),
			aml.Store(aml.Path("B64"), aml.Debug),
			aml.Concatenate(l, aml.Local1, aml.Debug),
			aml.Mid(l, aml.One, aml.Int(2), aml.Debug),
			aml.Store(aml.At(l, aml.One), aml.Debug), aml.Store(aml.DerefOf(aml.Index(l, aml.Int(2), aml.Local3)), aml.Debug), aml.Store(aml.DerefOf(aml.Local3), aml.Debug),
			aml.Store(aml.Int(9), aml.Index(l, aml.Int(2), nil)),
			aml.Store(aml.RefOf(l), aml.Local4), aml.Store(aml.DerefOf(aml.Local4), aml.Local4),
			aml.Store(aml.SizeOf(l), aml.Local4), aml.Store(aml.ObjectType(l), aml.Local4),
			aml.ToBuffer(a, l), aml.ToInteger(a, l), aml.ToHexString(a, l), aml.ToDecimalString(a, l),
			aml.ToString(l, aml.Ones, aml.Debug),
			aml.Store(aml.ConcatenateResTemplate(aml.ResourceTemplate(aml.FixedIO{Base: 1, Length: 1}), aml.ResourceTemplate(), nil), l),
			aml.Return(l)),
		aml.Method("FLOW", 1, aml.Serialized,
			aml.If(aml.CondRefOf(aml.Path(`\_SB.DEV0`), l), aml.Notify(aml.Path(`\_SB.DEV0`), aml.Int(0x80))),
			aml.Load("REGN", l),
			aml.If(aml.LEqual(a, aml.One), aml.Store(aml.One, l)).
				ElseIf(aml.LEqual(a, aml.Int(2)), aml.Store(aml.Int(2), l)).
				ElseIf(aml.LEqual(a, aml.Int(3)), aml.If(a, aml.Noop).Else(aml.Stall(aml.One))).
				Else(aml.If(a, aml.Store(aml.Int(4), l)), aml.Noop),
			aml.Store(aml.Zero, l),
			aml.While(aml.LLess(l, aml.Int(10)),
				aml.Increment(l), aml.If(aml.LEqual(l, aml.Int(5)), aml.Continue), aml.If(aml.LEqual(l, aml.Int(7)), aml.Break)),
			aml.If(aml.LEqual(aml.Acquire(aml.Path("MUTX"), 0xFFFF), aml.Zero), aml.Release(aml.Path("MUTX"))),
			aml.Signal(aml.Path("EVNT")), aml.Store(aml.Wait(aml.Path("EVNT"), aml.Int(10)), aml.Debug), aml.Reset(aml.Path("EVNT")),
			aml.Sleep(aml.One),
			aml.Store(aml.Timer, aml.Debug), aml.Store(aml.Revision, aml.Debug),
			aml.Return(aml.Call("LOGI", aml.Local0, aml.Call("MATH", a, aml.One, aml.One, aml.One, aml.One, aml.One, aml.One)))),
	)
	if err != nil {
		tb.Fatal(err)
	}
	return code
}

func TestEveryTerm(t *testing.T) {
	code := every(t)
	text, err := aml.Disassemble(code)
	if err != nil {
		t.Error(err)
	}
	const file = "testdata/every.golden"
	if os.Getenv("NVLAB_UPDATE") == "1" {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("Disassemble of every term = \n%s\nwant\n%s", text, want)
	}
}

// TestEveryTermCompiles has iasl read the byte code, and our own text of it.
func TestEveryTermCompiles(t *testing.T) {
	code := every(t)
	table := acpi.Header{OEMID: "EXMPL", OEMTableID: "EVERY"}.Table("DSDT", 2, code)
	acpitest.Recompile(t, table)
	text, err := aml.Disassemble(code)
	if err != nil {
		t.Error(err)
	}
	source := fmt.Sprintf("DefinitionBlock (\"\", \"DSDT\", 2, \"EXMPL\", \"EVERY\", 0)\n{\n%s}\n", text)
	if again := acpitest.Compile(t, source); !bytes.Equal(again[36:], code) {
		t.Errorf("the disassembly compiles to\n% X, want\n% X", again[36:], code)
	}
}

// FuzzDisassemble gives any bytes to the disassembler.
func FuzzDisassemble(f *testing.F) {
	f.Add(every(f))
	f.Add([]byte("\x10\x20\\\x00"))
	f.Add([]byte("\x5B\x81\x0BR___\x00\x00\x10F___\x08"))
	f.Fuzz(func(t *testing.T, code []byte) {
		text, err := aml.Disassemble(code)
		if len(code) > 0 && text == "" && err == nil {
			t.Errorf("Disassemble of %d bytes gives neither text nor an error", len(code))
		}
	})
}
