package cow

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"nvlab/internal/pages"
)

// Open returns an image of size bytes of a file from an offset on, a multiple of
// the page size. What the data ranges leave out is zeros, in the file too. The
// file must not change as long as there is an image, or memory, of it; f may be
// closed, and the file's name may go. Where what is mapped may be lost, the file is
// read instead.
func Open(f *os.File, at int64, size uint64, data []Range) (*Image, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	if at < 0 || at%pages.Size != 0 {
		return nil, fmt.Errorf("an image at %#x of a file: want a multiple of %d", at, pages.Size)
	}
	if err := checkData(data, size); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < at || uint64(info.Size()-at) < size {
		return nil, fmt.Errorf("%s has %d bytes: an image of %d at %#x ends beyond", f.Name(), info.Size(), size, at)
	}
	if data == nil {
		data = []Range{}
	}
	if !keepsMapped(f) {
		return Copy(io.NewSectionReader(f, at, int64(size)), size, data)
	}
	s, err := openStore(f, at, size, data)
	if err != nil {
		return nil, err
	}
	return firstImage(&contents{root: newRoot(s, size)}), nil
}

// checkData says why ranges are no data ranges of an image.
func checkData(data []Range, size uint64) error {
	end := uint64(0)
	for _, d := range data {
		if d.Offset%pages.Size != 0 || d.Size%pages.Size != 0 || d.Offset < end || d.Offset > size || d.Size > size-d.Offset {
			return fmt.Errorf("data of %#x bytes at %#x: want whole pages within the image's %#x bytes, in ascending order", d.Size, d.Offset, size)
		}
		end = d.Offset + d.Size
	}
	return nil
}

// A Page is one page of an image, by number.
type Page struct {
	Number uint64
	Bytes  []byte // of the page's size
}

// With returns an image that is this one but for some pages, which are in
// ascending order. It has this one's root, and keeps copies of the pages.
func (i *Image) With(list []Page) (*Image, error) {
	c, err := i.held()
	if err != nil {
		return nil, err
	}
	delta := make([]page, 0, len(c.delta)+len(list))
	rest := c.delta
	for k, p := range list {
		if len(p.Bytes) != pages.Size || p.Number >= c.root.size/pages.Size || k > 0 && p.Number <= list[k-1].Number {
			return nil, fmt.Errorf("a page %d of %d bytes in an image of %#x bytes: want whole pages, in ascending order", p.Number, len(p.Bytes), c.root.size)
		}
		for len(rest) > 0 && uint64(rest[0].n) < p.Number {
			delta, rest = append(delta, rest[0]), rest[1:]
		}
		if len(rest) > 0 && uint64(rest[0].n) == p.Number {
			rest = rest[1:]
		}
		delta = append(delta, page{uint32(p.Number), (*[pages.Size]byte)(bytes.Clone(p.Bytes))})
	}
	return newImage(&contents{root: c.root, delta: append(delta, rest...)}), nil
}

// Pages calls f with each page that is not all zeros, in ascending order. f may
// keep nothing of it.
func (i *Image) Pages(f func(Page) error) error {
	if _, err := i.held(); err != nil {
		return err
	}
	read := func(p []byte, off uint64) error {
		_, err := i.ReadAt(p, int64(off))
		return err
	}
	return eachPage(read, i.Touched(), func(n uint64, p []byte) error { return f(Page{n, p}) })
}

// Differing calls f with each page in which the image differs from another of its
// size, which may have any root, in ascending order, until f fails. f may keep
// nothing of a page.
func (i *Image) Differing(base *Image, f func(Page) error) error {
	a, err := i.held()
	if err != nil {
		return err
	}
	b, err := base.held()
	if err != nil {
		return err
	}
	if a.root.size != b.root.size {
		return fmt.Errorf("images of %#x and %#x bytes", a.root.size, b.root.size)
	}
	x, y := a.look(), b.look()
	end := a.root.size / pages.Size
	defer func() { x.leave(end); y.leave(end) }()
	for _, r := range a.candidates(b) {
		for n := r.Offset / pages.Size; n < (r.Offset+r.Size)/pages.Size; n++ {
			mine, err := x.page(n)
			if err != nil {
				return err
			}
			theirs, err := y.page(n)
			if err != nil {
				return err
			}
			if bytes.Equal(mine, theirs) {
				continue
			}
			if err := f(Page{n, mine}); err != nil {
				return err
			}
		}
	}
	return nil
}
