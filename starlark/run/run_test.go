package run

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMatcher(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "test_x", true},
		{"x", "test_x", true},
		{"^x", "test_x", false},
		{"test_x/one", "test_x", true},
		{"test_x/one", "test_x/one", true},
		{"test_x/one", "test_x/two", false},
		{"test_x/one", "test_x/one/deeper", true},
		{"/two", "test_x", true},
		{"/two", "test_x/one", false},
		{"test_y/one", "test_x", false},
		{"test_(x|y)", "test_y", true},
		{"test_x|test_y/one", "test_y/one", true},
		{"test_x|test_y/one", "test_y/two", false},
		{"test_x|test_y/one", "test_x/two", true},
		{"[/]one", "test_x", false},
		{`a\/b`, "a", false},
		{"one two", "test_one_two", true},
	} {
		m, err := newMatcher(test.pattern)
		if err != nil {
			t.Errorf("newMatcher(%q): %v", test.pattern, err)
			continue
		}
		if got := m.match(test.name); got != test.want {
			t.Errorf("-run %q takes %s: %v, want %v", test.pattern, test.name, got, test.want)
		}
	}
	for _, bad := range []string{"(", "a/[", "x|*"} {
		if _, err := newMatcher(bad); err == nil || !strings.Contains(err.Error(), "-run "+bad) {
			t.Errorf("newMatcher(%q): error %v, want one that names it", bad, err)
		}
	}
}

func TestDiscover(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.star", "a.star", "sub/c.star", "sub/.git/d.star", "x.txt", "lib/e.star"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	for _, test := range []struct{ paths, want string }{
		{".", "a.star b.star lib/e.star sub/c.star"},
		{"./...", "a.star b.star lib/e.star sub/c.star"},
		{"sub b.star a.star", "sub/c.star b.star a.star"},
		{"b.star ./b.star .", "b.star a.star lib/e.star sub/c.star"},
		{"sub/.git", "sub/.git/d.star"},
	} {
		got, err := discover(strings.Fields(test.paths))
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("discover(%s) = %s, %v, want %s", test.paths, strings.Join(got, " "), err, test.want)
		}
	}
	for _, bad := range []string{"x.txt", "nowhere.star", "nowhere"} {
		if got, err := discover([]string{bad}); err == nil {
			t.Errorf("discover(%s) = %s, want an error", bad, got)
		}
	}
}

// TestSequence writes to places out of order and reads them in order.
func TestSequence(t *testing.T) {
	var out bytes.Buffer
	s := sequence{out: &out, places: make([]place, 4)}
	write := func(i int, text, want string) {
		t.Helper()
		s.at(i).Write([]byte(text))
		if out.String() != want {
			t.Errorf("after %q at place %d the output is %q, want %q", text, i, out.String(), want)
		}
	}
	write(2, "c1 ", "")
	write(0, "a1 ", "a1 ")
	write(1, "b1 ", "a1 ")
	s.finish(2)
	write(0, "a2 ", "a1 a2 ")
	s.finish(0)
	write(1, "b2 ", "a1 a2 b1 b2 ")
	s.finish(1)
	write(3, "d ", "a1 a2 b1 b2 c1 d ")
	s.finish(3)

	out.Reset()
	s = sequence{out: &out, unordered: true, places: make([]place, 2)}
	write(1, "b ", "b ")
	write(0, "a ", "b a ")
}

func TestRepeat(t *testing.T) {
	o := Options{Seed: 7, Kernel: "my kernel", Cmdline: "loglevel=5", AllowPaths: []string{"/tmp/it's"}, Steps: 5}
	want := `nvlab run --engine soft -seed 7 --kernel 'my kernel' --cmdline loglevel=5 --allow-path '/tmp/it'\''s' --max-steps 5 --state 7.r3.s1-0badcafe -run '^test_x$/^a\.b$' dir/x.star`
	if got := o.repeat("dir/x.star", "test_x/a.b", "soft", "7.r3.s1-0badcafe"); got != want {
		t.Errorf("repeat = %s\nwant     %s", got, want)
	}
}

func TestFileNames(t *testing.T) {
	got := fileNames("test_x/../a b/ü" + "/" + strings.Repeat("x", 300))
	want := []string{"test_x", "_..", "a_b", "_", strings.Repeat("x", 200)}
	if !slices.Equal(got, want) {
		t.Errorf("fileNames = %q, want %q", got, want)
	}
}

func TestPrintable(t *testing.T) {
	if got, want := printable("a\x00\x1b[1m\tb\n\uffff\ufffd\U0001f600"), "a[1m\tb\n\ufffd\U0001f600"; got != want {
		t.Errorf("printable = %q, want %q", got, want)
	}
}

func TestCopySparse(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	data := make([]byte, 300<<10)
	copy(data[100<<10:], "in the middle")
	if err := os.WriteFile(from, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := copySparse(from, to); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the copy has %d bytes and differs (%v), want the same %d bytes", len(got), err, len(data))
	}
	if err := copySparse(from, to); err == nil {
		t.Errorf("a copy onto a file that is there succeeded, want an error")
	}
}

func TestLastLines(t *testing.T) {
	if got, want := lastLines("a\r\nb\nc\n", 2), "b\nc"; got != want {
		t.Errorf("lastLines = %q, want %q", got, want)
	}
	if got := lastLines("", 2); got != "" {
		t.Errorf("lastLines of nothing = %q", got)
	}
}
