package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"nvlab/guest/proto"
	"nvlab/vmm"
)

// A Terminal is what a shell is shown on.
type Terminal struct {
	In   io.Reader
	Out  io.Writer
	Name string // TERM; "" is vt220
	// Size tells rows and columns, 0 if it is none. Resized says when to ask
	// again.
	Size    func() (rows, cols int)
	Resized <-chan struct{}
}

// Interact switches the machine on with a shell on its serial console, and
// connects that to the terminal until the shell ends, In says Ctrl-A X, or In
// fails, as a terminal does that hangs up. At the end of In, such as a pipe's, the
// shell gets a Ctrl-D. Nothing is shown before the shell begins, and what is
// typed before is kept for it. The guest's clock is held to
// the wall's, so that an idle guest costs nothing. It leaves the machine off.
func (v *VM) Interact(ctx context.Context, term Terminal) error {
	if v.state != Off {
		return errors.New("the VM is on already")
	}
	words := []string{"nvlab.shell"}
	if terminalName.MatchString(term.Name) {
		words = append(words, "nvlab.term="+term.Name)
	}
	size := func() (rows, cols int) { return 0, 0 }
	if term.Size != nil {
		size = term.Size
	}
	if rows, cols := size(); rows > 0 && cols > 0 {
		words = append(words, fmt.Sprintf("nvlab.size=%dx%d", rows, cols))
	}
	before := v.opts.Cmdline
	v.opts.Cmdline = strings.Join(append(words, before), " ")
	defer func() { v.opts.Cmdline = before }()
	defer func() { v.console.echo = nil }()
	defer v.off()
	if err := v.powerOn(ctx); err != nil {
		return err
	}
	quit := make(chan struct{})
	defer close(quit)
	typed := keyboard(term.In, quit)
	start := time.Now()
	listen := func() bool {
		v.feed()
		if _, hello := v.client.Hello(); hello {
			v.console.echo = term.Out
		}
		return false
	}
	for {
		stop, err := v.m.Run(ctx, v.m.Clock()+frame, listen)
		switch {
		case err != nil:
			return err
		case v.console.echo == nil && stop != vmm.StopDeadline:
			return v.bootError(stop, 0)
		case stop == vmm.StopPowerOff || stop == vmm.StopReset:
			return nil
		case stop != vmm.StopDeadline:
			return v.guestError(stop, "the shell was running", 0)
		}
		heard := typed
		if v.console.echo == nil {
			heard = nil // the shell would not see it
		}
		select {
		case p, ok := <-heard:
			if !ok {
				return nil
			}
			v.m.ConsoleInput(p)
		case <-term.Resized:
			v.resize(size())
		case <-time.After(v.m.Clock() - time.Since(start)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// terminalName keeps what is no word of a command line out of it.
var terminalName = regexp.MustCompile(`^[A-Za-z0-9.+_-]{1,64}$`)

// resize tells the shell's terminal its new size; the kernel tells programs.
func (v *VM) resize(rows, cols int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	_, send, err := v.client.Start(&proto.Command{Run: proto.Run{Argv: []string{"stty", "-F", "/dev/ttyS0", "rows", strconv.Itoa(rows), "cols", strconv.Itoa(cols)}}})
	if err == nil { // else the guest does not listen yet
		v.m.Channel().Send(send)
	}
}

// frame is how long the guest runs between two looks at the keyboard.
const frame = 10 * time.Millisecond

// escape is Ctrl-A, as in QEMU's -nographic: with x it leaves, twice it is
// itself.
const escape = 1

// endOfInput is Ctrl-D.
const endOfInput = 4

// keyboard reads what is typed, and Ctrl-D at the end of in. The channel is closed
// at Ctrl-A X, and if in fails.
func keyboard(in io.Reader, quit <-chan struct{}) <-chan []byte {
	typed := make(chan []byte)
	go func() {
		var keys escapes
		buf := make([]byte, 256)
		for {
			n, err := in.Read(buf)
			p, leave := keys.filter(buf[:n])
			end := err == io.EOF && !leave
			if end {
				p = append(p, endOfInput)
			}
			if len(p) > 0 {
				select {
				case typed <- bytes.Clone(p):
				case <-quit:
					return
				}
			}
			switch {
			case end:
				return
			case leave || err != nil:
				close(typed)
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
