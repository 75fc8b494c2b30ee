package backend

import (
	"bytes"
	"context"
	"fmt"
)

// differing visits the pages of [0, limit) in which the backend differs from
// a snapshot of it: what the snapshot has, and what there is now. They are
// valid during the visit.
func (b *Backend) differing(ctx context.Context, s *Snapshot, limit int64, visit func(off int64, old, now []byte) error) error {
	if err := b.check(0, 0); err != nil {
		return err
	}
	if s.size != b.size {
		return fmt.Errorf("%s: the snapshot has %#x bytes, the backend %#x: it is of another one", b, s.size, b.size)
	}
	var failed error
	seen := map[int64]bool{}
	compare := func(off int64, now []byte) {
		if old := s.page(off); failed == nil && ctx.Err() == nil && off < limit && !bytes.Equal(old, now) {
			failed = visit(off, old, now)
		}
	}
	err := b.walk(ctx, 0, b.size, func(off int64, p []byte) {
		for ; len(p) > 0; off, p = off+PageSize, p[PageSize:] {
			seen[off] = true
			compare(off, p[:PageSize])
		}
	})
	for off := range s.pages {
		if !seen[off] {
			compare(off, zeroPage)
		}
	}
	if err == nil {
		err = failed
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return err
}

// Restore makes the backend what it was at a snapshot of it, or part of it if
// ctx ends before. No VM maps it.
func (b *Backend) Restore(ctx context.Context, s *Snapshot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.unmapped("before writing"); err != nil {
		return err
	}
	return b.differing(ctx, s, b.size, func(off int64, old, _ []byte) error {
		_, err := b.store.WriteAt(old, off)
		return err
	})
}

// Revert makes the first limit bytes of what a VM's guest sees what they were
// at a snapshot.
func (b *Backend) Revert(s *Snapshot, limit uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mappings) == 0 || b.readOnly {
		return nil
	}
	m := b.mappings[0]
	return b.differing(context.Background(), s, int64(limit), func(off int64, old, _ []byte) error {
		return m.store(old[:min(PageSize, int64(limit)-off)], off)
	})
}

// Update makes a snapshot what the backend holds now.
func (b *Backend) Update(s *Snapshot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.differing(context.Background(), s, b.size, func(off int64, old, now []byte) error {
		if bytes.Equal(now, zeroPage) {
			delete(s.pages, off)
		} else {
			s.pages[off] = bytes.Clone(now)
		}
		return nil
	})
}
