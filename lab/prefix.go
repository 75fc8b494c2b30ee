package lab

import (
	"fmt"
	"reflect"
	"slices"

	"nvlab/internal/states"
)

// The prefix of a boot ends where the guest's driver finds the channel of its agent. There is
// no driver of NVDIMMs before, so that boots have the same prefix whatever their NVDIMMs
// hold, and however often the VM was switched on.

// rememberPrefix keeps the VM, which is at the end of its boot's prefix. Its error is as
// that of remember.
func (r *rememberer) rememberPrefix(name states.Name) error {
	v := r.v
	if r.watch.any() || v.console.dropped || v.state != Running || v.power.Failed() || !reflect.DeepEqual(v.root.Save(), r.root) {
		return nil
	}
	s := &bootState{Version: stateVersion}
	if v.describe(s) != nil {
		return nil
	}
	s.Root = unasked(s.Root)
	s.tell(v, r.printed, r.happened+1) // all but how often it was switched on
	var expect *expected
	if v.x.lab.opts.Verify {
		expect = v.expected(name)
		defer expect.close()
	}
	n := stateName{name}
	images, err := r.keep(&n, "prefix of a boot", s, expect)
	if images != nil {
		r.base = &states.Base{Name: n.File(), Images: images}
	}
	return err
}

// recallPrefix makes the VM what another was at the end of its boot's prefix.
func (r *rememberer) recallPrefix(image *image, f *states.Found) bool {
	v := r.v
	s, err := decodeBoot(f.Meta())
	if err != nil {
		return false
	}
	images, err := f.Images(nil)
	if err != nil {
		return false
	}
	s.Root = v.root.Save()
	s.Happened = slices.Insert(s.Happened, 0, v.switchedOn())
	if !v.tryTake(image, s, images) {
		return false
	}
	r.base = &states.Base{Name: f.Name(), Images: images}
	if err := r.watch.arm(); err != nil {
		r.watch.err = err
	}
	return true
}

// switchedOn is that the machine is on.
func (v *VM) switchedOn() Happening {
	return Happening{Times: 1, Kind: KindPower, What: fmt.Sprintf("on: boot %d", v.boots)}
}
