package lab

import (
	"cmp"
	"fmt"

	"nvlab/nvdimm"
)

// A CallFault makes _DSM calls fail.
type CallFault struct {
	Function uint32
	FIT      bool   // of the root's _FIT instead of the DIMM
	Status   uint32 // that the guest gets; 0 is nvdimm.StatusFailed
	Nth      int    // calls until the first that fails, with it; 0 is 1
	Times    int    // how many fail; 0 is 1
}

// callFault is a CallFault that waits.
type callFault struct {
	CallFault
	dimm *NVDIMM
	torn *uint32 // bytes of a label write that are done
}

// Fail makes calls to the DIMM's firmware fail from now on.
func (d *NVDIMM) Fail(f CallFault) error {
	if err := d.faulty(); err != nil {
		return err
	}
	d.addFault(f, nil)
	return nil
}

func (d *NVDIMM) addFault(f CallFault, torn *uint32) {
	f.Status = cmp.Or(f.Status, nvdimm.StatusFailed)
	f.Nth, f.Times = max(f.Nth, 1), max(f.Times, 1)
	d.vm.power.calls = append(d.vm.power.calls, &callFault{f, d, torn})
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
	d.addFault(CallFault{Function: nvdimm.FuncSetLabel, Nth: nth}, &bytes)
	return nil
}

func (d *NVDIMM) faulty() error {
	if d.vm.x.closed {
		return ErrClosed
	}
	return d.vm.has(d)
}

// inject fails the call if a fault says so.
func (p *power) inject(d *NVDIMM, c *nvdimm.Call) {
	for _, f := range p.calls {
		switch {
		case f.Times == 0 || f.Function != c.Function:
			continue
		case f.FIT && c.Handle != nvdimm.FITHandle, !f.FIT && d != f.dimm:
			continue
		case f.torn != nil && c.Data == "":
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
		if f.torn != nil {
			c.Torn = *f.torn
		}
	}
}
