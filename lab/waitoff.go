package lab

import (
	"context"
	"fmt"
	"time"

	"nvlab/vmm"
)

// WaitOff lets the guest run until its VM is off: because of an armed power
// cut, or because it powered off. It returns at once if the VM is off.
func (v *VM) WaitOff(ctx context.Context, timeout time.Duration) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state == Off:
		return nil
	}
	if err := v.on(); err != nil {
		return err
	}
	stop, err := v.run(ctx, timeout, func() bool { return false })
	switch {
	case err != nil:
		v.crash()
		return err
	case v.power.Failed():
		v.off()
		return nil
	}
	missed := v.power.Missed()
	switch {
	case stop == vmm.StopPowerOff:
		v.off()
		return missed
	case stop == vmm.StopDeadline && missed != nil:
		return fmt.Errorf("within %v of guest time, %w", timeout, missed)
	}
	return v.guestError(stop, "waiting for the VM to be off", timeout)
}
