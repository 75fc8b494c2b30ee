package vmm_test

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"nvlab/internal/held"
	"nvlab/vmm"
	"nvlab/vmm/soft"
)

// lives are the ways of a machine from its start to its end. Each ends in a
// state, in time, and what the guest told is kept.
var lives = []struct {
	name, letter string
	live         func(t *testing.T, p *pc)
	state        vmm.State
	console      string
}{
	{"power-off", "p", ends(vmm.StopPowerOff), vmm.PoweredOff, "power\n"},
	{"reset", "r", ends(vmm.StopReset), vmm.WasReset, ""},
	{"a hang: halted with interrupts off", "h", ends(vmm.StopDead), vmm.Halted, ""},
	{"triple fault", "t", ends(vmm.StopTripleFault), vmm.TripleFault, ""},
	{"a hang: spinning with interrupts off", "l", ends(vmm.StopDeadline), vmm.Running, ""},
	{"paused and resumed", "e", pauseAndResume, vmm.PoweredOff, "typed before, typed after\n"},
	{"cancelled", "l", cancel, vmm.Running, ""},
	{"killed before its first instruction", "p", func(*testing.T, *pc) {}, vmm.Running, ""},
	{"signals that mean nothing", "l", signals, vmm.Running, ""},
	{"interrupted by the host", "l", interrupted, vmm.Running, ""},
}

func TestLifecycle(t *testing.T) {
	eachEngine(t, func(t *testing.T, e vmm.Engine) {
		newPC(t, e, "p").Close() // skips, or warms up
		for _, c := range lives {
			before := held.Now(t)
			t.Run(c.name, func(t *testing.T) {
				p := newPC(t, e, c.letter)
				start := time.Now()
				c.live(t, p)
				if d := time.Since(start); d > 20*time.Second {
					t.Errorf("it took %v", d)
				}
				if got := p.State(); got != c.state {
					t.Errorf("state = %v, want %v", got, c.state)
				}
				if err := p.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				if got := p.State(); got != c.state {
					t.Errorf("once closed, state = %v, want %v", got, c.state)
				}
				if got := p.console.String(); got != c.console {
					t.Errorf("console = %q, want %q", got, c.console)
				}
			})
			before.NoMore(t, c.name)
		}
	})
}

// ends is a machine that comes to its end by itself, and stays there.
func ends(stop vmm.Stop) func(t *testing.T, p *pc) {
	return func(t *testing.T, p *pc) {
		p.run(t, stop)
		if stop == vmm.StopDeadline {
			return
		}
		at := p.Clock()
		p.run(t, stop)
		if p.Clock() != at {
			t.Errorf("a second Run took the clock from %v to %v", at, p.Clock())
		}
	}
}

// pauseAndResume leaves a guest alone for a while that waits for what is
// typed: no time passes for it, and it misses nothing.
func pauseAndResume(t *testing.T, p *pc) {
	p.ConsoleInput([]byte("typed before, "))
	if got, err := p.Run(context.Background(), p.Clock()+5*time.Millisecond, nil); got != vmm.StopDeadline || err != nil {
		t.Fatalf("Run = %v, %v, want deadline", got, err)
	}
	at := p.Clock()
	time.Sleep(20 * time.Millisecond)
	if p.Clock() != at || p.State() != vmm.Running {
		t.Errorf("while it was paused the clock went from %v to %v, and the state is %v", at, p.Clock(), p.State())
	}
	p.ConsoleInput([]byte("typed after\n"))
	p.run(t, vmm.StopPowerOff)
}

// cancel ends a Run by its context; the next one goes on.
func cancel(t *testing.T, p *pc) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := p.Run(ctx, 1<<62, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run with a context that ended = %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Run returned %v after a context of 20 ms", d)
	}
	p.run(t, vmm.StopDeadline)
}

// signals sends what Go's runtime takes for nothing, in a storm.
func signals(t *testing.T, p *pc) {
	done := make(chan bool)
	go func() {
		defer close(done)
		for range 2000 {
			syscall.Kill(os.Getpid(), syscall.SIGURG)
		}
	}()
	for range 3 {
		p.run(t, vmm.StopDeadline)
	}
	<-done
}

// interrupted is a run whose user asks for its end.
func interrupted(t *testing.T, p *pc) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	time.AfterFunc(20*time.Millisecond, func() { syscall.Kill(os.Getpid(), syscall.SIGINT) })
	if _, err := p.Run(ctx, 1<<62, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Run that SIGINT ends = %v", err)
	}
}

// TestClosedMachineHoldsNoProcessors: somebody may hold the memory of a machine
// that was closed, and processors with their translated code are large.
func TestClosedMachineHoldsNoProcessors(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	var held []*vmm.RAM
	before := heap()
	const machines = 8
	for range machines {
		m, err := vmm.Assemble(vmm.Config{Memory: 32 << 20, Engine: soft.Engine{}})
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, m.Memory())
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if grown := int64(heap()) - int64(before); grown > machines<<20 {
		t.Errorf("%d closed machines whose memory is held take %d KiB of heap, want at most 1 MiB each", machines, grown>>10)
	}
	runtime.KeepAlive(held)
}
