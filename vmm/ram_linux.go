package vmm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// backing is a machine's memory: a memfd and its mapping. Other mappings of the
// descriptor see the same pages.
type backing struct {
	mem []byte // nil once closed
	fd  int
}

// allocate returns zeros.
func allocate(size uint64) (b backing, err error) {
	fd, err := unix.MemfdCreate("nvlab-ram", unix.MFD_CLOEXEC)
	if err != nil {
		return b, fmt.Errorf("memfd_create: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return b, fmt.Errorf("memory of %d MiB: %w", size>>20, err)
	}
	mem, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return b, fmt.Errorf("mapping %d MiB of memory: %w", size>>20, err)
	}
	return backing{mem, fd}, nil
}

// data is the first part from an offset on that has pages.
func (b *backing) data(from int64) (start, end int64, ok bool) {
	start, err := unix.Seek(b.fd, from, unix.SEEK_DATA)
	if err != nil {
		return 0, 0, false // ENXIO: nothing but a hole
	}
	end, err = unix.Seek(b.fd, start, unix.SEEK_HOLE)
	return start, end, err == nil
}

// close gives the memory back. Closing twice does nothing.
func (b *backing) close() error {
	if b.mem == nil {
		return nil
	}
	err := errors.Join(unix.Munmap(b.mem), unix.Close(b.fd))
	b.mem = nil
	return err
}
