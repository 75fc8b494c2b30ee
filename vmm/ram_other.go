//go:build !linux

package vmm

// backing is a machine's memory.
type backing struct{ mem []byte }

// allocate returns zeros.
func allocate(size uint64) (backing, error) { return backing{make([]byte, size)}, nil }

// data is the first part from an offset on that may have been written.
func (b *backing) data(from int64) (start, end int64, ok bool) {
	return from, int64(len(b.mem)), from < int64(len(b.mem))
}

func (b *backing) close() error {
	b.mem = nil
	return nil
}
