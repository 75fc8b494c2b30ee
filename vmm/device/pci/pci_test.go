package pci

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// data is the port of the data of an address.
const data = 0xcfc

func at(bus, device, function, offset uint32) uint32 {
	return enable | bus<<16 | device<<11 | function<<8 | offset
}

// TestFunctions: software that looks through the buses finds a host bridge, a
// root port and nothing else, by ports and in memory alike.
func TestFunctions(t *testing.T) {
	c := New()
	found := map[uint32]uint32{}
	for bus := range uint32(Buses) {
		for device := range uint32(32) {
			for function := range uint32(8) {
				c.Out(0xcf8, 4, at(bus, device, function, 0))
				id := c.In(data, 4)
				if inMemory := uint32(c.Read(uint64(bus<<20|device<<15|function<<12), 4)); inMemory != id {
					t.Errorf("bus %d, device %d, function %d is %#x by port and %#x in memory", bus, device, function, id, inMemory)
				}
				if id != 0xffff_ffff {
					found[bus<<8|device<<3|function] = id
				}
			}
		}
	}
	want := map[uint32]uint32{0: 0x0008_1b36, 1 << 3: 0x000c_1b36}
	if len(found) != len(want) || found[0] != want[0] || found[8] != want[8] {
		t.Errorf("functions found: %#x, want %#x", found, want)
	}
}

// TestProbe is how Linux finds out that there is a PCI bus at the ports
// (arch/x86/pci/direct.c, pci_check_type1).
func TestProbe(t *testing.T) {
	c := New()
	c.Out(0xcfb, 1, 1)
	old := c.In(0xcf8, 4)
	c.Out(0xcf8, 4, enable)
	if got := c.In(0xcf8, 4); got != enable {
		t.Errorf("the address reads as %#x, want %#x", got, uint32(enable))
	}
	if class := func() uint32 { c.Out(0xcf8, 4, at(0, 0, 0, 8)); return c.In(data+2, 2) }(); class != classHost {
		t.Errorf("the class of device 0 is %#x, want a host bridge's, %#x", class, classHost)
	}
	c.Out(0xcf8, 4, old)
	if got := c.In(data, 4); got != 0xffff_ffff {
		t.Errorf("without the enable bit data read as %#x, want all ones", got)
	}
}

// TestRootPort sets the port's bus numbers and windows, and finds its
// capabilities.
func TestRootPort(t *testing.T) {
	c := New()
	const port = RootPortDevice << 15
	c.Write(port+offPrimary, 4, 0xff_03_01_00)
	if got := c.Read(port+offPrimary, 4); got != 0x03_01_00 {
		t.Errorf("bus numbers are %#x, want 0x30100: the latency timer stays 0", got)
	}
	c.Write(port+offMemoryBase, 4, 0xffff_ffff)
	if got := c.Read(port+offMemoryBase, 4); got != 0xfff0_fff0 {
		t.Errorf("the memory window is %#x, want 0xfff0fff0", got)
	}
	c.Write(port+offVendor, 8, 0)
	if got := c.Read(port+offVendor, 4); got != 0x000c_1b36 {
		t.Errorf("vendor and device are %#x after a store: they are read-only", got)
	}
	var caps []uint64
	for at := c.Read(port+offCapabilities, 1); at != 0; at = c.Read(port+at+1, 1) {
		caps = append(caps, c.Read(port+at, 1))
		if len(caps) > 10 {
			t.Fatalf("the capabilities have no end: %#x", caps)
		}
	}
	if len(caps) != 2 || caps[0] != capPCIExpress || caps[1] != capSubsystem {
		t.Errorf("capabilities are %#x, want PCI Express and subsystem", caps)
	}
	if kind := c.Read(port+atExpress+expressCapabilities, 2) >> 4 & 0xf; kind != 4 {
		t.Errorf("the port is of type %d, want 4, a root port", kind)
	}
}

// TestAnyAccess: no access of a guest does harm, and state that is cloned is
// no longer shared.
func TestAnyAccess(t *testing.T) {
	c := New()
	r := rand.New(rand.NewPCG(1, 2))
	before := c.State.Clone()
	sizes := []int{1, 2, 4, 8}
	for range 200_000 {
		size := sizes[r.IntN(4)]
		offset := r.Uint64N(Buses * BusSize)
		if r.IntN(2) == 0 {
			offset &= 1<<16 - 1 // where something is
		}
		switch r.IntN(4) {
		case 0:
			c.Read(offset, size)
		case 1:
			c.Write(offset, size, r.Uint64())
		case 2:
			c.In(uint16(0xcf8+r.IntN(8)), min(size, 4))
		default:
			c.Out(uint16(0xcf8+r.IntN(8)), min(size, 4), r.Uint32())
		}
	}
	for i := range c.functions {
		for at, may := range c.functions[i].writable {
			if (c.Spaces[i*Size+at]^before.Spaces[i*Size+at])&^may != 0 {
				t.Errorf("function %d, offset %#x: %#x became %#x, of which only %#x may change", i, at, before.Spaces[i*Size+at], c.Spaces[i*Size+at], may)
			}
		}
	}
	if bytes.Equal(before.Spaces, c.Spaces) {
		t.Error("nothing changed, or the clone did too")
	}
}
