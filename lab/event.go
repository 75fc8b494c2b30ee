package lab

import (
	"nvlab/nvdimm"
	"nvlab/vmm"
)

// Events of a machine, by their index.
const (
	fitEvent    = iota // the guest is to read _FIT again
	errorsEvent        // there are errors of the media
	healthEvent        // the health of a DIMM changed
)

var events = []vmm.Event{
	fitEvent:    {Path: nvdimm.RootPath, Value: nvdimm.NotifyFIT},
	errorsEvent: {Path: nvdimm.RootPath, Value: nvdimm.NotifyErrors},
	healthEvent: {Path: nvdimm.HealthMethod, Method: true},
}

// tell raises an event of the root device; a machine that is off has no guest
// to tell.
func (v *VM) tell(e nvdimm.Event) {
	if v.m == nil {
		return
	}
	event, what := healthEvent, "an NVDIMM's health changed"
	if e == nvdimm.EventErrors {
		event, what = errorsEvent, "there are errors of the media"
	}
	v.note(KindNotify, "the guest is told: "+what)
	v.m.Notify(event) // one that the machine has
}
