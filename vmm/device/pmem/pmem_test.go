package pmem

import (
	"encoding/binary"
	"testing"

	"nvlab/vmm/device/virtio"
	"nvlab/vmm/device/virtio/virtiotest"
)

// TestRequests: a flush is done before its answer, one that fails says so, and
// what is no request is none.
func TestRequests(t *testing.T) {
	mem := make(virtiotest.Memory, virtiotest.MemorySize(1))
	flushes, works := 0, true
	dev := New(4<<30, 64<<20, func() bool { flushes++; return works }, mem, func(bool) {})
	if base, size := dev.Read(0x100, 8), dev.Read(0x108, 8); base != 4<<30 || size != 64<<20 {
		t.Errorf("the configuration says %#x and %#x", base, size)
	}
	d := virtiotest.NewDriver(dev, mem, 1, virtio.FeatureVersion1)
	for _, c := range []struct {
		name    string
		request []byte
		works   bool
		flushes int
		want    uint32
	}{
		{"flush", []byte{0, 0, 0, 0}, true, 1, 0},
		{"a flush that fails", []byte{0, 0, 0, 0}, false, 1, 1},
		{"another request", []byte{1, 0, 0, 0}, true, 0, 1},
		{"half a request", []byte{0, 0}, true, 0, 1},
		{"no request", nil, true, 0, 1},
	} {
		flushes, works = 0, c.works
		copy(mem[d.Buffer(0, 0):], c.request)
		d.SetDesc(0, 0, d.Buffer(0, 0), uint32(len(c.request)), 1, 1)
		if len(c.request) == 0 {
			d.SetDesc(0, 0, d.Buffer(0, 1), 4, 2, 0)
		}
		d.SetDesc(0, 1, d.Buffer(0, 1), 4, 2, 0)
		binary.LittleEndian.PutUint32(mem[d.Buffer(0, 1):], 0xffff)
		d.Make(0, 0)
		d.Kick(0)
		_, _, ok := d.Used(0)
		if got := binary.LittleEndian.Uint32(mem[d.Buffer(0, 1):]); !ok || got != c.want || flushes != c.flushes {
			t.Errorf("%s: answered %v with %d after %d flushes, want %d after %d", c.name, ok, got, flushes, c.want, c.flushes)
		}
	}
}
