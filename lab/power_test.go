package lab

import (
	"strings"
	"testing"

	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
)

func TestPowerCutMatches(t *testing.T) {
	a, b := &NVDIMM{}, &NVDIMM{}
	page := uint64(4096)
	for _, tt := range []struct {
		name   string
		cut    *PowerCut
		dimm   *NVDIMM
		offset uint64
		want   bool
	}{
		{"none is armed", nil, a, 0, false},
		{"any store", &PowerCut{Event: EventStore}, a, 99, true},
		{"another event", &PowerCut{Event: EventFlush}, a, 99, false},
		{"its DIMM", &PowerCut{Event: EventStore, NVDIMM: a}, a, 99, true},
		{"another DIMM", &PowerCut{Event: EventStore, NVDIMM: a}, b, 99, false},
		{"from an offset", &PowerCut{Event: EventStore, Offset: 4096}, a, 4096, true},
		{"across it", &PowerCut{Event: EventStore, Offset: 4096}, a, 4095, true},
		{"below it", &PowerCut{Event: EventStore, Offset: 4096}, a, 4088, false},
		{"within a length", &PowerCut{Event: EventStore, Offset: 4096, Length: &page}, a, 8191, true},
		{"beyond it", &PowerCut{Event: EventStore, Offset: 4096, Length: &page}, a, 8192, false},
	} {
		if got := tt.cut.matches(EventStore, tt.dimm, tt.offset, 8); got != tt.want {
			t.Errorf("%s: matches() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestInject(t *testing.T) {
	d := &NVDIMM{}
	torn := uint32(24)
	write := nvdimm.Call{Handle: 1, Function: nvdimm.FuncSetLabel, Data: "12345678"}
	fit := nvdimm.Call{Handle: nvdimm.FITHandle, Function: nvdimm.FuncReadFIT}
	for _, tt := range []struct {
		name  string
		fault CallFault
		of    *NVDIMM
		torn  *uint32
		dimm  *NVDIMM
		call  nvdimm.Call
		want  string // a digit per call: its status
	}{
		{"the second", CallFault{Function: 6, Status: 4, Nth: 2, Times: 1}, d, nil, d, write, "0400"},
		{"two", CallFault{Function: 6, Status: 3, Nth: 1, Times: 2}, d, nil, d, write, "3300"},
		{"another function", CallFault{Function: 5, Status: 4, Nth: 1, Times: 9}, d, nil, d, write, "0000"},
		{"another DIMM", CallFault{Function: 6, Status: 4, Nth: 1, Times: 9}, &NVDIMM{hotPlugged: true}, nil, d, write, "0000"},
		{"torn", CallFault{Function: 6, Status: 4, Nth: 1, Times: 1}, d, &torn, d, write, "4000"},
		{"the FIT", CallFault{FIT: true, Function: 1, Status: 2, Nth: 1, Times: 1}, d, nil, nil, fit, "2000"},
		{"the FIT is no DIMM's function 1", CallFault{Function: 1, Status: 2, Nth: 1, Times: 1}, d, nil, nil, fit, "0000"},
	} {
		p := &power{calls: []*callFault{{tt.fault, tt.of, tt.torn}}}
		var got strings.Builder
		for range 4 {
			c := tt.call
			p.inject(tt.dimm, &c)
			got.WriteByte('0' + byte(c.Status))
			if (c.Torn == torn) != (tt.torn != nil && c.Status != 0) {
				t.Errorf("%s: torn after %d bytes", tt.name, c.Torn)
			}
		}
		if got.String() != tt.want {
			t.Errorf("%s: four calls end in %s, want %s", tt.name, got.String(), tt.want)
		}
	}
}

func TestPowerOfAMachineThatIsOff(t *testing.T) {
	x := newExperiment(t)
	var o VMOptions
	o.Slots, o.MaxMem, o.Engine = 1, 1<<30, "soft"
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.PowerCut(persist.KeepNone); err == nil || !strings.Contains(err.Error(), "the VM is off") {
		t.Errorf("cutting the power of a VM that is off = %v", err)
	}
	if err := v.PowerCutOn(PowerCut{Event: EventStore, Nth: 1}); err != nil {
		t.Errorf("arming a power cut before power-on = %v", err)
	}
	v.off()
	if v.power.armed == nil {
		t.Error("what was armed before power-on is forgotten")
	}
	if err := v.WaitOff(t.Context(), DefaultTimeout); err != nil {
		t.Errorf("waiting for a VM that is off = %v", err)
	}
	if !v.AssumesADR() {
		t.Error("a platform without capabilities and flush hints promises something")
	}
}
