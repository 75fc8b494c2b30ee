package backend

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestUseCopy: from then on nothing reaches the file, whoever writes.
func TestUseCopy(t *testing.T) {
	for _, share := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "f")
		file := bytes.Repeat([]byte("neighbour"), 3*PageSize)[:3*PageSize]
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		open := func() *Backend {
			b, err := OpenFile(FileConfig{Path: path, Size: PageSize, Offset: PageSize, Share: share, Partial: true})
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		b, other := open(), open()
		before := snapshot(t, b)
		for range 2 { // the second changes nothing
			if err := b.UseCopy(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		other.ShareCopy(b)
		if !b.Copied() || !other.Copied() || b.Durability() != Volatile {
			t.Errorf("share=%v: backends with a copy: %v, %v, durability %v", share, b.Copied(), other.Copied(), b.Durability())
		}
		if got := diff(t, b, before); got != nil {
			t.Errorf("share=%v: the copy differs: %v", share, got)
		}
		if _, err := b.WriteAt([]byte("host"), 8); err != nil {
			t.Fatal(err)
		}
		m := mapped(t, b)
		mem := m.Bytes()
		if err := b.UseCopy(context.Background()); err != nil {
			t.Errorf("share=%v: UseCopy of a backend that has one while a VM runs: %v", share, err)
		}
		if err := b.Restore(context.Background(), before); err == nil {
			t.Errorf("share=%v: a backend is restored below a running VM", share)
		}
		copy(mem[64:], "guest")
		if err := b.Put([]byte("label"), 128); err != nil {
			t.Fatal(err)
		}
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 256)
		if _, err := other.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		if string(got[8:12]) != "host" || share != (string(got[64:69]) == "guest") || share != (string(got[128:133]) == "label") {
			t.Errorf("share=%v: another backend of the file reads %q, %q, %q", share, got[8:12], got[64:69], got[128:133])
		}
		saved := filepath.Join(t.TempDir(), "saved")
		if err := b.Save(t.Context(), saved); err != nil {
			t.Fatal(err)
		}
		if copied, err := os.ReadFile(saved); err != nil || len(copied) != PageSize || !bytes.Equal(copied[:256], got) {
			t.Errorf("share=%v: what is saved has %d bytes (%v) and others than the backend", share, len(copied), err)
		}
		if err := b.Restore(context.Background(), before); err != nil {
			t.Fatal(err)
		}
		if got := diff(t, other, before); got != nil {
			t.Errorf("share=%v: after Restore, %v differ", share, got)
		}
		for _, b := range []*Backend{b, other} {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, file) {
			t.Errorf("share=%v: the file changed (%v)", share, err)
		}
	}
}

// TestUseCopyWhileMapped: a running VM's memory cannot be exchanged.
func TestUseCopyWhileMapped(t *testing.T) {
	b, err := OpenFile(FileConfig{Path: filepath.Join(t.TempDir(), "f"), Size: PageSize, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	m := mapped(t, b)
	if err := b.UseCopy(context.Background()); err == nil {
		t.Error("a backend changes to a copy below a running VM")
	}
	m.Close()
	b.Close()
}

// TestRevert: a snapshot follows the backend, and a running VM's memory goes
// back to it, up to a limit.
func TestRevert(t *testing.T) {
	for _, share := range []bool{true, false} {
		b, err := OpenFile(FileConfig{Path: filepath.Join(t.TempDir(), "f"), Size: 4 * PageSize, Share: share})
		if err != nil {
			t.Fatal(err)
		}
		m := mapped(t, b)
		mem := m.Bytes()
		mem[0], mem[PageSize] = 1, 1
		s := snapshot(t, b)
		mem[PageSize], mem[2*PageSize], mem[3*PageSize] = 0, 2, 2
		for range 2 {
			if err := b.Update(s); err != nil {
				t.Fatal(err)
			}
			if got := diff(t, b, s); got != nil {
				t.Errorf("share=%v: after Update, %v differ", share, got)
			}
		}
		mem[0], mem[2*PageSize], mem[3*PageSize], mem[3*PageSize+100] = 9, 9, 9, 9
		if err := b.Revert(s, 3*PageSize+100); err != nil {
			t.Fatal(err)
		}
		if got := [5]byte{mem[0], mem[PageSize], mem[2*PageSize], mem[3*PageSize], mem[3*PageSize+100]}; got != [5]byte{1, 0, 2, 2, 9} {
			t.Errorf("share=%v: after Revert the pages begin with %v", share, got)
		}
		m.Close()
		b.Close()
	}
}

// A countdown is a context that ends after some looks at it.
type countdown struct {
	context.Context
	looks int
}

func (c *countdown) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// TestSaveEnds: an interrupt ends the copy of a backend, however large it is, and
// leaves no part of it.
func TestSaveEnds(t *testing.T) {
	b := newRAM(t, 4*copyStep+PageSize)
	for looks := range 6 {
		path := filepath.Join(t.TempDir(), "saved")
		err := b.Save(&countdown{t.Context(), looks}, path)
		if want := looks < 5; (err != nil) != want {
			t.Errorf("Save that is interrupted at the step after %d of 5 = %v, want an error: %v", looks, err, want)
		}
		if _, there := os.Stat(path); (there == nil) != (err == nil) {
			t.Errorf("Save = %v, and its file is there: %v", err, there == nil)
		}
	}
}
