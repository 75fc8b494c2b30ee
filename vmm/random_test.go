package vmm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"math/rand/v2"
	"slices"
	"time"

	"nvlab/internal/pages"
	"nvlab/vmm"
)

// randomEngine makes processors that do random things to devices and memory,
// one a nanosecond: a guest of which nothing is expected.
type randomEngine struct{ name string }

func (e randomEngine) Name() string {
	if e.name != "" {
		return e.name
	}
	return "random"
}

func (e randomEngine) New(spec vmm.ProcessorSpec, bus vmm.Bus) (vmm.Processors, error) {
	p := &randomProcessors{bus: bus, dirtied: map[uint64]bool{}}
	p.PCG = rand.NewPCG(spec.Seed, 1)
	return p, nil
}

type randomState struct {
	PCG     *rand.PCG
	Now     time.Duration
	Seen    uint64 // what was read, and which interrupts came
	Vectors []uint8
}

type randomProcessors struct {
	randomState
	bus     vmm.Bus
	regions []vmm.Region
	stop    bool

	tracks  bool
	dirtied map[uint64]bool // pages that were told since Cleaned
}

func (p *randomProcessors) Map(r vmm.Region) error {
	p.regions = append(p.regions, r)
	return nil
}

func (p *randomProcessors) Unmap(base uint64) error {
	p.regions = slices.DeleteFunc(p.regions, func(r vmm.Region) bool { return r.Base == base })
	clear(p.dirtied) // to tell of a page twice does no harm
	return nil
}

func (p *randomProcessors) Start(vmm.Entry) error { return nil }
func (p *randomProcessors) Stop()                 { p.stop = true }
func (p *randomProcessors) Kick()                 { p.stop = true }
func (p *randomProcessors) Clock() time.Duration  { return p.Now }
func (p *randomProcessors) Stats() vmm.Stats      { return vmm.Stats{} }
func (p *randomProcessors) Close() error          { return nil }
func (p *randomProcessors) Reseed(seed uint64)    { p.PCG.Seed(seed, 1) }
func (p *randomProcessors) see(v uint64)          { p.Seen = p.Seen*0x9e3779b97f4a7c15 + v + 1 }
func (p *randomProcessors) Interrupt(i vmm.Interrupt) {
	p.see(uint64(i.Vector) | 1<<20)
	if i.Level && len(p.Vectors) < 100 {
		p.Vectors = append(p.Vectors, i.Vector)
	}
}

func (p *randomProcessors) Save() ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(p.randomState)
	return b.Bytes(), err
}

func (p *randomProcessors) Load(b []byte) error {
	s := randomState{PCG: &rand.PCG{}}
	err := gob.NewDecoder(bytes.NewReader(b)).Decode(&s)
	p.randomState = s
	return err
}

func (p *randomProcessors) Cleaned() {
	p.tracks = true
	clear(p.dirtied)
}

func (p *randomProcessors) Run(_ context.Context, deadline time.Duration) (vmm.Exit, error) {
	p.stop = false
	for p.Now < deadline {
		p.Now++
		p.step(rand.New(p.PCG))
		if p.stop {
			return vmm.ExitStopped, nil
		}
	}
	return vmm.ExitDeadline, nil
}

// store writes memory as a guest does. It tells of a page once, as an engine
// does that keeps a list of its own.
func (p *randomProcessors) store(addr uint64, v []byte) {
	for _, r := range p.regions {
		off := addr - r.Base
		if off >= uint64(len(r.Mem)) {
			continue
		}
		if page := addr / pages.Size; p.tracks && r.Dirty != nil && !p.dirtied[page] {
			p.dirtied[page] = true
			r.Dirty.Add(off / pages.Size)
		}
		copy(r.Mem[off:min(off/pages.Size*pages.Size+pages.Size, uint64(len(r.Mem)))], v)
		return
	}
}

const (
	randomRings = 0x10_0000 // guest-physical, of the virtio queues: 64 KiB each
	virtioPage  = 0xd000_0000
)

// step does one thing.
func (p *randomProcessors) step(r *rand.Rand) {
	word := func(list ...uint64) uint64 { return list[r.IntN(len(list))] }
	switch r.IntN(16) {
	case 0, 1:
		p.see(uint64(p.bus.PortIn(uint16(0x3f8+r.IntN(8)), 1)))
	case 2, 3:
		p.bus.PortOut(uint16(0x3f8+r.IntN(8)), 1, uint32(word(0, 1, 3, 7, 0x20, 'a', 'b', '\n', 0x80, 0x10)))
	case 4:
		p.bus.PortOut(0xa00, 4, r.Uint32N(4))
		for _, at := range []uint16{0, 4, 8, 16} {
			p.see(uint64(p.bus.PortIn(0xa00+at, 4)))
		}
		p.see(uint64(p.bus.PortIn(0xa14, 1)))
		p.bus.PortOut(0xa14, 1, r.Uint32N(16))
		p.store(uint64(5+r.IntN(3))<<30+uint64(r.IntN(1<<17)), []byte{byte(r.Uint32())})
		p.see(p.load(uint64(5+r.IntN(3))<<30+uint64(r.IntN(1<<16-8)), 8))
		config := 0xe000_0000 + uint64(r.IntN(2))<<15 + uint64(r.IntN(64))*4
		p.bus.PortOut(0xcf8, 4, 1<<31|r.Uint32N(1<<16))
		p.see(uint64(p.bus.PortIn(0xcfc, 4)))
		p.bus.MMIOWrite(config, 4, r.Uint64())
		p.see(p.bus.MMIORead(config, 4))
		p.see(uint64(p.bus.PortIn(0x604, 4)))
	case 5:
		p.bus.PortOut(0x70, 1, uint32(r.IntN(14)))
		p.see(uint64(p.bus.PortIn(0x71, 1)))
	case 6:
		p.bus.MMIOWrite(0xfec0_0000, 4, 0x10+uint64(r.IntN(48)))
		p.bus.MMIOWrite(0xfec0_0010, 4, word(0x8030, 0x31, 0x1_8032, 0x8033, 0x2034))
	case 7:
		p.see(p.bus.MMIORead(0xfec0_0010, 4))
		if len(p.Vectors) > 0 {
			p.bus.EndOfInterrupt(p.Vectors[0])
			p.Vectors = p.Vectors[1:]
		}
	case 8, 9:
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], r.Uint64())
		p.store(uint64(r.IntN(1<<22)), b[:r.IntN(9)])
	case 10:
		p.store(0x1_0000_0000+uint64(r.IntN(1<<16)), []byte{byte(r.Uint32())})
	case 11:
		p.setUp(uint64(r.IntN(3)), r)
	case 12, 13:
		p.buffer(uint64(r.IntN(3)), uint64(r.IntN(6)), r)
	default:
		dev := virtioPage + uint64(r.IntN(2))*0x1000
		p.see(p.bus.MMIORead(dev+0x60, 4))
		p.bus.MMIOWrite(dev+0x64, 4, 3)
		if r.IntN(40) == 0 {
			p.bus.MMIOWrite(dev+0x70, 4, 0)
		}
	}
}

func rings(dev, queue uint64) uint64 { return randomRings + (dev*8+queue)<<16 }

// setUp goes through the initialisation of a virtio device, if it is off.
func (p *randomProcessors) setUp(n uint64, r *rand.Rand) {
	dev := virtioPage + n*0x1000
	if p.bus.MMIORead(dev+0x70, 4) != 0 {
		return
	}
	p.bus.MMIOWrite(dev+0x70, 4, 3)
	p.bus.MMIOWrite(dev+0x24, 4, 1)
	p.bus.MMIOWrite(dev+0x20, 4, 1)
	p.bus.MMIOWrite(dev+0x70, 4, 11)
	for q := range uint64(6) {
		p.bus.MMIOWrite(dev+0x30, 4, q)
		p.bus.MMIOWrite(dev+0x38, 4, 16)
		at := rings(n, q)
		p.store(at, make([]byte, 4096))
		p.bus.MMIOWrite(dev+0x80, 4, at)
		p.bus.MMIOWrite(dev+0x90, 4, at+0x400)
		p.bus.MMIOWrite(dev+0xa0, 4, at+0x800)
		p.bus.MMIOWrite(dev+0x44, 4, 1)
	}
	p.bus.MMIOWrite(dev+0x70, 4, 15)
}

// buffer gives the device a buffer of a queue, whether it has room or not.
func (p *randomProcessors) buffer(n, queue uint64, r *rand.Rand) {
	at := rings(n, queue)
	idx := uint16(p.load(at+0x402, 2))
	slot := uint64(idx % 16)
	data := at + 0x1000 + slot*0x100
	flags := uint16(2)
	if n == 0 && queue%2 == 1 { // the console's queues to the device
		flags = 0
		message := []byte{1, 0, 0, 0, byte([]int{0, 3, 6}[r.IntN(3)]), 0, 1, 0}
		p.store(data, message)
	}
	length := uint32(8 + r.IntN(100))
	if n == 2 { // a request of virtio-pmem
		flags, length, queue, at = 0, 4, 0, rings(n, 0)
	}
	var desc [16]byte
	binary.LittleEndian.PutUint64(desc[:], data)
	binary.LittleEndian.PutUint32(desc[8:], length)
	binary.LittleEndian.PutUint16(desc[12:], flags)
	p.store(at+slot*16, desc[:])
	p.store(at+0x404+slot*2, []byte{byte(slot), 0})
	p.store(at+0x402, binary.LittleEndian.AppendUint16(nil, idx+1))
	p.bus.MMIOWrite(virtioPage+n*0x1000+0x50, 4, queue)
	p.see(p.load(at+0x802, 2))
}

func (p *randomProcessors) load(addr, n uint64) (v uint64) {
	for _, r := range p.regions {
		if off := addr - r.Base; off < uint64(len(r.Mem)) {
			for i := range n {
				v |= uint64(r.Mem[off+i]) << (8 * i)
			}
		}
	}
	return v
}
