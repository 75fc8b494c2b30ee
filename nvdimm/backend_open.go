package nvdimm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// FileConfig is a memory-backend-file.
type FileConfig struct {
	Path    string // created with mode 0644 if absent
	Size    uint64 // bytes, a multiple of 4 KiB
	Share   bool   // guest writes reach the file; else they end with the VM's power
	Align   uint64 // a power of two, at least 4 KiB; 0 is 4 KiB
	Partial bool   // the file may be larger than Size

	// Not there yet: OpenFile fails if one of these is set.
	ReadOnly bool
	Offset   uint64
	PMem     bool
}

const (
	fileObject = "memory-backend-file"
	ramObject  = "memory-backend-ram"
)

// OpenFile opens a backend on a file, which it creates, sparse, if it is
// absent or empty. A file that has data is never resized.
func OpenFile(c FileConfig) (*Backend, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	f, created, err := openOrCreate(c.Path)
	if err != nil {
		return nil, err
	}
	if err := c.fit(f); err != nil {
		f.Close()
		if created {
			os.Remove(c.Path)
		}
		return nil, err
	}
	b := &Backend{path: c.Path, file: f, share: c.Share, size: int64(c.Size), align: max(c.Align, PageSize), kind: private}
	if c.Share {
		b.kind = shared
	}
	return b, nil
}

func (c FileConfig) check() error {
	if c.Path == "" {
		return errors.New("'mem-path' property is not set: path must name a file")
	}
	var later string
	switch {
	case c.ReadOnly:
		later = "readonly"
	case c.Offset != 0:
		later = "offset"
	case c.PMem:
		later = "pmem"
	}
	if later != "" {
		return fmt.Errorf("%s: option '%s' of %s is not available yet in this version: leave it out", c.Path, later, fileObject)
	}
	if err := checkSize(fileObject, c.Size); err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	if err := checkAlign(c.Align); err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	return nil
}

// openOrCreate refuses what is no regular file before it opens it: opening a
// FIFO would wait for its other end.
func openOrCreate(path string) (f *os.File, created bool, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, fs.ErrExist) {
			return f, err == nil, err
		}
	case err != nil:
		return nil, false, err
	case info.IsDir():
		return nil, false, fmt.Errorf("%s: is a directory: path must name a regular file", path)
	case !info.Mode().IsRegular():
		return nil, false, fmt.Errorf("%s: is not a regular file: path must name one", path)
	}
	f, err = os.OpenFile(path, os.O_RDWR, 0)
	return f, false, err
}

// fit gives an empty file its size and refuses one of another size.
func (c FileConfig) fit(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	have := uint64(info.Size())
	switch {
	case have == 0:
		return f.Truncate(int64(c.Size))
	case have == c.Size || have > c.Size && c.Partial:
		return nil
	}
	mismatch := fmt.Sprintf("%s: backing store size %#x does not match 'size' option %#x", c.Path, have, c.Size)
	if have > c.Size {
		return fmt.Errorf("%s: the file has data and is never truncated; give size %s, or partial to use the start of it", mismatch, sizeText(alignDown(have, PageSize)))
	}
	if have < PageSize {
		return fmt.Errorf("%s: the file has data and is never extended; give another path", mismatch)
	}
	return fmt.Errorf("%s: the file has data and is never extended; give size %s", mismatch, sizeText(alignDown(have, PageSize)))
}

// RAMConfig is a memory-backend-ram.
type RAMConfig struct {
	Size  uint64 // bytes, a multiple of 4 KiB
	Share bool   // no difference: nobody else can reach the memory
	Align uint64 // a power of two, at least 4 KiB; 0 is 2 MiB
}

// ramAlign is the alignment of anonymous memory in QEMU on x86
// (QEMU_VMALLOC_ALIGN).
const ramAlign = 2 << 20

// NewRAM makes a backend of anonymous memory.
func NewRAM(c RAMConfig) (*Backend, error) {
	if err := checkSize(ramObject, c.Size); err != nil {
		return nil, err
	}
	if err := checkAlign(c.Align); err != nil {
		return nil, fmt.Errorf("%s: %w", ramObject, err)
	}
	f, err := anonymousFile(int64(c.Size))
	if err != nil {
		return nil, fmt.Errorf("%s: no memory of %#x bytes: %w", ramObject, c.Size, err)
	}
	b := &Backend{file: f, size: int64(c.Size), align: c.Align, share: c.Share, kind: anonymous}
	if b.align == 0 {
		b.align = ramAlign
	}
	return b, nil
}
