package backend

import (
	"bytes"
	"context"
)

// Zero makes a range of what the guest sees zeros, on behalf of its firmware,
// and returns when it is on the medium. Holes stay holes.
func (b *Backend) Zero(off, length uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(off, length); err != nil {
		return err
	}
	var failed error
	err := b.walk(context.Background(), int64(off), int64(off+length), func(at int64, p []byte) {
		zeros := zeroChunk[:len(p)]
		switch {
		case failed != nil || bytes.Equal(p, zeros):
		case len(b.mappings) > 0:
			failed = b.mappings[0].store(zeros, at)
		default:
			_, failed = b.store.WriteAt(zeros, at)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return b.lost(err)
	}
	return b.sync()
}
