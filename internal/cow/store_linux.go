package cow

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"nvlab/internal/pages"
)

// memfd is a store that lets the kernel copy what is stored to: a file without
// a name, or a part of one that has a name and does not change.
type memfd struct {
	fd   int
	size uint64
	at   int64   // where it begins in the file
	data []Range // of a file with a name: where it may be other than zeros

	once sync.Once
	view []byte // mapped when it is first wanted, or what first mapped, moved
	err  error

	writable bool // view is what first mapped, with all entries in the page table
}

func newStore(size uint64) (store, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("nvlab-memory", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("memory of %d MiB: %w", size>>20, err)
	}
	return &memfd{fd: fd, size: size}, nil
}

// mappable are file systems of local disks, by their number in statfs. What is
// mapped of others may be gone when somebody reads it, and a guest's RAM with it:
// NFS forgets a file that another host removes, and tmpfs wants a page for a hole,
// which it has not if it is full.
var mappable = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
	0x2fc12fc1: true, // ZFS
}

func keepsMapped(f *os.File) bool {
	var s unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &s) == nil && mappable[int64(s.Type)]
}

func openStore(f *os.File, at int64, size uint64, data []Range) (store, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return &memfd{fd: fd, size: size, at: at, data: data}, nil
}

func (s *memfd) mmap(prot, flags int) ([]byte, error) {
	mem, err := mapNew(s.fd, s.at, s.size, prot, flags|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mapping %d MiB of memory: %w", s.size>>20, err)
	}
	return mem, nil
}

func (s *memfd) first() ([]byte, error) {
	if mem := s.view; s.writable {
		s.once, s.view, s.writable = sync.Once{}, nil, false
		return mem, nil
	}
	return s.mmap(unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

func (s *memfd) readOnly() ([]byte, error) {
	return s.mmap(unix.PROT_READ, unix.MAP_SHARED)
}

func (s *memfd) private() ([]byte, error) {
	return s.mmap(unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
}

// freeze keeps the address. The new mapping has no page-table entries: later
// accesses fault, reads for 16 pages at a time. To make all entries here
// (MADV_POPULATE_READ) takes longer than the faults of a guest that goes on. The
// old entries are of use to who reads the root.
func (s *memfd) freeze(mem []byte) error {
	s.once.Do(func() {
		if view, err := moveAway(mem); err == nil {
			s.view, s.writable = view, true
		} else {
			s.view, s.err = s.readOnly()
		}
	})
	if err := mapOver(mem, s.fd); err != nil {
		return fmt.Errorf("mapping %d MiB of memory privately: %w", s.size>>20, err)
	}
	return nil
}

func (*memfd) unmap(mem []byte) error { return unmap(mem) }

func (s *memfd) retire(mem []byte) error {
	if s.view != nil {
		return unmap(mem)
	}
	s.view, s.writable = mem, true
	return nil
}

// reset is for a file without a name whose pages are mapped.
func (s *memfd) reset(used []Range) bool {
	if !s.writable {
		return false
	}
	for _, r := range used {
		clear(s.view[r.Offset:][:r.Size])
	}
	return true
}

func (s *memfd) page(n uint64) ([]byte, error) {
	s.once.Do(func() { s.view, s.err = s.readOnly() })
	if s.err != nil {
		return nil, s.err
	}
	return pageOf(s.view, n), nil
}

// leave takes pages, of which page gave one, out of the page table, which counts as the
// process's own memory what is only read.
func (s *memfd) leave(first, n uint64) {
	if !s.writable {
		unix.Madvise(s.view[first*pages.Size:][:n*pages.Size], unix.MADV_DONTNEED)
	}
}

// read does not go through the view: reading a hole there would have the
// kernel find a page for it.
func (s *memfd) read(p []byte, off uint64) error {
	for len(p) > 0 {
		n, err := unix.Pread(s.fd, p, s.at+int64(off))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("reading memory at %#x: %w", off, err)
		case n == 0:
			return fmt.Errorf("reading memory at %#x: %w", off, io.ErrUnexpectedEOF)
		}
		p, off = p[max(n, 0):], off+uint64(max(n, 0))
	}
	return nil
}

func (s *memfd) write(p []byte, off uint64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(s.fd, p, s.at+int64(off))
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("writing memory at %#x: %w", off, err)
		}
		p, off = p[max(n, 0):], off+uint64(max(n, 0))
	}
	return nil
}

// touched are the parts that have pages.
func (s *memfd) touched() (list []Range) {
	if s.data != nil {
		return s.data
	}
	for from := int64(0); from < int64(s.size); {
		start, err := unix.Seek(s.fd, from, unix.SEEK_DATA)
		if err != nil {
			break // ENXIO: nothing but a hole
		}
		end, err := unix.Seek(s.fd, start, unix.SEEK_HOLE)
		if err != nil {
			break
		}
		from = end
		list = append(list, Range{uint64(start), uint64(end - start)})
	}
	return list
}

func (s *memfd) close() error {
	err := unix.Close(s.fd)
	if s.view != nil {
		err = errors.Join(err, unmap(s.view))
	}
	return err
}
