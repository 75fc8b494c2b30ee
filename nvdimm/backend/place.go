package backend

import "os"

// SameStorage says that two backends have their bytes, not necessarily the same
// ones, in one file or in one copy of a part of it.
func (b *Backend) SameStorage(o *Backend) bool {
	if b == o {
		return true
	}
	x, y := b.place(), o.place()
	if x != nil || y != nil {
		return x == y
	}
	return b.file != nil && o.file != nil && os.SameFile(b.file, o.file)
}

// place is the contents of a backend that is no file.
func (b *Backend) place() *contents {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.contents()
}

// span is the range of the file that the backend is, or was opened on.
func (b *Backend) span() extent { return extent{int64(b.offset), int64(b.offset) + b.size} }

// Overlap says which bytes of a shared backend are those of another as well,
// so that what a guest stores to one is in both: from start to end those from at
// on of the other. There are none if start is end.
func (b *Backend) Overlap(o *Backend) (start, end, at uint64) {
	if !b.share || !o.share || !b.SameStorage(o) {
		return 0, 0, 0
	}
	from, to := max(b.span().start, o.span().start), min(b.span().end, o.span().end)
	if from >= to {
		return 0, 0, 0
	}
	return uint64(from - b.span().start), uint64(to - b.span().start), uint64(from - o.span().start)
}

// writes says that a guest that maps the backend changes what others see.
func (b *Backend) writes() bool { return b.kind == shared && !b.readOnly }
