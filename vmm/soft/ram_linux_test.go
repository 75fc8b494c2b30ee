package soft

import (
	"encoding/binary"
	"os"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newRAM is memory of zeroes. The host gives it pages where it is touched: of
// the megabytes of a machine, a short program needs some 60 KiB.
func newRAM(t testing.TB, n int) []byte {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatalf("memory for a machine: %v", err)
	}
	unix.Madvise(mem, unix.MADV_NOHUGEPAGE) // fails where there are no huge pages
	t.Cleanup(func() {
		if err := unix.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	return mem
}

// clearRAM makes all of the memory zero. It keeps some pages: to clear one is
// cheaper than to have the host give it again.
func clearRAM(t testing.TB, mem []byte) {
	t.Helper()
	const enough = 32
	if list := touchedPages(mem); len(list) <= enough {
		for _, p := range list {
			clear(mem[p.at:][:p.size])
		}
		return
	}
	if err := unix.Madvise(mem, unix.MADV_DONTNEED); err != nil {
		t.Fatalf("clear the memory of a machine: %v", err)
	}
}

// hostPages is /proc/self/pagemap, nil if it cannot be read.
var hostPages = sync.OnceValue(func() *os.File {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil
	}
	return f
})

// touchedPages lists the parts of memories of newRAM, of one length, of which any
// may be other than zero: those that the host gave a page to.
func touchedPages(mems ...[]byte) (list []hostPage) {
	const presentOrSwapped = 3 << 62 // see the kernel's Documentation/admin-guide/mm/pagemap.rst
	size := os.Getpagesize()
	touched := make([]bool, len(mems[0])/size)
	entries := make([]byte, 8*len(touched))
	for _, mem := range mems {
		f := hostPages()
		if f == nil {
			return allPages(mem)
		}
		at := uintptr(unsafe.Pointer(unsafe.SliceData(mem))) / uintptr(size) * 8
		if _, err := f.ReadAt(entries, int64(at)); err != nil {
			return allPages(mem)
		}
		for i := range touched {
			touched[i] = touched[i] || binary.LittleEndian.Uint64(entries[8*i:])&presentOrSwapped != 0
		}
	}
	for i, is := range touched {
		if is {
			list = append(list, hostPage{i * size, size})
		}
	}
	return list
}
