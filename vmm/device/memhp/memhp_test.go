package memhp

import (
	"math/rand/v2"
	"testing"
)

func in(c *Controller, at int) uint32 {
	if at == regFlags {
		return c.In(Base+uint16(at), 1)
	}
	return c.In(Base+uint16(at), 4)
}

// TestRegisters: a slot is told of, its events end when the guest says so, and
// it is empty once the guest let it go and the machine took it out.
func TestRegisters(t *testing.T) {
	told := 0
	c := New(3, func() { told++ })
	c.Slots[2] = Slot{Addr: 0x1_2000_0000, Size: 0x2_0800_0000, Node: 5, Insert: true}
	for _, selected := range []struct {
		slot uint32
		want [6]uint32
	}{
		{0, [6]uint32{}},
		{2, [6]uint32{0x2000_0000, 1, 0x0800_0000, 2, 5, flagEnabled | flagInsert}},
		{3, [6]uint32{}},
		{0xffff_ffff, [6]uint32{}},
	} {
		c.Out(Base, 4, selected.slot)
		var got [6]uint32
		for i := range got {
			got[i] = in(c, 4*i)
		}
		if got != selected.want {
			t.Errorf("slot %d reads as %#x, want %#x", selected.slot, got, selected.want)
		}
	}
	c.Out(Base, 4, 2)
	c.Out(Base+regFlags, 1, flagInsert)
	if got := in(c, regFlags); got != flagEnabled {
		t.Errorf("after the event's end the flags are %#x, want %#x", got, flagEnabled)
	}
	c.Slots[2].Remove = true
	c.Out(Base+regEvent, 4, 3)
	c.Out(Base+regStatus, 4, 0x84)
	if s := c.Slots[2]; s.Event != 3 || s.Status != 0x84 || s.Told != 1 || told != 1 {
		t.Errorf("after _OST (3, 0x84): %+v, told %d times", s, told)
	}
	c.Out(Base+regFlags, 1, flagEject)
	if s := c.Slots[2]; !s.Ejected || s.Enabled() || told != 2 {
		t.Errorf("after an eject: %+v, told %d times", s, told)
	}
	c.Out(Base+regFlags, 1, flagEject)
	if told != 2 {
		t.Error("an eject of what is gone is told again")
	}
}

// TestAnyAccess: no access of a guest does harm.
func TestAnyAccess(t *testing.T) {
	c := New(2, func() {})
	c.Slots[1] = Slot{Addr: 4 << 30, Size: 1 << 27}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		port, size := Base+uint16(r.IntN(Ports)), []int{1, 2, 4}[r.IntN(3)]
		c.In(port, size)
		c.Out(port, size, []uint32{0, 1, 2, 4, 8, r.Uint32()}[r.IntN(6)])
	}
	if s := c.Slots[1]; s.Addr != 4<<30 || s.Size != 1<<27 || c.Slots[0].Size != 0 {
		t.Errorf("a guest changed what is in the slots: %+v", c.Slots)
	}
}
