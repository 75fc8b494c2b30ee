package nvdimm

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"nvlab/acpi/acpitest"
	"nvlab/acpi/aml"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/firmware"
)

func testSSDT(t *testing.T, slots int) []byte {
	t.Helper()
	ssdt, err := newRoot(t, Config{Slots: slots}).SSDT(0x0fff0000)
	if err != nil {
		t.Fatal(err)
	}
	return ssdt
}

// TestSSDTText: iasl reads the table and makes the same one of what it reads.
func TestSSDTText(t *testing.T) {
	t.Parallel()
	source, again := acpitest.Recompile(t, testSSDT(t, 2))
	for _, want := range []string{
		`Device (\_SB.NVDR)`, `Name (_HID, "ACPI0012"`, `OperationRegion (NPIO, SystemIO, 0x0A18, 0x08)`,
		`OperationRegion (NRAM, SystemMemory, 0x0FFF0000, 0x1000)`, `Device (NV00)`, `Device (NV01)`, `Name (_ADR, 0x02)`,
	} {
		if !strings.Contains(source, want) {
			t.Errorf("the table does not say %s", want)
		}
	}
	if strings.Contains(source, "CreateField") {
		t.Errorf("a CreateField makes Integers of short results")
	}
	if len(again) != len(testSSDT(t, 2)) {
		t.Errorf("recompiled the table has %d bytes, want %d", len(again), len(testSSDT(t, 2)))
	}
}

var (
	resultType = regexp.MustCompile(`\[(Buffer|Integer|Package|String)\]`)
	bufferLine = regexp.MustCompile(`(?m)^\s*(?:\[Buffer\] Length [0-9A-F]+ = )?\s*[0-9A-F]{4}: ((?:[0-9A-F]{2} )+)`)
)

// buffers gives the buffers that acpiexec prints, as one hexadecimal text.
func buffers(out string) string {
	var b strings.Builder
	for _, m := range bufferLine.FindAllStringSubmatch(out, -1) {
		b.WriteString(strings.ReplaceAll(strings.ToLower(m[1]), " ", ""))
	}
	return b.String()
}

// evaluate runs commands in acpiexec and gives what follows "returned object"
// for each. A run takes a second, and at most 1023 bytes of commands.
func evaluate(t *testing.T, ssdt []byte, commands ...string) (results []string) {
	t.Helper()
	return evaluateIn(t, [][]byte{ssdt}, commands...)
}

// evaluateIn is evaluate with all tables of the machine.
func evaluateIn(t *testing.T, tables [][]byte, commands ...string) (results []string) {
	t.Helper()
	var list []string
	size := 0
	for i, c := range commands {
		list = append(list, `evaluate \_SB.NVDR.`+c)
		size += len(list[len(list)-1]) + 2
		if i+1 < len(commands) && size < 850 {
			continue
		}
		out := acpitest.Exec(t, list, tables...)
		parts := strings.Split(out, "Evaluating ")[1:]
		if len(parts) != len(list) {
			t.Fatalf("%d results of %d commands:\n%s", len(parts), len(list), out)
		}
		for _, p := range parts {
			_, result, _ := strings.Cut(p, "returned object")
			results = append(results, result)
		}
		list, size = nil, 0
	}
	return results
}

func uuidBytes(text string) string {
	code, _ := aml.Encode(aml.ToUUID(text))
	return strings.ToUpper(hex.EncodeToString(code[len(code)-16:]))
}

// TestSSDTZeroed evaluates every method with a device that does nothing.
func TestSSDTZeroed(t *testing.T) {
	t.Parallel()
	ssdt := testSSDT(t, 16)
	arg := func(uuid string, revision, function int) string {
		return fmt.Sprintf("(%s) %d %d [(00 00 00 00 04 00 00 00)]", uuidBytes(uuid), revision, function)
	}
	cases := []struct{ command, want string }{
		{`_FIT`, "Buffer"},
		{`_DSM ` + arg(firmware.Root.UUID, 1, 0), "Buffer"},
		{`_DSM ` + arg(firmware.Root.UUID, 1, 1), "Buffer"},
		{`_DSM ` + arg(firmware.Intel.UUID, 1, 0), "Buffer"},
		{`_DSM ` + arg(firmware.Intel.UUID, 1, 1), "Buffer"},
		{`NV00._DSM ` + arg(firmware.Intel.UUID, 1, 0), "Buffer"},
		{`NV00._DSM ` + arg(firmware.Intel.UUID, 2, 11), "Buffer"},
		{`NV00._DSM ` + arg(firmware.Intel.UUID, 1, 5), "Buffer"},
		{`NV00._DSM ` + arg(firmware.Intel.UUID, 1, 6), "Buffer"},
		{`NV0F._DSM ` + arg(firmware.Intel.UUID, 1, 4), "Buffer"},
		{`NV00._LSI`, "Package"},
		{`NV0F._LSI`, "Package"},
		{`NV00._LSR 0 16`, "Package"},
		{`NV0F._LSR 0 16`, "Package"},
		{`NV00._LSW 0 4 (01 02 03 04)`, "Integer"},
		{`NV0F._LSW 0 4 (01 02 03 04)`, "Integer"},
	}
	var commands []string
	for _, c := range cases {
		commands = append(commands, c.command)
	}
	for i, result := range evaluate(t, ssdt, commands...) {
		// Elements of a package follow it.
		m := resultType.FindStringSubmatch(result)
		if m == nil || m[1] != cases[i].want {
			t.Errorf("%s gave no %s:\n%s", cases[i].command, cases[i].want, result)
		}
	}
}

// TestShortResultsStayBuffers: in acpiexec the page is plain memory, so that the handle that
// a request puts at 0 is the length of its own reply. Results are Buffers of
// that length, however short, and however long an integer is: the DSDT's
// revision says that (ACPI 6.5 section 19.3.5.1; QEMU 71b0269ae9).
func TestShortResultsStayBuffers(t *testing.T) {
	t.Parallel()
	ssdt := testSSDT(t, 1)
	argument := "000102030405060708090a0b0c0d0e0f1011121314151617"
	page := "01000000" + "05000000" + argument
	want := func(n int) string {
		if n < 8 || n > backend.PageSize {
			return "01000000" // no reply can be that long: not supported
		}
		return (page + strings.Repeat("00", 8))[:2*(n-4)]
	}
	lengths := []int{8, 9, 12, 16, 20, 21, 28, 36, 0, 3, 4, 7, 4097, 65536}
	var commands []string
	for _, n := range lengths {
		commands = append(commands, fmt.Sprintf(`NCAL %d 1 5 (%s)`, n, argument))
	}
	for _, revision := range []uint8{1, 2} {
		for i, result := range evaluateIn(t, [][]byte{oem.Table("DSDT", revision, nil), ssdt}, commands...) {
			if got := buffers(result); got != want(lengths[i]) {
				t.Errorf("DSDT of revision %d: a reply of %d bytes is cut to %s, want %s\n%s", revision, lengths[i], got, want(lengths[i]), result)
			}
		}
	}
}

// scripted is a table whose NCAL is body, and whose other methods are real.
func scripted(t *testing.T, body ...aml.Term) []byte {
	t.Helper()
	terms := []aml.Term{
		aml.Name("SEEN", aml.Zero),
		aml.Method("NCAL", 4, aml.Serialized, body...),
		dsmMethod(), familiesMethod("NDSD", firmware.Families...), fitMethod(), slotDevice(0, 1, nil, true),
	}
	code, err := aml.Encode(aml.Device(RootPath, append(terms, labelMethods()...)...))
	if err != nil {
		t.Fatal(err)
	}
	return oem.Table("SSDT", 2, code)
}

func piece(code uint32, data string) aml.Term {
	return aml.Return(aml.Buffer(append(status(code), data...)))
}

// TestSSDTFIT: _FIT joins the pieces, and starts again after a change.
func TestSSDTFIT(t *testing.T) {
	t.Parallel()
	at := func(offset int) aml.Term { return aml.LEqual(word(aml.Arg3, 0), aml.Int(offset)) }
	ssdt := scripted(t,
		aml.If(at(0), piece(0, "abcdefghij")),
		aml.If(aml.LAnd(at(10), aml.LEqual(aml.Path("SEEN"), aml.Zero)), aml.Store(aml.One, aml.Path("SEEN")), piece(statusFITChanged, "")),
		aml.If(at(10), piece(0, "k")),
		aml.If(at(11), piece(0, "lm")),
		piece(0, ""),
	)
	result := evaluate(t, ssdt, "_FIT")[0]
	if got, want := buffers(result), hex.EncodeToString([]byte("abcdefghijklm")); got != want {
		t.Errorf("_FIT = %s, want %s\n%s", got, want, result)
	}
	broken := scripted(t, aml.If(at(0), piece(0, "abcd")), piece(statusInvalid, ""))
	if got := buffers(evaluate(t, broken, "_FIT")[0]); got != "" {
		t.Errorf("_FIT of a device that fails in the middle = %s, want nothing", got)
	}
}

// TestSSDTLabels: the label methods over a device that echoes its argument
// for function 5, and takes as status the first byte of the label for 6.
func TestSSDTLabels(t *testing.T) {
	t.Parallel()
	ssdt := scripted(t,
		aml.If(aml.LEqual(aml.Arg2, aml.Int(familyLabels<<16|4)), aml.Return(aml.Buffer(words(0, 0x20000, 0xfec)))),
		aml.If(aml.LEqual(aml.Arg2, aml.Int(familyLabels<<16|5)), aml.Return(aml.Concatenate(aml.Buffer(status(0)), aml.Arg3, nil))),
		aml.Return(aml.Mid(aml.Arg3, aml.Int(8), aml.Int(4), nil)),
	)
	cases := []struct{ command, want string }{
		{"_LSI", `Package.* Contains 3 Elements:\s+\[Integer\] = 0+\s+\[Integer\] = 0+20000\s+\[Integer\] = 0+FEC\s`},
		{"_LSR 100 20", `Package.* Contains 2 Elements:\s+\[Integer\] = 0+\s+\[Buffer\] Length 08 =\s+0000: 64 00 00 00 14 00 00 00`},
		{"_LSW 0 4 (00 00 00 00)", `\[Integer\] = 0+\s`},
		{"_LSW 0 4 (01 00 00 00)", `\[Integer\] = 0+1\s`},
		{"_LSW 0 4 (02 00 00 00)", `\[Integer\] = 0+1\s`},
		{"_LSW 0 4 (03 00 00 00)", `\[Integer\] = 0+2\s`},
		{"_LSW 0 4 (04 00 00 00)", `\[Integer\] = 0+4\s`},
		{"_LSW 0 4 (00 00 01 00)", `\[Integer\] = 0+3\s`},
		{"_LSW 0 5 (00 00 00 00)", `\[Integer\] = 0+2\s`},
	}
	var commands []string
	for _, c := range cases {
		commands = append(commands, "NV00."+c.command)
	}
	for i, result := range evaluate(t, ssdt, commands...) {
		if !regexp.MustCompile(cases[i].want).MatchString(result) {
			t.Errorf("%s does not match %s:\n%s", cases[i].command, cases[i].want, result)
		}
	}
}
