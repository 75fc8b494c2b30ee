package virtio

import "encoding/binary"

// MaxQueue is the largest number of descriptors in a queue.
const MaxQueue = 256

// Queue is a split virtqueue (2.7) as the driver set it up, and how far the
// device came.
type Queue struct {
	Size                uint16 // descriptors; a power of two
	Ready               bool
	Desc, Avail, Used   uint64 // guest-physical
	NextAvail, NextUsed uint16 // free-running
}

// Flags of a descriptor (2.7.5) and of the two rings (2.7.6, 2.7.8).
const (
	descNext     = 1
	descWrite    = 2
	descIndirect = 4

	availNoInterrupt = 1
	usedNoNotify     = 1
)

const descSize = 16

// A Span is a part of guest memory.
type Span struct {
	Addr uint64
	Len  uint32
}

// A Chain is a buffer that the driver made available.
type Chain struct {
	Head  uint16
	Out   []Span // for the device to read
	In    []Span // for the device to write
	InLen uint64 // bytes of In
}

// Pop takes the next buffer of a queue. It is not there while none waits, or
// after a mistake of the driver, which stops the device.
func (d *Device) Pop(queue int) (Chain, bool) {
	if !d.Running() || !d.Queues[queue].Ready {
		return Chain{}, false
	}
	c, ok, err := d.pop(&d.Queues[queue])
	if err != nil {
		d.Fail(err)
		return Chain{}, false
	}
	return c, ok
}

func (d *Device) pop(q *Queue) (c Chain, ok bool, err error) {
	idx, err := d.read16(q.Avail, 2)
	if err != nil {
		return c, false, err
	}
	switch waiting := idx - q.NextAvail; {
	case waiting == 0:
		return c, false, nil
	case waiting > q.Size:
		return c, false, errGuest("%d buffers available in a queue of %d", waiting, q.Size)
	}
	c.Head, err = d.read16(q.Avail, 4+2*uint64(q.NextAvail%q.Size))
	if err != nil {
		return c, false, err
	}
	q.NextAvail++
	return c, true, d.walk(q, &c)
}

// walk follows the chain from its head. No chain is longer than its queue.
func (d *Device) walk(q *Queue, c *Chain) error {
	var b [descSize]byte
	at := c.Head
	for range q.Size {
		if at >= q.Size {
			return errGuest("descriptor %d in a queue of %d", at, q.Size)
		}
		if _, err := d.mem.ReadAt(b[:], int64(q.Desc+descSize*uint64(at))); err != nil {
			return err
		}
		s := Span{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint32(b[8:])}
		flags := binary.LittleEndian.Uint16(b[12:])
		switch {
		case flags&descIndirect != 0:
			return errGuest("indirect descriptor without the feature")
		case flags&descWrite != 0:
			c.In = append(c.In, s)
			c.InLen += uint64(s.Len)
		case len(c.In) > 0:
			return errGuest("descriptor to read behind one to write")
		default:
			c.Out = append(c.Out, s)
		}
		if flags&descNext == 0 {
			return nil
		}
		at = binary.LittleEndian.Uint16(b[14:])
	}
	return errGuest("descriptors form a loop")
}

// Gather appends what the driver sent to b: at most limit bytes, above which
// the device stops, as it does for a buffer outside of memory.
func (d *Device) Gather(b []byte, c Chain, limit int) ([]byte, bool) {
	start := len(b)
	for _, s := range c.Out {
		if uint64(len(b)-start)+uint64(s.Len) > uint64(limit) {
			d.Fail(errGuest("more than %d bytes in a buffer", limit))
			return b[:start], false
		}
		at := len(b)
		b = append(b, make([]byte, s.Len)...)
		if _, err := d.mem.ReadAt(b[at:], int64(s.Addr)); err != nil {
			d.Fail(err)
			return b[:start], false
		}
	}
	return b, true
}

// Scatter fills a buffer with p, or the start of p that fits, and says how many
// bytes that were.
func (d *Device) Scatter(c Chain, p []byte) (n int, ok bool) {
	for _, s := range c.In {
		part := p[n:]
		if uint64(len(part)) > uint64(s.Len) {
			part = part[:s.Len]
		}
		if len(part) == 0 {
			break
		}
		if _, err := d.mem.WriteAt(part, int64(s.Addr)); err != nil {
			d.Fail(err)
			return n, false
		}
		n += len(part)
	}
	return n, true
}

// Push returns a buffer to the driver with n bytes written into it. Interrupt
// tells the driver.
func (d *Device) Push(queue int, c Chain, n int) {
	q := &d.Queues[queue]
	var e [8]byte
	binary.LittleEndian.PutUint32(e[:], uint32(c.Head))
	binary.LittleEndian.PutUint32(e[4:], uint32(n))
	if _, err := d.mem.WriteAt(e[:], int64(q.Used+4+8*uint64(q.NextUsed%q.Size))); err != nil {
		d.Fail(err)
		return
	}
	q.NextUsed++
	d.write16(q.Used, 2, q.NextUsed)
}

// Interrupt tells the driver that a queue has used buffers, unless it does
// not want to know.
func (d *Device) Interrupt(queue int) {
	if !d.Running() {
		return
	}
	flags, err := d.read16(d.Queues[queue].Avail, 0)
	if err != nil {
		d.Fail(err)
		return
	}
	if flags&availNoInterrupt == 0 {
		d.interrupt(interruptUsed)
	}
}

// Wanted tells the driver whether to notify when it adds buffers (2.7.10).
// Buffers that were added just before it is switched on go unnoticed: Pop
// again.
func (d *Device) Wanted(queue int, on bool) {
	if q := &d.Queues[queue]; d.Running() && q.Ready {
		flags := uint16(usedNoNotify)
		if on {
			flags = 0
		}
		d.write16(q.Used, 0, flags)
	}
}

func (d *Device) read16(base, offset uint64) (uint16, error) {
	var b [2]byte
	_, err := d.mem.ReadAt(b[:], int64(base+offset))
	return binary.LittleEndian.Uint16(b[:]), err
}

func (d *Device) write16(base, offset uint64, v uint16) {
	if _, err := d.mem.WriteAt(binary.LittleEndian.AppendUint16(nil, v), int64(base+offset)); err != nil {
		d.Fail(err)
	}
}
