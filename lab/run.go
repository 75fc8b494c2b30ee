package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"nvlab/vmm"
)

// tailLines is how much of the console goes with an error.
const tailLines = 40

// wallGuard bounds the wall time of a call that guest time bounds already: the
// software engine is within a factor of ten of real time.
func wallGuard(timeout time.Duration) time.Duration { return 2*time.Minute + 10*timeout }

// errGuard says that the wall-clock guard struck.
var errGuard = errors.New("wall-clock guard")

// run lets the guest run until done holds, for at most timeout of its time; 0
// is DefaultTimeout.
func (v *VM) run(ctx context.Context, timeout time.Duration, done func() bool) (vmm.Stop, error) {
	until := v.m.Clock() + cmp.Or(timeout, DefaultTimeout)
	if until < v.m.Clock() {
		return 0, fmt.Errorf("a timeout of %v is too long", timeout)
	}
	return v.runUntil(ctx, until, done)
}

// runUntil lets the guest run until done holds, or its clock is at until, if it is
// not past that. The guest's bytes go to the client as they come.
func (v *VM) runUntil(ctx context.Context, until time.Duration, done func() bool) (vmm.Stop, error) {
	guard := wallGuard(until - v.m.Clock())
	if v.x.lab.opts.GDB == nil { // which may take its time
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, guard, errGuard)
		defer cancel()
	}
	if v.turn != nil {
		v.turn.Unlock()
	}
	stop, err := v.m.Run(ctx, until, func() bool {
		v.feed()
		return done() || v.lost != nil || v.faulted() || v.power.Failed()
	})
	if v.turn != nil {
		v.turn.Lock()
	}
	v.settleMemory()
	var lost *vmm.LostMemoryError
	switch {
	case v.lost != nil:
		err = &Error{Class: ClassHost, Err: v.lost}
	case err == nil && v.power.Failed():
		return vmm.StopPowerOff, nil
	case err == nil:
		return stop, nil
	case context.Cause(ctx) == errGuard:
		err = classed(ClassHost, "the guest ran for %v of wall time and its clock for %v only: the wall-clock guard ended it", guard, v.m.Clock())
	case errors.As(err, &lost):
		err = &Error{Class: ClassHost, Err: v.explain(lost)}
	case ctx.Err() == nil:
		err = &Error{Class: ClassBug, Err: err, Console: v.console.tail(tailLines)}
	}
	return 0, err
}

// feed gives the client what the guest sent.
func (v *VM) feed() {
	if data := v.m.Channel().Receive(); len(data) > 0 {
		v.client.Feed(data) // its error is the client's, and final
		if out := v.client.Outgoing(); len(out) > 0 {
			v.m.Channel().Send(out)
		}
	}
}

// faulted says that there is no point in going on: the kernel stopped, or it
// reported a fault that fails the test. It lets the console have all of it.
func (v *VM) faulted() bool {
	ends := func(f *kernelFault) bool { return f != nil && (f.fatal || f.complete && !v.opts.AllowOops) }
	return ends(v.console.watch.fault) && ends(v.fault())
}

// lose takes note of a failure of the storage behind a DIMM. The guest must not
// go on as if nothing had happened.
func (v *VM) lose(err error) {
	v.lost = err
	v.m.Attention()
}

// explain says whose memory was lost, and to what.
func (v *VM) explain(lost *vmm.LostMemoryError) error {
	at, _, ok := v.root.Locate(lost.Base)
	for _, d := range v.dimms {
		if ok && d.DIMM == at {
			return fmt.Errorf("nvdimm %q: %w", d.ID(), d.backend.b.Lost(lost))
		}
	}
	return fmt.Errorf("RAM: %w", lost)
}

// Wait lets the guest run for that much of its time.
func (v *VM) Wait(ctx context.Context, d time.Duration) error {
	if err := v.on(); err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("cannot wait for %v", d)
	}
	if d == 0 {
		return v.oops()
	}
	stop, err := v.run(ctx, d, func() bool { return false })
	if err != nil {
		v.crash()
		return err
	}
	if stop != vmm.StopDeadline {
		return v.guestError(stop, "the guest was left to run", d)
	}
	return v.oops()
}

// A leftError says that the guest switched its machine off or reset it, as is
// its right, while a call was under way.
type leftError struct {
	doing string
	stop  vmm.Stop
	cut   string // the armed power cut that struck
}

func (e *leftError) Error() string {
	if e.cut != "" {
		return fmt.Sprintf("%s: the power was cut, as armed, before %s", e.doing, e.cut)
	}
	return fmt.Sprintf("%s: the guest's machine ended in a %v", e.doing, e.stop)
}

// guestError tells how the guest failed while it was doing something: a
// *leftError if it did not.
func (v *VM) guestError(stop vmm.Stop, doing string, timeout time.Duration) error {
	if v.power.Failed() {
		err := &leftError{doing: doing, stop: stop, cut: v.power.Armed().String()}
		v.off()
		return err
	}
	why := ""
	v.noteFault(v.fault())
	switch fault := v.fault(); {
	case fault != nil && (fault.fatal || stop == vmm.StopReset):
		why = "the guest's kernel panicked: " + fault.line
	case fault != nil && v.faulted():
		why = "the guest's kernel failed: " + fault.line
	case stop == vmm.StopDeadline && fault != nil:
		why = fmt.Sprintf("the guest's kernel failed (%s), and there was no end within %v of guest time", fault.line, timeout)
	case stop == vmm.StopDeadline:
		why = fmt.Sprintf("no end within %v of guest time", timeout)
	case stop == vmm.StopPowerOff:
		v.off()
		return &leftError{doing: doing, stop: stop}
	case stop == vmm.StopReset:
		v.note(KindPower, "reset")
		v.crashed()
		return &leftError{doing: doing, stop: stop}
	default:
		why = v.endedBy("the guest's machine ended in: " + stop.String())
	}
	if stopped := v.m.Stopped(); stopped != nil {
		why += ": " + stopped.Error()
	}
	v.reported = true
	err := &Error{Class: ClassGuest, Err: fmt.Errorf("%s: %s", doing, why), Console: v.lastMessages()}
	if stop != vmm.StopDeadline {
		v.crash()
	}
	return err
}

// oops is the fault of a machine that does not allow one, however its commands
// ended: of this boot, or of an earlier one that nobody was told of.
func (v *VM) oops() error {
	if v.opts.AllowOops {
		return nil
	}
	if fault := v.fault(); fault != nil {
		v.noteFault(fault)
		v.reported = true
		return v.faultError(fault)
	}
	return v.unreported
}

// KernelFault is the first line of what the guest's kernel said when it failed in
// this boot, "" if it did not.
func (v *VM) KernelFault() string {
	if fault := v.fault(); fault != nil {
		return fault.line
	}
	return ""
}

func (v *VM) faultError(fault *kernelFault) error {
	return &Error{Class: ClassGuest, Err: fmt.Errorf("the guest's kernel failed: %s", fault.line), Console: v.lastMessages()}
}

// forgetFault is for the begin of a boot.
func (v *VM) forgetFault() {
	if fault := v.fault(); fault != nil && !v.reported && !v.opts.AllowOops && v.unreported == nil {
		v.unreported = v.faultError(fault)
	}
	v.console.reset()
	v.klog, v.reported = kernelLog{}, false
}
