package backend

import (
	"io"

	"nvlab/nvdimm/filesystem"
	"nvlab/nvdimm/infoblock"
	"nvlab/nvdimm/label"
)

// dataName is what holds no structure that is known here.
const dataName = "data"

// namer names the structures of a backend, as far as its contents tell.
type namer struct {
	labelStart uint64
	area       *label.Area // nil without a label area
	spaces     []space     // the namespaces
	layouts    []placed
}

// space is the extent of a namespace, in bytes of the backend.
type space struct{ base, size uint64 }

// placed is the layout of a namespace, at an offset of the backend.
type placed struct {
	base   uint64
	layout infoblock.Layout
}

// newNamer reads the label area and the namespaces that it describes, or the
// one namespace that Linux makes of a DIMM without valid labels. What cannot
// be read has no name.
func newNamer(contents io.ReaderAt, size, labelSize uint64) *namer {
	n := &namer{labelStart: size - labelSize}
	if labelSize > 0 {
		area := make([]byte, labelSize)
		if _, err := contents.ReadAt(area, int64(n.labelStart)); err == nil {
			n.area = label.Parse(area)
		}
	}
	if n.area != nil && n.area.Current >= 0 {
		for _, l := range n.area.Active {
			if l.DPA < n.labelStart && l.RawSize <= n.labelStart-l.DPA {
				n.spaces = append(n.spaces, space{l.DPA, l.RawSize})
			}
		}
	} else {
		n.spaces = []space{{0, n.labelStart}}
	}
	for _, s := range n.spaces {
		layout := infoblock.Read(io.NewSectionReader(contents, int64(s.base), int64(s.size)))
		if len(layout.Spans) > 0 {
			n.layouts = append(n.layouts, placed{s.base, layout})
		}
	}
	return n
}

// at names the structure at an offset, and says where it ends.
func (n *namer) at(off uint64) (what string, end uint64) {
	if off >= n.labelStart {
		if n.area == nil {
			return "label area", 1 << 63
		}
		s := n.area.SpanAt(int(off - n.labelStart))
		return s.Name, n.labelStart + uint64(s.Off+s.Len)
	}
	end = n.labelStart
	for _, p := range n.layouts {
		for _, s := range p.layout.Spans {
			switch start, stop := p.base+s.Offset, p.base+s.Offset+s.Length; {
			case off >= start && off < stop:
				return s.Name, stop
			case start > off:
				end = min(end, start)
			}
		}
	}
	return dataName, end
}

// A Namer names the structures that contents have, those of file systems too.
type Namer struct {
	*namer
	systems []placedSystem
}

// placedSystem is a file system, at an offset of the backend.
type placedSystem struct {
	base   uint64
	layout filesystem.Layout
}

// NewNamer reads what is needed of the contents of a backend with a label area of
// some size. What it names may depend on the contents later, too.
func NewNamer(contents io.ReaderAt, size, labelSize uint64) *Namer {
	n := &Namer{namer: newNamer(contents, size, labelSize)}
	for _, base := range n.dataStarts() {
		from := io.NewSectionReader(contents, int64(base), int64(n.labelStart-base))
		if l, ok := filesystem.Read(from); ok {
			n.systems = append(n.systems, placedSystem{base, l})
		}
	}
	return n
}

// dataStarts are where namespaces' data begins, which is in one piece but in
// sector mode.
func (n *namer) dataStarts() (list []uint64) {
	for _, s := range n.spaces {
		start := s.base
		for _, p := range n.layouts {
			if p.base == s.base {
				for _, span := range p.layout.Spans {
					start = max(start, s.base+span.Offset+span.Length)
				}
			}
		}
		if start < n.labelStart {
			list = append(list, start)
		}
	}
	return list
}

// At names the structure at an offset of the backend: as What does, or a file
// system's, such as "ext4's inode 12".
func (n *Namer) At(off uint64) string {
	what, _ := n.at(off)
	if what != dataName {
		return what
	}
	for _, s := range n.systems {
		if off >= s.base {
			if name := s.layout.At(off - s.base); name != "" {
				return name
			}
		}
	}
	return what
}

// What names the structure at an offset: "label[3]", "index[1]", "btt.map",
// "pfn.info", "data".
func (b *Backend) What(off uint64) string {
	what, _ := newNamer(b, b.Size(), b.namedLabelSize()).at(off)
	return what
}

func (b *Backend) namedLabelSize() uint64 {
	size, _ := b.LabelSize()
	return size
}
