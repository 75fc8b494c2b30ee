package label

import (
	"errors"
	"fmt"
)

// Init writes two index blocks with every slot free, the first one current,
// as "ndctl init-labels" does. Labels are left as they are.
func Init(area []byte, v Version) error {
	g, err := GeometryOf(len(area), v)
	if err != nil {
		return err
	}
	free := make([]byte, (g.Slots+7)/8)
	for slot := range g.Slots {
		free[slot/8] |= 1 << (slot % 8)
	}
	encodeIndex(area, g, 0, 3, free)
	encodeIndex(area, g, 1, 2, free)
	return nil
}

// Add puts a label into the lowest free slot and makes it active: the label is
// written first, then the index block that is not current. It returns the slot;
// l.Slot does not matter.
func Add(area []byte, l Label) (int, error) {
	a := Parse(area)
	current := a.CurrentIndex()
	if current == nil {
		return 0, errors.New("label area has no valid index block: initialize it first")
	}
	for slot := range int(current.NSlot) {
		if !current.IsFree(slot) {
			continue
		}
		l.Slot = slot
		p, err := l.Encode(a.Geometry.Version)
		if err != nil {
			return 0, err
		}
		copy(area[a.Geometry.LabelOffset(slot):], p)
		a.mark(area, slot, true)
		return slot, nil
	}
	return 0, fmt.Errorf("label area has no free slot: all %d are used", current.NSlot)
}

// Remove marks a slot free. The label's bytes stay, as Linux leaves them.
func Remove(area []byte, slot int) error {
	a := Parse(area)
	current := a.CurrentIndex()
	if current == nil {
		return errors.New("label area has no valid index block: initialize it first")
	}
	if slot < 0 || slot >= int(current.NSlot) || current.IsFree(slot) {
		return fmt.Errorf("label slot %d is not in use", slot)
	}
	a.mark(area, slot, false)
	return nil
}

// mark writes the next index block, which differs from the current one in one
// slot.
func (a *Area) mark(area []byte, slot int, used bool) {
	free := append([]byte(nil), a.CurrentIndex().Free...)
	if used {
		free[slot/8] &^= 1 << (slot % 8)
	} else {
		free[slot/8] |= 1 << (slot % 8)
	}
	g := a.Geometry
	g.Slots = int(a.CurrentIndex().NSlot)
	encodeIndex(area, g, 1-a.Current, nextSeq(a.CurrentIndex().Seq), free)
}
