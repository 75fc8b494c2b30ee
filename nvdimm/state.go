package nvdimm

import "nvlab/acpi"

// State are the state flags of the NFIT's region mapping structure (ACPI 6.5
// table 5.115) that a DIMM reports.
type State struct {
	SaveFail    bool
	RestoreFail bool
	FlushFail   bool
	NotArmed    bool // besides the DIMM's own unarmed
	SMARTEvent  bool
	SMARTNotify bool
	MapFail     bool // the firmware mapped no range: the guest sees no memory
}

func (s State) bits() (flags uint16) {
	for _, f := range []struct {
		set bool
		bit uint16
	}{
		{s.SaveFail, acpi.MapSaveFailed}, {s.RestoreFail, acpi.MapRestoreFailed}, {s.FlushFail, acpi.MapFlushFailed}, {s.NotArmed, acpi.MapNotArmed},
		{s.SMARTEvent, acpi.MapHealth}, {s.SMARTNotify, acpi.MapNotify}, {s.MapFail, acpi.MapFailed},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	return flags
}

// SetState sets the flags from the next Tables on: a guest refuses a _FIT
// that changes what it knows.
func (d *DIMM) SetState(s State) { d.next = s }

// State are the flags that the guest was told at the latest Tables.
func (d *DIMM) State() State { return d.state }

// flags are the state as the NFIT has it.
func (d *DIMM) flags() uint16 {
	flags := d.state.bits()
	if d.unarmed {
		flags |= acpi.MapNotArmed
	}
	if d.unsaved {
		flags |= acpi.MapFlushFailed
	}
	return flags
}
