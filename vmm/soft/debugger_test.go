package soft

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// toldEvents notes every event.
type toldEvents struct{ events []string }

func (o *toldEvents) Store(e *observe.Store) {
	o.events = append(o.events, fmt.Sprintf("store %+v", *e))
}
func (o *toldEvents) Flush(e *observe.Flush) {
	o.events = append(o.events, fmt.Sprintf("flush %+v", *e))
}
func (o *toldEvents) Fence(e *observe.Fence) {
	o.events = append(o.events, fmt.Sprintf("fence %+v", *e))
}

// debuggee is two processors that store to observed memory, with LOCK and
// without, and halt.
func debuggee(t *testing.T) (*testMachine, *toldEvents) {
	m := newTestPair(t, Engine{}, 3)
	if m.p.cache.native != nil {
		m.p.cache.heat = 2
	}
	if err := m.p.Map(vmm.Region{Base: 0x10000000, Mem: make([]byte, x86.PageSize), Observed: true}); err != nil {
		t.Fatal(err)
	}
	m.mapPage(0x10000000, 0x10000000, pteP|pteW)
	o := &toldEvents{}
	m.p.Observe(o)
	program := []byte{
		0xbf, 0x00, 0x00, 0x00, 0x10, // mov edi, 0x10000000
		0xb9, 0xf4, 0x01, 0x00, 0x00, // mov ecx, 500
		0x48, 0x89, 0x0f, // turn: mov [rdi], rcx
		0xf0, 0x48, 0xff, 0x47, 0x08, // lock inc qword [rdi+8]
		0xf0, 0x48, 0xff, 0x44, 0x24, 0xf8, // lock inc qword [rsp-8]: an order that is told later
		0x48, 0x0f, 0xc3, 0x4f, 0x10, // movnti [rdi+16], rcx
		0xff, 0xc9, // dec ecx
		0x75, 0xe9, // jne turn
		0xfa, 0xf4, // cli; hlt
	}
	m.put(testCode, append(append([]byte{}, wakeSecond...), program...)...)
	m.put(testSecond, program...)
	return m, o
}

// turn is where the loop of the second processor begins, and lockInc, movnti what
// is in it.
const (
	debugTurn   = testSecond + 10
	debugLock   = debugTurn + 3
	debugMovnti = debugTurn + 14
)

// TestDebuggerLeavesNoTrace: where a debugger stops the processors, how often, and
// how they go on, changes nothing of what they do, nor of what is told of it.
func TestDebuggerLeavesNoTrace(t *testing.T) {
	plain, want := debuggee(t)
	defer plain.p.Close()
	if exit, err := plain.p.Run(context.Background(), time.Second); exit != vmm.ExitDead || err != nil {
		t.Fatalf("Run() = %v, %v", exit, err)
	}
	m, got := debuggee(t)
	defer m.p.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	hits, steps := map[uint64]int{}, 0
	for stops := 0; ; stops++ {
		if stops == 100_000 {
			t.Fatal("100000 stops are no end")
		}
		cpu := rng.IntN(2)
		m.p.Break([][]uint64{{debugTurn}, {debugLock, debugMovnti}}[rng.IntN(2)])
		switch rng.IntN(4) {
		case 0: // a turn of the other's would be the end
			if m.p.cpu.id == 1 && !m.p.cpu.halted {
				m.p.Break(nil)
				m.p.Step(1)
			}
		case 1:
			m.p.Step(cpu)
		case 2:
			m.p.Kick()
		}
		exit, err := m.p.Run(context.Background(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if exit == vmm.ExitDead {
			break
		}
		switch cpu, why := m.p.Broke(); why {
		case vmm.Breakpoint:
			at := m.p.Registers(cpu).RIP
			hits[at]++
			if !m.p.debugger.at[at] {
				t.Fatalf("Run ended at %#x, where there is no breakpoint", at)
			}
		case vmm.Stepped:
			steps++
		}
	}
	if hits[debugTurn] < 10 || hits[debugLock] < 10 || hits[debugMovnti] < 10 || steps < 10 {
		t.Errorf("breakpoints were reached %v times, and %d steps done: too few to tell", hits, steps)
	}
	for i, s := range m.p.States() {
		if d := plain.p.States()[i].Differ(s); d != "" {
			t.Errorf("processor %d without and with a debugger differs:\n%s", i, d)
		}
	}
	if len(want.events) < 1000 {
		t.Errorf("%d events are too few to tell", len(want.events))
	}
	for i, e := range want.events {
		if i >= len(got.events) || got.events[i] != e {
			t.Fatalf("event %d of %d and %d is %q with a debugger, want %q", i, len(want.events), len(got.events), got.events[min(i, len(got.events)-1)], e)
		}
	}
}

// TestBreakpoint: the processor stops at each pass before the instruction, and a
// step does one. Nobody stops where a breakpoint was.
func TestBreakpoint(t *testing.T) {
	m, _ := debuggee(t)
	defer m.p.Close()
	run := func() (cpu int, why vmm.Broke) {
		t.Helper()
		if _, err := m.p.Run(context.Background(), time.Second); err != nil {
			t.Fatal(err)
		}
		return m.p.Broke()
	}
	m.p.Break([]uint64{debugLock})
	for pass := range uint64(3) {
		cpu, why := run()
		r := m.p.Registers(cpu)
		if cpu != 1 || why != vmm.Breakpoint || r.RIP != debugLock || r.R[x86.RCX] != 500-pass {
			t.Fatalf("pass %d: Run ended for %v of processor %d at %#x with RCX = %d, want a breakpoint of 1 at %#x with %d", pass, why, cpu, r.RIP, r.R[x86.RCX], debugLock, 500-pass)
		}
	}
	var counter [8]byte
	if copy(counter[:], m.p.mem.page(0x10000000)); counter != [8]byte{0xf2, 1} {
		t.Errorf("the observed memory holds % x, want 498", counter)
	}
	m.p.Break(nil)
	m.p.Step(1)
	if cpu, why := run(); cpu != 1 || why != vmm.Stepped || m.p.Registers(1).RIP != debugLock+5 {
		t.Errorf("a step ended for %v of processor %d at %#x, want one of 1 at %#x", why, cpu, m.p.Registers(1).RIP, debugLock+5)
	}
	r := m.p.Registers(1)
	r.R[x86.RCX] = 1
	if err := m.p.SetRegisters(1, &r); err != nil {
		t.Fatal(err)
	}
	r.RIP = 1 << 60
	if err := m.p.SetRegisters(1, &r); err == nil {
		t.Error("RIP was set to what is no canonical address")
	}
	if _, why := run(); why != vmm.NotBroken || m.p.Registers(1).R[x86.RCX] != 0 {
		t.Errorf("Run ended for %v with RCX = %d, want the end of the loop, whose count was set to 1", why, m.p.Registers(1).R[x86.RCX])
	}
}
