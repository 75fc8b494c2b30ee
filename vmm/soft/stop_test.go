package soft

import (
	"context"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/soft/x86"
)

// stopsBefore has an instruction run from a state where Run is to end before loads from a
// line. One that loads from it ends Run, changes nothing, and then does what it does
// without.
func stopsBefore(t *testing.T, s *faultStage, where string, line uint64, loads bool, st, want *faultState) {
	t.Helper()
	const present = pteP | pteW | pteU | pteA | pteD
	s.m.p.StopBefore(poisoned(line))
	before := s.m.c.now
	s.m.stops = true
	vec := s.run(st, present)
	s.m.stops = false
	stands, passed := s.m.p.StoppedBefore()
	s.m.p.StopBefore(nil)
	got := s.state()
	if stands != loads || passed || vec >= 0 {
		t.Fatalf("%s: it loads from the line: %v; Run ends before it: %v, or too late: %v; vector %d", where, loads, stands, passed, vec)
	}
	if !stands {
		if d := got.differ(want); d != "" {
			t.Fatalf("%s: it does not load from the line before whose loads Run ends; %s", where, d)
		}
		return
	}
	if d := got.differ(st); d != "" || s.m.c.rip != testCode || s.m.c.now != before {
		t.Fatalf("%s: Run ended before it at rip %#x, after %d instructions; %s", where, s.m.c.rip, s.m.c.now-before, d)
	}
	if vec := s.run(&got, present); vec >= 0 {
		t.Fatalf("%s: after Run ended before it, it ends in exception %d", where, vec)
	}
	end := s.state()
	if d := end.differ(want); d != "" {
		t.Fatalf("%s: after Run ended before it %s", where, d)
	}
}

// TestStopBeforeIsNot: where Run cannot end before a load it goes on, and says so: in the
// shadow of STI, after which an interrupt would come too early; where a processor enters a
// handler; and where somebody reads who is no processor.
func TestStopBeforeIsNot(t *testing.T) {
	dies := func(t *testing.T, m *testMachine) {
		t.Helper()
		if exit, err := m.p.Run(context.Background(), time.Millisecond); err != nil || exit != vmm.ExitDead {
			t.Fatalf("Run() = %v, %v at rip %#x, want %v", exit, err, m.c.rip, vmm.ExitDead)
		}
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, m *testMachine)
	}{
		{"in the shadow of STI", func(t *testing.T, m *testMachine) {
			m.put(testCode, append(le32([]byte{0xfa, 0xfb, 0x48, 0x8b, 0x04, 0x25}, testData), 0xfa, 0xf4)...) // cli; sti; mov rax, [testData]; cli; hlt
			m.put(testData, 7)
			m.p.exact = true // compiled code has STI without one where no interrupt is due
			dies(t, m)
			if m.c.r[x86.RAX] != 7 {
				t.Errorf("rax is %#x, want 7", m.c.r[x86.RAX])
			}
		}},
		{"into a handler", func(t *testing.T, m *testMachine) {
			m.stubs()
			m.p.StopBefore(poisoned(m.c.idt.base + 16*excUD))
			m.put(testCode, 0x0f, 0x0b) // ud2
			dies(t, m)
			if m.c.rip <= testStubs {
				t.Errorf("rip is %#x, want the handler", m.c.rip)
			}
		}},
		{"by a device", func(t *testing.T, m *testMachine) { m.p.ReadByHost(testData-64, 128) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newTestMachine(t)
			m.p.StopBefore(poisoned(testData))
			tt.do(t, m)
			if stands, passed := m.p.StoppedBefore(); stands || !passed {
				t.Errorf("Run ended before the load: %v, and it was made: %v; want only that", stands, passed)
			}
		})
	}
}
