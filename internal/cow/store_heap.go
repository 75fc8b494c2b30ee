package cow

import "bytes"

// heap is a store for hosts without memfd: it copies all that there is.
type heap struct{ mem []byte }

func newHeap(size uint64) (store, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	return &heap{make([]byte, size)}, nil
}

func (s *heap) first() ([]byte, error)           { return s.mem, nil }
func (s *heap) private() ([]byte, error)         { return bytes.Clone(s.mem), nil }
func (*heap) unmap([]byte) error                 { return nil }
func (*heap) retire([]byte) error                { return nil }
func (*heap) reset([]Range) bool                 { return false }
func (s *heap) page(n uint64) ([]byte, error)    { return pageOf(s.mem, n), nil }
func (*heap) leave(first, n uint64)              {}
func (s *heap) read(p []byte, off uint64) error  { copy(p, s.mem[off:]); return nil }
func (s *heap) write(p []byte, off uint64) error { copy(s.mem[off:], p); return nil }
func (s *heap) touched() []Range                 { return []Range{{0, uint64(len(s.mem))}} }
func (*heap) close() error                       { return nil }

func (s *heap) freeze(mem []byte) error {
	s.mem = bytes.Clone(mem)
	return nil
}
