package power

import (
	"testing"

	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
)

// TestZeroedStaysZero: what firmware erased or repaired does not come back when
// the power fails, whatever of it was undecided; the rest is as undecided as it
// was.
func TestZeroedStaysZero(t *testing.T) {
	for _, unsaved := range []bool{false, true} {
		m := newMachine(t, nvdimm.Config{Cap: ptr[int64](2)})
		d := m.plugNew()
		m.powerOn()
		mem, err := d.Map()
		if err != nil {
			t.Fatal(err)
		}
		for i := range mem {
			mem[i] = 1 // what was there before
		}
		for _, line := range []uint64{0, 1, 2} {
			m.store(d, line*persist.LineSize, 2)
		}
		clear(mem[persist.LineSize : 2*persist.LineSize])
		m.root.OnZero(d, persist.LineSize, persist.LineSize)
		m.tracker.Fail(persist.KeepNone, unsaved)
		m.powerOff()
		got := contents(t, d)
		if got[0] != 1 || got[persist.LineSize] != 0 || got[2*persist.LineSize] != 1 {
			t.Errorf("saved: %v: after a power failure the lines begin with %d, %d, %d, want 1, 0, 1", !unsaved, got[0], got[persist.LineSize], got[2*persist.LineSize])
		}
	}
}
