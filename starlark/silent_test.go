package nvstar

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// loaded loads a text and gives the error's, "" if it is sound.
func loaded(t *testing.T, src string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.star")
	if err := os.WriteFile(path, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	_, failure := NewLoader().Load(t.Context(), path)
	if failure == nil {
		return ""
	}
	return failure.Text
}

// TestStatementsWithoutEffect: what would pass in silence is refused when the
// file is loaded, with its line, and sound programs are not.
func TestStatementsWithoutEffect(t *testing.T) {
	const unused = "the statement has no effect: its value is not used"
	for _, test := range []struct{ statement, want string }{
		{`vm.boot`, "vm.boot is not called: write vm.boot()"},
		{`check.eq`, "check.eq is not called: write check.eq(...)"},
		{`(vm.kill)`, "vm.kill is not called: write vm.kill()"},
		{`t.vm(slots = 1).boot`, ".boot is not called: write .boot()"},
		{`box.vm.reboot`, "box.vm.reboot is not called: write box.vm.reboot()"},
		{`vm and vm.boot`, "vm.boot is not called: write vm.boot()"},
		{`vm.boot if vm else None`, unused},
		{`vm.state`, unused},
		{`vm`, unused},
		{`3`, unused},
		{`b"bytes"`, unused},
		{`lambda: vm.boot()`, unused},
		{`[vm, lambda: vm.boot()]`, unused},
		{`check.eq, (1, 2)`, unused},
		{`vm + 1`, unused},
		{`-vm`, unused},
		{`box["dev"]`, unused},
		{`vm.state == "off"`, "what == says is not looked at; to judge it write check.eq(got, want)"},
		{`vm.run("true").exit_code != 0`, "check.ne(got, want)"},
		{`"x" in vm.console()`, "check.contains(container, item)"},
		{`vm and vm.clock > 3`, "check.gt(got, want)"},

		{`vm.boot()`, ""},
		{`"""text"""`, ""},
		{`"a comment of old"`, ""},
		{`vm.run("true").stdout`, ""},
		{`vm.boot() if vm else None`, ""},
		{`vm and vm.boot()`, ""},
		{`vm.run("x") or vm`, ""},
		{`[f() for f in box]`, ""},
		{`vm.boot(), vm.kill()`, ""},
		{`not vm.boot()`, ""},
		{`box[vm.boot()]`, ""},
		{`x = vm.boot`, ""},
		{`pass`, ""},
	} {
		for _, in := range []string{"%", "if vm:\n        %\n    else:\n        pass", "for f in box:\n        %", "def inner():\n        vm.log()\n        %\n    inner()"} {
			src := "def test_x(t, vm = None, box = None):\n    vm = 1\n    " + strings.ReplaceAll(in, "%", test.statement) + "\n"
			switch got := loaded(t, src); {
			case test.want == "" && got != "":
				t.Errorf("%s is refused:\n%s\nwant it loaded", test.statement, got)
			case test.want != "" && !strings.Contains(got, test.want):
				t.Errorf("%s\nloads with %q, want an error with %q", src, got, test.want)
			case test.want != "" && !matches(t, `^.*x.star:\d+:\d+: cannot load: .*\n    +\S.*\n +\^$`, got):
				t.Errorf("the error of %s has no line:\n%s", test.statement, got)
			}
		}
	}
}

// TestRaisers: a function may be one expression that is there for its error,
// as check.fails takes it; a test may not.
func TestRaisers(t *testing.T) {
	for _, test := range []struct {
		src  string
		fine bool
	}{
		{"def test_x(t):\n    def bad():\n        [1][3]\n    check.fails(bad, 'range')\n", true},
		{"def test_x(t):\n    def bad():\n        'Says why.'\n        {}['x']\n    check.fails(bad, 'key')\n", true},
		{"def test_x(t):\n    def bad():\n        1 // 0\n    check.fails(bad, 'zero')\n", true},
		{"def test_x(t):\n    def bad():\n        t.nothing\n    check.fails(bad, 'no .nothing')\n", true},
		{"def test_x(t):\n    def bad():\n        1 < 'a'\n    check.fails(bad, 'not')\n", true},
		{"def test_x(t):\n    def bad():\n        t.dir == 'a'\n    bad()\n", false},
		{"def test_x(t):\n    def bad():\n        t.vm\n    bad()\n", false},
		{"def test_x(t):\n    [1][3]\n", false},
		{"[1][0]\n", false},
		{"'''File.'''\n'more'\ndef test_x(t):\n    pass\n", true},
	} {
		if got := loaded(t, test.src); (got == "") != test.fine {
			t.Errorf("%s\nloads with %q, want an error: %v", test.src, got, !test.fine)
		}
	}
}

func TestMixedIndentation(t *testing.T) {
	for _, test := range []struct{ src, want string }{
		{"def test_x(t):\n    if t:\n        a = 1\n\tb = 2\n", "x.star:4:2: cannot load: tabs and spaces are mixed: line 3 of the same block is indented with 8 spaces, this one with 1 tab"},
		{"def test_x(t):\n\ta = 1\n        b = 2\n", "line 2 of the same block is indented with 1 tab, this one with 8 spaces"},
		{"def test_x(t):\n    if t:\n        pass\n    elif t.dir:\n        a = 1\n    \tb = 2\n", "this one with 1 tab and 4 spaces"},
		{"def test_x(t):\n    a = 1\n\tb = 2\n", "hint: tabs and spaces are mixed in this file"},
		{"def test_x(t):\n\tif t:\n\t\ta = 1\n     b = 2\n", "hint: tabs and spaces are mixed in this file"},
		{"def test_x(t):\n\tif t: pass\n\telse:\n\t\ta = 1; b = 2\n\tf = (1,\n  2)\n\t# x\n    # y\n\t'''a\n    b'''\n", ""},
		{"def test_x(t):\n\ta = 1\ndef test_y(t):\n    a = 1\n", ""}, // each block for itself
		{"def test_x(t):\n    a = 1\n   b = 2\n", "unindent does not match"},
	} {
		got := loaded(t, test.src)
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%q\nloads with %q, want %q", test.src, got, test.want)
		}
		if strings.Contains(got, "hint") && !strings.Contains(test.src, "\t") {
			t.Errorf("%q has no tabs, and the hint speaks of them:\n%s", test.src, got)
		}
	}
}
