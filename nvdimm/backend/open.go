package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"nvlab/internal/units"
	"os"
)

// FileConfig is a memory-backend-file.
type FileConfig struct {
	Path    string // created with mode 0644 if absent
	Size    uint64 // bytes, a multiple of 4 KiB
	Share   bool   // guest writes reach the file; else they end with the VM's power
	Align   uint64 // a power of two, at least 4 KiB; 0 is 4 KiB
	Partial bool   // the file may be larger than Offset+Size

	ReadOnly bool   // neither guest nor host writes; the file must be there
	Offset   uint64 // of the backend within the file, a multiple of 4 KiB
	PMem     bool   // map with MAP_SYNC where share is on and the file system has it

	sysfs string // for tests; "" is /sys
}

const (
	fileObject = "memory-backend-file"
	ramObject  = "memory-backend-ram"
)

// OpenFile opens a backend on a file, which it creates, sparse, if it is
// absent or empty, or on a device-DAX device. A file that has data is never
// resized.
func OpenFile(c FileConfig) (*Backend, error) {
	info, err := os.Stat(c.Path)
	if err := c.check(info); err != nil {
		return nil, err
	}
	if err == nil && info.Mode()&fs.ModeCharDevice != 0 {
		return c.openDAX(info)
	}
	f, created, err := c.openOrCreate(info, err)
	if err != nil {
		return nil, err
	}
	page := hugePage(f)
	err = nil
	if page > 0 {
		err = c.checkHuge(page)
	}
	if err == nil {
		err = c.fit(f)
	}
	if err != nil {
		f.Close()
		if created {
			os.Remove(c.Path)
		}
		return nil, err
	}
	info, err = f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	b := &Backend{store: fileStore{f, int64(c.Offset)}, options: options{
		path: c.Path, file: info, offset: c.Offset, share: c.Share, readOnly: c.ReadOnly,
		size: int64(c.Size), align: max(c.Align, PageSize, page), kind: private,
	}}
	if page > 0 {
		b.store = hugeStore{fileStore{f, int64(c.Offset)}, int64(page)}
	}
	if c.Share {
		b.kind, b.durability = shared, PageCache
		if c.PMem && canMapSync(f) {
			b.durability = MapSync
		}
	}
	if c.PMem && b.durability != MapSync {
		b.warning = fmt.Sprintf("requesting persistence across crashes for backend file %s failed. Continue without persistence. Data might become corrupted in case of host crash.", c.Path)
	}
	return b, nil
}

// check looks at what needs no open file. Info is the file's if it is there.
func (c FileConfig) check(info fs.FileInfo) error {
	if c.Path == "" {
		return errors.New("'mem-path' property is not set: path must name a file")
	}
	if err := checkSize(fileObject, c.Size); err != nil {
		if info != nil && info.Mode().IsRegular() && c.Offset == 0 && uint64(info.Size()) == c.Size {
			err = fmt.Errorf("the file has %d bytes%w", c.Size, c.oddSize(c.Size))
		}
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	if err := checkAlign(c.Align); err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	if down := units.Down(c.Offset, PageSize); down != c.Offset {
		return fmt.Errorf("%s: offset %#x must be a multiple of page size %#x: the nearest are %s and %s", c.Path, c.Offset, PageSize, units.Size(down), units.Size(down+PageSize))
	}
	if c.Offset > MaxSize {
		return fmt.Errorf("%s: offset %#x is beyond any file: the largest is %s", c.Path, c.Offset, units.Size(MaxSize))
	}
	return nil
}

// openOrCreate refuses what is no regular file before it opens it: opening a
// FIFO would wait for its other end.
func (c FileConfig) openOrCreate(info fs.FileInfo, err error) (f *os.File, created bool, _ error) {
	switch {
	case errors.Is(err, fs.ErrNotExist) && !c.ReadOnly:
		f, err = os.OpenFile(c.Path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, fs.ErrExist) {
			return f, err == nil, err
		}
	case err != nil:
		return nil, false, err
	case info.IsDir():
		return nil, false, fmt.Errorf("%s: is a directory: path must name a regular file", c.Path)
	case !info.Mode().IsRegular():
		return nil, false, fmt.Errorf("%s: is not a regular file: path must name one", c.Path)
	}
	mode := os.O_RDWR
	if c.ReadOnly {
		mode = os.O_RDONLY
	}
	f, err = os.OpenFile(c.Path, mode, 0)
	return f, false, err
}

// oddSize says what can be done with a file that is not made of whole pages:
// neither size next to its own will do by itself.
func (c FileConfig) oddSize(have uint64) error {
	whole := units.Down(have, PageSize)
	return fmt.Errorf(", no multiple of 4 KiB: give size %s and partial to use its whole pages, or make it %s long first", units.Size(whole), units.Size(whole+PageSize))
}

// fit gives an empty file its size and refuses one of another size.
func (c FileConfig) fit(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 && !c.ReadOnly {
		return f.Truncate(int64(c.Offset + c.Size))
	}
	return c.fits(uint64(info.Size()), "the file has data and is never extended")
}

// fits compares the size of what there is with that which is wanted. Why is
// the reason that it is not extended.
func (c FileConfig) fits(have uint64, why string) error {
	want := c.Offset + c.Size
	if have == want || have > want && c.Partial {
		return nil
	}
	room := units.Down(have-min(have, c.Offset), PageSize)
	mismatch := fmt.Sprintf("%s: backing store size %#x does not match 'size' option %#x", c.Path, have, c.Size)
	if c.Offset > 0 {
		mismatch += fmt.Sprintf(" plus 'offset' option %#x", c.Offset)
	}
	switch {
	case c.Offset == 0 && have%PageSize != 0 && room > 0 && (want == room || want == room+PageSize):
		return fmt.Errorf("%s: the file has %d bytes%w", mismatch, have, c.oddSize(have))
	case have > want:
		return fmt.Errorf("%s: the file has data and is never truncated; give size %s, or partial to use a part of it", mismatch, units.Size(room))
	case have == 0:
		return fmt.Errorf("%s: an empty file cannot be opened read-only; give another path", mismatch)
	case room == 0:
		return fmt.Errorf("%s: %s; give another path or offset", mismatch, why)
	}
	return fmt.Errorf("%s: %s; give size %s", mismatch, why, units.Size(room))
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
	b := &Backend{
		store:   memoryStore{contents: newContents(int64(c.Size), nil)},
		options: options{size: int64(c.Size), align: c.Align, share: c.Share, kind: anonymous},
	}
	if b.align == 0 {
		b.align = ramAlign
	}
	return b, nil
}
