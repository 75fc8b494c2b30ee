package label

import "fmt"

// Version is the layout of an area: label size and fields follow from it.
type Version int

// Versions, from the major and minor fields of an index block.
const (
	V11 Version = 101 // labels of 128 bytes, no checksum
	V12 Version = 102 // labels of 256 bytes
)

func (v Version) String() string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%d.%d", v/100, v%100)
}

// LabelSize is the size of one label in bytes.
func (v Version) LabelSize() int {
	if v == V11 {
		return labelSize11
	}
	return labelSize12
}

const (
	labelSize11 = 128
	labelSize12 = 256
	indexAlign  = 256 // an index block is a multiple of this
	indexHeader = 72  // of an index block, before its bitmap
)

// Geometry is where an area of one size and version keeps things. Offsets
// and sizes are in bytes; the index blocks stand at 0 and IndexSize, the
// labels follow (Linux drivers/nvdimm/label.c, sizeof_namespace_index).
type Geometry struct {
	Size      int // of the area
	Version   Version
	IndexSize int
	Slots     int
}

// MinSize is the smallest area QEMU gives a DIMM: 128 KiB. Parse takes less.
const MinSize = 128 << 10

// GeometryOf computes the geometry. The error says that the area is too small
// for two index blocks and two labels.
func GeometryOf(size int, v Version) (Geometry, error) {
	// The index is sized for as many slots as would fit without one, so
	// that the number of slots never depends on its own result.
	index := alignUp(indexHeader+(size/v.LabelSize()+7)/8, indexAlign)
	g := Geometry{Size: size, Version: v}
	g.Slots = (size - 2*index) / v.LabelSize()
	if size < 2*index || g.Slots < 2 {
		return Geometry{}, fmt.Errorf("label area of %d bytes holds no two index blocks and two labels of version %s: at least %d bytes are needed",
			size, v, 2*indexAlign+2*v.LabelSize())
	}
	g.IndexSize = alignUp(indexHeader+(g.Slots+7)/8, indexAlign)
	return g, nil
}

// LabelOffset is where the label of a slot starts.
func (g Geometry) LabelOffset(slot int) int {
	return 2*g.IndexSize + slot*g.Version.LabelSize()
}

func alignUp(n, align int) int { return (n + align - 1) / align * align }
