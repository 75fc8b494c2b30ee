package nvdimm

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// attach maps the memory for a DIMM whose VM powers on. A shared file may be
// mapped for several DIMMs, any other backend for one.
func (b *Backend) attach(d *DIMM) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return nil, err
	}
	if b.mem != nil {
		if b.kind != shared && !b.users[d] {
			return nil, fmt.Errorf("can't use already busy memdev: %s: another running VM maps it, and only a file with share=on has room for two", b)
		}
		b.users[d] = true
		return b.mem, nil
	}
	if err := b.intact(); err != nil {
		return nil, err
	}
	if b.size != int64(int(b.size)) {
		return nil, fmt.Errorf("%s: %#x bytes do not fit the host's address space", b, b.size)
	}
	flags := unix.MAP_SHARED
	if b.kind == private {
		flags = unix.MAP_PRIVATE | mapNoReserve
	}
	mem, err := unix.Mmap(int(b.file.Fd()), 0, int(b.size), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot map %#x bytes: %w", b, b.size, err)
	}
	b.mem, b.users = mem, map[*DIMM]bool{d: true}
	return mem, nil
}

// detach ends an attach. What a private overlay or anonymous memory held is
// gone with the last one.
func (b *Backend) detach(d *DIMM) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.users, d)
	if b.mem == nil || len(b.users) > 0 {
		return nil
	}
	err := unix.Munmap(b.mem)
	b.mem = nil
	if b.kind == anonymous && err == nil {
		err = discard(b.file, b.size)
	}
	if err != nil {
		return fmt.Errorf("%s: cannot unmap: %w", b, err)
	}
	return nil
}

// Mapped says whether a VM maps the backend.
func (b *Backend) Mapped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mem != nil
}

// guardedCopy copies as copy does. Memory whose file was truncated raises
// SIGBUS, which becomes an error here.
func guardedCopy(dst, src []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			err = fmt.Errorf("memory fault: %w", fault)
		default:
			panic(fault)
		}
	}()
	copy(dst, src)
	return nil
}
