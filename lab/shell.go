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

// size is that of the window, 0 if there is none.
func (t *Terminal) size() (rows, cols int) {
	if t.Size == nil {
		return 0, 0
	}
	return t.Size()
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
	if rows, cols := term.size(); rows > 0 && cols > 0 {
		words = append(words, fmt.Sprintf("nvlab.size=%dx%d", rows, cols))
	}
	before := v.opts.Cmdline
	v.opts.Cmdline = strings.Join(append(words, before), " ")
	defer func() { v.opts.Cmdline = before }()
	defer v.off()
	if err := v.powerOn(ctx); err != nil {
		return err
	}
	c := v.connect(term)
	defer c.close()
	listen := func() bool {
		v.feed()
		if _, hello := v.client.Hello(); hello {
			c.open()
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
		if left, err := c.attend(ctx); left || err != nil {
			return err
		}
	}
}

// Shell connects the terminal to a shell on the serial console of the running guest,
// whose processes and mounts stay as they are, until that shell ends. Ctrl-A X, and a
// terminal that hangs up, end it, and what it has in the foreground. Input and clock
// are as for Interact. The VM goes on afterwards, unless the shell powered it off.
func (v *VM) Shell(ctx context.Context, term Terminal) error {
	if err := v.on(); err != nil {
		return err
	}
	v.depart()
	c := v.connect(term)
	defer c.close()
	c.open()
	_, err := v.converse(ctx, term.shell(), "a shell on the console", cancelTime, func(id uint32, answered func() bool) (vmm.Stop, error) {
		end := time.Duration(-1) // of the guest's clock, once the user has left
		for {
			stop, err := v.run(ctx, frame, answered)
			if err != nil || stop != vmm.StopDeadline || end >= 0 && v.m.Clock() >= end {
				return stop, err
			}
			left, err := c.attend(ctx)
			switch {
			case err != nil:
				return stop, err
			case left && end < 0:
				v.m.Channel().Send(v.client.Cancel(id))
				end = v.m.Clock() + cancelTime
			}
		}
	})
	return err
}

// shell is the request of a shell on the console. It leads a session, and so a
// terminal that it opens is its own, if that is nobody else's (tty_ioctl(4)).
func (t *Terminal) shell() *proto.Command {
	setup := "stty sane"
	if rows, cols := t.size(); rows > 0 && cols > 0 {
		setup = fmt.Sprintf("stty sane rows %d cols %d", rows, cols)
	}
	name := "vt220"
	if terminalName.MatchString(t.Name) {
		name = t.Name
	}
	r := proto.Shell("exec <>/dev/ttyS0 >&0 2>&0; " + setup + "; exec sh -i")
	r.Dir, r.Env = "/root", []string{"TERM=" + name, `PS1=\w # `}
	return r
}

// A connection is between a terminal and the serial console of a guest.
type connection struct {
	v     *VM
	term  Terminal
	typed <-chan []byte
	quit  chan struct{}
	began time.Time     // of the wall's clock,
	from  time.Duration // and of the guest's
}

// connect begins to read what is typed, and keeps it until the connection is open.
func (v *VM) connect(term Terminal) *connection {
	quit := make(chan struct{})
	return &connection{v: v, term: term, quit: quit, typed: keyboard(term.In, quit), began: time.Now(), from: v.m.Clock()}
}

func (c *connection) open() { c.v.console.echo = c.term.Out }

func (c *connection) close() {
	c.v.console.echo = nil
	close(c.quit)
}

// attend sends what is typed, or waits until the wall's clock is where the guest's is.
// left says that the user wants to leave.
func (c *connection) attend(ctx context.Context) (left bool, err error) {
	heard := c.typed
	if c.v.console.echo == nil {
		heard = nil // the shell would not see it
	}
	select {
	case p, ok := <-heard:
		if !ok {
			c.typed = nil
			return true, nil
		}
		c.v.m.ConsoleInput(p)
	case <-c.term.Resized:
		c.v.resize(c.term.size())
	case <-time.After(c.v.m.Clock() - c.from - time.Since(c.began)):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return false, nil
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
