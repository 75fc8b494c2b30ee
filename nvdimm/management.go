package nvdimm

import (
	"fmt"
	"math/bits"
	"time"

	"nvlab/nvdimm/firmware"
)

// familyLabels is the family, as the device numbers them, of calls that _LSI,
// _LSR and _LSW make: they reach the labels of any DIMM.
const familyLabels = 0x8000

// Family is whose _DSM the DIMM speaks, nil if it has labels only.
func (d *DIMM) Family() *firmware.Family { return d.family }

// hasLabelMethods says that the DIMM's ACPI device has _LSI, _LSR and _LSW: as
// QEMU's has in any case, and one of a family if it has labels.
func (d *DIMM) hasLabelMethods() bool { return d.family == nil || d.labelSize > 0 }

// familyName is the family's name, or "".
func (d *DIMM) familyName() string {
	if d.family == nil {
		return ""
	}
	return d.family.Name
}

// familyOf is the opposite.
func familyOf(name string) (*firmware.Family, error) {
	if name == "" {
		return nil, nil
	}
	return firmware.FamilyByName(name)
}

// Management is what the DIMM's management knows, to read and to change while
// the guest does not run. It outlives every power-off.
func (d *DIMM) Management() *firmware.State { return &d.management }

// PowerOn is a power-on of the machine, before Tables.
func (r *Root) PowerOn() {
	for _, d := range r.dimms {
		d.powerOn()
	}
	for i := range r.memory {
		r.memory[i].HotPlugged = false
	}
}

func (d *DIMM) powerOn() {
	d.unsaved = d.management.Unsafe
	d.management.Reset(true)
}

// FlushFails is a power failure at which what the platform promised to save of
// the DIMM was not saved: at the next power-on the DIMM says so.
func (d *DIMM) FlushFails() { d.management.Unsafe = true }

// now is the guest's time.
func (r *Root) now() time.Duration {
	if r.Clock == nil {
		return 0
	}
	return r.Clock()
}

// Now is the guest's time, by which scrubs, overwrites and updates end.
func (r *Root) Now() time.Duration { return r.now() }

// checkARS refuses what no reply has room for.
func (c Config) checkARS() error {
	switch a := c.ARS; {
	case a == nil:
		return nil
	case a.Duration < 0:
		return fmt.Errorf("ars: a scrub of %v: it takes 0 s at least", a.Duration)
	case a.Records < 1 || a.Records > firmware.MaxRecords:
		return fmt.Errorf("ars: records=%d: a reply has 1 to %d", a.Records, firmware.MaxRecords)
	case bits.OnesCount32(a.ClearUnit) != 1 || a.ClearUnit < firmware.LineSize || a.ClearUnit > 1<<21:
		return fmt.Errorf("ars: clear_unit=%d: it is a power of two from %d to %d", a.ClearUnit, firmware.LineSize, 1<<21)
	}
	return nil
}

// Scrub is where the address range scrub is, as far as the guest was told.
func (r *Root) Scrub() firmware.ARS { return r.ars }

// HasARS says that the root device has functions for errors of the media.
func (r *Root) HasARS() bool { return r.config.ARS != nil }

// OfLabels says that a function of the call is one of its DIMM's label area:
// it is asked for by a method of the labels, or by the family that Linux takes
// them from.
func (c *Call) OfLabels() bool {
	d := c.DIMM
	switch {
	case d == nil:
		return false
	case c.Family == familyLabels, d.family == nil && c.Family == firmware.NumberIntel:
		return true
	}
	return d.speaks(c.Family) && d.family.Function(c.Function).OfLabels()
}

// speaks says that the DIMM has a family.
func (d *DIMM) speaks(number uint16) bool { return d.family != nil && d.family.Number == number }

// labelStatus is the status of the size of the label area.
func (d *DIMM) labelStatus() uint32 {
	if d.management.Security.Locked {
		return uint32(firmware.LabelsLocked)
	}
	return statusOK
}

// managementCall serves what of a DIMM's family is not of its labels.
func (r *Root) managementCall(c *Call, argument []byte) []byte {
	d := c.DIMM
	switch {
	case !d.speaks(c.Family) || !d.family.Knows(c.Revision):
		return none(c)
	case c.Function == FuncQuery:
		return status(d.family.Mask(d.labelSize > 0))
	}
	reply, effect := d.family.Answer(&d.management, r.now(), c.Revision, c.Function, argument)
	if err := r.erase(d, effect.Erase); err != nil {
		r.fail(err)
		return status(StatusFailed)
	}
	if effect.Notify {
		r.NotifyHealth(d)
	}
	return reply
}

// erase destroys contents.
func (r *Root) erase(d *DIMM, what firmware.Erase) error {
	if d.backend.ReadOnly() {
		return nil
	}
	switch what {
	case firmware.EraseData:
		return r.zero(d, 0, d.size)
	case firmware.EraseAll:
		if err := r.zero(d, 0, d.size); err != nil {
			return err
		}
		return d.backend.Zero(d.size, d.backend.Size()-d.size)
	}
	return nil
}

// zero makes zeros of n bytes of a DIMM's memory.
func (r *Root) zero(d *DIMM, offset, n uint64) error {
	if err := d.backend.Zero(offset, n); err != nil {
		return err
	}
	if r.OnZero != nil {
		r.OnZero(d, offset, n)
	}
	return nil
}

// rootCall serves the root device.
func (r *Root) rootCall(c *Call, argument []byte) []byte {
	switch {
	case c.Family == firmware.NumberActivation:
		return r.activationCall(c, argument)
	case c.Family != firmware.NumberRoot || r.config.ARS == nil || !firmware.Root.Knows(c.Revision):
		return none(c)
	}
	reply, effect := r.ars.Answer(*r.config.ARS, space{r}, r.now(), c.Revision, c.Function, argument)
	if effect.Notify {
		r.NotifyErrors()
	}
	return reply
}

// activationCall serves the activation of firmware, which is there as soon as
// a DIMM is that has some.
func (r *Root) activationCall(c *Call, argument []byte) []byte {
	var states []*firmware.State
	for _, d := range r.dimms {
		if d.family == firmware.Intel {
			states = append(states, &d.management)
		}
	}
	if states == nil || !firmware.Activation.Knows(c.Revision) {
		return none(c)
	}
	if c.Function == FuncQuery {
		return status(firmware.Activation.Mask(true))
	}
	return firmware.AnswerActivation(states, r.now(), c.Revision, c.Function, argument)
}

// An Event is what a guest is told of.
type Event uint8

const (
	EventErrors Event = iota // root device, Notify 0x81: errors of the media that it did not ask for
	EventHealth              // DIMMs, Notify 0x81: their health changed
)

// NotifyErrors tells the guest that there are errors.
func (r *Root) NotifyErrors() { r.event(EventErrors) }

// NotifyHealth tells the guest to look at a DIMM's health.
func (r *Root) NotifyHealth(d *DIMM) {
	d.ringing = true
	r.event(EventHealth)
}

func (r *Root) event(e Event) {
	if r.OnEvent != nil {
		r.OnEvent(e)
	}
}

// eventCall gives the slot of a DIMM whose health the guest is to look at, one
// at a time, and fails when there is none left.
func (r *Root) eventCall(c *Call) []byte {
	if c.Revision != 1 || c.Function != funcEvent {
		return none(c)
	}
	for _, d := range r.dimms {
		if d.ringing {
			d.ringing = false
			return append(status(statusOK), status(uint32(d.slot))...)
		}
	}
	return status(statusNoDevice)
}
