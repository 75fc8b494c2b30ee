package kvm

import (
	"context"
	"slices"
	"testing"
	"time"

	"nvlab/internal/pages"
	"nvlab/vmm"
)

// poke adds one to the byte at attachment, tells it and stops, for ever.
var poke = []byte{
	0xfe, 0x04, 0x25, 0x00, 0x00, 0x00, 0x40, // 1: incb 0x40000000
	0x8a, 0x04, 0x25, 0x00, 0x00, 0x00, 0x40, // mov 0x40000000, %al
	0xe6, 0x80, // out %al, $0x80
	0xeb, 0xee, // jmp 1b
}

// TestSlots plugs memory into a guest that has started, in each kind, takes it
// away and plugs it again.
func TestSlots(t *testing.T) {
	g := newGuest(t, 1, poke)
	var told uint32
	g.out = func(_ uint16, _ int, v uint32) {
		told = v
		g.Stop()
	}
	stores := 0
	g.write = func(addr uint64, size int, v uint64) {
		if addr != attachment || size != 1 {
			t.Errorf("a store of %d bytes to %#x, want 1 to %#x", size, addr, attachment)
		}
		stores++
	}
	mem := newMemory(t, 2*4096)
	for _, c := range []struct {
		name         string
		region       vmm.Region
		told, memory byte // after each starts as 41
		bus          int
	}{
		{"none", vmm.Region{}, 0xff, 41, 1},
		{"plain", vmm.Region{Mem: mem}, 42, 42, 0},
		{"none again", vmm.Region{}, 0xff, 41, 1},
		{"read-only", vmm.Region{Mem: mem, ReadOnly: true}, 41, 41, 0},
		{"observed", vmm.Region{Mem: mem, Observed: true}, 42, 42, 0},
		{"plain again", vmm.Region{Mem: mem}, 42, 42, 0},
	} {
		mem[0], stores = 41, 0
		if c.region.Mem != nil {
			c.region.Base = attachment
			if err := g.Map(c.region); err != nil {
				t.Fatal(err)
			}
		}
		g.run(t, vmm.ExitStopped)
		if byte(told) != c.told || mem[0] != c.memory || stores != c.bus {
			t.Errorf("%s: the guest read %d, memory has %d, %d stores came to the bus; want %d, %d, %d",
				c.name, byte(told), mem[0], stores, c.told, c.memory, c.bus)
		}
		if c.region.Mem != nil {
			if err := g.Unmap(attachment); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := g.Unmap(attachment); err == nil {
		t.Error("Unmap of no memory succeeded")
	}
	if err := g.Map(vmm.Region{Base: attachment, Mem: mem[1:4097]}); err == nil {
		t.Error("Map of memory within a page succeeded")
	}
}

// TestDirtyPages holds that sets learn of the pages that the guest stores to,
// of memory that counts from the start and of memory that counts from the first
// Cleaned on.
func TestDirtyPages(t *testing.T) {
	for _, later := range []bool{false, true} {
		g := newGuest(t, 1, poke)
		g.out = func(uint16, int, uint32) { g.Stop() }
		mem, dirty := newMemory(t, 70*4096), pages.NewSet(70*4096)
		if err := g.Map(vmm.Region{Base: attachment - 66*4096, Mem: mem, Dirty: dirty, DirtyLater: later}); err != nil {
			t.Fatal(err)
		}
		for run := range 4 {
			var want []uint64
			if !later || run > 1 {
				want = []uint64{66}
			}
			g.run(t, vmm.ExitStopped)
			if got := slices.Collect(dirty.All()); !slices.Equal(got, want) {
				t.Errorf("later = %v, run %d: pages %v are dirty, want %v", later, run, got, want)
			}
			if run > 0 {
				dirty.Clear()
				g.Cleaned()
			}
		}
		if mem[66*4096] != 4 {
			t.Errorf("the guest added %d to memory, want 4", mem[66*4096])
		}
	}
}

// TestAccesses moves values of every size through ports and device registers.
func TestAccesses(t *testing.T) {
	g := newGuest(t, 1, []byte{
		0xe5, 0x10, // in $0x10, %eax
		0xe7, 0x11, // out %eax, $0x11
		0x48, 0x8b, 0x04, 0x25, 0x01, 0x00, 0x00, 0x40, // mov 0x40000001, %rax
		0x48, 0x89, 0x04, 0x25, 0x03, 0x00, 0x00, 0x40, // mov %rax, 0x40000003
		0xfa, 0xf4,
	})
	g.in = func(uint16, int) uint32 { return 0x1234_5678 }
	g.read = func(uint64, int) uint64 { return 0x0102_0304_0506_0708 }
	var port uint32
	g.out = func(_ uint16, _ int, v uint32) { port = v }
	var addr, value uint64
	g.write = func(a uint64, size int, v uint64) { addr, value = a, v }
	got, err := g.Run(context.Background(), 20*time.Second)
	if got != vmm.ExitDead || err != nil {
		t.Fatalf("Run = %v, %v, want %v", got, err, vmm.ExitDead)
	}
	if port != 0x1234_5678 || addr != attachment+3 || value != 0x0102_0304_0506_0708 {
		t.Errorf("the port got %#x, address %#x %#x", port, addr, value)
	}
}
