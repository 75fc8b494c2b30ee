package lab

import (
	"hash/fnv"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/explore"
	"nvlab/nvdimm/persist"
)

// Lines of one kind are of one structure, in one page of it, and in the same part
// of it: file systems have the headers of blocks at their start, the stamps of a
// log at the start of each sector, and check sums at the ends.
const (
	kindPage   = 4096
	kindSector = 512
)

// kinds is the kind of each line of an exploration's space, by what the trace's
// structures are once everything survived.
func kinds(t *Trace, space *explore.Trace) []uint64 {
	list := make([]uint64, space.Lines())
	if space.Points() == 0 {
		return list
	}
	end, err := space.State(space.Points()-1, true)
	if err != nil {
		return list
	}
	lines := map[*persist.Medium]map[uint64]*[persist.LineSize]byte{}
	for m, l := range space.Image(end) {
		if lines[m] == nil {
			lines[m] = map[uint64]*[persist.LineSize]byte{}
		}
		bytes := l.Bytes
		lines[m][l.N] = &bytes
	}
	namers := map[*persist.Medium]*backend.Namer{}
	for i := range list {
		m, n := space.Place(i)
		d := t.names[m]
		if d == nil { // a label area
			list[i] = n
			continue
		}
		if namers[m] == nil {
			over := &overlay{under: t.snapshots[d.backend], lines: lines[m]}
			namers[m] = backend.NewNamer(over, d.backend.Size(), d.LabelSize())
		}
		list[i] = kindOf(namers[m].At(n*persist.LineSize), d.Slot(), n*persist.LineSize)
	}
	return list
}

// kindOf is the kind of the line at an offset, in a structure of a name.
func kindOf(name string, slot int, offset uint64) uint64 {
	part := byte(0)
	switch {
	case offset%kindSector == 0:
		part = 1
	case offset%kindPage == kindPage-persist.LineSize:
		part = 2
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	page := offset / kindPage
	h.Write([]byte{0, part, byte(slot), byte(page), byte(page >> 8), byte(page >> 16), byte(page >> 24), byte(page >> 32)})
	return h.Sum64()
}
