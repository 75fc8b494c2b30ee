package run

import (
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func aBundle(t testing.TB) (*Bundle, []byte) {
	t.Helper()
	b := &Bundle{Version: "1", Guest: "g", Test: "test_x/a b", State: "1.n-0badcafe", Scenario: "s/x.star", Options: BundleOptions{Engine: "soft", Seed: 7},
		Files:   map[string][]byte{"s/x.star": []byte("x = 1\n"), "lib.star": []byte("y = 2\n")},
		Carried: []CarriedFile{{"/home/a/store", 0o751, []byte("program")}}, Description: "said", Image: []byte("nvdimm1 0x0 00\n")}
	var out bytes.Buffer
	if err := b.Write(&out); err != nil {
		t.Fatal(err)
	}
	return b, out.Bytes()
}

func TestBundle(t *testing.T) {
	b, text := aBundle(t)
	got, err := ReadBundle(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if got.Options != b.Options || got.State != b.State || got.Description != b.Description || !bytes.Equal(got.Image, b.Image) || !maps.EqualFunc(got.Files, b.Files, bytes.Equal) {
		t.Errorf("a bundle that is written and read is %+v, want %+v", got, b)
	}
	if p := got.Pattern(); p != "^test_x$/^a b$" {
		t.Errorf("its test is taken by %q", p)
	}
	dir := t.TempDir()
	path, carried, err := got.Unpack(dir)
	if text, readErr := os.ReadFile(path); err != nil || readErr != nil || string(text) != "x = 1\n" || path != filepath.Join(dir, "s", "x.star") {
		t.Errorf("it is unpacked to %s, %q, %v, %v", path, text, err, readErr)
	}
	at := carried["/home/a/store"]
	info, err := os.Stat(at)
	if text, readErr := os.ReadFile(at); err != nil || readErr != nil || string(text) != "program" || info.Mode() != 0o751 {
		t.Errorf("the file that it carries is %q at %q, of %v, %v, %v", text, at, info, err, readErr)
	}
}

// TestBundleCarries: what is pushed comes along, and what cannot is named.
func TestBundleCarries(t *testing.T) {
	dir := t.TempDir()
	store := filepath.Join(dir, "store")
	if err := os.WriteFile(store, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := new(Bundle)
	b.carry([]string{dir, store, "/none"}, []string{"/disk.img"})
	if len(b.Carried) != 1 || b.Carried[0].Path != store || string(b.Carried[0].Text) != "program" || !slices.Equal(b.Lacks, []string{"/disk.img", dir, "/none"}) {
		t.Errorf("a bundle of a folder, a file and none carries %v and lacks %q", b.Carried, b.Lacks)
	}
}

// TestBundleCarriesPlainFiles: a bundle from elsewhere says nothing else of a file.
func TestBundleCarriesPlainFiles(t *testing.T) {
	for _, f := range []CarriedFile{{Path: "store", Mode: 0o755}, {Path: "/store", Mode: fs.ModeSetuid | 0o755}, {Path: "/store", Mode: fs.ModeDir | 0o755}} {
		b, _ := aBundle(t)
		b.Carried = []CarriedFile{f}
		var out bytes.Buffer
		if err := b.Write(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadBundle(&out); err == nil || !strings.Contains(err.Error(), "it is no bundle") {
			t.Errorf("a bundle with the file %q of mode %v: %v, want an error", f.Path, f.Mode, err)
		}
	}
}

// TestBundleOutside: no file of a bundle is written outside its folder.
func TestBundleOutside(t *testing.T) {
	for _, name := range []string{"../x.star", "/x.star", "a/../../x.star", "x.sh"} {
		b, _ := aBundle(t)
		b.Files[name] = []byte("x")
		var out bytes.Buffer
		if err := b.Write(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadBundle(&out); err == nil || !strings.Contains(err.Error(), "it is no bundle") {
			t.Errorf("a bundle with the file %q: %v, want an error", name, err)
		}
	}
}

func TestBundlePacksWhatIsLoaded(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a/x.star": "", "b/y.star": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := new(Bundle)
	if err := b.pack(filepath.Join(dir, "a/x.star"), []string{filepath.Join(dir, "a/../b/y.star")}); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(b.Files)); b.Scenario != "a/x.star" || !slices.Equal(got, []string{"a/x.star", "b/y.star"}) {
		t.Errorf("the scenario is %q of %q", b.Scenario, got)
	}
}

func FuzzReadBundle(f *testing.F) {
	_, text := aBundle(f)
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte("def test_x(t): pass"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := ReadBundle(bytes.NewReader(text))
		if err == nil {
			b.Pattern()
			b.Unpack(t.TempDir())
		}
	})
}
