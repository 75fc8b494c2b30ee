package rootfs

import (
	"reflect"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"./sbin/mkfs": "usr/bin/mkfs", "/bin/sh": "usr/bin/sh", "usr/sbin/x": "usr/bin/x",
		"lib/x86_64-linux-gnu/l.so": "usr/lib/x86_64-linux-gnu/l.so", "lib64/ld.so": "usr/lib64/ld.so",
		"sbin": "usr/bin", "library/x": "library/x", "../../etc/passwd": "etc/passwd", "/": "",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTreeMergesAndResolves(t *testing.T) {
	tr := NewTree()
	for _, err := range []error{
		tr.AddFile("lib/x/libc.so.6.1", 0o755, []byte("lib")),
		tr.AddLink("usr/lib/x/libc.so.6", "libc.so.6.1"),
		tr.AddLink("lib64/ld.so", "/lib/x/libc.so.6"),
		tr.AddLink("loop", "loop"),
		tr.AddDir("lib", 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for in, want := range map[string]string{
		"/lib64/ld.so": "usr/lib/x/libc.so.6.1", "lib/x/libc.so.6": "usr/lib/x/libc.so.6.1", "loop": "", "none": "",
	} {
		if got := tr.Resolve(in); got != want {
			t.Errorf("Resolve(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTreeRefuses(t *testing.T) {
	tr := NewTree()
	tr.AddFile("etc/a", 0o644, nil)
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"file over folder", tr.AddFile("etc", 0o644, nil), "where a folder is"},
		{"below a file", tr.AddFile("etc/a/b", 0o644, nil), "which is no folder"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: Add = %v, want an error with %q", tt.name, tt.err, tt.want)
		}
	}
	if err := tr.AddFile("etc/a", 0o600, []byte("new")); err != nil || tr.Get("/etc/a").Size != 3 {
		t.Errorf("a file cannot replace a file: %v", err)
	}
}

func TestPathsAreSorted(t *testing.T) {
	tr := NewTree()
	tr.AddFile("b/c", 0o644, nil)
	tr.AddFile("a", 0o644, nil)
	want := []string{"a", "b", "b/c", "bin", "lib", "lib64", "sbin", "usr", "usr/bin", "usr/lib", "usr/lib64", "usr/sbin"}
	if got := tr.Paths(); !reflect.DeepEqual(got, want) {
		t.Errorf("Paths() = %q, want %q", got, want)
	}
}
