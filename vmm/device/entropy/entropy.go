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
	source *rand.ChaCha8
	dev    *virtio.Device
}

// State is what the device remembers besides its transport.
type State struct {
	Source []byte // of math/rand/v2.ChaCha8.MarshalBinary
}

// Save returns the device's state.
func (e *Entropy) Save() (State, error) {
	b, err := e.source.MarshalBinary()
	return State{b}, err
}

// Load has the device go on from a state.
func (e *Entropy) Load(s State) error {
	// UnmarshalBinary keeps the rest of a word that Read has begun (Go 1.26).
	*e.source = rand.ChaCha8{}
	return e.source.UnmarshalBinary(s.Source)
}

// Seed has the device draw from another seed from now on.
func (e *Entropy) Seed(seed [32]byte) { e.source.Seed(seed) }

// New returns a device that draws from the seed.
func New(seed [32]byte, mem virtio.Memory, line func(bool)) (*Entropy, *virtio.Device) {
	e := &Entropy{source: rand.NewChaCha8(seed)}
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
		e.source.Read(p)
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
