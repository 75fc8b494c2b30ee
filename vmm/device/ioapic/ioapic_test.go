package ioapic

import (
	"slices"
	"testing"
)

type chip struct {
	*IOAPIC
	got []Message
}

func newChip() *chip {
	c := &chip{}
	c.IOAPIC = New(func(m Message) { c.got = append(c.got, m) })
	return c
}

func (c *chip) put(index uint8, v uint32) {
	c.Write(regSelect, 4, uint64(index))
	c.Write(regWindow, 4, uint64(v))
}

func (c *chip) get(index uint8) uint32 {
	c.Write(regSelect, 4, uint64(index))
	return uint32(c.Read(regWindow, 4))
}

func (c *chip) route(pin int, e uint64) {
	c.put(uint8(idxTable+2*pin+1), uint32(e>>32))
	c.put(uint8(idxTable+2*pin), uint32(e))
}

func (c *chip) want(t *testing.T, when string, want ...Message) {
	t.Helper()
	if !slices.Equal(c.got, want) {
		t.Errorf("%s: messages = %+v, want %+v", when, c.got, want)
	}
	c.got = nil
}

func TestRegisters(t *testing.T) {
	c := newChip()
	if got := c.get(idxVersion); got != 0x170020 {
		t.Errorf("version register = %#x, want 0x170020: 24 pins, version 0x20", got)
	}
	for pin := range Pins {
		if got := c.get(uint8(idxTable + 2*pin)); got != rteMasked {
			t.Errorf("entry %d after a reset = %#x, want %#x", pin, got, rteMasked)
		}
	}
	c.put(idxID, 0xffff_ffff)
	if got := c.get(idxID); got != 0x0f00_0000 {
		t.Errorf("ID = %#x, want 0x0f000000", got)
	}
	c.put(idxTable, 0xffff_ffff)
	if got := c.get(idxTable); got&(rteRemoteIRR|1<<12) != 0 {
		t.Errorf("entry 0 = %#x: the read-only bits 12 and 14 were written", got)
	}
	for _, i := range []uint8{0x03, 0x0f, 0x40, 0xff} {
		c.put(i, 0x55)
		if got := c.get(i); got != 0 {
			t.Errorf("register %#x = %#x, want 0: there is none", i, got)
		}
	}
}

func TestEdge(t *testing.T) {
	c := newChip()
	c.route(4, 0x31|5<<rteDestShift)
	m := Message{Dest: 5, Vector: 0x31}
	c.Set(4, true)
	c.want(t, "rise", m)
	c.Set(4, true)
	c.want(t, "still high")
	c.Set(4, false)
	c.want(t, "fall")
	c.Set(4, true)
	c.want(t, "second rise", m)
	c.EndOfInterrupt(0x31)
	c.want(t, "end of an edge-triggered interrupt")
}

func TestLevel(t *testing.T) {
	c := newChip()
	c.route(9, 0x41|rteLevel|rteLogical|rteLowest|3<<rteDestShift)
	m := Message{Dest: 3, Logical: true, Lowest: true, Level: true, Vector: 0x41}
	c.Set(9, true)
	c.want(t, "rise", m)
	if got := c.get(idxTable + 18); got&rteRemoteIRR == 0 {
		t.Errorf("entry 9 = %#x, want remote IRR set", got)
	}
	c.Set(9, false)
	c.Set(9, true)
	c.want(t, "rise before the end of the first")
	c.EndOfInterrupt(0x42)
	c.want(t, "end of another vector")
	c.EndOfInterrupt(0x41)
	c.want(t, "end while the line is high", m)
	c.Set(9, false)
	c.EndOfInterrupt(0x41)
	c.want(t, "end while the line is low")
}

func TestMasked(t *testing.T) {
	c := newChip()
	c.route(1, 0x50|rteMasked)
	c.route(2, 0x51|rteMasked|rteLevel)
	c.Set(1, true)
	c.Set(2, true)
	c.want(t, "masked")
	c.route(1, 0x50)
	c.want(t, "an edge that came while masked is lost")
	c.route(2, 0x51|rteLevel)
	c.want(t, "a level holds until it is unmasked", Message{Level: true, Vector: 0x51})
}

func TestActiveLow(t *testing.T) {
	c := newChip()
	c.route(3, 0x60|rteActiveLow|rteMasked)
	c.Set(3, true)
	c.route(3, 0x60|rteActiveLow)
	c.want(t, "high is idle")
	c.Set(3, false)
	c.want(t, "fall", Message{Vector: 0x60})
}

func TestSwitchToEdgeClearsRemoteIRR(t *testing.T) {
	c := newChip()
	c.route(7, 0x70|rteLevel)
	c.Set(7, true)
	c.want(t, "rise", Message{Level: true, Vector: 0x70})
	c.route(7, 0x70|rteMasked)
	c.route(7, 0x70|rteLevel)
	c.want(t, "level again", Message{Level: true, Vector: 0x70})
}

func TestEOIRegister(t *testing.T) {
	c := newChip()
	c.route(7, 0x70|rteLevel)
	c.Set(7, true)
	c.got = nil
	c.Write(regEOI, 4, 0x70)
	c.want(t, "end through the register", Message{Level: true, Vector: 0x70})
}

func TestOtherDeliveryModes(t *testing.T) {
	for _, mode := range []uint64{2, 4, 5, 7} {
		c := newChip()
		c.route(0, mode<<8|0x20)
		c.Set(0, true)
		c.want(t, "SMI, NMI, INIT or ExtINT")
	}
}

func TestPinOutOfRange(t *testing.T) {
	c := newChip()
	c.Set(-1, true)
	c.Set(Pins, true)
	c.want(t, "no such pin")
}
