//go:build !linux

package cow

import "os"

func newStore(size uint64) (store, error) { return newHeap(size) }

func openStore(f *os.File, at int64, size uint64, data []Range) (store, error) {
	return openHeap(f, at, size, data)
}
