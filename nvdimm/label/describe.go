package label

import "fmt"

// Span is a structure of the area: its name, "index[1]" or "label[3]", and
// its extent in bytes.
type Span struct {
	Name     string
	Off, Len int
}

// SpanAt gives the structure that holds an offset of the area.
func (a *Area) SpanAt(off int) Span {
	labels := a.Geometry.LabelOffset(0)
	end := a.Geometry.LabelOffset(a.Geometry.Slots)
	switch {
	case a.Geometry.IndexSize == 0 || off < 0 || off >= end:
		return Span{"label area", end, max(a.Geometry.Size-end, 0)}
	case off < labels:
		i := off / a.Geometry.IndexSize
		return Span{fmt.Sprintf("index[%d]", i), i * a.Geometry.IndexSize, a.Geometry.IndexSize}
	}
	slot := (off - labels) / a.Geometry.Version.LabelSize()
	return Span{fmt.Sprintf("label[%d]", slot), a.Geometry.LabelOffset(slot), a.Geometry.Version.LabelSize()}
}

// Describe names the structure at an offset of the area, as "label[3]", and
// the field of it, as "rawsize".
func (a *Area) Describe(off int) (what, field string) {
	s := a.SpanAt(off)
	fields := labelFields
	switch {
	case s.Name == "label area":
		return s.Name, ""
	case off < a.Geometry.LabelOffset(0):
		fields = indexFields
	}
	for _, f := range fields {
		if off-s.Off < f.end {
			return s.Name, f.name
		}
	}
	return s.Name, ""
}

type fieldEnd struct {
	name string
	end  int
}

var indexFields = []fieldEnd{
	{"sig", 16}, {"flags", 19}, {"labelsize", 20}, {"seq", 24}, {"myoff", 32}, {"mysize", 40},
	{"otheroff", 48}, {"labeloff", 56}, {"nslot", 60}, {"major", 62}, {"minor", 64}, {"checksum", 72},
	{"free", 1 << 31},
}

var labelFields = []fieldEnd{
	{"uuid", 16}, {"name", 80}, {"flags", 84}, {"nlabel", 86}, {"position", 88}, {"isetcookie", 96},
	{"lbasize", 104}, {"dpa", 112}, {"rawsize", 120}, {"slot", 124}, {"align", 125}, {"reserved", 128},
	{"type_guid", 144}, {"abstraction_guid", 160}, {"reserved", 248}, {"checksum", 256},
}
