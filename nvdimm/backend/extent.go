package backend

import (
	"cmp"
	"context"
	"slices"
)

// extent is a range of bytes of a backend, end excluded.
type extent struct{ start, end int64 }

// appendExtent adds an extent that starts no earlier than those in the list,
// joined with the last where they touch.
func appendExtent(list []extent, e extent) []extent {
	if last := len(list) - 1; last >= 0 && e.start <= list[last].end {
		list[last].end = max(list[last].end, e.end)
		return list
	}
	return append(list, e)
}

// union sorts and joins.
func union(a, b []extent) []extent {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y extent) int { return cmp.Compare(x.start, y.start) })
	var list []extent
	for _, e := range all {
		list = appendExtent(list, e)
	}
	return list
}

const chunkSize = 1 << 20

var zeroChunk = make([]byte, chunkSize)

// walk visits the parts of [from, to) that may hold anything but zeros, in
// order, in pieces of at most 1 MiB that are valid during the visit. The end of
// ctx ends it.
func (b *Backend) walk(ctx context.Context, from, to int64, visit func(off int64, p []byte)) error {
	return b.pieces(ctx, from, to, func(off int64, p []byte) bool {
		visit(off, p)
		return false
	})
}

// pieces is walk for a visit that may keep a piece: it says whether it did.
func (b *Backend) pieces(ctx context.Context, from, to int64, visit func(off int64, p []byte) (kept bool)) error {
	extents, err := b.store.data(from, to)
	if err != nil {
		return err
	}
	if m := b.overlay(); m != nil && m.memory != nil {
		extents = touched(m.memory, from, to)
	} else if m != nil {
		own, err := privatePages(m.mem, from, to)
		if err != nil {
			return err
		}
		extents = union(extents, own)
	}
	var chunk []byte
	for _, e := range extents {
		for at := e.start; at < e.end; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			// Pieces end at multiples of their size, so that pages are whole.
			n := min(e.end, (at/chunkSize+1)*chunkSize) - at
			if int64(len(chunk)) < n {
				chunk = make([]byte, min(chunkSize, to-from))
			}
			if err := b.read(chunk[:n], at); err != nil {
				return err
			}
			if visit(at, chunk[:n:n]) {
				chunk = nil
			}
			at += n
		}
	}
	if err := b.intact(); err != nil && to > from {
		return err
	}
	return nil
}
