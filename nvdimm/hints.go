package nvdimm

import (
	"fmt"
	"sync/atomic"

	"nvlab/acpi"
	"nvlab/nvdimm/backend"
)

// Flush hints are addresses of which a write drains what is on its way to a
// DIMM (ACPI 6.5 section 5.2.25.8). Each slot has a page of them.
const (
	hintStep = 8 // bytes between two hints, of which Linux writes all
	maxHints = backend.PageSize / hintStep
)

type hintCount struct{ writes atomic.Uint64 }

// FlushHintWrites is how often the guest wrote a flush hint of the DIMM since
// the latest Tables.
func (d *DIMM) FlushHintWrites() uint64 { return d.hints.writes.Load() }

// FlushHints is how many flush hints each DIMM has.
func (r *Root) FlushHints() int { return r.config.FlushHints }

func (c Config) checkHints() error {
	if c.FlushHints < 0 || c.FlushHints > maxHints {
		return fmt.Errorf("flush_hints=%d: a DIMM has 0 to %d flush hint addresses", c.FlushHints, maxHints)
	}
	return nil
}

// hintStructure is a DIMM's flush hints, nil if there are none.
func (r *Root) hintStructure(d *DIMM) *acpi.FlushHint {
	if r.config.FlushHints == 0 {
		return nil
	}
	base := r.config.HintBase + uint64(d.slot)*backend.PageSize
	s := &acpi.FlushHint{Handle: d.Handle()}
	for i := range r.config.FlushHints {
		s.Addresses = append(s.Addresses, base+uint64(i)*hintStep)
	}
	return s
}

// Hints is the device at HintBase.
type Hints struct{ root *Root }

// Hints is the device behind the flush hints of all slots; nil if the machine
// has none.
func (r *Root) Hints() *Hints {
	if r.config.FlushHints == 0 || r.config.Slots == 0 {
		return nil
	}
	return &Hints{r}
}

// Size is the device's size in bytes.
func (h *Hints) Size() uint64 { return uint64(h.root.config.Slots) * backend.PageSize }

// Read reads as zero: what is read there means nothing.
func (h *Hints) Read(offset uint64, size int) uint64 { return 0 }

// Write is a flush of the DIMM whose page it hits, whatever is written.
func (h *Hints) Write(offset uint64, size int, v uint64) {
	slot, hint := int(offset/backend.PageSize), int(offset%backend.PageSize/hintStep)
	if hint >= h.root.config.FlushHints {
		return
	}
	for _, d := range h.root.dimms {
		if d.slot == slot {
			d.hints.writes.Add(1)
			if h.root.OnFlushHint != nil {
				h.root.OnFlushHint(d)
			}
		}
	}
}
