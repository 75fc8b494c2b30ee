package lab

import (
	"fmt"

	"nvlab/nvdimm"
)

// callFault makes _DSM calls of a DIMM fail.
type callFault struct {
	dimm     *NVDIMM
	fit      bool // of the root's _FIT instead
	function uint32
	status   uint32
	torn     *uint32 // bytes of a label write that are done
	nth      int     // calls until the first that fails, with it
	times    int     // how many fail
}

// Fail makes calls of a _DSM function fail: the nth from now on, and times in
// all. Function names are those of the language.
func (d *NVDIMM) Fail(function uint32, fit bool, status uint32, nth, times int) error {
	if err := d.faulty(); err != nil {
		return err
	}
	if status == 0 {
		return fmt.Errorf("status=0 is success: want the status that the guest gets, such as 4, a hardware error")
	}
	d.vm.power.calls = append(d.vm.power.calls, &callFault{dimm: d, fit: fit, function: function, status: status, nth: nth, times: times})
	return nil
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
	d.vm.power.calls = append(d.vm.power.calls, &callFault{dimm: d, function: nvdimm.FuncSetLabel, status: statusFailed, torn: &bytes, nth: nth, times: 1})
	return nil
}

func (d *NVDIMM) faulty() error {
	if d.vm.x.closed {
		return ErrClosed
	}
	return d.vm.has(d)
}

// fitHandle is the handle that _FIT's calls have.
const fitHandle = 0x10000

// inject fails the call if a fault says so.
func (p *power) inject(d *NVDIMM, c *nvdimm.Call) {
	for _, f := range p.calls {
		switch {
		case f.times == 0 || f.function != c.Function:
			continue
		case f.fit && c.Handle != fitHandle, !f.fit && d != f.dimm:
			continue
		case f.torn != nil && c.Data == "":
			continue
		}
		if f.nth--; f.nth > 0 {
			continue
		}
		f.times--
		if c.Status != 0 {
			continue // an earlier fault has it
		}
		c.Status = f.status
		if f.torn != nil {
			c.Torn = *f.torn
		}
	}
}
