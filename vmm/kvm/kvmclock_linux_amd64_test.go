package kvm

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/vmm"
)

// TestClock has a guest ask for KVM's clock and for the date: the one stands
// still between two runs, and the other is the machine's.
func TestClock(t *testing.T) {
	const date, system = 0xa000, 0x9000
	g := newGuest(t, 1, []byte{
		0xb9, 0x00, 0x4d, 0x56, 0x4b, // mov $0x4b564d00, %ecx
		0xb8, 0x00, 0xa0, 0x00, 0x00, // mov $0xa000, %eax
		0x31, 0xd2, // xor %edx, %edx
		0x0f, 0x30, // wrmsr: the date
		0xff, 0xc1, // inc %ecx
		0xb8, 0x01, 0x90, 0x00, 0x00, // mov $0x9001, %eax
		0x0f, 0x30, // wrmsr: the clock, on
		0xe6, 0x80, 0xeb, 0xfc, // 1: out %al, $0x80; jmp 1b
	})
	if !g.clock.offered {
		t.Skip("the host's KVM has no clock for guests, or none whose date can be set")
	}
	want := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
	g.clock.date = want
	g.out = func(uint16, int, uint32) { g.Stop() }
	g.run(t, vmm.ExitStopped)
	if got := time.Unix(int64(binary.LittleEndian.Uint32(g.mem[date+4:])), int64(binary.LittleEndian.Uint32(g.mem[date+8:]))); !got.Equal(want) {
		t.Errorf("the guest is told that it was switched on at %v, want %v", got, want)
	}
	clock := func() time.Duration {
		if version := binary.LittleEndian.Uint32(g.mem[system:]); version == 0 || version%2 != 0 {
			t.Fatalf("KVM's clock has version %d in the guest's memory, want it even and not 0", version)
		}
		return time.Duration(binary.LittleEndian.Uint64(g.mem[system+16:]))
	}
	g.run(t, vmm.ExitStopped)
	first, ran := clock(), g.Clock()
	const pause = 300 * time.Millisecond
	time.Sleep(pause)
	g.run(t, vmm.ExitStopped)
	second, ran2 := clock(), g.Clock()
	if first > ran2+pause/2 || second < first || second-first > ran2-ran+pause/2 {
		t.Errorf("KVM's clock shows the guest %v, and after a pause of %v %v; it ran for %v then, and for %v in all", first, pause, second, ran, ran2)
	}
}

// TestNoClock holds that a host whose KVM lets nobody answer for the date
// offers no clock, and that a failure to set it is one line.
func TestNoClock(t *testing.T) {
	for _, lacks := range []uintptr{capAdjustClock, capUserSpaceMSR, capFilterMSRs} {
		p := newFake(t, &fake{features: featureClock, lacks: lacks}).(*processors)
		if p.clock.offered || p.model.lookup(leafSignature, 0).ebx != 0 {
			t.Errorf("without capability %d the guest is offered KVM's clock", lacks)
		}
	}
	f := &fake{features: featureClock}
	p := newFake(t, f).(*processors)
	if !p.clock.offered || p.model.lookup(leafFeatures, 0).eax != featureClock {
		t.Fatal("a KVM that has all it takes offers no clock")
	}
	for _, r := range []uint32{reqSetClock, reqGetClock} {
		f.fail = map[uint32]error{r: unix.EINVAL}
		f.enter = func(_ *fake, a *runArea) error {
			a.reason = exitShutdown
			return nil
		}
		if err := p.Start(vmm.Entry{}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Run(t.Context(), time.Hour); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Run where request %#x fails = %v, want %v", r, err, unix.EINVAL)
		}
	}
}
