package cow

import (
	"errors"
	"fmt"
	"io"

	"nvlab/internal/pages"
)

// Copy returns an image of size bytes of src. Only the data ranges of it are
// read, which are in ascending order: the rest is zeros. A nil list means all.
// Pages of zeros cost nothing.
func Copy(src io.ReaderAt, size uint64, data []Range) (*Image, error) {
	s, err := newStore(size)
	if err != nil {
		return nil, err
	}
	return copyTo(s, src, size, data)
}

func copyTo(s store, src io.ReaderAt, size uint64, data []Range) (_ *Image, err error) {
	r := newRoot(s, size)
	defer func() {
		if err != nil {
			err = errors.Join(err, r.release())
		}
	}()
	if data == nil {
		data = []Range{{0, size}}
	}
	if err := checkData(data, size); err != nil {
		return nil, err
	}
	read := func(p []byte, off uint64) error {
		n, err := src.ReadAt(p, int64(off))
		if n == len(p) {
			return nil
		}
		return fmt.Errorf("reading %d bytes at %#x: %w", len(p), off, err)
	}
	err = eachPage(read, data, func(n uint64, p []byte) error { return s.write(p, n*pages.Size) })
	if err != nil {
		return nil, err
	}
	return firstImage(&contents{root: r}), nil
}
