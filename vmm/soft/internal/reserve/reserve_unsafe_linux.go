// Package reserve has arrays outside Go's heap that cost what is used of them.
package reserve

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Slice returns n zeros of a type without pointers,
// outside Go's heap: of memory that nobody touches, the host gives none. It is
// for arrays that are as large as they may ever be, so that making a machine
// costs what it uses.
func Slice[T any](n int) []T {
	mem, err := unix.Mmap(-1, 0, n*int(unsafe.Sizeof(*new(T))), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return make([]T, n) // the host limits address space
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&mem[0])), n)
}

// Free gives back what Slice returned.
func Free[T any](s []T) {
	if s = s[:cap(s)]; len(s) > 0 {
		// What make returned is not mapped by Mmap, and refused.
		_ = unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0]))))
	}
}
