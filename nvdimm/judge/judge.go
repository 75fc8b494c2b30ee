// Package judge looks, on the host, at what a power failure may leave of a
// command that was recorded, and finds what none may leave: namespaces that are
// neither the old nor the new ones, sectors that are torn, info blocks that
// Linux would believe and should not. It needs no guest, and so looks at tens
// of thousands of states a second.
package judge

import (
	"io"

	"nvlab/nvdimm/persist"
)

// A Finding is a power failure that leaves what none may.
type Finding struct {
	State *persist.State
	Why   string
}

// A Record is a command's journal and the DIMMs that it found.
type Record struct {
	*persist.Journal
	DIMMs []DIMM
}

// A DIMM is what a judge has to know of one. Those with a label area have, in
// this order, the areas of the journal.
type DIMM struct {
	Name      string
	Medium    *persist.Medium // what the journal calls its memory
	Start     io.ReaderAt     // its backend's contents when the command began
	Addr      uint64          // guest-physical
	Size      uint64          // bytes of persistent memory
	Backend   uint64          // bytes of its backend
	LabelSize uint64          // bytes of its label area, the end of the backend
}

// area is the DIMM of a label area of the journal.
func (r *Record) area(n int) *DIMM {
	for i := range r.DIMMs {
		if r.DIMMs[i].LabelSize == 0 {
			continue
		}
		if n == 0 {
			return &r.DIMMs[i]
		}
		n--
	}
	return nil
}

// dimm is the DIMM of a medium, nil if the record has none.
func (r *Record) dimm(m *persist.Medium) *DIMM {
	for i := range r.DIMMs {
		if r.DIMMs[i].Medium == m {
			return &r.DIMMs[i]
		}
	}
	return nil
}

// maxFindings is how many findings of one record are told in full.
const maxFindings = 100
