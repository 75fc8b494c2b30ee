package aml

import (
	"bytes"
	"strings"
	"testing"
)

func encode(t *testing.T, terms ...Term) []byte {
	t.Helper()
	b, err := Encode(terms...)
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	return b
}

// TestPkgLength goes over the borders of section 20.2.4: a length counts its
// own bytes, so one of n bytes for a body holds n - size.
func TestPkgLength(t *testing.T) {
	for _, c := range []struct {
		body int
		want []byte
	}{
		{0, []byte{0x01}},
		{0x3E, []byte{0x3F}},
		{0x3F, []byte{0x41, 0x04}},
		{0x40, []byte{0x42, 0x04}},
		{0xFFD, []byte{0x4F, 0xFF}},
		{0xFFE, []byte{0x81, 0x00, 0x01}},
		{0xFFF, []byte{0x82, 0x00, 0x01}},
		{0xFFFFC, []byte{0x8F, 0xFF, 0xFF}},
		{0xFFFFD, []byte{0xC1, 0x00, 0x00, 0x01}},
	} {
		var e encoder
		e.pkg(func() { e.buf = make([]byte, c.body) })
		if e.err != nil {
			t.Errorf("package of %d bytes: %v", c.body, e.err)
			continue
		}
		if got := e.buf[:len(e.buf)-c.body]; !bytes.Equal(got, c.want) {
			t.Errorf("package of %d bytes has length % X, want % X", c.body, got, c.want)
		}
		d := disassembler{code: e.buf, end: len(e.buf)}
		d.pkg(func(end int) {
			if n := end - d.pos; n != c.body {
				t.Errorf("package of %d bytes decodes as one of %d", c.body, n)
			}
		})
		if d.err != nil {
			t.Errorf("package of %d bytes: %v", c.body, d.err)
		}
	}
}

func TestPkgLengthLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("allocates 512 MiB")
	}
	for _, c := range []struct {
		body int
		ok   bool
	}{{0xFFFFFFF - 4, true}, {0xFFFFFFF - 3, false}} {
		var e encoder
		body := make([]byte, c.body)
		e.pkg(func() { e.buf = body })
		if (e.err == nil) != c.ok {
			t.Errorf("package of 0x%X bytes: error %v, want success %t", c.body, e.err, c.ok)
		}
	}
}

// TestFieldLength checks that the length of a field unit, in contrast, does
// not count its own bytes.
func TestFieldLength(t *testing.T) {
	for _, c := range []struct {
		bits int
		want []byte
	}{
		{0, []byte{0}}, {63, []byte{0x3F}}, {64, []byte{0x40, 0x04}}, {4095, []byte{0x4F, 0xFF}},
		{4096, []byte{0x80, 0x00, 0x01}}, {32672, []byte{0x80, 0xFA, 0x07}}, {0xFFFFFFF, []byte{0xCF, 0xFF, 0xFF, 0xFF}},
	} {
		got := encode(t, Field("R", AnyAcc, NoLock, Preserve, Unit("F", c.bits)))
		if want := append([]byte("R___\x00F___"), c.want...); !bytes.HasSuffix(got, want) {
			t.Errorf("field of %d bits = % X, want it to end in % X", c.bits, got, want)
		}
	}
}

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		name string
		term Term
		want string
	}{
		{"0", Int(0), "\x00"},
		{"1", Int(1), "\x01"},
		{"2", Int(2), "\x0A\x02"},
		{"0xFF", Int(0xFF), "\x0A\xFF"},
		{"0x100", Int(0x100), "\x0B\x00\x01"},
		{"0x10000", Int(0x10000), "\x0C\x00\x00\x01\x00"},
		{"2^32", Int(1 << 32), "\x0E\x00\x00\x00\x00\x01\x00\x00\x00"},
		{"DWord 1", DWord(1), "\x0C\x01\x00\x00\x00"},
		{"Ones", Ones, "\xFF"},
		{"string", String("ab"), "\x0Dab\x00"},
		{"buffer", Buffer{7, 8}, "\x11\x05\x0A\x02\x07\x08"},
		{"empty buffer", Buffer{}, "\x11\x02\x00"},
		{"sized buffer", BufferOf(Local0), "\x11\x02\x60"},
		{"package", Package{One, Path("ABCD")}, "\x12\x07\x02\x01ABCD"},
		{"one segment", Path("A"), "A___"},
		{"root", Path(`\`), "\\\x00"},
		{"parent", Path("^"), "^\x00"},
		{"two segments", Path(`\_SB.A`), "\\\x2E_SB_A___"},
		{"three segments", Path("^^A.B.C1"), "^^\x2F\x03A___B___C1__"},
		{"EISA ID", EISAID("PNP0501"), "\x0C\x41\xD0\x05\x01"},
		{"UUID", ToUUID("2f10e7a4-9e91-11e4-89d3-123b93f75cba"),
			"\x11\x13\x0A\x10\xA4\xE7\x10\x2F\x91\x9E\xE4\x11\x89\xD3\x12\x3B\x93\xF7\x5C\xBA"},
		{"null target", Add(Local0, One, nil), "\x72\x60\x01\x00"},
		{"target", And(Arg0, Arg6, Local7), "\x7B\x68\x6E\x67"},
		{"negation", LNotEqual(Local0, Zero), "\x92\x93\x60\x00"},
		{"if else", If(One, Noop).Else(Break), "\xA0\x03\x01\xA3\xA1\x02\xA5"},
		{"else if", If(One, Noop).ElseIf(Zero, Noop).Else(Break), "\xA0\x03\x01\xA3\xA1\x08\xA0\x03\x00\xA3\xA1\x02\xA5"},
		{"method", Method("M", 2, SyncLevel(3), Return(Arg1)), "\x14\x08M___\x3A\xA4\x69"},
		{"call", Call("M", One), "M___\x01"},
		{"region", OperationRegion("R", SystemIO, Path("P"), Int(4)), "\x5B\x80R___\x01P___\x0A\x04"},
		{"acquire", Acquire(Path("X"), 0xFFFF), "\x5B\x23X___\xFF\xFF"},
	} {
		if got := encode(t, c.term); string(got) != c.want {
			t.Errorf("%s encodes to % X, want % X", c.name, got, c.want)
		}
	}
	if got := encode(t, make(Package, 0)); string(got) != "\x12\x02\x00" {
		t.Errorf("empty package encodes to % X", got)
	}
	many := make(Package, 256)
	for i := range many {
		many[i] = Zero
	}
	if got := encode(t, many); got[0] != opVarPackage {
		t.Errorf("package of 256 elements begins with % X, want VarPackageOp", got[:4])
	}
}

func TestEncodeErrors(t *testing.T) {
	for _, c := range []struct {
		term Term
		want string
	}{
		{Path(""), "empty"},
		{Path("ABCDE"), `"ABCDE"`},
		{Path("abcd"), `"abcd"`},
		{Path("1ABC"), `"1ABC"`},
		{Path("A..B"), `""`},
		{Path(`A\B`), `A\\B`},
		{Path(strings.Repeat("A.", 255) + "A"), "256 segments"},
		{String("a\x00"), "0x00"},
		{String("ä"), "ASCII"},
		{EISAID("pnp0501"), "pnp0501"},
		{EISAID("PNP051"), "PNP051"},
		{ToUUID("no"), `"no"`},
		{Store(nil, Local0), "nil"},
		{Package{nil}, "nil"},
		{Method("M", 8, NotSerialized), "limit is 7"},
		{External("M", MethodObj, 8), "limit is 7"},
		{Call("M", make([]Term, 8)...), "limit is 7"},
		{Field("R", AnyAcc, NoLock, Preserve, Unit("A.B", 1)), "A.B"},
		{Field("R", AnyAcc, NoLock, Preserve, Unit("A", -1)), "-1 bits"},
		{Field("R", AnyAcc, NoLock, Preserve, FieldUnit{}), "empty"},
		{If(One).Else(Noop).ElseIf(One), "after Else"},
		{Scope(`\_SB`, Device("D", Name("n", One))), `in \_SB/D/n: `},
	} {
		if _, err := Encode(c.term); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Encode: error %v, want one that says %s", err, c.want)
		}
	}
}

func TestDisassembleErrors(t *testing.T) {
	deep := bytes.Repeat([]byte{opLNot}, 1000)
	var scopes []byte
	for range 200 {
		scopes = encode(t, Scope(`\`, Raw(scopes)))
	}
	for _, c := range []struct {
		name string
		code string
		want string
	}{
		{"unknown opcode", "\x02", "opcode 0x02"},
		{"half an opcode", "\x5B", "1 bytes are needed"},
		{"truncated integer", "\x0C\x01", "4 bytes are needed"},
		{"unterminated string", "\x0Dabc", "needed"},
		{"package beyond the end", "\x10\x20\\\x00", "package length of 32"},
		{"package of nothing", "\x10\x00\\\x00", "package length of 0"},
		{"reserved length bits", "\x10\x7F\x00", "reserved bits"},
		{"bad name", "\x08AB.C\x00", "no name segment"},
		{"empty name", "\x08\x00\x00", "name is empty"},
		{"block as operand", "\x70\xA0\x02\x01\x60", "not valid as an operand"},
		{"field access", "\x5B\x81\x06R___\x0F", "access type 15"},
		{"external", "\x15A___\x08\x09", "limit is 7"},
		{"deep nesting", string(deep), "nested more than"},
		{"deep scopes", string(scopes), "nested more than"},
	} {
		text, err := Disassemble([]byte(c.code))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Disassemble(%s): error %v, want one that says %q", c.name, err, c.want)
		}
		if !strings.Contains(text, "    // 0") && !strings.HasPrefix(text, "// ") {
			t.Errorf("Disassemble(%s) = %q, want the bytes that could not be read", c.name, text)
		}
	}
}

// TestDisassembleResumes checks that a fault costs no more than its block.
func TestDisassembleResumes(t *testing.T) {
	code := encode(t, Scope(`\_SB`, Device("BAD", Raw{0x02, 0x03}), Name("GOOD", Int(5))))
	text, err := Disassemble(code)
	if err == nil || !strings.Contains(text, "Name (GOOD, 0x05)") || !strings.Contains(text, "02 03") {
		t.Errorf("Disassemble = %v\n%s\nwant an error, the bytes 02 03 and the object that follows", err, text)
	}
}

// TestMethodArguments resolves calls of methods that are defined later, in
// other scopes or elsewhere.
func TestMethodArguments(t *testing.T) {
	code := encode(t,
		External(`\_SB.FAR`, MethodObj, 3),
		Scope(`\_SB`,
			Method("USER", 0, NotSerialized,
				Store(Call("LATE", One), Local0),
				Store(Call(`\_SB.DEV.IN`), Local0),
				Store(Call("FAR", One, Zero, Ones), Local0),
				Name("LATE", One), // hides nothing before it
			),
			Method("LATE", 1, NotSerialized),
			Device("DEV",
				Method("IN", 0, NotSerialized),
				Name("LATE", Int(7)),
				Method("M", 0, NotSerialized, Return(Path("LATE")), Return(Call("^^LATE", Zero)))),
		))
	text, err := Disassemble(code)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"External (\\_SB.FAR, MethodObj, UnknownObj, {UnknownObj, UnknownObj, UnknownObj})\n", "Store (LATE (One), Local0)", `Store (\_SB.DEV.IN (), Local0)`,
		"Store (FAR (One, Zero, Ones), Local0)", "Return (LATE)\n", "Return (^^LATE (Zero))"} {
		if !strings.Contains(text, want) {
			t.Errorf("the disassembly lacks %s:\n%s", want, text)
		}
	}
}

// TestUnknownMethod shows the arguments of methods that other tables define,
// as far as a statement tells them.
func TestUnknownMethod(t *testing.T) {
	code := encode(t, Device("DEV",
		Name("NUMB", One),
		Method("M", 1, NotSerialized,
			Call("FAR", Path("NUMB"), Path("_SEG"), Local0, Int(5)),
			Call("FAR2"),
			Call("M", Arg0))))
	text, err := Disassemble(code)
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"FAR (NUMB, _SEG, Local0, 0x05)\n", "FAR2 ()\n", "M (Arg0)\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the disassembly lacks %s:\n%s", want, text)
		}
	}
}
