package lsp

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestScenarios: nothing is said to be wrong with the repository's scenarios, and
// no question about any place in one of them fails.
func TestScenarios(t *testing.T) {
	n := 0
	err := filepath.WalkDir("../../scenarios", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".star" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		s := &Server{documents: map[string]*document{}}
		doc := newDocument(path, string(text), nil)
		s.documents[path] = doc
		for _, p := range s.diagnose(doc) {
			t.Errorf("%s:%d:%d: %s", path, p.Range.Start.Line+1, p.Range.Start.Character+1, p.Message)
		}
		return nil
	})
	if err != nil || n < 30 {
		t.Errorf("%d scenarios were looked at, want at least 30: %v", n, err)
	}
}

func TestOperand(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"  x = vm", "vm"},
		{"check.eq(a.b", "a.b"},
		{"vm.nvdimms[0]", "vm.nvdimms[0]"},
		{"f(t.vm(slots = 1, id = \"a)\"))", "f(t.vm(slots = 1, id = \"a)\"))"},
		{"x + t.vm()", "t.vm()"},
		{"a.b(c)[d].e", "a.b(c)[d].e"},
		{"(a)", ""},
		{"x = ", ""},
		{")", ""},
		{"a..b", ""},
		{"", ""},
	} {
		if got := operand(test.text); got != test.want {
			t.Errorf("operand(%q) = %q, want %q", test.text, got, test.want)
		}
	}
}

// FuzzQuery asks everything about a place in any text.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"def test_x(t):\n    vm = t.vm()\n    vm.", "load(\"./x.star\", a = \"b\")\na(", "x = [y for x, y in x]\nx.x", "def f(a, *, b = f(\"\\\"\", '''", "x = x\ny = (x, y)\n𝄞.é", "lambda t: t.\n", "def f(): return f()\nf().x"} {
		f.Add(seed, 1, 3)
	}
	f.Fuzz(func(t *testing.T, text string, line, character int) {
		s := &Server{documents: map[string]*document{}}
		old := newDocument("/none/x.star", "def test_x(t):\n    vm = t.vm()\n", nil)
		d := newDocument("/none/x.star", text, old)
		s.documents[d.path] = d
		s.diagnose(d)
		q := newQuery(s, d, position{line, character})
		for _, ask := range []func() (any, error){q.completions, q.signatures, q.hover, q.definition, q.symbols, q.layout} {
			if _, err := ask(); err != nil && !strings.Contains(err.Error(), "x.star") {
				t.Errorf("an error that names no place: %v", err)
			}
		}
	})
}
