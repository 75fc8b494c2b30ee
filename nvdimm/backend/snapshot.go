package backend

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Snapshot is a copy of a backend's contents in memory. Pages of zeros cost
// nothing.
type Snapshot struct {
	size  int64
	pages map[int64][]byte // by offset
}

// Change is a difference between a snapshot and a backend.
type Change struct {
	Offset, Length uint64
	Before, After  []byte
	What           string // the structure that holds it, see Backend.What
}

var zeroPage = make([]byte, PageSize)

// Snapshot copies what the backend holds now. The end of ctx ends it.
func (b *Backend) Snapshot(ctx context.Context) (*Snapshot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return nil, err
	}
	s := &Snapshot{size: b.size, pages: make(map[int64][]byte)}
	err := b.pieces(ctx, 0, b.size, s.add)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Clone returns a snapshot that Update of this one does not change. They share
// their pages.
func (s *Snapshot) Clone() *Snapshot { return &Snapshot{s.size, maps.Clone(s.pages)} }

// MarshalBinary gives the snapshot as bytes: equal ones for equal contents.
func (s *Snapshot) MarshalBinary() ([]byte, error) {
	b := binary.LittleEndian.AppendUint64(nil, uint64(s.size))
	for _, off := range slices.Sorted(maps.Keys(s.pages)) {
		b = append(binary.LittleEndian.AppendUint64(b, uint64(off)), s.pages[off]...)
	}
	return b, nil
}

// UnmarshalBinary reads what MarshalBinary gave.
func (s *Snapshot) UnmarshalBinary(b []byte) error {
	const entry = 8 + PageSize
	if len(b) < 8 || (len(b)-8)%entry != 0 {
		return fmt.Errorf("%d bytes are no snapshot of a backend", len(b))
	}
	n := Snapshot{size: int64(binary.LittleEndian.Uint64(b)), pages: map[int64][]byte{}}
	for b = b[8:]; len(b) > 0; b = b[entry:] {
		off := int64(binary.LittleEndian.Uint64(b))
		if off < 0 || off%PageSize != 0 || off > n.size-PageSize {
			return fmt.Errorf("a page at %#x in a snapshot of %#x bytes", off, n.size)
		}
		n.pages[off] = bytes.Clone(b[8:entry])
	}
	*s = n
	return nil
}

// add has the snapshot hold the pages of a piece that are not zero, and says
// that it keeps the piece for it: one that is full of them is not copied.
func (s *Snapshot) add(off int64, piece []byte) (kept bool) {
	used := 0
	for at := 0; at < len(piece); at += PageSize {
		if !bytes.Equal(piece[at:at+PageSize], zeroPage) {
			used++
		}
	}
	kept = len(piece) == chunkSize && used > len(piece)/PageSize*3/4
	for at := 0; at < len(piece); at += PageSize {
		page := piece[at : at+PageSize : at+PageSize]
		switch {
		case bytes.Equal(page, zeroPage):
		case kept:
			s.pages[off+int64(at)] = page
		default:
			s.pages[off+int64(at)] = bytes.Clone(page)
		}
	}
	return kept
}

// ReadAt reads from the copy.
func (s *Snapshot) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > s.size || int64(len(p)) > s.size-off {
		return 0, fmt.Errorf("offset %#x with length %#x is outside of the snapshot, which has %#x bytes", off, len(p), s.size)
	}
	for n := 0; n < len(p); {
		page := (off + int64(n)) &^ (PageSize - 1)
		n += copy(p[n:], s.page(page)[off+int64(n)-page:])
	}
	return len(p), nil
}

func (s *Snapshot) page(off int64) []byte {
	if p, ok := s.pages[off]; ok {
		return p
	}
	return zeroPage
}

// joinGap is the number of equal bytes between two differences from which on
// they count as two.
const joinGap = 8

// Diff lists where the backend differs from a snapshot of it, by offset.
// Differences that are less than 8 bytes apart are one, but no change spans
// two structures. The end of ctx ends it.
func (b *Backend) Diff(ctx context.Context, s *Snapshot) ([]Change, error) {
	if s.size != b.size {
		return nil, fmt.Errorf("%s: the snapshot has %#x bytes, the backend %#x: it is of another one", b, s.size, b.size)
	}
	before, after := newNamer(s, b.Size(), b.namedLabelSize()), newNamer(b, b.Size(), b.namedLabelSize())

	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.check(0, 0); err != nil {
		return nil, err
	}
	var changes []Change
	err := b.eachPage(ctx, maps.Keys(s.pages), func(off int64, now []byte) error {
		if old := s.page(off); !bytes.Equal(old, now) {
			changes = appendChanges(changes, off, old, now, before, after)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return joinChanges(changes), nil
}

// appendChanges adds the differences of a page.
func appendChanges(list []Change, off int64, old, now []byte, before, after *namer) []Change {
	for i := 0; i < PageSize; {
		if old[i] == now[i] {
			i++
			continue
		}
		// A structure that is new, or gone, has a name on one side only.
		what, end := after.at(uint64(off) + uint64(i))
		if what == dataName {
			what, end = before.at(uint64(off) + uint64(i))
		}
		limit := int(min(end-uint64(off), PageSize))
		last := i
		for j := i; j < limit && j-last <= joinGap; j++ {
			if old[j] != now[j] {
				last = j
			}
		}
		list = append(list, Change{
			Offset: uint64(off) + uint64(i), Length: uint64(last + 1 - i),
			Before: bytes.Clone(old[i : last+1]), After: bytes.Clone(now[i : last+1]),
			What: what,
		})
		i = last + 1
	}
	return list
}

// joinChanges sorts, and joins changes of one structure that pages divided.
func joinChanges(list []Change) []Change {
	slices.SortFunc(list, func(x, y Change) int { return cmp.Compare(x.Offset, y.Offset) })
	var joined []Change
	for _, c := range list {
		if n := len(joined) - 1; n >= 0 && joined[n].What == c.What && joined[n].Offset+joined[n].Length == c.Offset {
			joined[n].Length += c.Length
			joined[n].Before = append(joined[n].Before, c.Before...)
			joined[n].After = append(joined[n].After, c.After...)
			continue
		}
		joined = append(joined, c)
	}
	return joined
}
