package backend

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"nvlab/internal/cow"
	"nvlab/internal/pages"
)

// Mapping is a backend's bytes in this process's memory: what the guest of one
// VM sees. Mappings of a shared file show the same pages; a private overlay or
// anonymous memory has one mapping at a time, and ends with it.
type Mapping struct {
	backend *Backend
	mem     []byte      // nil once closed
	memory  *cow.Memory // that mem is; nil of a file's own pages, or the kernel's overlay of them
}

// mappings are all that are open.
var mappings = struct {
	sync.Mutex
	open map[*Mapping]bool
}{open: map[*Mapping]bool{}}

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
	m := &Mapping{backend: b}
	if err := m.open(); err != nil {
		return nil, fmt.Errorf("%s: cannot map %#x bytes: %w", b, b.size, err)
	}
	b.mappings = append(b.mappings, m)
	mappings.Lock()
	defer mappings.Unlock()
	mappings.open[m] = true
	return m, nil
}

// open finds the memory.
func (m *Mapping) open() (err error) {
	b := m.backend
	if s, ok := b.store.(mappable); ok {
		m.mem, err = s.mmap(b.size, mapping{private: b.kind == private, readOnly: b.readOnly, sync: b.durability == MapSync})
		return err
	}
	if b.kind != private {
		m.memory, err = b.contents().memory()
	} else {
		m.memory, err = b.openOverlay()
	}
	if err == nil {
		m.mem = m.memory.Bytes()
	}
	return err
}

// openOverlay is a private overlay of a copy.
func (b *Backend) openOverlay() (*cow.Memory, error) {
	if mem := b.overlaid; mem != nil {
		b.overlaid = nil
		return mem, nil
	}
	below, err := b.contents().freeze()
	if err != nil {
		return nil, err
	}
	defer below.Close()
	return below.Fork()
}

func (b *Backend) dropOverlaid() {
	if b.overlaid != nil {
		b.overlaid.Close()
		b.overlaid = nil
	}
}

// Bytes is the memory. If the backend is Revocable, reading it may raise
// SIGBUS at any time. Whoever stores to it says so in Dirty. They stay where
// they are until Close, but for a Restore that says otherwise.
func (m *Mapping) Bytes() []byte { return m.mem }

// Dirty is the set of the pages that were stored to since the mapping was last
// saved or restored; nil if nobody asks for them.
func (m *Mapping) Dirty() *pages.Set {
	if m.memory == nil {
		return nil
	}
	return m.memory.Dirty()
}

// store stores to the memory on behalf of the host.
func (m *Mapping) store(p []byte, off int64) error {
	if dirty := m.Dirty(); dirty != nil {
		dirty.AddRange(uint64(off), uint64(len(p)))
	}
	return guardedCopy(m.mem[off:], p)
}

// put is Put of a backend that is mapped. The backend is locked.
func (m *Mapping) put(p []byte, off int64) error {
	b := m.backend
	if err := m.store(p, off); err != nil {
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
	mappings.Lock()
	delete(mappings.open, m)
	mappings.Unlock()
	b.mappings = slices.DeleteFunc(b.mappings, func(o *Mapping) bool { return o == m })
	if b.durability == DeviceDAX && !b.readOnly {
		b.store.sync()
	}
	if err := m.close(); err != nil {
		return fmt.Errorf("%s: cannot unmap: %w", b, err)
	}
	return nil
}

// close gives up the memory.
func (m *Mapping) close() error {
	b, mem, memory := m.backend, m.mem, m.memory
	m.mem, m.memory = nil, nil
	switch {
	case memory == nil:
		return b.store.(mappable).munmap(mem)
	case b.kind == private:
		return memory.Close()
	case b.kind == anonymous:
		return b.contents().replace(nil)
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
