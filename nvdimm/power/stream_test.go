package power

import (
	"bytes"
	"encoding/binary"
	"testing"

	"nvlab/nvdimm"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// stream makes stores of 8 bytes at some offsets, and tells of them after that.
func (m *machine) stream(d *nvdimm.DIMM, v uint64, offsets ...uint64) {
	m.t.Helper()
	mem, err := d.Map()
	if err != nil {
		m.t.Fatal(err)
	}
	s := observe.Stream{Base: d.Addr(), Kind: observe.NonTemporal}
	for _, at := range offsets {
		m.seq++
		old := binary.LittleEndian.Uint64(mem[at:])
		s.Stores = append(s.Stores, observe.Streamed{Seq: m.seq, Offset: at, Value: v, Old: old, Group: m.seq})
		binary.LittleEndian.PutUint64(mem[at:], v)
	}
	m.tracker.Stream(&s)
}

// TestStreamAfterFailure: stores that a machine tells of after the power failed
// leave no trace, and of those before it what was fenced is there.
func TestStreamAfterFailure(t *testing.T) {
	m := newMachine(t, nvdimm.Config{Cap: ptr[int64](2)})
	d := m.plugNew()
	m.powerOn()
	if !m.tracker.Streams() {
		t.Error("a tracker with no cut armed wants to be told of each store")
	}
	m.stream(d, 1, 0, 8, 64)
	m.tracker.Fence(&observe.Fence{Order: observe.SFENCE})
	m.stream(d, 2, 8, 128)
	m.tracker.Fail(persist.KeepNone, false)
	m.stream(d, 3, 0, 8, 8, 192, 0)
	m.powerOff()
	want := make([]byte, 256)
	want[0], want[8], want[64] = 1, 1, 1
	if got := contents(t, d)[:len(want)]; !bytes.Equal(got, want) {
		t.Errorf("after a power cut bytes 0, 8, 64, 128 and 192 are %d, %d, %d, %d and %d, want 1, 1, 1, 0 and 0", got[0], got[8], got[64], got[128], got[192])
	}
	m.tracker.Arm(Cut{Event: Store, Nth: 1, Slot: Any})
	if m.tracker.Streams() {
		t.Error("a tracker whose cut strikes at a store may be told of stores late")
	}
}
