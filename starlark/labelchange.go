package nvstar

import (
	"bytes"
	"io"

	"nvlab/lab"
	"nvlab/nvdimm/infoblock"
	"nvlab/nvdimm/label"
)

// A LabelChange is what a call made of the label area of an NVDIMM.
type LabelChange struct {
	NVDIMM        string // its id
	Size          uint64 // bytes of its memory
	Before, After []LabelSlot
}

// A LabelSlot is a label in force: an extent of a namespace on an NVDIMM.
type LabelSlot struct {
	Slot         int
	UUID, Name   string
	Claims       string // what is to claim the namespace: "btt", "pfn", "dax" or "none"; "" where labels do not say
	DPA, Size    uint64 // of the extent, in bytes
	Position, Of uint16 // of this label among the namespace's
	Updating     bool   // the namespace is half written
	Holds        []infoblock.Span
}

// maxLabelArea is up to what size a label area is compared, in bytes.
const maxLabelArea = 4 << 20

// labelAreas are the label areas of a VM's NVDIMMs as they are, by the handle.
func labelAreas(v *lab.VM) map[*lab.NVDIMM][]byte {
	areas := make(map[*lab.NVDIMM][]byte)
	for _, d := range v.NVDIMMs() {
		n := d.LabelSize()
		if n == 0 || n > maxLabelArea {
			continue
		}
		area := make([]byte, n)
		if _, err := d.Backend().ReadAt(area, int64(d.Backend().Size()-n)); err == nil {
			areas[d] = area
		}
	}
	return areas
}

// labelChanges are the changes from one set of areas to what they are now. One of
// an NVDIMM that is new is a change if labels are in force there.
func labelChanges(v *lab.VM, before map[*lab.NVDIMM][]byte) (list []LabelChange) {
	now := labelAreas(v)
	for _, d := range v.NVDIMMs() {
		area, was := now[d], before[d]
		if area == nil || bytes.Equal(area, was) {
			continue
		}
		c := LabelChange{NVDIMM: d.ID(), Size: d.Size(), Before: labelSlots(was), After: labelSlots(area)}
		if was == nil && c.After == nil {
			continue
		}
		for i := range c.After {
			if s := &c.After[i]; s.Of <= 1 && s.DPA <= d.Size() && s.Size <= d.Size()-s.DPA { // of several its blocks are spread
				s.Holds = infoblock.Read(io.NewSectionReader(d.Backend(), int64(s.DPA), int64(s.Size))).Spans
			}
		}
		list = append(list, c)
	}
	return list
}

func labelSlots(area []byte) (slots []LabelSlot) {
	if area == nil {
		return nil
	}
	parsed := label.Parse(area)
	for _, l := range parsed.Active {
		s := LabelSlot{Slot: l.Slot, UUID: l.UUID.String(), Name: l.Name, DPA: l.DPA, Size: l.RawSize,
			Position: l.Position, Of: l.NLabel, Updating: l.Flags&label.FlagUpdating != 0}
		if parsed.Version() == label.V12 {
			s.Claims = label.GUIDName(l.AbstractionGUID)
		}
		slots = append(slots, s)
	}
	return slots
}
