package power

import "nvlab/nvdimm"

// A Fault makes _DSM calls fail.
type Fault struct {
	Slot     int // of the DIMM
	Function uint32
	FIT      bool   // of the root's _FIT instead of the DIMM
	Status   uint32 // that the guest gets
	Nth      int    // calls until the first that fails, with it
	Times    int    // how many are to fail
	Tears    bool   // it is for label writes, of which Torn bytes are done
	Torn     uint32
}

// Inject adds a fault. Of two that concern a call the earlier one has it.
func (t *Tracker) Inject(f Fault) { t.faults = append(t.faults, f) }

// inject fails the call if a fault says so.
func (t *Tracker) inject(slot int, c *nvdimm.Call) {
	for i := range t.faults {
		f := &t.faults[i]
		switch {
		case f.Times == 0 || f.Function != c.Function:
			continue
		case f.FIT && c.Handle != nvdimm.FITHandle, !f.FIT && slot != f.Slot:
			continue
		case f.Tears && c.Data == "":
			continue
		}
		if f.Nth--; f.Nth > 0 {
			continue
		}
		f.Times--
		if c.Status != 0 {
			continue // an earlier fault has it
		}
		c.Status = f.Status
		if f.Tears {
			c.Torn = f.Torn
		}
	}
}
