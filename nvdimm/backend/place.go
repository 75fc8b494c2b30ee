package backend

import "os"

// SameStorage says that two backends have their bytes, not necessarily the same
// ones, in one file or in one copy of a part of it.
func (b *Backend) SameStorage(o *Backend) bool {
	if b == o {
		return true
	}
	copyB, copyO := b.copyOf(), o.copyOf()
	if copyB != nil || copyO != nil {
		return copyB == copyO
	}
	return b.file != nil && o.file != nil && os.SameFile(b.file, o.file)
}

// Overlap says which bytes of a shared backend are those of another as well,
// so that what a guest stores to one is in both: from start to end those from at
// on of the other. There are none if start is end.
func (b *Backend) Overlap(o *Backend) (start, end, at uint64) {
	if !b.share || !o.share || !b.SameStorage(o) {
		return 0, 0, 0
	}
	start, at = o.offset-min(o.offset, b.offset), b.offset-min(o.offset, b.offset)
	end = min(b.Size(), start+o.Size()-min(at, o.Size()))
	if start >= end {
		return 0, 0, 0
	}
	return start, end, at
}
