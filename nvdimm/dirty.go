package nvdimm

import (
	"nvlab/internal/pages"
	"nvlab/nvdimm/backend"
)

// Used is what the machine uses of the DIMM's backend, to save or to restore it.
// All that Pieces' dirty pages tell is in it.
func (d *DIMM) Used() backend.Used {
	d.joinLines()
	return backend.Used{Backend: d.backend, Mapping: d.mapped}
}

// joinLines adds the dirty pages of lines to those of the memory.
func (d *DIMM) joinLines() {
	if dirty := d.dirty(); dirty != nil {
		for i, line := range d.lines {
			first := uint64(i) * d.set.line / pages.Size
			for page := range line.All() {
				dirty.Add(first + page)
			}
			line.Clear()
		}
	}
}

// dirty is the set of pages of the memory that were stored to, nil if nobody
// asks for it.
func (d *DIMM) dirty() *pages.Set {
	if d.mapped == nil {
		return nil
	}
	return d.mapped.Dirty()
}

// dirtyLines are sets for the lines of an interleave set: each is memory of its
// own to the machine, which counts its pages from 0.
func (d *DIMM) dirtyLines() []*pages.Set {
	n := int(d.size / d.set.line)
	if d.dirty() == nil {
		return make([]*pages.Set, n)
	}
	for len(d.lines) < n {
		d.lines = append(d.lines, pages.NewSet(d.set.line))
	}
	return d.lines
}

// Dirty tells, of memory that Map gave, that the host is about to store to n
// bytes at an offset.
func (d *DIMM) Dirty(offset, n uint64) {
	if dirty := d.dirty(); dirty != nil {
		dirty.AddRange(offset, n)
	}
}
