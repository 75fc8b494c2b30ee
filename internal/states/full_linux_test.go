package states

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"nvlab/internal/cow"
	"nvlab/internal/tmpfs"
)

// TestFullDisk: a state for which there is no room is not there, nor half of
// it, and those that are there stay.
func TestFullDisk(t *testing.T) {
	all := make([]int, 64)
	for i := range all {
		all[i] = i
	}
	one, two := imageOf(t, 1, all...), imageOf(t, 2, all...)
	dir := t.TempDir()
	tmpfs.On(t, dir, "512k", func() {
		s := Open(dir, 0)
		if err := s.Put(name(1, 1, 1), State{Meta: []byte("first"), Images: []*cow.Image{one}}); err != nil {
			t.Error(err)
			return
		}
		if err := s.Put(name(2, 1, 1), State{Meta: []byte("second"), Images: []*cow.Image{two}}); err == nil {
			t.Error("a state of 256 KiB is put on a disk with less room")
		}
		if list := s.Find(name(2, 1, 1)); len(list) > 0 {
			t.Errorf("there is %q of it", list[0].Meta())
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%d files are left, %v: want 1", len(entries), err)
		}
		list := s.Find(name(1, 1, 1))
		if len(list) != 1 {
			t.Errorf("the state that was there is gone")
			return
		}
		defer list[0].Close()
		images, err := list[0].Images(nil) // checked on this thread: the file is open
		if err != nil {
			t.Error(err)
			return
		}
		defer images[0].Close()
		if string(list[0].Meta()) != "first" || !bytes.Equal(bytesOf(t, images[0]), bytesOf(t, one)) {
			t.Errorf("the state that was there is %q, or another", list[0].Meta())
		}
	})
}

// TestDiskFillsUp: a state that was taken from a disk holds what it did when that
// is full, where the file has holes, too.
func TestDiskFillsUp(t *testing.T) {
	image := imageOf(t, 1, 0, 63)
	dir := t.TempDir()
	tmpfs.On(t, dir, "512k", func() {
		s := Open(dir, 0)
		if err := s.Put(name(1, 1, 1), State{Images: []*cow.Image{image}}); err != nil {
			t.Error(err)
			return
		}
		list := s.Find(name(1, 1, 1))
		if len(list) != 1 {
			t.Error("the state is gone")
			return
		}
		defer list[0].Close()
		images, err := list[0].Images(nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer images[0].Close()
		if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 1<<20), 0o644); err == nil {
			t.Error("1 MiB is written to a disk of 512 KiB")
		}
		m, err := images[0].Fork()
		if err != nil {
			t.Error(err)
			return
		}
		defer m.Close()
		if !bytes.Equal(m.Bytes(), bytesOf(t, image)) {
			t.Error("the memory holds something else")
		}
	})
}
