package soft

import (
	"unsafe"

	"nvlab/vmm/observe"
)

// hostAddr is the host's address of b[off].
func hostAddr(b []byte, off uint64) uint64 {
	return uint64(uintptr(unsafe.Pointer(&b[off])))
}

// streamedSize is that of what is noted of a store, in bytes.
const streamedSize = uint64(unsafe.Sizeof(observe.Streamed{}))

// streamAddr is the host's address of stores, of which there may be none yet.
func streamAddr(s []observe.Streamed) uint64 {
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(s))))
}
