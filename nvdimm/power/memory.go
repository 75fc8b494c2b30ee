package power

import (
	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
)

// memory is what the guest sees of a DIMM. A power failure stores to it.
type memory struct {
	persist.Bytes
	dimm *nvdimm.DIMM
}

// Line gives a line to read and to write.
func (m memory) Line(n uint64) []byte {
	m.dimm.Dirty(n*persist.LineSize, persist.LineSize)
	return m.Bytes.Line(n)
}
