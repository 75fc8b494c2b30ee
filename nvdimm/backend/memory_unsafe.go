package backend

import "unsafe"

// addressOf is the host address of mapped memory.
func addressOf(mem []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(mem))) }
