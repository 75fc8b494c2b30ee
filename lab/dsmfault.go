package lab

import (
	"cmp"
	"fmt"
	"time"

	"nvlab/nvdimm"
	"nvlab/nvdimm/power"
)

// A CallFault makes _DSM calls fail, or answers them late or in part.
type CallFault struct {
	Function uint32
	Of       power.Device
	Family   uint16        // whose the function is, as the device numbers families
	Status   uint32        // that the guest gets, with an extended one in the high half; 0 is nvdimm.StatusFailed
	Obeyed   bool          // the call does not fail: it is late or short only
	Delay    time.Duration // the reply comes so much later, in guest time
	Short    uint32        // the reply ends after so many bytes, at least 4; 0 is never
	Nth      int           // calls until the first that fails, with it; 0 is 1
	Times    int           // how many fail; 0 is 1
}

// Fail makes calls to the DIMM's firmware fail from now on.
func (d *NVDIMM) Fail(f CallFault) error {
	if err := d.faulty(); err != nil {
		return err
	}
	d.addFault(f, false, 0)
	return nil
}

func (d *NVDIMM) addFault(f CallFault, tears bool, torn uint32) {
	status := cmp.Or(f.Status, nvdimm.StatusFailed)
	if f.Obeyed {
		status = 0
	}
	d.vm.power.Inject(power.Fault{
		Of: f.Of, Slot: d.Slot(), Family: f.Family, Function: f.Function,
		Status: status, Delay: f.Delay, Short: f.Short,
		Nth: max(f.Nth, 1), Times: max(f.Times, 1), Tears: tears, Torn: torn,
	})
}

// Tear makes the nth label write from now on stop after so many bytes, and
// fail.
func (d *NVDIMM) Tear(bytes uint32, nth int) error {
	if err := d.faulty(); err != nil {
		return err
	}
	if d.LabelSize() == 0 {
		return fmt.Errorf("nvdimm %q has no label area: plug it with label_size", d.ID())
	}
	d.addFault(CallFault{Function: nvdimm.FuncSetLabel, Nth: nth}, true, bytes)
	return nil
}

func (d *NVDIMM) faulty() error {
	if d.vm.x.closed {
		return ErrClosed
	}
	return d.vm.has(d)
}
