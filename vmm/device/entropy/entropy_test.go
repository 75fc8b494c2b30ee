package entropy

import (
	"bytes"
	"testing"

	"nvlab/vmm/device/virtio"
	"nvlab/vmm/device/virtio/virtiotest"
)

func start(seed byte) *virtiotest.Driver {
	mem := make(virtiotest.Memory, virtiotest.MemorySize(1))
	_, dev := New([32]byte{seed}, mem, func(bool) {})
	return virtiotest.NewDriver(dev, mem, 1, virtio.FeatureVersion1)
}

func draw(d *virtiotest.Driver, sizes ...uint32) (all []byte) {
	for _, n := range sizes {
		d.Post(0, n)
		d.Kick(0)
		_, p, _ := d.Used(0)
		all = append(all, p...)
	}
	return all
}

func TestSeed(t *testing.T) {
	a, b, c := draw(start(1), 64, 64), draw(start(1), 64, 64), draw(start(2), 64, 64)
	if len(a) != 128 {
		t.Fatalf("two buffers of 64 bytes got %d bytes, want 128", len(a))
	}
	if !bytes.Equal(a, b) {
		t.Errorf("one seed gave %x and %x", a, b)
	}
	if bytes.Equal(a, c) {
		t.Errorf("two seeds gave the same %x", a)
	}
	if bytes.Equal(a[:64], a[64:]) {
		t.Errorf("two buffers got the same %x", a[:64])
	}
}

func TestSizes(t *testing.T) {
	d := start(1)
	for _, n := range []uint32{0, 1, 4096} {
		if got := len(draw(d, n)); got != int(n) {
			t.Errorf("a buffer of %d bytes got %d", n, got)
		}
	}
}

// TestHugeBuffer posts more than one answer holds.
func TestHugeBuffer(t *testing.T) {
	d := start(1)
	d.SetDesc(0, 0, d.Buffer(0, 0), 0xffff_ffff, 2, 0)
	d.Make(0, 0)
	d.Kick(0)
	if _, p, ok := d.Used(0); !ok || len(p) != maxRequest {
		t.Errorf("a buffer of 4 GiB got %d bytes, %v, want %d", len(p), ok, maxRequest)
	}
}

// TestState: a device that loads the state of another gives the same bytes, in
// the midst of a word of the stream too.
func TestState(t *testing.T) {
	for n := range uint32(17) {
		mem := make(virtiotest.Memory, virtiotest.MemorySize(1))
		a, dev := New([32]byte{1}, mem, func(bool) {})
		d := virtiotest.NewDriver(dev, mem, 1, virtio.FeatureVersion1)
		draw(d, n)
		s, err := a.Save()
		if err != nil {
			t.Fatal(err)
		}
		want := draw(d, 20)
		draw(d, 3)
		if err := a.Load(s); err != nil {
			t.Fatal(err)
		}
		if got := draw(d, 20); !bytes.Equal(got, want) {
			t.Errorf("after %d bytes, and Load: %x, want %x", n, got, want)
		}
	}
	a, _ := New([32]byte{}, nil, nil)
	if err := a.Load(State{[]byte("x")}); err == nil {
		t.Error("Load of a damaged state has no error")
	}
}
