package lab

import (
	"cmp"
	"fmt"

	"nvlab/nvdimm"
	"nvlab/nvdimm/power"
)

// A CallFault makes _DSM calls fail.
type CallFault struct {
	Function uint32
	FIT      bool   // of the root's _FIT instead of the DIMM
	Status   uint32 // that the guest gets; 0 is nvdimm.StatusFailed
	Nth      int    // calls until the first that fails, with it; 0 is 1
	Times    int    // how many fail; 0 is 1
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
	d.vm.power.Inject(power.Fault{
		Slot: d.Slot(), Function: f.Function, FIT: f.FIT, Status: cmp.Or(f.Status, nvdimm.StatusFailed),
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
