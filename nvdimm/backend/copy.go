package backend

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"

	"nvlab/internal/cow"
)

// UseCopy has all that guest and host write from now on go to a copy of the
// backend in memory, which guest and host also read. The file stays as it is,
// however the program ends. Anonymous memory, and what nobody writes, need no
// copy. A backend that is mapped cannot change to one. The end of ctx ends it.
func (b *Backend) UseCopy(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return err
	}
	if b.kind == anonymous || b.readOnly || b.contents() != nil {
		return nil
	}
	if err := b.unmapped("first"); err != nil {
		return err
	}
	image, err := b.copy(ctx)
	if err != nil {
		return err
	}
	defer image.Close()
	mem, err := image.Fork()
	if err != nil {
		return fmt.Errorf("%s: no memory for a copy of %#x bytes: %w", b, b.size, err)
	}
	b.become(newContents(b.size, mem))
	return nil
}

// copy copies what the store holds. Holes and zeros cost nothing.
func (b *Backend) copy(ctx context.Context) (*cow.Image, error) {
	extents, err := b.store.data(0, b.size)
	if err != nil {
		return nil, err
	}
	data := []cow.Range{}
	for _, e := range wholePages(extents, b.size) {
		data = append(data, cow.Range{Offset: uint64(e.start), Size: uint64(e.end - e.start)})
	}
	if err := b.intact(); err != nil {
		return nil, err
	}
	image, err := cow.Copy(storeReader{ctx, b}, uint64(b.size), data)
	if err != nil {
		return nil, fmt.Errorf("%s: copying it: %w", b, err)
	}
	return image, nil
}

// storeReader reads a backend's store, whatever is mapped, until ctx ends. The
// backend is locked.
type storeReader struct {
	ctx context.Context
	b   *Backend
}

func (r storeReader) ReadAt(p []byte, off int64) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.b.store.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	return n, r.b.lost(err)
}

// wholePages widens extents to pages.
func wholePages(list []extent, size int64) (all []extent) {
	for _, e := range list {
		e.start, e.end = e.start&^(PageSize-1), min((e.end+PageSize-1)&^(PageSize-1), size)
		all = appendExtent(all, e)
	}
	return all
}

// become has a backend go on with a copy of what it held.
func (b *Backend) become(c *contents) {
	b.store, b.durability = memoryStore{c, b.store}, Volatile
}

// ShareCopy has the backend use the copy of another on the same part of the
// same file. It does nothing if that one has none, or b has one already.
func (b *Backend) ShareCopy(other *Backend) {
	other.mu.Lock()
	c := other.contents()
	other.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if c == nil || b.kind == anonymous || b.contents() != nil || b.size != other.size {
		return
	}
	c.use()
	b.become(c)
}

// Copied says that the backend no longer is its file.
func (b *Backend) Copied() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kind != anonymous && b.contents() != nil
}

// contents are the bytes of a backend that is no file, nil of one that is.
func (b *Backend) contents() *contents {
	s, _ := b.store.(memoryStore)
	return s.contents
}

// copyStep is how many bytes are copied between two looks at whether to go on.
const copyStep = 16 << 20

// copyTo writes what is not zero to a file of zeros. The end of ctx ends it.
func (b *Backend) copyTo(ctx context.Context, f *os.File) error {
	var failed error
	write := func(off int64, p []byte) {
		for ; len(p) > 0 && failed == nil; off, p = off+PageSize, p[PageSize:] {
			if !bytes.Equal(p[:PageSize], zeroPage) {
				_, failed = f.WriteAt(p[:PageSize], off)
			}
		}
	}
	for at := int64(0); at < b.size; at += copyStep {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := b.walk(ctx, at, min(at+copyStep, b.size), write); err != nil {
			return err
		}
		if failed != nil {
			return fmt.Errorf("%s: copying it: %w", b, failed)
		}
	}
	return nil
}

// Save writes what the backend holds to a new file, which is not there if it
// fails. The end of ctx ends it.
func (b *Backend) Save(ctx context.Context, path string) (err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err = cmp.Or(err, f.Close()); err != nil {
			os.Remove(path)
		}
	}()
	if err := f.Truncate(b.size); err != nil {
		return err
	}
	return b.copyTo(ctx, f)
}
