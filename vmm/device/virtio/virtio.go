// Package virtio is the device side of virtio over MMIO with split queues:
// the transport that every device shares. Sections are of the Virtual I/O
// Device specification, version 1.2.
//
// The guest writes all of it: registers, queue addresses, rings. Whatever it
// writes, a device goes no further than to ask for a reset (2.1.2).
package virtio

import (
	"cmp"
	"errors"
	"fmt"
	"io"
)

// Memory is guest-physical memory. An access outside of RAM is an error.
type Memory interface {
	io.ReaderAt
	io.WriterAt
}

// A Backend is what makes a device of one kind out of the transport. The
// transport calls it and is called by it under one lock.
type Backend interface {
	ID() uint32       // 5, device types
	Features() uint64 // offered besides VERSION_1; none of the transport's
	Queues() int      // their number
	Config() []byte   // the device configuration space; read only
	Notify(queue int) // the driver added buffers
	Reset()           // forget all but what the host side queued
}

// Feature bits of the transport (6).
const FeatureVersion1 = 1 << 32

// Status bits (2.1).
const (
	StatusAcknowledge = 1
	StatusDriver      = 2
	StatusDriverOK    = 4
	StatusFeaturesOK  = 8
	StatusNeedsReset  = 64
	StatusFailed      = 128
)

// Interrupt status bits (4.2.2).
const (
	interruptUsed   = 1
	interruptConfig = 2
)

// Offsets of the registers (4.2.2, table 4.1).
const (
	regMagic             = 0x000
	regVersion           = 0x004
	regDeviceID          = 0x008
	regVendorID          = 0x00c
	regDeviceFeatures    = 0x010
	regDeviceFeaturesSel = 0x014
	regDriverFeatures    = 0x020
	regDriverFeaturesSel = 0x024
	regQueueSel          = 0x030
	regQueueNumMax       = 0x034
	regQueueNum          = 0x038
	regQueueReady        = 0x044
	regQueueNotify       = 0x050
	regInterruptStatus   = 0x060
	regInterruptACK      = 0x064
	regStatus            = 0x070
	regQueueDescLow      = 0x080
	regQueueDescHigh     = 0x084
	regQueueDriverLow    = 0x090
	regQueueDriverHigh   = 0x094
	regQueueDeviceLow    = 0x0a0
	regQueueDeviceHigh   = 0x0a4
	regSHMLenLow         = 0x0b0 // to the end of the base, 0x0bf: no region
	regSHMBaseHigh       = 0x0bc
	regConfigGeneration  = 0x0fc
	regConfig            = 0x100
)

const (
	magic    = 0x74726976 // "virt"
	version  = 2
	vendorID = 0x4241_4c4e // "NLAB"
)

// A Device is a virtio device behind a page of registers.
type Device struct {
	State
	backend Backend
	mem     Memory
	line    func(bool)
	stopped error // why the device asks for a reset, if it was it that found out
}

// State is what the transport remembers.
type State struct {
	Status      uint32
	FeaturesSel [2]uint32 // device's, driver's
	Features    uint64    // as the driver accepted them
	QueueSel    uint32
	Pending     uint32 // interrupt status
	Queues      []Queue
}

// Clone returns a state that shares nothing with s.
func (s State) Clone() State {
	s.Queues = append([]Queue(nil), s.Queues...)
	return s
}

// New returns a device after a reset, which drives an interrupt line.
func New(backend Backend, mem Memory, line func(bool)) *Device {
	d := &Device{backend: backend, mem: mem, line: line}
	d.Queues = make([]Queue, backend.Queues())
	return d
}

// Running says that the driver and the device may use the queues.
func (d *Device) Running() bool {
	return d.Status&StatusDriverOK != 0 && d.Status&(StatusNeedsReset|StatusFailed) == 0
}

// reset is what a status of zero does (2.4).
func (d *Device) reset() {
	clear(d.Queues)
	d.State, d.stopped = State{Queues: d.Queues}, nil
	d.line(false)
	d.backend.Reset()
}

// interrupt tells the driver something until it acknowledges.
func (d *Device) interrupt(bits uint32) {
	d.Pending |= bits
	d.line(true)
}

// Fail stops the device: it asks the driver for a reset and touches no queue
// until then.
func (d *Device) Fail(why error) {
	d.Status |= StatusNeedsReset
	d.stopped = why
	d.interrupt(interruptConfig)
}

// Stopped is why the device asks for a reset, nil if it does not. It is no part
// of the State, so that a device which was saved since only knows that it does.
func (d *Device) Stopped() error {
	if d.Status&StatusNeedsReset == 0 {
		return nil
	}
	return cmp.Or(d.stopped, errNeedsReset)
}

var errNeedsReset = errors.New("it asks for a reset")

func (d *Device) features() uint64 { return d.backend.Features() | FeatureVersion1 }

func (d *Device) queue() *Queue {
	if uint64(d.QueueSel) < uint64(len(d.Queues)) {
		return &d.Queues[d.QueueSel]
	}
	return nil
}

// Read is a load from the registers, which are 4 bytes wide (4.2.2.2).
func (d *Device) Read(offset uint64, size int) uint64 {
	if offset >= regConfig {
		return d.readConfig(offset-regConfig, size)
	}
	if size != 4 {
		return 0
	}
	switch offset {
	case regMagic:
		return magic
	case regVersion:
		return version
	case regDeviceID:
		return uint64(d.backend.ID())
	case regVendorID:
		return vendorID
	case regDeviceFeatures:
		return half(d.features(), d.FeaturesSel[0])
	case regQueueNumMax:
		if d.queue() != nil {
			return MaxQueue
		}
	case regQueueReady:
		if q := d.queue(); q != nil && q.Ready {
			return 1
		}
	case regInterruptStatus:
		return uint64(d.Pending)
	case regStatus:
		return uint64(d.Status)
	}
	if offset >= regSHMLenLow && offset <= regSHMBaseHigh {
		return 0xffff_ffff // 4.2.2: no shared memory region
	}
	return 0
}

func (d *Device) readConfig(offset uint64, size int) (v uint64) {
	c := d.backend.Config()
	for i := range uint64(size) {
		if offset+i < uint64(len(c)) {
			v |= uint64(c[offset+i]) << (8 * i)
		}
	}
	return v
}

// half is the low or high word of v; words beyond are zero.
func half(v uint64, sel uint32) uint64 {
	if sel > 1 {
		return 0
	}
	return v >> (32 * sel) & 0xffff_ffff
}

// setHalf replaces the word of v at bit shift.
func setHalf(v *uint64, shift uint, word uint64) {
	*v = *v&^(0xffff_ffff<<shift) | word&0xffff_ffff<<shift
}

// Write is a store to the registers.
func (d *Device) Write(offset uint64, size int, v uint64) {
	if offset >= regConfig || size != 4 {
		return
	}
	switch offset {
	case regDeviceFeaturesSel:
		d.FeaturesSel[0] = uint32(v)
	case regDriverFeaturesSel:
		d.FeaturesSel[1] = uint32(v)
	case regDriverFeatures:
		if sel := d.FeaturesSel[1]; sel <= 1 && d.Status&StatusFeaturesOK == 0 {
			setHalf(&d.Features, uint(32*sel), v)
		}
	case regQueueSel:
		d.QueueSel = uint32(v)
	case regQueueNotify:
		if d.Running() && v < uint64(len(d.Queues)) {
			d.backend.Notify(int(v))
		}
	case regInterruptACK:
		d.Pending &^= uint32(v)
		d.line(d.Pending != 0)
	case regStatus:
		d.setStatus(uint32(v))
	default:
		d.setQueue(offset, v)
	}
}

// setStatus follows the driver through initialisation (3.1.1).
func (d *Device) setStatus(v uint32) {
	if v == 0 {
		d.reset()
		return
	}
	// FEATURES_OK holds only for features that were offered, VERSION_1 among
	// them (2.2.2); NEEDS_RESET is the device's alone.
	if d.Features&^d.features() != 0 || d.Features&FeatureVersion1 == 0 {
		v &^= StatusFeaturesOK
	}
	if v&StatusFeaturesOK == 0 {
		v &^= StatusDriverOK
	}
	started := v&^d.Status&StatusDriverOK != 0
	d.Status = v&0xff&^StatusNeedsReset | d.Status&StatusNeedsReset
	if started {
		for i := range d.Queues {
			if d.Running() && d.Queues[i].Ready {
				d.backend.Notify(i)
			}
		}
	}
}

// setQueue changes the selected queue, which must not be in use but for being
// switched off.
func (d *Device) setQueue(offset, v uint64) {
	q := d.queue()
	if q == nil || q.Ready && offset != regQueueReady {
		return
	}
	switch offset {
	case regQueueNum:
		// 2.7: a power of two.
		if v != 0 && v <= MaxQueue && v&(v-1) == 0 {
			q.Size = uint16(v)
		}
	case regQueueReady:
		q.Ready = v&1 != 0 && q.Size != 0
		q.NextAvail, q.NextUsed = 0, 0
	case regQueueDescLow:
		setHalf(&q.Desc, 0, v)
	case regQueueDescHigh:
		setHalf(&q.Desc, 32, v)
	case regQueueDriverLow:
		setHalf(&q.Avail, 0, v)
	case regQueueDriverHigh:
		setHalf(&q.Avail, 32, v)
	case regQueueDeviceLow:
		setHalf(&q.Used, 0, v)
	case regQueueDeviceHigh:
		setHalf(&q.Used, 32, v)
	}
}

// errGuest is a mistake of the driver.
func errGuest(format string, args ...any) error {
	return fmt.Errorf("virtio driver: "+format, args...)
}
