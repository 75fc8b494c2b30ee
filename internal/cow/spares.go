package cow

import (
	"runtime"
	"slices"
	"sync"
)

// Bounds of the spares, in bytes: of what each has, and of all. The host finds and
// maps a page in two microseconds, and clears one that is there in a tenth of that.
const (
	maxSpare  = 128 << 20
	maxSpares = 512 << 20
)

// mostSpares is how many there are at most: an experiment that has a processor may
// have two machines, or one whose last power-on is still looked at.
func mostSpares() int { return 2 * runtime.GOMAXPROCS(0) }

// spares are stores that nobody uses, for the next who asks for one.
var spares spareList

type spareList struct {
	mu   sync.Mutex
	list []spareStore
}

// A spareStore holds anything in the parts that were used.
type spareStore struct {
	store store
	size  uint64
	used  []Range
	bytes uint64 // of used
}

// NewReused is New, for memory that will be closed to make room for another like
// it, as guests' is: the host's pages of one are the next one's. It holds zeros
// all the same.
func NewReused(size uint64) (*Memory, error) {
	s, err := spares.take(size)
	if err != nil {
		return nil, err
	}
	m, err := newMemory(s, size)
	if err != nil {
		return nil, err
	}
	m.root.spare = true
	return m, nil
}

// take returns a store of zeros.
func (l *spareList) take(size uint64) (store, error) {
	for {
		l.mu.Lock()
		i := len(l.list) - 1
		for i >= 0 && l.list[i].size != size {
			i--
		}
		if i < 0 {
			l.mu.Unlock()
			return newStore(size)
		}
		s := l.list[i]
		l.list = slices.Delete(l.list, i, i+1)
		l.mu.Unlock()
		if s.store.reset(s.used) {
			return s.store, nil
		}
		if err := s.store.close(); err != nil {
			return nil, err
		}
	}
}

// add takes the store of a root that nobody uses, and says whether it has room for
// it. Those that came first go.
func (l *spareList) add(r *root) bool {
	s := spareStore{store: r.store, size: r.size, used: r.touched()}
	for _, u := range s.used {
		s.bytes += u.Size
	}
	if s.bytes > maxSpare {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, s)
	total := uint64(0)
	for _, s := range l.list {
		total += s.bytes
	}
	for len(l.list) > mostSpares() || total > maxSpares {
		total -= l.list[0].bytes
		l.list[0].store.close()
		l.list = slices.Delete(l.list, 0, 1)
	}
	return true
}
