package format

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSource(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"spaces and quotes", "def test_x( t ):\n  check.eq( 'a',1 ) # one\n", "def test_x(t):\n    check.eq(\"a\", 1)  # one\n"},
		{"bytes stay as they are", "X=[b'\\x00', rb\"a b\" ,b\"\"\"1\n 2\"\"\"]\n", "X = [b'\\x00', rb\"a b\", b\"\"\"1\n 2\"\"\"]\n"},
		{"bytes behind letters of several bytes", "X=['äö',b\"a\"]\n", "X = ['äö', b\"a\"]\n"},
		{"more than ten bytes literals", "X=[" + strings.Repeat("b'a',", 11) + "b'z']\n", "X = [" + strings.Repeat("b'a', ", 11) + "b'z']\n"},
		{"a name that looks like a stand-in", "_literal_0_=b'a'\n", "_literal_0_ = b'a'\n"},
		{"blank lines between functions", "def a(): pass\ndef b(): pass\n", "def a():\n    pass\n\ndef b():\n    pass\n"},
		{"a comma at the end of a list", "X = [\n  1,\n  2\n]\n", "X = [\n    1,\n    2,\n]\n"},
		{"line ends of other systems", "\ufeffX=b\"\"\"1\r\n2\"\"\"\r\nY=b'1'\r", "X = b\"\"\"1\n2\"\"\"\nY = b'1'\n"},
		{"order stays", "load(\"./b.star\", \"z\", \"a\")\nload(\"./a.star\", \"x\")\n", "load(\"./b.star\", \"z\", \"a\")\nload(\"./a.star\", \"x\")\n"},
	} {
		got, err := Source("x.star", []byte(test.text))
		if err != nil || string(got) != test.want {
			t.Errorf("%s: Source(%q) = %q, %v, want %q", test.name, test.text, got, err, test.want)
			continue
		}
		if again, err := Source("x.star", got); err != nil || string(again) != string(got) {
			t.Errorf("%s: laid out twice it is %q, %v, want %q", test.name, again, err, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"x = = 1\n", "x.star:1:5: got '='"},
		{"def f():\n    return 1, 2 if True else 3\n", "x.star:2:19: buildifier's grammar is smaller than Starlark's, parentheses may help"},
		{"x = " + strings.Repeat("(", 11000) + "1" + strings.Repeat(")", 11000) + "\n", "x.star:"},
		{"x = '\xff'\n", "x.star: the text is no UTF-8"},
		{strings.Repeat("#", 1<<20) + "##\n", "x.star: 1048579 bytes: a scenario has at most 1048576"},
	} {
		if _, err := Source("x.star", []byte(test.text)); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("Source(%.40q): error %.100v, want %q", test.text, err, test.want)
		}
	}
}

// TestScenarios lays out all scenarios of the repository.
func TestScenarios(t *testing.T) {
	n := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".star" || strings.Contains(path, "testdata") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		out, err := Source(path, text)
		if err != nil {
			t.Error(err)
			return nil
		}
		n++
		if again, err := Source(path, out); err != nil || string(again) != string(out) {
			t.Errorf("%s laid out twice differs from laid out once: %v", path, err)
		}
		return nil
	})
	if err != nil || n < 30 {
		t.Errorf("%d scenarios were laid out, want at least 30: %v", n, err)
	}
}

func FuzzSource(f *testing.F) {
	for _, seed := range []string{"x=b'a'", "def f(a,*,b=1,**k):\n if a:\n  return [b for b in a if b]\n", "lambda x:(x,)", "x = \"\"\"a\n\"\"\"", "for x in y: pass"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := Source("x.star", text)
		if err != nil {
			return
		}
		if _, err := parse("x.star", out); err != nil {
			t.Fatalf("laid out, %q is %q, which cannot be read: %v", text, out, err)
		}
	})
}
