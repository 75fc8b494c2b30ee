package lab

import (
	"context"
	"errors"
	"io"
	"time"

	"nvlab/vmm"
)

// Interact switches the machine on with a shell on its serial console, and
// connects that to in and out until the shell ends, in says Ctrl-A X, or in
// ends. The guest's clock is held to the wall's, so that an idle guest costs
// nothing. It leaves the machine off.
func (v *VM) Interact(ctx context.Context, in io.Reader, out io.Writer) error {
	if v.state != Off {
		return errors.New("the VM is on already")
	}
	v.opts.Cmdline = "nvlab.shell " + v.opts.Cmdline
	v.console.echo = out
	defer func() { v.console.echo = nil }()
	defer v.off()
	if err := v.powerOn(ctx); err != nil {
		return err
	}
	quit := make(chan struct{})
	defer close(quit)
	typed := keyboard(in, quit)
	start := time.Now()
	for {
		stop, err := v.m.Run(ctx, v.m.Clock()+frame, nil)
		switch {
		case err != nil:
			return err
		case stop == vmm.StopPowerOff || stop == vmm.StopReset:
			return nil
		case stop != vmm.StopDeadline:
			return v.guestError(stop, "the shell was running", 0)
		}
		select {
		case p, ok := <-typed:
			if !ok {
				return nil
			}
			v.m.ConsoleInput(p)
		case <-time.After(v.m.Clock() - time.Since(start)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// frame is how long the guest runs between two looks at the keyboard.
const frame = 10 * time.Millisecond

// escape is Ctrl-A, as in QEMU's -nographic: with x it leaves, twice it is
// itself.
const escape = 1

// keyboard reads what is typed. The channel is closed at the end of in and at
// Ctrl-A X.
func keyboard(in io.Reader, quit <-chan struct{}) <-chan []byte {
	typed := make(chan []byte)
	go func() {
		defer close(typed)
		var keys escapes
		buf := make([]byte, 256)
		for {
			n, err := in.Read(buf)
			p, leave := keys.filter(buf[:n])
			if len(p) > 0 {
				select {
				case typed <- p:
				case <-quit:
					return
				}
			}
			if leave || err != nil {
				return
			}
		}
	}()
	return typed
}

// escapes finds Ctrl-A sequences, which may come in parts.
type escapes struct{ pending bool }

// filter returns what is for the guest, and whether the user wants to leave.
func (e *escapes) filter(p []byte) (guest []byte, leave bool) {
	for _, b := range p {
		switch {
		case !e.pending && b == escape:
			e.pending = true
			continue
		case e.pending && (b == 'x' || b == 'X'):
			return guest, true
		case e.pending && b != escape:
			guest = append(guest, escape)
		}
		e.pending = false
		guest = append(guest, b)
	}
	return guest, false
}
