//go:build !linux

package cow

import "os"

func newStore(size uint64) (store, error) { return newHeap(size) }

func keepsMapped(*os.File) bool { return true }

// openStore reads a part of a file.
func openStore(f *os.File, at int64, size uint64, data []Range) (store, error) {
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
