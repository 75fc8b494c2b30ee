package native

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

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

// Unmap unmaps what Map mapped.
func Unmap(b []byte) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(b)), uintptr(len(b)))
}

// addrOf is the address of memory that is not the collector's.
func addrOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// sigaction is the kernel's.
type sigaction struct {
	handler, flags, restorer, mask uint64
}

const _ = uint(unsafe.Sizeof(sigaction{}) - 32)

// swapAction sets what a signal does, if act is not nil, and returns what it
// did.
func swapAction(s unix.Signal, act *sigaction) (before sigaction, err error) {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s),
		uintptr(unsafe.Pointer(act)), uintptr(unsafe.Pointer(&before)), 8, 0, 0)
	if errno != 0 {
		return before, fmt.Errorf("set the handler of %v: %w", s, errno)
	}
	return before, nil
}

// stackT is the kernel's struct sigaltstack.
type stackT struct {
	sp    uint64
	flags int32
	_     int32
	size  uint64
}

const _ = uint(unsafe.Sizeof(stackT{}) - 24)

// signalStack is the stack that the thread's handlers run on: Go gives each
// thread its own.
func signalStack() (stackT, error) {
	const disabled = 2 // SS_DISABLE
	var s stackT
	if _, _, errno := unix.RawSyscall(unix.SYS_SIGALTSTACK, 0, uintptr(unsafe.Pointer(&s)), 0); errno != 0 {
		return s, fmt.Errorf("find the thread's signal stack: %w", errno)
	}
	if s.flags&disabled != 0 {
		return s, errors.New("the thread has no signal stack")
	}
	return s, nil
}
