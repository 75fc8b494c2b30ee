package virtio_test

import (
	"bytes"
	"testing"

	"nvlab/vmm/device/virtio"
	"nvlab/vmm/device/virtio/virtiotest"
)

// echo is a device of two queues: what comes through queue 1 goes back
// through queue 0.
type echo struct {
	dev    *virtio.Device
	mem    virtiotest.Memory
	line   bool
	resets int
	got    []byte
}

func newEcho() *echo {
	e := &echo{mem: make(virtiotest.Memory, virtiotest.MemorySize(2))}
	e.dev = virtio.New(e, e.mem, func(high bool) { e.line = high })
	return e
}

func (*echo) ID() uint32       { return 42 }
func (*echo) Features() uint64 { return 1 << 5 }
func (*echo) Queues() int      { return 2 }
func (*echo) Config() []byte   { return []byte{1, 2, 3, 4, 5} }
func (e *echo) Reset()         { e.resets++ }

func (e *echo) Notify(int) {
	for {
		c, ok := e.dev.Pop(1)
		if !ok {
			break
		}
		if e.got, ok = e.dev.Gather(e.got, c, 1<<16); !ok {
			return
		}
		e.dev.Push(1, c, 0)
		e.dev.Interrupt(1)
	}
	for len(e.got) > 0 {
		c, ok := e.dev.Pop(0)
		if !ok {
			return
		}
		n, ok := e.dev.Scatter(c, e.got)
		if !ok || n == 0 {
			return
		}
		e.got = e.got[n:]
		e.dev.Push(0, c, n)
		e.dev.Interrupt(0)
	}
}

const good = virtio.FeatureVersion1 | 1<<5

func TestIdentity(t *testing.T) {
	e := newEcho()
	for _, c := range []struct {
		name string
		reg  uint64
		size int
		want uint64
	}{
		{"magic", 0x00, 4, 0x74726976},
		{"version", 0x04, 4, 2},
		{"device ID", 0x08, 4, 42},
		{"low features", 0x10, 4, 1 << 5},
		{"largest queue", 0x34, 4, virtio.MaxQueue},
		{"length of shared memory", 0xb0, 4, 0xffff_ffff},
		{"base of shared memory", 0xbc, 4, 0xffff_ffff},
		{"a byte of the magic", 0x00, 1, 0},
		{"a write-only register", 0x50, 4, 0},
		{"a byte of the configuration", 0x101, 1, 2},
		{"a word of the configuration", 0x100, 4, 0x04030201},
		{"8 bytes of the configuration, of 5", 0x100, 8, 0x0504030201},
		{"behind the configuration", 0xff8, 8, 0},
	} {
		if got := e.dev.Read(c.reg, c.size); got != c.want {
			t.Errorf("%s: Read(%#x, %d) = %#x, want %#x", c.name, c.reg, c.size, got, c.want)
		}
	}
	e.dev.Write(0x14, 4, 1)
	if got := e.dev.Read(0x10, 4); got != 1 {
		t.Errorf("high features = %#x, want VERSION_1, 1", got)
	}
	e.dev.Write(0x14, 4, 2)
	if got := e.dev.Read(0x10, 4); got != 0 {
		t.Errorf("features from bit 64 = %#x, want 0", got)
	}
	e.dev.Write(0x30, 4, 2)
	if got := e.dev.Read(0x34, 4); got != 0 {
		t.Errorf("size of queue 2 of 2 = %d, want 0", got)
	}
}

func TestFeatures(t *testing.T) {
	for _, c := range []struct {
		name     string
		features uint64
		want     bool
	}{
		{"all that is offered", good, true},
		{"VERSION_1 alone", virtio.FeatureVersion1, true},
		{"a legacy driver", 1 << 5, false},
		{"none", 0, false},
		{"one that is not offered", good | 1<<6, false},
	} {
		e := newEcho()
		d := virtiotest.NewDriver(e.dev, e.mem, 2, c.features)
		if got := d.Status()&virtio.StatusFeaturesOK != 0; got != c.want {
			t.Errorf("%s: FEATURES_OK = %v, want %v", c.name, got, c.want)
		}
		if got := e.dev.Running(); got != c.want {
			t.Errorf("%s: running = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestTransfer(t *testing.T) {
	e := newEcho()
	d := virtiotest.NewDriver(e.dev, e.mem, 2, good)
	for round := range 40 { // the free-running indices wrap around the rings
		d.Send(1, []byte("ping"))
		d.Post(0, 3)
		d.Post(0, 100)
		d.Kick(1)
		if !e.line {
			t.Fatalf("round %d: the line is low", round)
		}
		if got := d.Get(0x60); got != 1 {
			t.Fatalf("round %d: interrupt status = %d, want 1, used buffers", round, got)
		}
		e.dev.Write(0x64, 4, 1)
		if e.line {
			t.Fatalf("round %d: the line is high after the interrupt was acknowledged", round)
		}
		_, a, _ := d.Used(0)
		_, b, _ := d.Used(0)
		if string(a) != "pin" || string(b) != "g" {
			t.Fatalf("round %d: got %q and %q, want %q and %q", round, a, b, "pin", "g")
		}
		if _, p, ok := d.Used(1); !ok || len(p) != 0 {
			t.Fatalf("round %d: the sent buffer came back %v with %q", round, ok, p)
		}
	}
}

func TestChain(t *testing.T) {
	e := newEcho()
	d := virtiotest.NewDriver(e.dev, e.mem, 2, good)
	const next, write = 1, 2
	copy(e.mem[d.Buffer(1, 0):], "ab")
	copy(e.mem[d.Buffer(1, 1):], "cd")
	d.SetDesc(1, 5, d.Buffer(1, 0), 2, next, 2)
	d.SetDesc(1, 2, d.Buffer(1, 1), 2, 0, 0)
	d.Make(1, 5)
	d.SetDesc(0, 1, d.Buffer(0, 0), 1, write|next, 7)
	d.SetDesc(0, 7, d.Buffer(0, 1), 9, write, 0)
	d.Make(0, 1)
	d.Kick(1)
	if head, _, ok := d.Used(1); !ok || head != 5 {
		t.Errorf("used chain of queue 1 = %d, %v, want 5", head, ok)
	}
	if got := e.mem[d.Buffer(0, 0)]; got != 'a' {
		t.Errorf("first part of the buffer = %q, want 'a'", got)
	}
	if got := e.mem[d.Buffer(0, 1):][:3]; string(got) != "bcd" {
		t.Errorf("second part of the buffer = %q, want %q", got, "bcd")
	}
}

func TestNoInterrupt(t *testing.T) {
	e := newEcho()
	d := virtiotest.NewDriver(e.dev, e.mem, 2, good)
	d.SetFlags(1, 1)
	d.Send(1, []byte("x"))
	d.Kick(1)
	if e.line {
		t.Error("the line is high though the driver wants no interrupt")
	}
	if _, _, ok := d.Used(1); !ok {
		t.Error("the buffer did not come back")
	}
}

func TestWanted(t *testing.T) {
	e := newEcho()
	d := virtiotest.NewDriver(e.dev, e.mem, 2, good)
	e.dev.Wanted(0, false)
	if got := d.UsedFlags(0); got != 1 {
		t.Errorf("flags of the used ring = %d, want 1, no notification", got)
	}
	e.dev.Wanted(0, true)
	if got := d.UsedFlags(0); got != 0 {
		t.Errorf("flags of the used ring = %d, want 0", got)
	}
}

// TestMistakes has a driver break each rule. The device must ask for a reset,
// raise a configuration interrupt, and work again after the reset.
func TestMistakes(t *testing.T) {
	const next, write, indirect = 1, 2, 4
	for _, c := range []struct {
		name string
		do   func(e *echo, d *virtiotest.Driver)
	}{
		{"head outside of the table", func(_ *echo, d *virtiotest.Driver) { d.Make(1, virtiotest.QueueSize) }},
		{"next outside of the table", func(_ *echo, d *virtiotest.Driver) {
			d.SetDesc(1, 0, 0, 1, next, 0xffff)
			d.Make(1, 0)
		}},
		{"a descriptor that follows itself", func(_ *echo, d *virtiotest.Driver) {
			d.SetDesc(1, 0, 0, 1, next, 0)
			d.Make(1, 0)
		}},
		{"a loop of two", func(_ *echo, d *virtiotest.Driver) {
			d.SetDesc(1, 0, 0, 1, next, 1)
			d.SetDesc(1, 1, 0, 1, next, 0)
			d.Make(1, 0)
		}},
		{"an indirect descriptor", func(_ *echo, d *virtiotest.Driver) {
			d.SetDesc(1, 0, 0, 16, indirect, 0)
			d.Make(1, 0)
		}},
		{"to read behind to write", func(_ *echo, d *virtiotest.Driver) {
			d.SetDesc(1, 0, 0, 1, write|next, 1)
			d.SetDesc(1, 1, 0, 1, 0, 0)
			d.Make(1, 0)
		}},
		{"a buffer behind memory", func(e *echo, d *virtiotest.Driver) {
			d.SetDesc(1, 0, uint64(len(e.mem))-1, 2, 0, 0)
			d.Make(1, 0)
		}},
		{"a buffer at the end of the address space", func(_ *echo, d *virtiotest.Driver) {
			d.SetDesc(1, 0, ^uint64(0), 2, 0, 0)
			d.Make(1, 0)
		}},
		{"a buffer to write behind memory", func(e *echo, d *virtiotest.Driver) {
			d.Send(1, []byte("abc"))
			d.SetDesc(0, 0, uint64(len(e.mem)), 2, write, 0)
			d.Make(0, 0)
		}},
		{"4 GiB to read", func(_ *echo, d *virtiotest.Driver) {
			d.SetDesc(1, 0, 0, 0xffff_ffff, 0, 0)
			d.Make(1, 0)
		}},
		{"more buffers than the queue has", func(e *echo, _ *virtiotest.Driver) {
			e.mem[0x1000+0x400+2] = 0x7f
		}},
		{"a descriptor table behind memory", func(e *echo, d *virtiotest.Driver) {
			e.dev.Queues[1].Desc = uint64(len(e.mem))
			d.Make(1, 0)
		}},
		{"an available ring behind memory", func(e *echo, _ *virtiotest.Driver) {
			e.dev.Queues[1].Avail = 1 << 62
		}},
		{"a used ring behind memory", func(e *echo, d *virtiotest.Driver) {
			e.dev.Queues[1].Used = 1 << 62
			d.Send(1, []byte("x"))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEcho()
			d := virtiotest.NewDriver(e.dev, e.mem, 2, good)
			c.do(e, d)
			d.Kick(1)
			if d.Status()&virtio.StatusNeedsReset == 0 {
				t.Fatalf("status = %#x, want NEEDS_RESET", d.Status())
			}
			if !e.line || d.Get(0x60)&2 == 0 {
				t.Errorf("line %v, interrupt status %d, want a configuration interrupt", e.line, d.Get(0x60))
			}
			clear(e.mem)
			d = virtiotest.NewDriver(e.dev, e.mem, 2, good)
			e.got = nil
			d.Send(1, []byte("again"))
			d.Post(0, 100)
			d.Kick(1)
			if _, p, _ := d.Used(0); string(p) != "again" {
				t.Errorf("after a reset got %q, want %q", p, "again")
			}
		})
	}
}

func TestReset(t *testing.T) {
	e := newEcho()
	d := virtiotest.NewDriver(e.dev, e.mem, 2, good)
	d.Send(1, []byte("x"))
	d.Kick(1)
	before := e.resets
	e.dev.Write(0x70, 4, 0)
	if e.line || e.resets != before+1 || d.Status() != 0 || d.Get(0x60) != 0 {
		t.Errorf("after a reset: line %v, %d resets of the backend, status %d, interrupt %d", e.line, e.resets-before, d.Status(), d.Get(0x60))
	}
	for i := range e.dev.Queues {
		if q := e.dev.Queues[i]; q != (virtio.Queue{}) {
			t.Errorf("queue %d after a reset = %+v, want nothing", i, q)
		}
	}
	d.Kick(1) // must do nothing
}

// TestQueueInUse holds that a driver cannot change a queue that is in use,
// and that sizes are powers of two up to the largest.
func TestQueueInUse(t *testing.T) {
	e := newEcho()
	virtiotest.NewDriver(e.dev, e.mem, 2, good)
	q := e.dev.Queues[1]
	for _, reg := range []uint64{0x38, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4} {
		e.dev.Write(reg, 4, 0x10)
	}
	if got := e.dev.Queues[1]; got != q {
		t.Errorf("queue in use = %+v, want %+v", got, q)
	}
	e.dev.Write(0x44, 4, 0)
	for _, n := range []uint64{0, 3, 257, 512, 0xffff_ffff} {
		e.dev.Write(0x38, 4, n)
		if got := e.dev.Queues[1].Size; got != virtiotest.QueueSize {
			t.Errorf("size after writing %d = %d, want %d still", n, got, virtiotest.QueueSize)
		}
	}
}

// FuzzVirtqueue lets a guest write any registers and any memory.
func FuzzVirtqueue(f *testing.F) {
	e := newEcho()
	d := virtiotest.NewDriver(e.dev, e.mem, 2, good)
	d.Send(1, []byte("seed"))
	d.Post(0, 16)
	f.Add(bytes.Clone(e.mem[:0x2000]), []byte{0x50, 1, 0x64, 3, 0x50, 0})
	f.Add([]byte{}, []byte{0x30, 1, 0x38, 8, 0x44, 1, 0x70, 15, 0x50, 1})
	f.Fuzz(func(t *testing.T, mem, writes []byte) {
		e := newEcho()
		virtiotest.NewDriver(e.dev, e.mem, 2, good)
		copy(e.mem, mem)
		e.Notify(0)
		for ; len(writes) >= 2; writes = writes[2:] {
			e.got = nil
			e.dev.Write(uint64(writes[0])&^3, 4, uint64(writes[1])*0x0101_0101)
			e.dev.Read(uint64(writes[0]), 4)
		}
	})
}
