package soft

import "unsafe"

// hostAddr is the host's address of b[off].
func hostAddr(b []byte, off uint64) uint64 {
	return uint64(uintptr(unsafe.Pointer(&b[off])))
}
