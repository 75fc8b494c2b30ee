package lab

import (
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
)

// A LostLine is a line of an NVDIMM that a crash state leaves otherwise than if
// all stores had survived.
type LostLine struct {
	NVDIMM    string // its id
	Offset    uint64 // in bytes
	What      string // the structure it is of, as far as that is known
	Left, All [persist.LineSize]byte
}

// LostLines lists the lines that a state leaves otherwise than if all had survived
// that was stored before its event, in their order, and at most so many; more is
// how many there are besides.
func (t *Trace) LostLines(s *persist.State, most int) (list []LostLine, more int) {
	all := s.Everything()
	type place struct {
		medium *persist.Medium
		n      uint64
	}
	whole := map[place]*persist.Line{}
	lines, _ := all.Image()
	for i := range lines {
		whole[place{lines[i].Medium, lines[i].N}] = &lines[i]
	}
	namers := map[*persist.Medium]*backend.Namer{}
	left, _ := s.Image()
	for i := range left {
		l := &left[i]
		other := whole[place{l.Medium, l.N}]
		if other == nil || other.Bytes == l.Bytes || t.DIMM(l.Medium) == nil {
			continue
		}
		if len(list) == most {
			more++
			continue
		}
		if namers[l.Medium] == nil {
			namers[l.Medium] = t.namer(all, l.Medium)
		}
		offset := l.N * persist.LineSize
		list = append(list, LostLine{t.id(l.Medium), offset, namers[l.Medium].At(offset), l.Bytes, other.Bytes})
	}
	return list, more
}
