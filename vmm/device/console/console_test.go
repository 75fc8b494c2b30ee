package console

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"nvlab/vmm/device/virtio"
	"nvlab/vmm/device/virtio/virtiotest"
)

type guest struct {
	*virtiotest.Driver
	c         *Console
	dev       *virtio.Device
	attention int
}

func newGuest() *guest {
	g := &guest{}
	mem := make(virtiotest.Memory, virtiotest.MemorySize(queues))
	g.c, g.dev = New("nvlab.agent", mem, func(bool) {}, func() { g.attention++ })
	g.load(mem)
	return g
}

func (g *guest) load(mem virtiotest.Memory) {
	g.Driver = virtiotest.NewDriver(g.dev, mem, queues, virtio.FeatureVersion1|featureMultiport)
	for range 4 {
		g.Post(queueControlIn, 64)
		g.Post(queueIn, virtiotest.BufferSize)
	}
	g.Kick(queueControlIn)
	g.Kick(queueIn)
}

func message(id uint32, event, value uint16) []byte {
	m := binary.LittleEndian.AppendUint32(nil, id)
	m = binary.LittleEndian.AppendUint16(m, event)
	return binary.LittleEndian.AppendUint16(m, value)
}

func (g *guest) tell(id uint32, event, value uint16) {
	g.Send(queueControlOut, message(id, event, value))
	g.Kick(queueControlOut)
	g.Used(queueControlOut)
}

// heard takes the control messages that came, as text.
func (g *guest) heard() string {
	var s string
	for {
		_, m, ok := g.Used(queueControlIn)
		if !ok {
			return s
		}
		s += fmt.Sprintf("%d:%d=%d%s ", binary.LittleEndian.Uint32(m), binary.LittleEndian.Uint16(m[4:]), binary.LittleEndian.Uint16(m[6:]), m[8:])
		g.Post(queueControlIn, 64)
	}
}

// open goes through the handshake as Linux does.
func (g *guest) open() {
	g.tell(0, deviceReady, 1)
	g.tell(port, portReady, 1)
	g.heard()
	g.tell(port, portOpen, 1)
}

func TestHandshake(t *testing.T) {
	g := newGuest()
	g.tell(0, deviceReady, 1)
	if got, want := g.heard(), "1:1=0 "; got != want {
		t.Fatalf("after DEVICE_READY the device said %q, want %q: port 1 is added", got, want)
	}
	g.tell(port, portReady, 1)
	if got, want := g.heard(), "1:7=1nvlab.agent 1:6=1 "; got != want {
		t.Fatalf("after PORT_READY the device said %q, want %q: its name, and that the host has it open", got, want)
	}
	if g.c.Open {
		t.Error("the port is open before the guest opened it")
	}
	g.tell(port, portOpen, 1)
	if !g.c.Open || g.attention == 0 {
		t.Errorf("after PORT_OPEN: open %v, attention %d", g.c.Open, g.attention)
	}
	g.tell(port, portOpen, 0)
	if g.c.Open {
		t.Error("the port is open after the guest closed it")
	}
}

func TestToGuest(t *testing.T) {
	g := newGuest()
	g.c.Send([]byte("early"))
	if _, _, ok := g.Used(queueIn); ok {
		t.Fatal("bytes went to a closed port, where Linux drops them")
	}
	g.open()
	if _, p, _ := g.Used(queueIn); string(p) != "early" {
		t.Fatalf("after opening got %q, want %q", p, "early")
	}
	if got := g.UsedFlags(queueIn); got != 1 {
		t.Errorf("flags of the used ring with nothing to send = %d, want 1", got)
	}
	g.c.Send([]byte("later"))
	if _, p, _ := g.Used(queueIn); string(p) != "later" {
		t.Errorf("then got %q, want %q", p, "later")
	}
}

func TestManyBuffers(t *testing.T) {
	g := newGuest()
	g.open()
	data := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	g.c.Send(data)
	if got := g.UsedFlags(queueIn); got != 0 {
		t.Errorf("flags of the used ring while bytes wait = %d, want 0", got)
	}
	var got []byte
	for {
		_, p, ok := g.Used(queueIn)
		if !ok {
			break
		}
		got = append(got, p...)
		g.Post(queueIn, virtiotest.BufferSize)
		g.Kick(queueIn)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrived, want the %d sent", len(got), len(data))
	}
	if g.c.ToGuest != nil {
		t.Errorf("%d bytes wait still", len(g.c.ToGuest))
	}
}

func TestClosingDropsTheRest(t *testing.T) {
	g := newGuest()
	g.open()
	g.c.Send(make([]byte, 100_000))
	g.tell(port, portOpen, 0)
	g.c.Send([]byte("new"))
	for {
		if _, _, ok := g.Used(queueIn); !ok {
			break
		}
		g.Post(queueIn, virtiotest.BufferSize)
	}
	g.tell(port, portOpen, 1)
	if _, p, _ := g.Used(queueIn); string(p) != "new" {
		t.Errorf("the next program got %d bytes %.10q, want %q", len(p), p, "new")
	}
}

func TestFromGuest(t *testing.T) {
	g := newGuest()
	g.open()
	before := g.attention
	g.Send(queueOut, []byte("one "))
	g.Send(queueOut, []byte("two"))
	g.Kick(queueOut)
	if g.attention != before+1 {
		t.Errorf("two buffers in one notification asked %d times for attention, want once", g.attention-before)
	}
	if got := g.c.Receive(); string(got) != "one two" {
		t.Errorf("received %q, want %q", got, "one two")
	}
	if got := g.c.Receive(); len(got) != 0 {
		t.Errorf("then received %q, want nothing", got)
	}
}

// TestHostIsSlow holds that a guest cannot fill the host's memory.
func TestHostIsSlow(t *testing.T) {
	g := newGuest()
	g.open()
	sent := 0
	send := func() bool {
		for range virtiotest.QueueSize {
			i := g.Send(queueOut, nil)
			g.SetDesc(queueOut, i, 0, 128<<10, 0, 0)
		}
		g.Kick(queueOut)
		n := 0
		for ; ; n++ {
			if _, _, ok := g.Used(queueOut); !ok {
				break
			}
		}
		sent += n * 128 << 10
		return n == virtiotest.QueueSize
	}
	for send() {
		if sent > 2*maxWaiting {
			t.Fatalf("the device took %d bytes that nobody received", sent)
		}
	}
	if got := len(g.c.Receive()); got != sent {
		t.Errorf("received %d bytes, want %d", got, sent)
	}
	if len(g.c.FromGuest) == 0 {
		t.Error("the buffers that waited were not taken after Receive")
	}
}

func TestReload(t *testing.T) {
	g := newGuest()
	g.c.Send([]byte("first"))
	g.load(g.Mem)
	g.open()
	if _, p, _ := g.Used(queueIn); string(p) != "first" {
		t.Errorf("bytes sent before a reset: got %q, want %q: no program had opened the port", p, "first")
	}
	g.load(g.Mem)
	if g.c.Open {
		t.Error("the port is open after a reset")
	}
}

// TestOddMessages sends what the device must not mind.
func TestOddMessages(t *testing.T) {
	g := newGuest()
	for _, m := range [][]byte{
		nil, {1}, message(7, portReady, 1), message(port, portReady, 0), message(port, 99, 1),
		message(0, deviceReady, 0), message(0xffff_ffff, portOpen, 1), make([]byte, 4096),
	} {
		g.Send(queueControlOut, m)
		g.Kick(queueControlOut)
		g.Used(queueControlOut)
	}
	if got := g.heard(); got != "" {
		t.Errorf("the device said %q, want nothing", got)
	}
	for range 1000 {
		g.tell(port, portReady, 1)
	}
	if n := len(g.c.Control); n > maxControl+1 {
		t.Errorf("%d control messages wait, want at most %d", n, maxControl)
	}
	if !g.dev.Running() {
		t.Error("the device stopped")
	}
}

// FuzzConsoleControl feeds control messages and the memory behind them.
func FuzzConsoleControl(f *testing.F) {
	f.Add(message(0, deviceReady, 1), []byte{queueControlOut})
	f.Add(append(message(port, portReady, 1), message(port, portOpen, 1)...), []byte{queueControlOut, queueIn, queueOut})
	f.Fuzz(func(t *testing.T, messages, kicks []byte) {
		g := newGuest()
		g.c.Send([]byte("to the guest"))
		for len(messages) > 0 {
			n := min(len(messages), controlSize)
			g.Send(queueControlOut, messages[:n])
			g.Kick(queueControlOut)
			if _, _, ok := g.Used(queueControlOut); !ok {
				t.Fatal("a control message was not taken")
			}
			messages = messages[n:]
		}
		for _, k := range kicks {
			g.Kick(int(k))
		}
		g.c.Receive()
		if len(g.c.Control) > maxControl {
			t.Fatalf("%d control messages wait, want at most %d", len(g.c.Control), maxControl)
		}
	})
}
