package power

import (
	"strings"
	"testing"

	"nvlab/nvdimm"
)

func TestFaults(t *testing.T) {
	write := func(m *machine, d *nvdimm.DIMM) uint32 { return m.writeLabel(d, 0, strings.Repeat("x", 32)) }
	readFIT := func(m *machine, d *nvdimm.DIMM) uint32 {
		return m.call(nvdimm.FITHandle, nvdimm.FuncReadFIT, make([]byte, 4))
	}
	for _, tt := range []struct {
		name  string
		fault Fault
		call  func(*machine, *nvdimm.DIMM) uint32
		want  string // a digit per call: its status
		wrote byte   // what is at 24 of the label area after them
	}{
		{"the second", Fault{Function: 6, Status: 4, Nth: 2, Times: 1}, write, "0400", 'x'},
		{"two", Fault{Function: 6, Status: 3, Nth: 1, Times: 2}, write, "3300", 'x'},
		{"all", Fault{Function: 6, Status: 3, Nth: 1, Times: 9}, write, "3333", 0},
		{"another function", Fault{Function: 5, Status: 4, Nth: 1, Times: 9}, write, "0000", 'x'},
		{"another DIMM", Fault{Slot: 1, Function: 6, Status: 4, Nth: 1, Times: 9}, write, "0000", 'x'},
		{"torn", Fault{Function: 6, Status: 4, Nth: 1, Times: 9, Tears: true, Torn: 24}, write, "4444", 0},
		{"the FIT", Fault{Of: OfFIT, Function: 1, Status: 2, Nth: 1, Times: 1}, readFIT, "2000", 0},
		{"the FIT is no DIMM's function 1", Fault{Function: 1, Status: 2, Nth: 1, Times: 1}, readFIT, "0000", 0},
	} {
		m := newMachine(t, nvdimm.Config{})
		d := m.plugNew()
		m.powerOn()
		m.tracker.Inject(tt.fault)
		var got strings.Builder
		for range 4 {
			got.WriteByte('0' + byte(tt.call(m, d)))
		}
		if got.String() != tt.want {
			t.Errorf("%s: four calls end in %s, want %s", tt.name, got.String(), tt.want)
		}
		m.powerOff()
		area := contents(t, d)[labelAt(d):]
		if area[24] != tt.wrote || tt.fault.Tears && area[23] != 'x' {
			t.Errorf("%s: the label area has %q at 23", tt.name, area[23:25])
		}
	}
}
