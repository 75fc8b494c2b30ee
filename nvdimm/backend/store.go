package backend

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// store is where a backend's bytes lie, by offset from the backend's start.
type store interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// size is how many bytes there are now.
	size() (int64, error)
	// data lists the parts of [from, to) that are no holes.
	data(from, to int64) ([]extent, error)
	// sync returns when what was written, or stored to a shared mapping, is
	// on the medium.
	sync() error
}

// mappable is a store that is mapped by its own means.
type mappable interface {
	// mmap maps the first n bytes.
	mmap(n int64, m mapping) ([]byte, error)
	munmap(mem []byte) error
}

// mapping is how a store is mapped.
type mapping struct {
	private  bool // an overlay
	readOnly bool
	sync     bool // MAP_SYNC: page faults return when metadata are on the medium
	reserve  bool // an overlay has its memory from the start
}

// fileStore is a file from an offset on.
type fileStore struct {
	*os.File
	base int64
}

func (s fileStore) ReadAt(p []byte, off int64) (int, error) { return s.File.ReadAt(p, s.base+off) }

func (s fileStore) WriteAt(p []byte, off int64) (int, error) { return s.File.WriteAt(p, s.base+off) }

func (s fileStore) size() (int64, error) {
	info, err := s.Stat()
	if err != nil {
		return 0, err
	}
	return max(info.Size()-s.base, 0), nil
}

func (s fileStore) data(from, to int64) ([]extent, error) {
	list, err := fileData(s.File, s.base+from, s.base+to)
	for i := range list {
		list[i].start -= s.base
		list[i].end -= s.base
	}
	return list, err
}

func (s fileStore) sync() error { return dataSync(s.File) }

func (s fileStore) mmap(n int64, m mapping) ([]byte, error) {
	return mapFile(s.File, s.base, n, m)
}

func (s fileStore) munmap(mem []byte) error { return unmapFile(mem) }

// deviceStore is a character device of the device-DAX driver. It has no other
// access than its mapping, of which there is one for host and guest.
type deviceStore struct {
	file *os.File
	all  []byte // the mapping
	mem  []byte // what the backend has of it
}

// skip leaves out the first bytes.
func (s *deviceStore) skip(n int64) { s.mem = s.mem[n:] }

// openDevice maps a device of n bytes.
func openDevice(path string, n int64, readOnly bool) (*deviceStore, error) {
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	mem, err := mapFile(f, 0, n, mapping{readOnly: readOnly})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: cannot map %#x bytes: %w", path, n, err)
	}
	return &deviceStore{f, mem, mem}, nil
}

func (s *deviceStore) ReadAt(p []byte, off int64) (int, error) {
	if off > int64(len(s.mem)) || int64(len(p)) > int64(len(s.mem))-off {
		return 0, io.ErrUnexpectedEOF
	}
	return len(p), guardedCopy(p, s.mem[off:])
}

func (s *deviceStore) WriteAt(p []byte, off int64) (int, error) {
	if off > int64(len(s.mem)) || int64(len(p)) > int64(len(s.mem))-off {
		return 0, io.ErrUnexpectedEOF
	}
	if err := guardedCopy(s.mem[off:], p); err != nil {
		return 0, err
	}
	flushCache(s.mem[off : off+int64(len(p))])
	return len(p), nil
}

func (s *deviceStore) size() (int64, error) { return int64(len(s.mem)), nil }

func (s *deviceStore) data(from, to int64) ([]extent, error) { return []extent{{from, to}}, nil }

// sync writes the host's CPU caches back, which is all that lies between a
// store and the medium.
func (s *deviceStore) sync() error {
	flushCache(s.mem)
	return nil
}

func (s *deviceStore) mmap(n int64, m mapping) ([]byte, error) {
	if m.private {
		return nil, errors.New("a device has no private mapping")
	}
	return s.mem[:n:n], nil
}

func (s *deviceStore) munmap([]byte) error { return nil }

func (s *deviceStore) Close() error { return errors.Join(unmapFile(s.all), s.file.Close()) }
