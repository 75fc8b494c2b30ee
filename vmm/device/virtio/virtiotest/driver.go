// Package virtiotest is the driver's side of virtio over MMIO, for tests of
// devices.
package virtiotest

import (
	"encoding/binary"
	"errors"
)

// Memory is guest memory that starts at address 0.
type Memory []byte

var errNoMemory = errors.New("not memory")

func (m Memory) ReadAt(p []byte, addr int64) (int, error) {
	if addr < 0 || addr > int64(len(m)) || int64(len(p)) > int64(len(m))-addr {
		return 0, errNoMemory
	}
	return copy(p, m[addr:]), nil
}

func (m Memory) WriteAt(p []byte, addr int64) (int, error) {
	if addr < 0 || addr > int64(len(m)) || int64(len(p)) > int64(len(m))-addr {
		return 0, errNoMemory
	}
	return copy(m[addr:], p), nil
}

// Registers is a device.
type Registers interface {
	Read(offset uint64, size int) uint64
	Write(offset uint64, size int, v uint64)
}

// QueueSize is the number of descriptors of every queue of a Driver.
const QueueSize = 8

// Every queue has a page, with its parts at these offsets, and every
// descriptor a buffer of BufferSize bytes behind all the queues' pages.
const (
	availOffset = 0x400
	usedOffset  = 0x800
	pageSize    = 0x1000

	BufferSize = 4096
)

// A Driver drives a device as Linux does.
type Driver struct {
	Dev    Registers
	Mem    Memory
	queues int
	avail  []uint16
	used   []uint16
	free   [][]uint16
}

// MemorySize is what a Driver of that many queues needs.
func MemorySize(queues int) int { return queues * (pageSize + QueueSize*BufferSize) }

// NewDriver resets and starts a device.
func NewDriver(dev Registers, mem Memory, queues int, features uint64) *Driver {
	d := &Driver{Dev: dev, Mem: mem, queues: queues, avail: make([]uint16, queues), used: make([]uint16, queues), free: make([][]uint16, queues)}
	clear(mem[:queues*pageSize])
	d.put(0x70, 0)
	d.put(0x70, 1)
	d.put(0x70, 3)
	for i := range uint64(2) {
		d.put(0x24, i)
		d.put(0x20, features>>(32*i)&0xffff_ffff)
	}
	d.put(0x70, 11)
	for q := range uint64(queues) {
		d.put(0x30, q)
		d.put(0x38, QueueSize)
		page := q * pageSize
		d.put(0x80, page)
		d.put(0x84, 0)
		d.put(0x90, page+availOffset)
		d.put(0x94, 0)
		d.put(0xa0, page+usedOffset)
		d.put(0xa4, 0)
		d.put(0x44, 1)
		for i := range uint16(QueueSize) {
			d.free[q] = append(d.free[q], i)
		}
	}
	d.put(0x70, 15)
	return d
}

func (d *Driver) put(reg, v uint64) { d.Dev.Write(reg, 4, v) }

// Get reads a register.
func (d *Driver) Get(reg uint64) uint32 { return uint32(d.Dev.Read(reg, 4)) }

// Status is the device's status.
func (d *Driver) Status() uint32 { return d.Get(0x70) }

// Buffer is the address of a descriptor's buffer.
func (d *Driver) Buffer(queue int, desc uint16) uint64 {
	return uint64(d.queues*pageSize + (queue*QueueSize+int(desc))*BufferSize)
}

// SetDesc writes a descriptor as it is given.
func (d *Driver) SetDesc(queue int, i uint16, addr uint64, n uint32, flags, next uint16) {
	b := d.Mem[queue*pageSize+16*int(i):]
	binary.LittleEndian.PutUint64(b, addr)
	binary.LittleEndian.PutUint32(b[8:], n)
	binary.LittleEndian.PutUint16(b[12:], flags)
	binary.LittleEndian.PutUint16(b[14:], next)
}

// Make makes the chain that starts at a descriptor available.
func (d *Driver) Make(queue int, head uint16) {
	b := d.Mem[queue*pageSize+availOffset:]
	binary.LittleEndian.PutUint16(b[4+2*int(d.avail[queue]%QueueSize):], head)
	d.avail[queue]++
	binary.LittleEndian.PutUint16(b[2:], d.avail[queue])
}

// SetFlags writes the flags of the available ring.
func (d *Driver) SetFlags(queue int, flags uint16) {
	binary.LittleEndian.PutUint16(d.Mem[queue*pageSize+availOffset:], flags)
}

// UsedFlags reads the flags of the used ring.
func (d *Driver) UsedFlags(queue int) uint16 {
	return binary.LittleEndian.Uint16(d.Mem[queue*pageSize+usedOffset:])
}

// Kick notifies the device.
func (d *Driver) Kick(queue int) { d.put(0x50, uint64(queue)) }

// Post makes a buffer of n bytes available for the device to write.
func (d *Driver) Post(queue int, n uint32) uint16 {
	i := d.take(queue)
	d.SetDesc(queue, i, d.Buffer(queue, i), n, 2, 0)
	d.Make(queue, i)
	return i
}

// Send makes a buffer with p available for the device to read.
func (d *Driver) Send(queue int, p []byte) uint16 {
	i := d.take(queue)
	copy(d.Mem[d.Buffer(queue, i):], p)
	d.SetDesc(queue, i, d.Buffer(queue, i), uint32(len(p)), 0, 0)
	d.Make(queue, i)
	return i
}

func (d *Driver) take(queue int) uint16 {
	i := d.free[queue][0]
	d.free[queue] = d.free[queue][1:]
	return i
}

// Used takes the next used buffer: its descriptor and what the device wrote.
func (d *Driver) Used(queue int) (head uint16, p []byte, ok bool) {
	b := d.Mem[queue*pageSize+usedOffset:]
	if binary.LittleEndian.Uint16(b[2:]) == d.used[queue] {
		return 0, nil, false
	}
	e := b[4+8*int(d.used[queue]%QueueSize):]
	head = uint16(binary.LittleEndian.Uint32(e))
	n := binary.LittleEndian.Uint32(e[4:])
	d.used[queue]++
	d.free[queue] = append(d.free[queue], head)
	at := d.Buffer(queue, head)
	return head, append([]byte(nil), d.Mem[at:at+uint64(n)]...), true
}
