package nvdimm

import (
	"fmt"
	"os"
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
	mem, err := b.store.mmap(b.size, mapping{private: b.kind == private, readOnly: b.readOnly, sync: b.durability == MapSync})
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
	if b.durability == DeviceDAX && !b.readOnly {
		b.store.sync()
	}
	err := b.store.munmap(b.mem)
	b.mem = nil
	if b.kind == anonymous && err == nil {
		err = b.store.discard(b.size)
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

// mapFile maps n bytes of a file from an offset on.
func mapFile(f *os.File, from, n int64, m mapping) ([]byte, error) {
	protection, flags := unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED
	if m.readOnly {
		protection = unix.PROT_READ
	}
	switch {
	case m.private && m.reserve:
		flags = unix.MAP_PRIVATE
	case m.private:
		flags = unix.MAP_PRIVATE | mapNoReserve
	case m.sync:
		flags = mapSync
	}
	return unix.Mmap(int(f.Fd()), from, int(n), protection, flags)
}

func unmapFile(mem []byte) error { return unix.Munmap(mem) }

// canMapSync says whether a file system gives mappings whose contents survive
// the host's power once the CPU flushed them: one with DAX. It tries.
func canMapSync(f *os.File) bool {
	if mapSync == 0 {
		return false
	}
	mem, err := mapFile(f, 0, PageSize, mapping{readOnly: true, sync: true})
	if err == nil {
		unmapFile(mem)
	}
	return err == nil
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
