package vmm_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/soft"
)

// TestSnapshotOfGuests runs each of the small guests whole, and again as a chain
// of machines that are frozen, restored over what came after, and forked. What
// they say, how they end, and their last snapshots are the same.
func TestSnapshotOfGuests(t *testing.T) {
	const step = 700 * time.Nanosecond
	for _, letter := range []string{"p", "r", "h", "u", "m", "e", "i", "g", "s", "x"} {
		t.Run(letter, func(t *testing.T) {
			config := vmm.Config{Memory: 32 << 20, Engine: soft.Engine{}, Seed: 5}
			same := func(c *vmm.Config, _ *vmm.Payload) { c.Seed = config.Seed }
			end := func(m *vmm.Machine, until time.Duration) vmm.Stop {
				stop, err := m.Run(context.Background(), until, nil)
				if err != nil {
					t.Fatal(err)
				}
				return stop
			}
			freeze := func(m *vmm.Machine) *vmm.Snapshot {
				s, err := m.Freeze()
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				return s
			}
			name := func(m *vmm.Machine) string {
				h, err := freeze(m).Hash()
				if err != nil {
					t.Fatal(err)
				}
				return fmt.Sprintf("%x", h)
			}
			const limit = 300 * step
			plain := newPC(t, soft.Engine{}, letter, same)
			want := end(plain.Machine, limit)

			first := newPC(t, soft.Engine{}, letter, same)
			m, console := first.Machine, &first.console
			stop := vmm.StopDeadline
			for k := 0; stop == vmm.StopDeadline && m.Clock() < limit; k++ {
				s, said := freeze(m), console.Len()
				switch k % 3 {
				case 0:
					end(m, m.Clock()+3*step)
					if err := m.Restore(s); err != nil {
						t.Fatal(err)
					}
					console.Truncate(said)
				case 1:
					c := config
					c.Console = console
					f, err := s.Machine(c)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					m = f
				}
				stop = end(m, min(m.Clock()+step, limit))
			}
			if got, want := console.String(), plain.console.String(); got != want {
				t.Errorf("the guest said %q, want %q", got, want)
			}
			if m.Clock() != plain.Clock() || m.Stats() != plain.Stats() || m.State() != plain.State() {
				t.Errorf("the guest ended at %v, %+v, %v, want %v, %+v, %v", m.Clock(), m.Stats(), m.State(), plain.Clock(), plain.Stats(), plain.State())
			}
			if stop != want {
				t.Errorf("the guest ended with %v, want %v", stop, want)
			}
			if a, b := name(m), name(plain.Machine); a != b {
				t.Errorf("the last snapshot is %s, want %s", a, b)
			}
		})
	}
}

// benchmarkMachine has touched 180 MiB of 256, as a guest has that booted.
func benchmarkMachine(b *testing.B) (_ *pc, _ *vmm.Snapshot, _ vmm.Config, first time.Duration) {
	cfg := vmm.Config{Memory: 256 << 20, Engine: soft.Engine{}}
	p := newPC(b, soft.Engine{}, "l", func(c *vmm.Config, _ *vmm.Payload) { c.Memory = cfg.Memory })
	page := []byte{1}
	for at := int64(32 << 20); at < 212<<20; at += 4096 {
		if _, err := p.Memory().WriteAt(page, at); err != nil {
			b.Fatal(err)
		}
	}
	p.run(b, vmm.StopDeadline)
	start := time.Now()
	s, err := p.Freeze()
	if err != nil {
		b.Fatal(err)
	}
	first = time.Since(start)
	b.Cleanup(func() { s.Close() })
	return p, s, cfg, first
}

// BenchmarkMachineFork makes a machine of a snapshot, the first of its machine.
func BenchmarkMachineFork(b *testing.B) {
	_, s, cfg, first := benchmarkMachine(b)
	for b.Loop() {
		m, err := s.Machine(cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		m.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(first.Microseconds())/1e3, "ms-first-freeze")
}

// BenchmarkMachineRestore restores a machine in place that wrote some pages.
func BenchmarkMachineRestore(b *testing.B) {
	p, s, _, _ := benchmarkMachine(b)
	for _, dirty := range []int64{0, 10, 1000} {
		b.Run(fmt.Sprintf("pages=%d", dirty), func(b *testing.B) {
			for b.Loop() {
				for k := range dirty {
					if _, err := p.Memory().WriteAt([]byte{2}, 32<<20+k*37%46080*4096); err != nil {
						b.Fatal(err)
					}
				}
				if err := p.Restore(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestUsedMemory: a machine whose memory an earlier one had, and filled, is to the
// byte what it would be with memory of its own.
func TestUsedMemory(t *testing.T) {
	boot := func() (*pc, string) {
		m := newPC(t, soft.Engine{}, "m")
		s, err := m.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sum, err := s.Hash()
		if err != nil {
			t.Fatal(err)
		}
		return m, fmt.Sprintf("%x", sum)
	}
	first, want := boot()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	ones := bytes.Repeat([]byte{0xff}, 32<<20)
	for range 2 { // the second time it was frozen meanwhile
		m, err := vmm.Assemble(vmm.Config{Memory: 32 << 20, Engine: soft.Engine{}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Memory().WriteAt(ones, 0); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		again, got := boot()
		if got != want {
			t.Errorf("a machine in memory that another had filled is %s when it has booted, want %s", got, want)
		}
		if _, err := again.Memory().WriteAt(ones, 0); err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
