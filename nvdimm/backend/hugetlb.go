package backend

import (
	"errors"
	"fmt"
	"io"
	"nvlab/internal/units"
	"syscall"
)

// hugeStore is a file on hugetlbfs, which takes no write(2) and maps whole
// pages of its own size only.
type hugeStore struct {
	fileStore
	page int64
}

// checkHuge holds a backend's part of a file on hugetlbfs to whole pages, as
// QEMU does (backends/hostmem.c).
func (c FileConfig) checkHuge(page uint64) error {
	for _, n := range []struct {
		what  string
		value uint64
	}{{"memory size", c.Size}, {"offset", c.Offset}} {
		if down := units.Down(n.value, page); down != n.value {
			return fmt.Errorf("%s: backend '%s' %s must be multiple of %s, the page size of its hugetlbfs: it is %s, the nearest are %s and %s",
				c.Path, fileObject, n.what, units.Size(page), units.Size(n.value), units.Size(down), units.Size(down+page))
		}
	}
	return nil
}

func (s hugeStore) WriteAt(p []byte, off int64) (int, error) {
	have, err := s.size()
	if err != nil {
		return 0, err
	}
	if off > have || int64(len(p)) > have-off {
		return 0, io.ErrUnexpectedEOF
	}
	start := off - off%s.page
	end := (off + int64(len(p)) + s.page - 1) / s.page * s.page
	mem, err := s.mapPages(start, end-start, mapping{})
	if err != nil {
		return 0, err
	}
	return len(p), errors.Join(guardedCopy(mem[off-start:], p), unmapFile(mem))
}

func (s hugeStore) mmap(n int64, m mapping) ([]byte, error) {
	m.reserve = true
	return s.mapPages(0, n, m)
}

func (s hugeStore) mapPages(from, n int64, m mapping) ([]byte, error) {
	mem, err := mapFile(s.File, s.base+from, n, m)
	if errors.Is(err, syscall.ENOMEM) {
		err = fmt.Errorf("hugetlbfs has less than %d free pages of %s, see /proc/sys/vm/nr_hugepages: %w", n/s.page, units.Size(uint64(s.page)), err)
	}
	return mem, err
}
