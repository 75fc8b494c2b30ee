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
