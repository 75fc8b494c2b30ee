//go:build unix

package states

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"nvlab/internal/cow"
)

// TestNoFiles: what is no file of the store's is let alone, and nothing waits for
// it.
func TestNoFiles(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir, 0)
	elsewhere := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(elsewhere, []byte("somebody's"), 0o644); err != nil {
		t.Fatal(err)
	}
	n := name(1, 1, 1)
	strange := []string{newPrefix + "fifo", newPrefix + "folder", newPrefix + "link", name(1, 2, 1).file(), n.file()}
	for _, err := range []error{
		unix.Mkfifo(filepath.Join(dir, strange[0]), 0o600), os.Mkdir(filepath.Join(dir, strange[1]), 0o700), os.Symlink(elsewhere, filepath.Join(dir, strange[2])),
		unix.Mkfifo(filepath.Join(dir, strange[3]), 0o600), os.Symlink(elsewhere, filepath.Join(dir, strange[4])),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if list := s.List(); len(list) > 0 {
		t.Errorf("List() = %+v, want none", list)
	}
	if meta, _ := get(t, s, n); meta != "" {
		t.Errorf("a link is a state, %q", meta)
	}
	put(t, s, n, "state", imageOf(t, 1, 1))
	if meta, _ := get(t, s, n); meta != "state" {
		t.Errorf("where a link was, there is %q, want the state", meta)
	}
	if _, err := s.Clean(); err != nil {
		t.Error(err)
	}
	for _, name := range strange[:4] {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if b, _ := os.ReadFile(elsewhere); string(b) != "somebody's" {
		t.Errorf("what a link led to holds %q", b)
	}
	// Where no folder can be, nothing is kept.
	if err := Open(filepath.Join(elsewhere, "states"), 0).Put(n, State{Images: []*cow.Image{imageOf(t, 1, 1)}}); err == nil {
		t.Error("a state is kept below a file")
	}
}
