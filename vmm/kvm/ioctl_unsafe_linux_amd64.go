package kvm

import (
	"errors"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// host is the kernel below. A test has one that fails.
type host interface {
	// open opens /dev/kvm.
	open() (fd int, err error)
	// ioctl sends a request whose argument is a number.
	ioctl(fd int, request uint32, arg uintptr) (int, error)
	// ioctlPointer sends one whose argument is a structure.
	ioctlPointer(fd int, request uint32, arg unsafe.Pointer) (int, error)
	mmap(fd, size int) ([]byte, error)
	munmap([]byte) error
	close(fd int) error
	// signal interrupts an ioctl of a thread of this process.
	signal(thread int)
}

// linux is the host that every guest runs on.
type linux struct{}

const device = "/dev/kvm"

func (linux) open() (int, error) { return unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0) }

func (linux) ioctl(fd int, request uint32, arg uintptr) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), arg)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (linux) ioctlPointer(fd int, request uint32, arg unsafe.Pointer) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (linux) mmap(fd, size int) ([]byte, error) {
	return unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func (linux) munmap(b []byte) error { return unix.Munmap(b) }

func (linux) close(fd int) error { return unix.Close(fd) }

// signal sends what Go's runtime sends itself to preempt a goroutine: its
// handler takes any number of them, at any time.
func (linux) signal(thread int) { unix.Tgkill(unix.Getpid(), thread, unix.SIGURG) }

// file is a descriptor of KVM's and what to reach it through.
type file struct {
	host host
	fd   int
}

// do sends a request that takes a number. A signal that comes meanwhile is no
// failure.
func (f file) do(request uint32, arg uintptr) (int, error) {
	for {
		n, err := f.host.ioctl(f.fd, request, arg)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// passN sends a request that takes a structure and returns a number.
func passN[T any](f file, request uint32, arg *T) (int, error) {
	for {
		n, err := f.host.ioctlPointer(f.fd, request, unsafe.Pointer(arg))
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// pass sends a request that takes a structure.
func pass[T any](f file, request uint32, arg *T) error {
	_, err := passN(f, request, arg)
	return err
}

// block sends a request that takes a structure as bytes.
func (f file) block(request uint32, b []byte) error {
	return pass(f, request, unsafe.SliceData(b))
}

// Structures that hold an address.
type (
	deviceAttr struct {
		_, group uint32 // flags first
		attr     uint64
		at       unsafe.Pointer
	}
	msrFilter struct {
		_      uint32 // flags: what no range denies is allowed
		ranges [16]struct {
			flags, n, base uint32
			bitmap         unsafe.Pointer // a bit that is set allows
		}
	}
	dirtyLog struct {
		slot, _ uint32
		bitmap  unsafe.Pointer
	}
	clearDirtyLog struct {
		slot, pages uint32
		_           uint64 // the first
		bitmap      unsafe.Pointer
	}
)

func (f file) tscOffset() (v uint64, err error) {
	err = pass(f, reqGetDeviceAttr, &deviceAttr{group: attrGroupTSC, attr: attrTSCOffset, at: unsafe.Pointer(&v)})
	return v, err
}

func (f file) setTSCOffset(v uint64) error {
	return pass(f, reqSetDeviceAttr, &deviceAttr{group: attrGroupTSC, attr: attrTSCOffset, at: unsafe.Pointer(&v)})
}

// denyWrites has KVM ask this program about each store to an MSR.
func (f file) denyWrites(msr uint32) error {
	var none [8]byte
	var filter msrFilter
	r := &filter.ranges[0]
	r.flags, r.n, r.base, r.bitmap = deniesWrites, 1, msr, unsafe.Pointer(&none)
	return pass(f, reqFilterMSRs, &filter)
}

// dirty fills a bitmap with the pages of a slot that were written since they
// were cleared: by clear, or by this request where KVM has no other way.
func (f file) dirty(slot uint32, bitmap []uint64) error {
	return pass(f, reqDirtyLog, &dirtyLog{slot: slot, bitmap: unsafe.Pointer(unsafe.SliceData(bitmap))})
}

// clear takes the pages of a bitmap out of the log of a slot with as many.
func (f file) clear(slot uint32, pages int, bitmap []uint64) error {
	return pass(f, reqClearDirtyLog, &clearDirtyLog{slot: slot, pages: uint32(pages), bitmap: unsafe.Pointer(unsafe.SliceData(bitmap))})
}

// address is where memory is in this process.
func address(mem []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) }

// area is the start of a processor's mapping.
func area(mem []byte) *runArea { return (*runArea)(unsafe.Pointer(unsafe.SliceData(mem))) }

// setImmediate makes a processor's KVM_RUN return at once, or not any more.
func (a *runArea) setImmediate(on bool) {
	v := uint32(0)
	if on {
		v = immediateExit
	}
	atomic.StoreUint32(&a.requests, v)
}

// immediate is what setImmediate set.
func (a *runArea) immediate() bool { return atomic.LoadUint32(&a.requests)&immediateExit != 0 }
