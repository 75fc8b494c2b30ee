package native

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// New makes a runner whose code lies at the given address.
func New(addr uint64) (*Runner, error) {
	code, err := Map(addr, 4096, true)
	if err != nil {
		return nil, err
	}
	state, err := Map(addr+1<<16, 4096, false)
	if err != nil {
		return nil, err
	}
	return &Runner{code: code, state: state, codeAddr: addr, stateAddr: addr + 1<<16}, nil
}

// Map maps zeroed memory at an address.
func Map(addr uint64, n int, exec bool) ([]byte, error) {
	prot := unix.PROT_READ | unix.PROT_WRITE
	if exec {
		prot |= unix.PROT_EXEC
	}
	flags := unix.MAP_PRIVATE | unix.MAP_ANON | unix.MAP_FIXED_NOREPLACE
	var null unsafe.Pointer
	p, err := unix.MmapPtr(-1, 0, unsafe.Add(null, addr), uintptr(n), prot, flags)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes at %#x: %w", n, addr, err)
	}
	return unsafe.Slice((*byte)(p), n), nil
}
