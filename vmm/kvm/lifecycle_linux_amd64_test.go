package kvm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/internal/held"
	"nvlab/vmm"
)

var (
	spin  = []byte{0xfa, 0xeb, 0xfe}                   // cli; 1: jmp 1b
	halt  = []byte{0xfa, 0xf4}                         // cli; hlt
	fault = []byte{0x0f, 0x0b}                         // ud2, without an IDT
	tell  = []byte{0xe6, 0x80, 0xeb, 0xfc}             // 1: out %al, $0x80; jmp 1b
	stamp = []byte{0x0f, 0x31, 0xe7, 0x80, 0xeb, 0xfa} // 1: rdtsc; out %eax, $0x80; jmp 1b
)

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		code []byte
		want vmm.Exit
	}{
		{"a halt with interrupts off", halt, vmm.ExitDead},
		{"a fault without handlers", fault, vmm.ExitTripleFault},
		{"a device's stop", tell, vmm.ExitStopped},
	} {
		g := newGuest(t, 1, c.code)
		g.out = func(uint16, int, uint32) { g.Stop() }
		for range 3 {
			got, err := g.Run(context.Background(), g.Clock()+20*time.Second)
			if got != c.want || err != nil {
				t.Errorf("%s: Run = %v, %v, want %v", c.name, got, err, c.want)
			}
		}
	}
}

// TestSpinning ends a processor that spins with interrupts off.
func TestSpinning(t *testing.T) {
	g := newGuest(t, 1, spin)
	start := time.Now()
	if got, err := g.Run(context.Background(), 30*time.Millisecond); got != vmm.ExitDeadline || err != nil {
		t.Errorf("Run = %v, %v, want the deadline", got, err)
	}
	if c := g.Clock(); c < 30*time.Millisecond {
		t.Errorf("at a deadline of 30 ms the clock is %v", c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := g.Run(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run with a context of 20 ms = %v", err)
	}
	time.AfterFunc(20*time.Millisecond, g.Kick)
	g.run(t, vmm.ExitStopped)
	g.Kick()
	g.run(t, vmm.ExitStopped)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("four ends took %v", d)
	}
	at := g.Clock()
	time.Sleep(5 * time.Millisecond)
	if g.Clock() != at {
		t.Errorf("outside of Run the clock went from %v to %v", at, g.Clock())
	}
}

// TestReset starts processors again that ran.
func TestReset(t *testing.T) {
	g := newGuest(t, 1, fault)
	for range 3 {
		g.run(t, vmm.ExitTripleFault)
		if err := g.Start(vmm.Entry{RIP: codeAddr, RSP: 0x8000, CR3: tableAddr}); err != nil {
			t.Fatal(err)
		}
		if c := g.Clock(); c != 0 {
			t.Errorf("after a reset the clock is %v", c)
		}
	}
}

// TestTSC holds that a guest does not see the time between two runs.
func TestTSC(t *testing.T) {
	g := newGuest(t, 1, stamp)
	needsCounter(t, g)
	first := g.tells(t, 1)[0]
	const pause = 300 * time.Millisecond
	time.Sleep(pause)
	ticks := uint64(g.tells(t, 1)[0] - first)
	if khz := (Engine{}).TSCKHz(); khz > 0 && ticks > khz*uint64(pause/time.Millisecond)/2 {
		t.Errorf("over a pause of %v the guest saw %d ticks of %d kHz", pause, ticks, khz)
	}
}

// needsCounter skips where KVM does not let the counter of a guest that runs
// stamp be set.
func needsCounter(t *testing.T, g *guest) {
	t.Helper()
	before := g.tells(t, 1)[0]
	offset, err := g.cpus[0].tscOffset()
	if err != nil {
		t.Skipf("the host's KVM sets no time-stamp counter: %v", err)
	}
	// Half of what a word holds: a guest whose counter turns sees it go on.
	g.cpus[0].setTSCOffset(offset + 1<<31)
	g.tsc.at += 1 << 31 // else the next run turns it back
	if g.tells(t, 1)[0]-before < 1<<30 {
		t.Skip("the host's KVM takes an offset of the time-stamp counter, and ignores it")
	}
}

// TestTruncated takes a guest's memory away. KVM fails a guest that has
// interrupts off; one that has them on it puts to sleep until the memory is
// there, which is never.
func TestTruncated(t *testing.T) {
	load := []byte{0x8b, 0x04, 0x25, 0x00, 0xf0, 0x00, 0x40, 0xfa, 0xf4} // mov 0x4000f000, %eax; cli; hlt
	for _, c := range []struct {
		name string
		code []byte
	}{
		{"interrupts off", load},
		{"interrupts on", append([]byte{0xfb, 0x90}, load...)}, // sti; nop
	} {
		t.Run(c.name, func(t *testing.T) {
			const size = 16 * 4096
			f, err := os.Create(filepath.Join(t.TempDir(), "backend"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(size); err != nil {
				t.Fatal(err)
			}
			mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Munmap(mem)
			g := newGuest(t, 1, c.code)
			if err := g.Map(vmm.Region{Base: attachment, Mem: mem, Revocable: true}); err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(3 * 4096); err != nil {
				t.Fatal(err)
			}
			exit, err := g.Run(context.Background(), 20*time.Second)
			var lost *vmm.LostMemoryError
			if !errors.As(err, &lost) || lost.Base != attachment || lost.Offset < 3*4096 {
				t.Errorf("Run over a truncated file = %v, %v, want its loss at offset 0x3000 or more", exit, err)
			}
		})
	}
}

// TestProcessors starts a second processor, which halts; the first halts then.
func TestProcessors(t *testing.T) {
	code := []byte{
		0xbe, 0x00, 0x00, 0xe0, 0xfe, // mov $0xfee00000, %esi
		0xc7, 0x86, 0xf0, 0, 0, 0, 0xff, 0x01, 0, 0, // movl $0x1ff, 0xf0(%rsi): software enable
		0xc7, 0x86, 0x10, 3, 0, 0, 0, 0, 0, 1, // movl $1 << 24, 0x310(%rsi): to APIC 1
		0xc7, 0x86, 0x00, 3, 0, 0, 0x00, 0x45, 0, 0, // movl $0x4500, 0x300(%rsi): INIT
		0xc7, 0x86, 0x00, 3, 0, 0, 0x07, 0x46, 0, 0, // movl $0x4607, 0x300(%rsi): SIPI to 0x7000
		0xfa, 0xf4,
	}
	g := newGuest(t, 2, code)
	copy(g.mem[0x7000:], []byte{0xb0, 0x41, 0xe6, 0x80, 0xfa, 0xf4}) // mov $'A', %al; out %al, $0x80; cli; hlt
	var seen []byte
	g.out = func(_ uint16, _ int, v uint32) { seen = append(seen, byte(v)) }
	got, err := g.Run(context.Background(), 20*time.Second)
	var emulation *EmulationError
	if errors.As(err, &emulation) {
		t.Skip(err)
	}
	if got != vmm.ExitDead || err != nil || string(seen) != "A" {
		t.Errorf("Run = %v, %v and %q from the second processor, want %v and %q", got, err, seen, vmm.ExitDead, "A")
	}
}

// TestDeviceFails holds that a device's defect is an error, not the end of
// the program.
func TestDeviceFails(t *testing.T) {
	g := newGuest(t, 1, tell)
	g.out = func(uint16, int, uint32) { panic("no such gear") }
	if _, err := g.Run(context.Background(), time.Minute); err == nil || !strings.Contains(err.Error(), "no such gear") {
		t.Errorf("Run with a device that panics = %v", err)
	}
}

// TestNothingLeaks makes, runs and ends 200 machines.
func TestNothingLeaks(t *testing.T) {
	newGuest(t, 1, spin) // skips where there is no KVM
	once := func() {
		t.Run("", func(t *testing.T) {
			g := newGuest(t, 1, spin)
			time.AfterFunc(time.Millisecond, g.Kick)
			g.run(t, vmm.ExitStopped)
		})
	}
	for range 5 {
		once()
	}
	before := held.Now(t)
	for range 200 {
		once()
	}
	before.NoMore(t, "200 machines")
}
