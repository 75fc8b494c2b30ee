package cow

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapOver replaces the mapping that mem is by a private one of a file, from
// its start on.
func mapOver(mem []byte, fd int) error {
	_, err := unix.MmapPtr(fd, 0, unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_NORESERVE|unix.MAP_FIXED)
	return err
}

// mapNew maps a part of a file anywhere.
func mapNew(fd int, at int64, size uint64, prot, flags int) ([]byte, error) {
	p, err := unix.MmapPtr(fd, at, nil, uintptr(size), prot, flags)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), size), nil
}

// unmap ends a mapping.
func unmap(mem []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)))
}

// moveAway moves the pages that mem maps to another address, with their entries
// in the page table. What is left at mem is mapped as before, without entries
// (Linux 5.13).
func moveAway(mem []byte) ([]byte, error) {
	p, err := unix.MremapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem)), nil, uintptr(len(mem)),
		unix.MREMAP_MAYMOVE|unix.MREMAP_DONTUNMAP)
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), len(mem)), nil
}
