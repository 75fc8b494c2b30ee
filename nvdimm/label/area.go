// Package label reads and writes the label area of an NVDIMM: two index
// blocks and an array of namespace labels, of version 1.1 (Intel's NVDIMM
// Namespace Specification) and 1.2 (UEFI 2.10 section 13.19). What is valid
// here is what Linux takes for valid.
package label

import (
	"cmp"
	"fmt"
	"slices"
)

// Area is a label area that was read. Nothing in it refers to the bytes it
// came from.
type Area struct {
	Geometry Geometry // as the index blocks say; version 1.2 where none does
	Current  int      // the index block in force, 0 or 1; -1 if none is valid
	Index    [2]Index // zero if the area is too small
	Slots    []Label  // every slot
	Active   []*Label // slots that the current index marks used and that are valid
	Errors   []string // what is wrong, in the order of the area
}

// Version is the version of the current index, 0 if there is none.
func (a *Area) Version() Version {
	if a.Current < 0 {
		return 0
	}
	return a.Geometry.Version
}

// CurrentIndex is the index block in force, nil if there is none.
func (a *Area) CurrentIndex() *Index {
	if a.Current < 0 {
		return nil
	}
	return &a.Index[a.Current]
}

// Parse reads a label area, whatever its bytes are.
func Parse(area []byte) *Area {
	a := parseBlocks(area)
	for i := range a.Index {
		if a.Slots != nil && !a.Index[i].Valid {
			a.errorf("index[%d]: %s", i, a.Index[i].Why)
		}
	}
	current := a.CurrentIndex()
	if current == nil {
		return a
	}
	for slot := range int(current.NSlot) {
		if current.IsFree(slot) {
			continue
		}
		l := &a.Slots[slot]
		if !l.Valid {
			a.errorf("label[%d]: marked used, but %s", slot, l.Why)
			continue
		}
		a.Active = append(a.Active, l)
	}
	a.checkExtents()
	return a
}

// parseBlocks reads index blocks and slots. The size of the labels is known
// only from an index block, and the place of the second block only from the
// size of the labels, so both sizes are tried, the smaller first, as Linux
// does. Without a valid block the version of a damaged one is the best guess,
// and without any it is 1.2, Linux's default.
func parseBlocks(area []byte) *Area {
	a, old := readIndex(area, V12), readIndex(area, V11)
	if old.Current >= 0 || a.Current < 0 && (old.signed() || a.Geometry.IndexSize == 0) {
		a = old
	}
	if a.Geometry.IndexSize == 0 {
		return a
	}
	a.Slots = make([]Label, a.Geometry.Slots)
	for slot := range a.Slots {
		a.Slots[slot] = parseLabel(area, a.Geometry, slot)
	}
	return a
}

func readIndex(area []byte, v Version) *Area {
	a := &Area{Current: -1}
	g, err := GeometryOf(len(area), v)
	if err != nil {
		a.Geometry = Geometry{Size: len(area), Version: v}
		a.errorf("%v", err)
		return a
	}
	a.Geometry = g
	x := &a.Index
	for i := range x {
		x[i] = parseIndex(area, g, i)
	}
	switch {
	case x[0].Valid && x[1].Valid:
		a.Current = newer(x[0].Seq, x[1].Seq)
	case x[0].Valid:
		a.Current = 0
	case x[1].Valid:
		a.Current = 1
	}
	return a
}

// signed says whether some index block claims to be of this version.
func (a *Area) signed() bool {
	for i := range a.Index {
		if x := &a.Index[i]; x.Signature == signature && x.version() == a.Geometry.Version {
			return true
		}
	}
	return false
}

func (a *Area) errorf(format string, args ...any) {
	a.Errors = append(a.Errors, fmt.Sprintf(format, args...))
}

// checkExtents reports active labels that claim the same bytes of the DIMM:
// Linux then refuses the whole DIMM (label.c, nd_label_reserve_dpa).
func (a *Area) checkExtents() {
	sorted := slices.Clone(a.Active)
	slices.SortStableFunc(sorted, func(x, y *Label) int { return cmp.Compare(x.DPA, y.DPA) })
	for i, l := range sorted {
		if l.DPA+l.RawSize < l.DPA {
			a.errorf("label[%d]: extent %#x+%#x wraps around", l.Slot, l.DPA, l.RawSize)
		}
		if i > 0 && sorted[i-1].DPA+sorted[i-1].RawSize > l.DPA {
			a.errorf("label[%d]: extent %#x+%#x overlaps label[%d]", l.Slot, l.DPA, l.RawSize, sorted[i-1].Slot)
		}
	}
}
