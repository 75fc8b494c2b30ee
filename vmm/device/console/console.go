// Package console is a virtio console device (Virtual I/O Device
// specification 1.2, 5.3) with one named port: a byte channel between a
// program in the guest and the host. Linux shows it as /dev/vport0p1 and
// /dev/virtio-ports/NAME.
package console

import (
	"bytes"
	"encoding/binary"

	"nvlab/vmm/device/virtio"
)

// Queues (5.3.2). Port 0 exists in the numbering alone.
const (
	queueControlIn  = 2 // device to driver
	queueControlOut = 3
	queueIn         = 4 // of port 1
	queueOut        = 5
	queues          = 6
)

const featureMultiport = 1 << 1

// Events of control messages (5.3.6.2).
const (
	deviceReady = 0
	deviceAdd   = 1
	portReady   = 3
	portOpen    = 6
	portName    = 7
)

const (
	port        = 1
	controlSize = 8

	maxChain   = 1 << 20 // bytes in a buffer of the driver; Linux sends up to 32 KiB
	maxWaiting = 4 << 20 // bytes of the guest that the host did not take
	maxControl = 64      // control messages that the guest did not take
)

// A Console is the backend of the device.
type Console struct {
	State
	name      string
	dev       *virtio.Device
	attention func()
}

// State is what a console remembers besides its transport.
type State struct {
	Open      bool     // a program in the guest has the port open
	ToGuest   []byte   // waits for the port to open, and for buffers
	FromGuest []byte   // waits for Receive
	Control   [][]byte // messages that wait for buffers
}

// Clone returns a state that shares nothing with s.
func (s State) Clone() State {
	s.ToGuest = append([]byte(nil), s.ToGuest...)
	s.FromGuest = append([]byte(nil), s.FromGuest...)
	s.Control = append([][]byte(nil), s.Control...)
	for i, m := range s.Control {
		s.Control[i] = bytes.Clone(m)
	}
	return s
}

// New returns a console with a port of that name. It calls attention when the
// host has something to look at.
func New(name string, mem virtio.Memory, line func(bool), attention func()) (*Console, *virtio.Device) {
	c := &Console{name: name, attention: attention}
	c.dev = virtio.New(c, mem, line)
	return c, c.dev
}

func (*Console) ID() uint32       { return 3 }
func (*Console) Features() uint64 { return featureMultiport }
func (*Console) Queues() int      { return queues }

// Config is columns, rows, the number of ports and the emergency write
// register (5.3.4).
func (*Console) Config() []byte { return []byte{0, 0, 0, 0, port + 1, 0, 0, 0, 0, 0, 0, 0} }

// Reset closes the port. What the guest sent stays, and what waits for a
// first program to open it.
func (c *Console) Reset() {
	c.Control = nil
	c.setOpen(false)
}

// Send queues bytes for the guest.
func (c *Console) Send(p []byte) {
	c.ToGuest = append(c.ToGuest, p...)
	c.deliver()
}

// Found says that the guest's driver has found the device.
func (c *Console) Found() bool { return c.dev.Running() }

// Receive takes what the guest sent.
func (c *Console) Receive() []byte {
	p := c.FromGuest
	c.FromGuest = nil
	c.collect()
	return p
}

// Notify is called when the driver added buffers to a queue.
func (c *Console) Notify(queue int) {
	switch queue {
	case queueControlIn:
		c.control()
	case queueControlOut:
		c.commands()
	case queueIn:
		c.deliver()
	case queueOut:
		c.collect()
	}
}

// deliver moves waiting bytes into the guest's buffers. The guest drops what
// comes while no program has the port open, so they wait until then.
func (c *Console) deliver() {
	used := false
	for c.Open && len(c.ToGuest) > 0 {
		b, ok := c.dev.Pop(queueIn)
		if !ok {
			c.dev.Wanted(queueIn, true)
			if b, ok = c.dev.Pop(queueIn); !ok {
				break
			}
		}
		n, ok := c.dev.Scatter(b, c.ToGuest)
		if !ok {
			return
		}
		c.ToGuest = c.ToGuest[n:]
		c.dev.Push(queueIn, b, n)
		used = true
	}
	if used {
		c.dev.Interrupt(queueIn)
	}
	if len(c.ToGuest) == 0 {
		c.ToGuest = nil
		c.dev.Wanted(queueIn, false)
	}
}

// collect takes what the guest sent, until too much waits for the host.
func (c *Console) collect() {
	used := false
	for len(c.FromGuest) < maxWaiting {
		b, ok := c.dev.Pop(queueOut)
		if !ok {
			break
		}
		if c.FromGuest, ok = c.dev.Gather(c.FromGuest, b, maxChain); !ok {
			break
		}
		c.dev.Push(queueOut, b, 0)
		used = true
	}
	if used {
		c.dev.Interrupt(queueOut)
		c.attention()
	}
}

// commands answers the driver's control messages.
func (c *Console) commands() {
	used := false
	for {
		b, ok := c.dev.Pop(queueControlOut)
		if !ok {
			break
		}
		m, ok := c.dev.Gather(nil, b, 4096)
		if !ok {
			return
		}
		c.dev.Push(queueControlOut, b, 0)
		used = true
		if len(m) < controlSize {
			continue
		}
		id := binary.LittleEndian.Uint32(m)
		event := binary.LittleEndian.Uint16(m[4:])
		value := binary.LittleEndian.Uint16(m[6:])
		c.command(id, event, value)
	}
	if used {
		c.dev.Interrupt(queueControlOut)
		c.control()
	}
}

func (c *Console) command(id uint32, event, value uint16) {
	switch {
	case event == deviceReady && value == 1:
		c.say(deviceAdd, 0, "")
		c.attention()
	case id != port:
	case event == portReady && value == 1:
		c.say(portName, 1, c.name)
		c.say(portOpen, 1, "")
	case event == portOpen:
		c.setOpen(value == 1)
	}
}

// setOpen follows the program in the guest. What was meant for one that is
// gone is not for the next.
func (c *Console) setOpen(open bool) {
	if c.Open == open {
		return
	}
	c.Open = open
	if !open {
		c.ToGuest = nil
	}
	c.deliver()
	c.attention()
}

// say queues a control message. A driver that takes none loses them.
func (c *Console) say(event, value uint16, text string) {
	if len(c.Control) >= maxControl {
		return
	}
	m := binary.LittleEndian.AppendUint32(nil, port)
	m = binary.LittleEndian.AppendUint16(m, event)
	m = binary.LittleEndian.AppendUint16(m, value)
	c.Control = append(c.Control, append(m, text...))
}

// control moves waiting messages into the guest's buffers.
func (c *Console) control() {
	used := false
	for len(c.Control) > 0 {
		b, ok := c.dev.Pop(queueControlIn)
		if !ok {
			break
		}
		n, ok := c.dev.Scatter(b, c.Control[0])
		if !ok {
			return
		}
		c.Control = c.Control[1:]
		c.dev.Push(queueControlIn, b, n)
		used = true
	}
	if used {
		c.dev.Interrupt(queueControlIn)
	}
}
