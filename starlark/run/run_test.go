package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	nvstar "nvlab/starlark"
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
		m, err := newMatcher(test.pattern, "")
		if err != nil {
			t.Errorf("newMatcher(%q): %v", test.pattern, err)
			continue
		}
		if got := m.match(test.name); got != test.want {
			t.Errorf("-run %q takes %s: %v, want %v", test.pattern, test.name, got, test.want)
		}
	}
	for _, bad := range []string{"(", "a/[", "x|*"} {
		if _, err := newMatcher(bad, ""); err == nil || !strings.Contains(err.Error(), "-run "+bad) {
			t.Errorf("newMatcher(%q): error %v, want one that names it", bad, err)
		}
	}
}

func TestSkip(t *testing.T) {
	for _, test := range []struct {
		run, skip, name string
		want            bool
	}{
		{"", "", "test_x", true},
		{"", "x", "test_x", false},
		{"", "x", "test_x/one", false},
		{"", "x", "test_y", true},
		{"", "x/one", "test_x", true},
		{"", "x/one", "test_x/one", false},
		{"", "x/one", "test_x/one/deeper", false},
		{"", "x/one", "test_x/two", true},
		{"", "/one", "test_y/one", false},
		{"", "y|x/one", "test_x", true},
		{"", "y|x/one", "test_y", false},
		{"test_x", "one", "test_x", true},
		{"test_x", "_x", "test_x", false},
		{"test_x", "y", "test_z", false},
	} {
		m, err := newMatcher(test.run, test.skip)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.match(test.name); got != test.want {
			t.Errorf("-run %q -skip %q takes %s: %v, want %v", test.run, test.skip, test.name, got, test.want)
		}
	}
	if _, err := newMatcher("x", "("); err == nil || !strings.Contains(err.Error(), "-skip (") {
		t.Errorf("-skip (: error %v, want one that names it", err)
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
		got, err := Discover(strings.Fields(test.paths))
		if err != nil || strings.Join(got, " ") != test.want {
			t.Errorf("Discover(%s) = %s, %v, want %s", test.paths, strings.Join(got, " "), err, test.want)
		}
	}
	for _, bad := range []string{"x.txt", "nowhere.star", "nowhere"} {
		if got, err := Discover([]string{bad}); err == nil {
			t.Errorf("Discover(%s) = %s, want an error", bad, got)
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

	o = Options{Command: []string{"nvlab", "pmem", "--atomic", "./store"}}
	if got, want := o.repeat("x", "test_x", "soft", "1.n-0badcafe"), "nvlab pmem --state 1.n-0badcafe --atomic ./store"; got != want {
		t.Errorf("a command's repeat = %s\nwant                %s", got, want)
	}
	o = Options{State: "1.n-0badcafe", Command: []string{"nvlab", "pmem", "--state", "1.n-0badcafe", "./store"}}
	if got, want := o.repeat("x", "test_x", "soft", o.State), "nvlab pmem --state 1.n-0badcafe ./store"; got != want {
		t.Errorf("the repeat of a command with a state = %s\nwant                                 %s", got, want)
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
	used, err := copySparse(t.Context(), from, to, 1<<20, "data")
	if err != nil || used != chunk {
		t.Fatalf("copySparse() = %d bytes, %v, want one chunk of %d", used, err, chunk)
	}
	got, err := os.ReadFile(to)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the copy has %d bytes and differs (%v), want the same %d bytes", len(got), err, len(data))
	}
	if _, err := copySparse(t.Context(), from, to, 1<<20, "data"); err == nil {
		t.Errorf("a copy onto a file that is there succeeded, want an error")
	}
	var left *leftOutError
	if used, err := copySparse(t.Context(), from, to+"2", 100, "data"); used != 0 || !errors.As(err, &left) {
		t.Errorf("copySparse with room for 100 bytes = %d, %v, want an error that says what is left out", used, err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(nvstar.ErrInterrupted)
	was, err := fingerprintOf(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := copySparse(ctx, from, to+"3", 1<<20, "data")
	_, err2 := was.copyChanges(ctx, from, to+"4", 1<<20)
	_, err3 := fingerprintOf(ctx, from)
	for what, err := range map[string]error{"copySparse": err1, "copyChanges": err2, "fingerprintOf": err3} {
		if !errors.Is(err, nvstar.ErrInterrupted) {
			t.Errorf("%s after an interrupt: error %v, want %v", what, err, nvstar.ErrInterrupted)
		}
	}
}

// TestLargeSparseFile keeps a file of 200 GiB with little in it: that takes as
// long as the little does.
func TestLargeSparseFile(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the host does not tell of holes")
	}
	path := filepath.Join(t.TempDir(), "large")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(200 << 30); err != nil {
		t.Skipf("no file of 200 GiB here: %v", err)
	}
	for _, at := range []int64{5, 100 << 30, 200<<30 - 3} {
		if _, err := f.WriteAt([]byte("abc"), at); err != nil {
			t.Fatal(err)
		}
	}
	was, err := fingerprintOf(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("new"), 50<<30); err != nil {
		t.Fatal(err)
	}
	if used, err := copySparse(t.Context(), path, path+".copy", fileRoom, "data"); err != nil || used != 4*chunk {
		t.Errorf("copySparse() = %d bytes, %v, want 4 chunks", used, err)
	}
	if used, err := was.copyChanges(t.Context(), path, path+".changed", fileRoom); err != nil || used != chunk {
		t.Errorf("copyChanges() = %d bytes, %v, want the one chunk that changed", used, err)
	}
	changed, err := os.Open(path + ".changed")
	if err != nil {
		t.Fatal(err)
	}
	defer changed.Close()
	got := make([]byte, 3)
	if _, err := changed.ReadAt(got, 50<<30); err != nil || string(got) != "new" {
		t.Errorf("at 50 GiB the changes have %q, %v, want what was written", got, err)
	}
	if _, err := changed.ReadAt(got, 100<<30); err != nil || string(got) == "abc" {
		t.Errorf("at 100 GiB the changes have %q, %v, want nothing of what was there before", got, err)
	}
}

// TestLeftOutIsSaid fails with a backend of the user's that changed more than a
// run keeps.
func TestLeftOutIsSaid(t *testing.T) {
	defer func(n int64) { fileRoom = n }(fileRoom)
	fileRoom = 2 * chunk
	disk, path := filepath.Join(t.TempDir(), "disk.img"), filepath.Join(t.TempDir(), "x.star")
	text := fmt.Sprintf("def test_x(t):\n    t.backend_file(path = %q, size = '4MiB').write(0, 'x' * 1000000)\n    fail('now')\n", disk)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	kept := t.TempDir()
	exit := Run(t.Context(), Options{Paths: []string{path}, Engine: "soft", Parallel: 1, Stdout: &out, Stderr: &out, Cache: t.TempDir(), Artifacts: kept, AllowPaths: []string{filepath.Dir(disk)}})
	if want := "artifacts are not complete: " + disk + ": 1 MiB of what the test changed are left out"; exit != 1 || !strings.Contains(out.String(), want) {
		t.Errorf("exit status %d, want 1, and %q in\n%s", exit, want, out.String())
	}
	list, err := data(mustOpen(t, filepath.Join(kept, "x/test_x/disk.img.changed")))
	if err != nil || total(list) > fileRoom {
		t.Errorf("%d bytes are kept, %v; want at most %d", total(list), err, fileRoom)
	}
}

func mustOpen(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestChangedToZeros tells a chunk that became zeros, or a hole, from one that
// was.
func TestChangedToZeros(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 3*chunk), 0o644); err != nil {
		t.Fatal(err)
	}
	was, err := fingerprintOf(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, chunk); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 3*chunk); err != nil {
		t.Fatal(err)
	}
	if used, err := was.copyChanges(t.Context(), path, path+".changed", fileRoom); err != nil || used != 2*chunk {
		t.Errorf("copyChanges() = %d bytes, %v, want the 2 chunks that became zeros", used, err)
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
