package vmm

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime/debug"

	"nvlab/vmm/observe"
)

// dma is memory as the machine's devices reach it: RAM, and Regions of others. A
// guest may hand out a page of an NVDIMM as any other, for a ring as for a
// buffer. An access may go on from one Region into the next. The caller holds the
// machine's lock.
//
// What a processor tells of, a device tells of as well: of stores to observed
// memory before it changes, and of watched loads. A line that cannot be read is
// the device's error.
type dma struct{ m *Machine }

// ReadAt fills p from guest-physical address addr, if it can be read.
func (d dma) ReadAt(p []byte, addr int64) (int, error) {
	if mem, _ := d.m.ram.slice(uint64(addr), uint64(len(p))); mem != nil {
		return d.m.ram.ReadAt(p, addr)
	}
	pieces, err := d.m.pieces(p, addr)
	if err != nil {
		return 0, err
	}
	for _, x := range pieces {
		if err := d.m.intact(x); err != nil {
			return 0, err
		}
	}
	for _, x := range pieces {
		if err := d.m.touch(x, func() { d.m.deviceLoad(x) }); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// WriteAt copies p to guest-physical address addr. Memory that is read-only drops
// it, as it does a processor's store.
func (d dma) WriteAt(p []byte, addr int64) (int, error) {
	if mem, _ := d.m.ram.slice(uint64(addr), uint64(len(p))); mem != nil {
		return d.m.ram.WriteAt(p, addr)
	}
	pieces, err := d.m.pieces(p, addr)
	if err != nil {
		return 0, err
	}
	for _, x := range pieces {
		if x.region.ReadOnly {
			continue
		}
		if err := d.m.touch(x, func() { d.m.deviceStore(x) }); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// A piece is what of an access is in one Region.
type piece struct {
	region Region
	offset uint64 // within it
	p      []byte
}

func (x piece) mem() []byte { return x.region.Mem[x.offset:][:len(x.p)] }

// pieces divides an access among the Regions that it is in.
func (m *Machine) pieces(p []byte, addr int64) ([]piece, error) {
	var list []piece
	for at, left := uint64(addr), p; len(left) > 0; {
		r, ok := m.regionAt(at)
		if !ok || addr < 0 {
			return nil, notRAM(len(p), addr)
		}
		offset := at - r.Base
		n := min(uint64(len(left)), uint64(len(r.Mem))-offset)
		list = append(list, piece{r, offset, left[:n]})
		at, left = at+n, left[n:]
	}
	return list, nil
}

func (m *Machine) regionAt(addr uint64) (Region, bool) {
	if i := m.memory.after(addr); i < len(m.memory) && m.memory[i].Base <= addr {
		return m.memory[i], true
	}
	return Region{}, false
}

// intact is an error if a line cannot be read. On a bus the read would be
// answered with poisoned data (PCI Express, 2.7.2), which the device reports; the
// platform knows the line from then on.
func (m *Machine) intact(x piece) error {
	if m.poison == nil {
		return nil
	}
	first := x.region.Base + x.offset
	for addr := first; addr < first+uint64(len(x.p)); addr = (addr | 63) + 1 {
		if m.poison.Has(addr) {
			m.consumed(addr, true)
			return fmt.Errorf("memory at %#x cannot be read: it is poisoned", addr)
		}
	}
	return nil
}

// deviceAt is when a device acts: no instruction does.
func (m *Machine) deviceAt() observe.At {
	return observe.At{Seq: m.procs.Stats().Instructions}
}

// deviceLoad reads a piece.
func (m *Machine) deviceLoad(x piece) {
	if m.watch != nil && x.region.Observed {
		e := observe.Load{At: m.deviceAt(), Base: x.region.Base, Kind: observe.DeviceLoad}
		for off, end := x.offset, x.offset+uint64(len(x.p)); off < end; {
			next := min(end, (off|63)+1)
			if addr := x.region.Base + off; m.watch.Has(addr) {
				e.Offset, e.Size = off, uint8(next-off)
				if m.loads.Load(&e) {
					m.watch.Drop(addr)
				}
			}
			off = next
		}
	} else {
		m.ram.told(x.region.Base+x.offset, uint64(len(x.p)))
	}
	copy(x.p, x.mem())
}

// deviceStore writes a piece.
func (m *Machine) deviceStore(x piece) {
	if x.region.Dirty != nil {
		x.region.Dirty.AddRange(x.offset, uint64(len(x.p)))
	}
	if m.observer != nil && x.region.Observed {
		m.storeObserved(x)
	} else {
		copy(x.mem(), x.p)
	}
	m.ram.tell(x.region.Base+x.offset, uint64(len(x.p)))
}

// deviceGroup makes the groups of devices' stores none of a processor's.
const deviceGroup = 1 << 63

func (m *Machine) storeObserved(x piece) {
	at := m.deviceAt()
	e := observe.Store{At: at, Base: x.region.Base, Kind: observe.Device, Group: at.Seq | deviceGroup}
	mem := x.mem()
	for i := 0; i < len(x.p); i += int(e.Size) {
		e.Offset = x.offset + uint64(i)
		e.Size = uint8(min(8-e.Offset%8, uint64(len(x.p)-i)))
		var value [8]byte
		n := copy(value[:], x.p[i:][:e.Size])
		e.Value = binary.LittleEndian.Uint64(value[:])
		m.observer.Store(&e)
		copy(mem[i:], value[:n])
	}
}

// touch does what touches a piece's memory. If that went away below, the error is
// the device's, and Run's.
func (m *Machine) touch(x piece, f func()) error {
	err := x.unlessLost(f)
	if err != nil {
		m.Later(func() error { return err })
	}
	return err
}

// unlessLost calls f, which touches a piece's memory. It returns a LostMemoryError if
// that went away below.
func (x piece) unlessLost(f func()) (err error) {
	if !x.region.Revocable {
		f()
		return nil
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = &LostMemoryError{Base: x.region.Base, Offset: x.offset}
		default:
			panic(fault)
		}
	}()
	f()
	return nil
}

// peek is Physical.
type peek struct{ m *Machine }

// Physical is all memory by guest-physical address, RAM and that of others, for
// who looks at it from outside: nobody is told of what is read.
func (m *Machine) Physical() io.ReaderAt { return peek{m} }

func (k peek) ReadAt(p []byte, addr int64) (int, error) {
	if mem, _ := k.m.ram.slice(uint64(addr), uint64(len(p))); mem != nil {
		return copy(p, mem), nil
	}
	pieces, err := k.m.pieces(p, addr)
	if err != nil {
		return 0, err
	}
	for _, x := range pieces {
		if err := x.unlessLost(func() { copy(x.p, x.mem()) }); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
