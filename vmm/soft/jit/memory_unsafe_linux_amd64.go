package jit

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// mapCode maps n bytes of a file at a multiple of hugePage, where the host can
// have them as huge pages.
func mapCode(fd int, n uintptr, prot int) ([]byte, error) {
	at, err := unix.MmapPtr(-1, 0, nil, n+hugePage, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return nil, err
	}
	skip := -uintptr(at) & (hugePage - 1)
	mem := unsafe.Add(at, skip)
	if skip > 0 {
		err = unix.MunmapPtr(at, skip)
	}
	if err == nil {
		err = unix.MunmapPtr(unsafe.Add(mem, n), hugePage-skip)
	}
	if err == nil {
		_, err = unix.MmapPtr(fd, 0, mem, n, prot, unix.MAP_SHARED|unix.MAP_FIXED)
	}
	if err != nil {
		_ = unix.MunmapPtr(mem, n)
		return nil, err
	}
	return unsafe.Slice((*byte)(mem), n), nil
}

// unmapCode gives back what mapCode returned.
func unmapCode(b []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
}
