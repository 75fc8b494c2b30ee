package vmm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// allocate returns zeroed memory backed by a memfd, which a later fork can
// map privately, and what gives it back.
func allocate(size uint64) (mem []byte, free func() error, err error) {
	fd, err := unix.MemfdCreate("nvlab-ram", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("memfd_create: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return nil, nil, fmt.Errorf("memory of %d MiB: %w", size>>20, err)
	}
	mem, err = unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return nil, nil, fmt.Errorf("mapping %d MiB of memory: %w", size>>20, err)
	}
	return mem, func() error {
		err := unix.Munmap(mem)
		if err2 := unix.Close(fd); err == nil {
			err = err2
		}
		return err
	}, nil
}
