package states

import (
	"bytes"
	"os"
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
