package backend

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"golang.org/x/sys/unix"
)

// Mapping is a backend's bytes in this process's memory: what the guest of one
// VM sees. Mappings of a shared file show the same pages; a private overlay or
// anonymous memory has one mapping at a time, and ends with it.
type Mapping struct {
	backend *Backend
	mem     []byte // nil once closed
}

// Map maps the whole backend. It fails if the file was truncated, or if a
// backend that is not shared is mapped already.
func (b *Backend) Map() (*Mapping, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return nil, err
	}
	if len(b.mappings) > 0 && b.kind != shared {
		return nil, fmt.Errorf("can't use already busy memdev: %s: another running VM maps it, and only a file with share=on has room for two", b)
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
	m := &Mapping{b, mem}
	b.mappings = append(b.mappings, m)
	return m, nil
}

// Bytes is the memory. If the backend is Revocable, reading it may raise
// SIGBUS at any time.
func (m *Mapping) Bytes() []byte { return m.mem }

// put is Put of a backend that is mapped. The backend is locked.
func (m *Mapping) put(p []byte, off int64) error {
	b := m.backend
	if err := guardedCopy(m.mem[off:], p); err != nil {
		return b.lost(err)
	}
	if b.durability == DeviceDAX {
		flushCache(m.mem[off : off+int64(len(p))])
		return nil
	}
	return b.sync()
}

// Close unmaps. The memory must not be touched any more; what a private
// overlay or anonymous memory held is gone. Closing twice does nothing.
func (m *Mapping) Close() error {
	b := m.backend
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.mem == nil {
		return nil
	}
	b.mappings = slices.DeleteFunc(b.mappings, func(o *Mapping) bool { return o == m })
	if b.durability == DeviceDAX && !b.readOnly {
		b.store.sync()
	}
	err := b.store.munmap(m.mem)
	m.mem = nil
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
	return len(b.mappings) > 0
}

// unmapped refuses what cannot be done below a running VM.
func (b *Backend) unmapped(when string) error {
	if len(b.mappings) > 0 {
		return fmt.Errorf("%s: a running VM maps this backend: power it off %s", b, when)
	}
	return nil
}

// overlay is the mapping that holds what the store does not, nil if none does.
func (b *Backend) overlay() *Mapping {
	if b.kind == private && len(b.mappings) > 0 {
		return b.mappings[0]
	}
	return nil
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
