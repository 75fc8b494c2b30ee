// Package entropy is a virtio entropy device (Virtual I/O Device
// specification 1.2, 5.4) whose bytes a seed determines.
package entropy

import (
	"math/rand/v2"

	"nvlab/vmm/device/virtio"
)

// maxRequest bounds the bytes given for one buffer; a driver asks again.
const maxRequest = 4096

// Entropy is the backend of the device.
type Entropy struct {
	Source *rand.ChaCha8 // its state can be marshalled
	dev    *virtio.Device
}

// New returns a device that draws from the seed.
func New(seed [32]byte, mem virtio.Memory, line func(bool)) (*Entropy, *virtio.Device) {
	e := &Entropy{Source: rand.NewChaCha8(seed)}
	e.dev = virtio.New(e, mem, line)
	return e, e.dev
}

func (*Entropy) ID() uint32       { return 4 }
func (*Entropy) Features() uint64 { return 0 }
func (*Entropy) Queues() int      { return 1 }
func (*Entropy) Config() []byte   { return nil }
func (*Entropy) Reset()           {}

// Notify fills the buffers that wait.
func (e *Entropy) Notify(queue int) {
	used := false
	for {
		c, ok := e.dev.Pop(queue)
		if !ok {
			break
		}
		p := make([]byte, min(c.InLen, maxRequest))
		e.Source.Read(p)
		n, ok := e.dev.Scatter(c, p)
		if !ok {
			return
		}
		e.dev.Push(queue, c, n)
		used = true
	}
	if used {
		e.dev.Interrupt(queue)
	}
}
