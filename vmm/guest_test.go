package vmm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/boot"
	"nvlab/vmm/kvm"
	"nvlab/vmm/soft"
)

// engines are those that every test of a running machine is for.
var engines = []vmm.Engine{soft.Engine{}, kvm.Engine{}}

// A pc is a machine that runs testdata/guest.s.
type pc struct {
	*vmm.Machine
	console bytes.Buffer
}

// newPC makes a machine whose guest tries what the letter names.
func newPC(t testing.TB, e vmm.Engine, letter string, edit ...func(*vmm.Config, *vmm.Payload)) *pc {
	t.Helper()
	k, err := boot.Load("testdata/guest.elf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	p := &pc{}
	cfg := vmm.Config{Memory: 32 << 20, Engine: e, Console: &p.console}
	payload := vmm.Payload{Kernel: k, Cmdline: letter}
	for _, f := range edit {
		f(&cfg, &payload)
	}
	p.Machine, err = vmm.Assemble(cfg)
	if errors.Is(err, vmm.ErrNoEngine) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if err := p.Boot(payload); err != nil {
		t.Fatal(err)
	}
	return p
}

// run lets the guest run for 50 ms of its time at most; where that is wall
// time, on a host that others use too, it has longer to get anywhere.
func (p *pc) run(t testing.TB, want vmm.Stop) {
	t.Helper()
	limit := 50 * time.Millisecond
	if p.Engine() != "soft" && want != vmm.StopDeadline {
		limit = 10 * time.Second
	}
	got, err := p.Run(context.Background(), p.Clock()+limit, nil)
	if emulation := (*kvm.EmulationError)(nil); errors.As(err, &emulation) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("Run ended with %v, want %v; console starts with:\n%.500s", got, want, p.console.String())
	}
}

// eachEngine runs a test for every engine.
func eachEngine(t *testing.T, f func(t *testing.T, e vmm.Engine)) {
	for _, e := range engines {
		t.Run(e.Name(), func(t *testing.T) { f(t, e) })
	}
}

func lines(words ...string) string { return strings.Join(words, "\n") + "\n" }

// TestUnclaimed reads ports and addresses where nothing is, 1, 2 and 4 bytes
// of each, and 8 of memory.
func TestUnclaimed(t *testing.T) {
	want := lines(
		"00000000000000ff", "000000000000ffff", "00000000ffffffff",
		"00000000000000ff", "000000000000ffff", "00000000ffffffff", "ffffffffffffffff")
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		p := newPC(t, e, "u")
		p.run(t, vmm.StopPowerOff)
		if got := p.console.String(); got != want {
			t.Errorf("read\n%s, want\n%s", got, want)
		}
		if got, want := p.Highest(), uint64(0xd800_0008); got != want {
			t.Errorf("the highest address at which it found nothing is %#x, want %#x", got, want)
		}
	})
}

// recorder is a device that writes down what happens to it.
type recorder struct{ log []string }

func (r *recorder) In(port uint16, size int) uint32 {
	r.log = append(r.log, fmt.Sprintf("in %#x %d", port, size))
	return 0xcafef00d
}

func (r *recorder) Out(port uint16, size int, v uint32) {
	r.log = append(r.log, fmt.Sprintf("out %#x %d %#x", port, size, v))
}

func (r *recorder) Read(offset uint64, size int) uint64 {
	r.log = append(r.log, fmt.Sprintf("read %#x %d", offset, size))
	return 0x1234_5678_9abc_def0
}

func (r *recorder) Write(offset uint64, size int, v uint64) {
	r.log = append(r.log, fmt.Sprintf("write %#x %d %#x", offset, size, v))
}

func TestDevices(t *testing.T) {
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		p := newPC(t, e, "d")
		var r recorder
		if err := errors.Join(p.AddPort(0x5000, 8, &r), p.AddMMIO(0xd900_0000, 0x1000, &r)); err != nil {
			t.Fatal(err)
		}
		p.run(t, vmm.StopPowerOff)
		want := lines(
			"out 0x5001 1 0x44", "out 0x5001 2 0x3344", "out 0x5001 4 0x11223344", "in 0x5001 4",
			"write 0x10 1 0x88", "write 0x20 2 0x7788", "write 0x30 4 0x55667788", "write 0x40 8 0x1122334455667788", "read 0x52 2")
		if got := lines(r.log...); got != want {
			t.Errorf("the devices saw\n%s, want\n%s", got, want)
		}
		if got, want := p.console.String(), lines("00000000cafef00d", "000000000000def0"); got != want {
			t.Errorf("the guest read\n%s, want\n%s", got, want)
		}
	})
}

func TestMemory(t *testing.T) {
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		for _, c := range []struct {
			name     string
			readOnly bool
			observed bool
			want     uint64
		}{
			{"plain", false, false, 42},
			{"observed", false, true, 42},
			{"read-only", true, false, 41},
		} {
			p := newPC(t, e, "m")
			mem := make([]byte, 2*4096)
			binary.LittleEndian.PutUint64(mem, 41)
			err := p.AddMemory(vmm.Region{Base: 0xda00_0000, Mem: mem, ReadOnly: c.readOnly, Observed: c.observed})
			if err != nil {
				t.Fatal(err)
			}
			p.run(t, vmm.StopPowerOff)
			if got := binary.LittleEndian.Uint64(mem); got != c.want {
				t.Errorf("%s: memory = %d, want %d", c.name, got, c.want)
			}
			if got, want := p.console.String(), lines(fmt.Sprintf("%016x", 41), fmt.Sprintf("%016x", c.want)); got != want {
				t.Errorf("%s: the guest read\n%s, want\n%s", c.name, got, want)
			}
		}

		p := newPC(t, e, "m")
		mem := make([]byte, 4096)
		if err := p.AddMemory(vmm.Region{Base: 0xda00_0000, Mem: mem}); err != nil {
			t.Fatal(err)
		}
		if err := p.RemoveMemory(0xda00_0000); err != nil {
			t.Fatal(err)
		}
		p.run(t, vmm.StopPowerOff)
		if got, want := p.console.String(), lines("ffffffffffffffff", "ffffffffffffffff"); got != want {
			t.Errorf("of removed memory the guest read\n%s, want\n%s", got, want)
		}
	})
}

// mapper is a device at whose first write memory appears, or an error.
type mapper struct {
	recorder
	later func(func() error)
	do    func() error
}

func (m *mapper) Out(port uint16, size int, v uint32) {
	if m.do != nil {
		m.later(m.do)
		m.do = nil
	}
}

// TestLater: memory that a device asks for is there at the next instruction.
func TestLater(t *testing.T) {
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		p := newPC(t, e, "d")
		mem := make([]byte, 4096)
		d := &mapper{later: p.Later, do: func() error { return p.AddMemory(vmm.Region{Base: 0xd900_0000, Mem: mem}) }}
		if err := p.AddPort(0x5000, 8, d); err != nil {
			t.Fatal(err)
		}
		p.run(t, vmm.StopPowerOff)
		if got := binary.LittleEndian.Uint64(mem[0x40:]); mem[0x10] != 0x88 || got != 0x1122334455667788 {
			t.Errorf("the memory has %#x and %#x, want what the guest stored, 0x88 and 0x1122334455667788", mem[0x10], got)
		}
		if got, want := p.console.String(), lines("00000000cafef00d", "0000000000000000"); got != want {
			t.Errorf("the guest read\n%s, want\n%s", got, want)
		}

		p = newPC(t, e, "d")
		broken := errors.New("broken")
		if err := p.AddPort(0x5000, 8, &mapper{later: p.Later, do: func() error { return broken }}); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Run(t.Context(), time.Second, nil); !errors.Is(err, broken) && !errors.As(err, new(*kvm.EmulationError)) {
			t.Errorf("Run ends with %v, want what was to be done later: broken", err)
		}
	})
}

func TestConsoleInput(t *testing.T) {
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		p := newPC(t, e, "e")
		if got, err := p.Run(context.Background(), time.Millisecond, nil); got != vmm.StopDeadline || err != nil {
			t.Fatalf("Run = %v, %v, want deadline", got, err)
		}
		p.ConsoleInput([]byte("what is typed, more than a FIFO holds\n"))
		p.run(t, vmm.StopPowerOff)
		if got, want := p.console.String(), "what is typed, more than a FIFO holds\n"; got != want {
			t.Errorf("console = %q, want %q", got, want)
		}
	})
}

// TestInterrupts has the guest wait for each kind.
func TestInterrupts(t *testing.T) {
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		for _, c := range []struct{ name, letter, want string }{
			{"edge-triggered", "i", "ii"},
			{"level-triggered, asserted still at its end", "a", "aaa"},
			{"the local APIC's timer", "s", "timer\n"},
		} {
			p := newPC(t, e, c.letter)
			p.run(t, vmm.StopPowerOff)
			if got := p.console.String(); got != c.want {
				t.Errorf("%s: console = %q, want %q", c.name, got, c.want)
			}
		}
	})
}

// TestExceptions has the guest fault, and the handlers of its faults answer.
func TestExceptions(t *testing.T) {
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		for _, c := range []struct{ name, letter, want string }{
			{"faults", "x", lines(
				"0000000000000000",
				"0000000000000006",
				"000000000000000d", "0000000000000000",
				"0000000123456000", "000000000000000e", "0000000000000002")},
			{"breakpoint", "b", lines("0000000000000003")},
		} {
			t.Run(c.name, func(t *testing.T) {
				p := newPC(t, e, c.letter)
				p.run(t, vmm.StopPowerOff)
				if got := p.console.String(); got != c.want {
					t.Errorf("the handlers told\n%s, want\n%s", got, c.want)
				}
			})
		}
	})
}

// TestTimer holds that a halted guest costs no time but its own.
func TestTimer(t *testing.T) {
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		p := newPC(t, e, "s")
		p.run(t, vmm.StopPowerOff)
		const ticks = 20_000_000
		timer, late := time.Duration(ticks*1_000_000/vmm.TSCFrequency(e)), 5*time.Millisecond
		if e.Name() != "soft" {
			late = 5 * time.Second // others use the host, too
		}
		if got := p.Clock(); got < timer || got > timer+late {
			t.Errorf("after a timer of %v the clock is %v", timer, got)
		}
	})
}

func TestEvents(t *testing.T) {
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		p := newPC(t, e, "g", func(c *vmm.Config, _ *vmm.Payload) {
			c.Events = []vmm.Event{{Path: `\_SB.NVDR`, Value: 0x80}, {Path: `\_SB.NVDR`, Value: 0x81}, {Path: `\_SB.NVDR`, Value: 0x82}}
		})
		ready := func() bool { return strings.Contains(p.console.String(), "ready\n") }
		if got, err := p.Run(context.Background(), time.Second, ready); got != vmm.StopDone || err != nil {
			t.Fatalf("Run = %v, %v, want done", got, err)
		}
		if err := p.Notify(0); err != nil {
			t.Fatal(err)
		}
		seen := func() bool { return strings.HasSuffix(p.console.String(), "1\n") }
		if got, err := p.Run(context.Background(), p.Clock()+time.Second, seen); got != vmm.StopDone || err != nil {
			t.Fatalf("Run = %v, %v, want done", got, err)
		}
		if err := errors.Join(p.Notify(1), p.Notify(2)); err != nil {
			t.Fatal(err)
		}
		p.run(t, vmm.StopPowerOff)
		if got, want := p.console.String(), lines("ready", "0000000000000001", "0000000000000006"); got != want {
			t.Errorf("console:\n%s, want\n%s", got, want)
		}
		for _, n := range []int{-1, 3} {
			if err := p.Notify(n); err == nil {
				t.Errorf("Notify(%d) of a machine with 3 events succeeded", n)
			}
		}
	})
}

// TestRepeats runs one guest twice.
func TestRepeats(t *testing.T) {
	run := func() (string, time.Duration, uint64) {
		p := newPC(t, soft.Engine{}, "i")
		p.run(t, vmm.StopPowerOff)
		return p.console.String(), p.Clock(), p.Stats().Instructions
	}
	text, clock, count := run()
	text2, clock2, count2 := run()
	if text != text2 || clock != clock2 || count != count2 {
		t.Errorf("two runs: %q, %v, %d instructions and %q, %v, %d instructions", text, clock, count, text2, clock2, count2)
	}
}

// failing is a console that cannot be written.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestConsoleFails(t *testing.T) {
	p := newPC(t, soft.Engine{}, "p", func(c *vmm.Config, _ *vmm.Payload) { c.Console = failing{} })
	_, err := p.Run(context.Background(), time.Second, nil)
	if err == nil || !strings.Contains(err.Error(), "writing the console: disk full") {
		t.Errorf("Run with a console that fails = %v", err)
	}
}

// TestGuestIsCurrent assembles testdata/guest.s.
func TestGuestIsCurrent(t *testing.T) {
	for _, tool := range []string{"as", "ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	object, image := filepath.Join(dir, "guest.o"), filepath.Join(dir, "guest.elf")
	for _, c := range [][]string{
		{"as", "-o", object, "testdata/guest.s"},
		{"ld", "-s", "-n", "--no-warn-rwx-segments", "-Ttext=0x1000000", "-o", image, object},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
	want, err := segment(image)
	if err != nil {
		t.Fatal(err)
	}
	got, err := segment("testdata/guest.elf")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("testdata/guest.elf is not what testdata/guest.s assembles to: build it as that file says")
	}
}

// segment places a kernel and returns what came to 16 MiB.
func segment(path string) ([]byte, error) {
	k, err := boot.Load(path)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	ram := make([]byte, 20<<20)
	if _, err := k.Place(ram, boot.Params{Top: uint64(len(ram))}); err != nil {
		return nil, err
	}
	return ram[16<<20 : k.End()], nil
}
