package cow

import (
	"bytes"
	"os"
)

// heap is a store for hosts without memfd: it copies all that there is.
type heap struct{ mem []byte }

func newHeap(size uint64) (store, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	return &heap{make([]byte, size)}, nil
}

// openHeap reads a part of a file.
func openHeap(f *os.File, at int64, size uint64, data []Range) (store, error) {
	s, err := newHeap(size)
	if err != nil {
		return nil, err
	}
	for _, r := range data {
		if _, err := f.ReadAt(s.(*heap).mem[r.Offset:r.Offset+r.Size], at+int64(r.Offset)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *heap) first() ([]byte, error)           { return s.mem, nil }
func (s *heap) private() ([]byte, error)         { return bytes.Clone(s.mem), nil }
func (*heap) unmap([]byte) error                 { return nil }
func (s *heap) page(n uint64) ([]byte, error)    { return pageOf(s.mem, n), nil }
func (s *heap) read(p []byte, off uint64) error  { copy(p, s.mem[off:]); return nil }
func (s *heap) write(p []byte, off uint64) error { copy(s.mem[off:], p); return nil }
func (s *heap) touched() []Range                 { return []Range{{0, uint64(len(s.mem))}} }
func (*heap) close() error                       { return nil }

func (s *heap) freeze(mem []byte) error {
	s.mem = bytes.Clone(mem)
	return nil
}
