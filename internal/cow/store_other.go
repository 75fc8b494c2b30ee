//go:build !linux

package cow

func newStore(size uint64) (store, error) { return newHeap(size) }
