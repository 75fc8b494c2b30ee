package backend

import "unsafe"

//go:noescape
func flushLines(p *byte, n uintptr)

// flushCache writes the lines of mem that are in CPU caches back to memory.
func flushCache(mem []byte) {
	if len(mem) > 0 {
		flushLines(unsafe.SliceData(mem), uintptr(len(mem)))
	}
}
