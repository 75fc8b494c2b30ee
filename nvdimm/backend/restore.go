package backend

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
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
	return b.eachPage(ctx, maps.Keys(s.pages), func(off int64, now []byte) error {
		if old := s.page(off); off < limit && !bytes.Equal(old, now) {
			return visit(off, old, now)
		}
		return nil
	})
}

// eachPage visits the pages of the backend that may hold anything but zeros, in their order,
// and then others, if they are not among these: they hold zeros. What there is now is
// valid during the visit. The backend is locked. An error, or the end of ctx, ends it.
func (b *Backend) eachPage(ctx context.Context, others iter.Seq[int64], visit func(off int64, now []byte) error) error {
	var failed error
	one := func(off int64, now []byte) bool {
		if failed = context.Cause(ctx); failed == nil {
			failed = visit(off, now)
		}
		return failed == nil
	}
	seen := map[int64]bool{}
	err := b.walk(ctx, 0, b.size, func(off int64, p []byte) {
		for ; len(p) > 0 && failed == nil; off, p = off+PageSize, p[PageSize:] {
			seen[off] = true
			one(off, p[:PageSize])
		}
	})
	if err = cmp.Or(err, failed); err != nil {
		return err
	}
	for off := range others {
		if !seen[off] && !one(off, zeroPage) {
			break
		}
	}
	return failed
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
