package backend

import (
	"bytes"
	"fmt"
	"os"
	"sync/atomic"
)

// copyStore is a copy in memory, of which a backend's file learns nothing.
// Backends on one part of one file share it.
type copyStore struct {
	fileStore
	original store
	users    *atomic.Int32
}

func (s copyStore) Close() error {
	if s.users.Add(-1) == 0 {
		s.fileStore.Close()
	}
	return s.original.Close()
}

// UseCopy has all that guest and host write from now on go to a copy of the
// backend in memory, which guest and host also read. The file stays as it is,
// however the program ends. Anonymous memory, and what nobody writes, need no
// copy. A backend that is mapped cannot change to one.
func (b *Backend) UseCopy() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return err
	}
	if b.kind == anonymous || b.readOnly || b.copied() {
		return nil
	}
	if err := b.unmapped("first"); err != nil {
		return err
	}
	f, err := anonymousFile(b.size)
	if err != nil {
		return fmt.Errorf("%s: no memory for a copy of %#x bytes: %w", b, b.size, err)
	}
	if err := b.copyTo(f); err != nil {
		f.Close()
		return err
	}
	users := &atomic.Int32{}
	users.Store(1)
	b.store = copyStore{fileStore{f, 0}, b.store, users}
	b.durability = Volatile
	return nil
}

// ShareCopy has the backend use the copy of another on the same part of the
// same file. It does nothing if that one has none, or b has one already.
func (b *Backend) ShareCopy(other *Backend) {
	other.mu.Lock()
	s, ok := other.store.(copyStore)
	other.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !ok || b.copied() || b.size != other.size {
		return
	}
	s.users.Add(1)
	b.store, b.durability = copyStore{s.fileStore, b.store, s.users}, Volatile
}

// copyOf tells copies apart: nil is none.
func (b *Backend) copyOf() *atomic.Int32 {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, _ := b.store.(copyStore)
	return s.users
}

// Copied says that the backend no longer is its file.
func (b *Backend) Copied() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.copied()
}

func (b *Backend) copied() bool {
	_, ok := b.store.(copyStore)
	return ok
}

// copyTo writes what is not zero to a file of zeros.
func (b *Backend) copyTo(f *os.File) error {
	var failed error
	err := b.walk(0, b.size, func(off int64, p []byte) {
		for ; len(p) > 0 && failed == nil; off, p = off+PageSize, p[PageSize:] {
			if !bytes.Equal(p[:PageSize], zeroPage) {
				_, failed = f.WriteAt(p[:PageSize], off)
			}
		}
	})
	if failed != nil {
		return fmt.Errorf("%s: copying it: %w", b, failed)
	}
	return err
}

// Save writes what the backend holds to a new file.
func (b *Backend) Save(path string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(b.size); err != nil {
		return err
	}
	return b.copyTo(f)
}
