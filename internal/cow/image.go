package cow

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"nvlab/internal/pages"
)

// An Image is what a memory held at a Freeze. It does not change. Any number
// of goroutines may use it at a time, until one closes it.
type Image struct {
	contents atomic.Pointer[contents] // nil once it is closed: who keeps it keeps no pages
	size     uint64
}

var _ io.ReaderAt = (*Image)(nil)

func newImage(c *contents) *Image {
	c.root.retain()
	return firstImage(c)
}

// firstImage is the image whose the root is.
func firstImage(c *contents) *Image {
	i := &Image{size: c.root.size}
	i.contents.Store(c)
	return i
}

// held are the contents of an image that is not closed.
func (i *Image) held() (*contents, error) {
	c := i.contents.Load()
	if c == nil {
		return nil, errors.New("the image is closed")
	}
	return c, nil
}

// Size is that of the memory, in bytes.
func (i *Image) Size() uint64 { return i.size }

// Fork returns another memory that holds what the image does. What it costs
// depends on the pages in which the image differs from its root, not on its
// size.
func (i *Image) Fork() (*Memory, error) {
	c, err := i.held()
	if err != nil {
		return nil, err
	}
	mem, err := c.root.store.private()
	if err != nil {
		return nil, err
	}
	for _, p := range c.delta {
		copy(pageOf(mem, uint64(p.n)), p.mem[:])
	}
	c.root.retain()
	return &Memory{mem: mem, root: c.root, base: c, dirty: pages.NewSet(c.root.size)}, nil
}

// ReadAt fills p from an offset on.
func (i *Image) ReadAt(p []byte, off int64) (int, error) {
	c, err := i.held()
	if err != nil {
		return 0, err
	}
	if size := int64(c.root.size); off < 0 || off > size {
		return 0, fmt.Errorf("offset %#x is outside of the image, which has %#x bytes", off, size)
	} else if int64(len(p)) > size-off {
		n, err := i.ReadAt(p[:size-off], off)
		if err == nil {
			err = io.EOF
		}
		return n, err
	}
	if err := c.root.store.read(p, uint64(off)); err != nil {
		return 0, err
	}
	first := uint32(off / pages.Size)
	k, _ := slices.BinarySearchFunc(c.delta, first, func(d page, n uint32) int { return cmp.Compare(d.n, n) })
	for _, d := range c.delta[k:] {
		at := int64(d.n)*pages.Size - off
		if at >= int64(len(p)) {
			break
		}
		copy(p[max(at, 0):], d.mem[max(-at, 0):])
	}
	return len(p), nil
}

// Touched are the parts that may hold anything but zeros.
func (i *Image) Touched() []Range {
	c, err := i.held()
	if err != nil {
		return nil
	}
	return c.touched()
}

// Hash names the contents: images of equal size and bytes have equal hashes,
// and others do not. It costs a look at all that is not zero, the first time;
// images that share a root share most of that.
func (i *Image) Hash() ([32]byte, error) {
	c, err := i.held()
	if err != nil {
		return [32]byte{}, err
	}
	return c.hash()
}

// Close gives back what the image alone keeps. Memories of it stay. Closing
// twice does nothing.
func (i *Image) Close() error {
	c := i.contents.Swap(nil)
	if c == nil {
		return nil
	}
	return c.root.release()
}

// CloseAll closes images.
func CloseAll(list []*Image) error {
	var errs []error
	for _, i := range list {
		errs = append(errs, i.Close())
	}
	return errors.Join(errs...)
}
