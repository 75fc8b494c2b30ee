// Package pmem is a virtio persistent memory device (Virtual I/O Device
// specification 1.2, 5.19): memory at an address, which the guest's stores go
// to, and a queue of flush requests, which make them durable.
package pmem

import (
	"encoding/binary"

	"nvlab/vmm/device/virtio"
)

// A Device is the backend of a transport. It remembers nothing: a request is
// done when it is taken.
type Device struct {
	config [16]byte
	flush  func() bool
	dev    *virtio.Device
}

// Requests and their results (5.19.6).
const (
	requestFlush = 0

	resultOK    = 0
	resultError = 1
)

// New returns a device of size bytes at a guest-physical address. Flush has what
// was stored there be durable, and says whether it is.
func New(base, size uint64, flush func() bool, mem virtio.Memory, line func(bool)) *virtio.Device {
	d := &Device{flush: flush}
	binary.LittleEndian.PutUint64(d.config[0:], base)
	binary.LittleEndian.PutUint64(d.config[8:], size)
	d.dev = virtio.New(d, mem, line)
	return d.dev
}

func (*Device) ID() uint32       { return 27 }
func (*Device) Features() uint64 { return 0 }
func (*Device) Queues() int      { return 1 }
func (d *Device) Config() []byte { return d.config[:] }
func (*Device) Reset()           {}

// Notify does the requests that wait.
func (d *Device) Notify(queue int) {
	used := false
	for {
		c, ok := d.dev.Pop(queue)
		if !ok {
			break
		}
		var request [4]byte
		result := uint32(resultError)
		p, ok := d.dev.Gather(request[:0], c, len(request))
		if !ok {
			return
		}
		if len(p) == len(request) && binary.LittleEndian.Uint32(p) == requestFlush && d.flush() {
			result = resultOK
		}
		n, ok := d.dev.Scatter(c, binary.LittleEndian.AppendUint32(nil, result))
		if !ok {
			return
		}
		d.dev.Push(queue, c, n)
		used = true
	}
	if used {
		d.dev.Interrupt(queue)
	}
}
