package power

import (
	"time"

	"nvlab/nvdimm"
)

// A Fault makes _DSM calls fail, or answers them late or in part.
type Fault struct {
	Of       Device
	Slot     int    // of the DIMM
	Family   uint16 // whose the function is, as the device numbers families
	Function uint32
	Status   uint32        // that the guest gets; 0 if the call does not fail
	Delay    time.Duration // by which the reply is late, in guest time
	Short    uint32        // bytes after which the reply ends; 0 is never
	Nth      int           // calls until the first that fails, with it
	Times    int           // how many are to fail
	Tears    bool          // it is for label writes, of which Torn bytes are done
	Torn     uint32
}

// Device is whose function fails.
type Device uint8

const (
	OfDIMM Device = iota
	OfFIT         // the root's _FIT, of all DIMMs
	OfRoot        // the root device
)

// concerns says that a call goes to the device that fails.
func (f *Fault) concerns(slot int, c *nvdimm.Call) bool {
	switch f.Of {
	case OfFIT:
		return c.Handle == nvdimm.FITHandle
	case OfRoot:
		return c.Handle == nvdimm.RootHandle && c.Family == f.Family
	}
	return slot == f.Slot && (c.Family == f.Family || c.OfLabels())
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
		case !f.concerns(slot, c):
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
		c.Status, c.Delay, c.Short = f.Status, f.Delay, f.Short
		if f.Tears {
			c.Torn = f.Torn
		}
	}
}
