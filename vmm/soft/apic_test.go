package soft

import (
	"context"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/x86"
)

// TestDeadline arms the TSC-deadline timer and spins: the interrupt comes
// after exactly so many instructions.
func TestDeadline(t *testing.T) {
	for _, exact := range []bool{false, true} {
		m := newTestMachine(t)
		m.stubs()
		m.p.exact = exact
		m.c.apic.SVR |= apic.SVREnable
		m.c.apic.LVT[apic.LVTTimer] = apic.TimerDeadline | 0x40
		m.put(testCode,
			0xb9, 0xe0, 0x06, 0, 0, // mov ecx, TSC_DEADLINE
			0xb8, 0xe8, 0x03, 0, 0, // mov eax, 1000
			0x31, 0xd2, // xor edx, edx
			0x0f, 0x30, // wrmsr
			0xfb,       // sti
			0xff, 0xc3, // inc ebx
			0xeb, 0xfc) // jmp $-2
		if got := m.run(); got != 0x40 {
			t.Fatalf("exact=%v: vector %#x, want 0x40", exact, got)
		}
		// The handler's HLT is one more.
		if m.c.now != 1001 {
			t.Errorf("exact=%v: in the handler at %d ns, want 1001", exact, m.c.now)
		}
		if m.c.r[x86.RBX] != (1000-5+1)/2 {
			t.Errorf("exact=%v: %d turns of the loop, want %d", exact, m.c.r[x86.RBX], (1000-5+1)/2)
		}
	}
}

// TestHaltSkips lets a halted processor jump to its timer.
func TestHaltSkips(t *testing.T) {
	m := newTestMachine(t)
	m.stubs()
	m.c.apic.SVR |= apic.SVREnable
	m.c.apic.LVT[apic.LVTTimer] = 0x41
	m.put(testCode, 0xfb, 0xf4) // sti; hlt
	m.c.apic.TimerDiv = 0xb
	m.c.apic.TimerInit = 50_000
	m.c.apic.StartTimer()
	if got := m.run(); got != 0x41 {
		t.Fatalf("vector %#x, want 0x41", got)
	}
	if got := m.p.Clock(); got != 50_001 {
		t.Errorf("Clock() = %v, want 50.001µs", got)
	}
	if got := m.p.Stats().Instructions; got != 3 {
		t.Errorf("Stats().Instructions = %d, want 3", got)
	}
}

// TestSTIShadow: an interrupt that is pending comes after the instruction that
// follows STI.
func TestSTIShadow(t *testing.T) {
	m := newTestMachine(t)
	m.stubs()
	m.c.apic.SVR |= apic.SVREnable
	m.p.Interrupt(vmm.Interrupt{Vector: 0x50})
	m.put(testCode, 0x90, 0xfb, 0xb3, 0x01, 0xb3, 0x02) // nop; sti; mov bl, 1; mov bl, 2
	if got := m.run(); got != 0x50 {
		t.Fatalf("vector %#x, want 0x50", got)
	}
	if m.c.r[x86.RBX] != 1 {
		t.Errorf("bl = %d, want 1: one instruction after STI", m.c.r[x86.RBX])
	}
}

func TestPriorities(t *testing.T) {
	m := newTestMachine(t)
	a := &m.c.apic
	a.SVR |= apic.SVREnable
	a.Accept(0x31, false)
	a.Accept(0x52, true)
	if got := a.Pending(); got != 0x52 {
		t.Fatalf("pending() = %#x, want 0x52", got)
	}
	a.Acknowledge(0x52)
	if got := a.Pending(); got != -1 {
		t.Errorf("pending() = %#x while 0x52 is served, want none", got)
	}
	a.Accept(0x61, false)
	if got := a.Pending(); got != 0x61 {
		t.Errorf("pending() = %#x, want 0x61: a higher class", got)
	}
	a.WriteReg(0x0b, 0)
	if len(m.bus.eoi) != 1 || m.bus.eoi[0] != 0x52 {
		t.Errorf("ends of interrupts that the bus saw = %#x, want [0x52]", m.bus.eoi)
	}
	a.SetTPR(0x60)
	if got := a.Pending(); got != -1 {
		t.Errorf("pending() = %#x with the task priority at 0x60, want none", got)
	}
	a.SetTPR(0)
	a.Acknowledge(0x61)
	a.WriteReg(0x0b, 0)
	if got := a.Pending(); got != 0x31 {
		t.Errorf("pending() = %#x, want 0x31", got)
	}
	if len(m.bus.eoi) != 1 {
		t.Errorf("the bus saw the end of an edge-triggered vector: %#x", m.bus.eoi)
	}
}

func TestLogicalDestination(t *testing.T) {
	a := &apic.APIC{State: apic.State{ID: 3, DFR: ^uint32(0), LDR: 0x04000000}}
	for _, tt := range []struct {
		dest    uint8
		logical bool
		want    bool
	}{{3, false, true}, {2, false, false}, {0xff, false, true}, {4, true, true}, {6, true, true}, {2, true, false}} {
		if got := a.Addressed(tt.dest, tt.logical); got != tt.want {
			t.Errorf("addressed(%#x, logical %v) = %v, want %v", tt.dest, tt.logical, got, tt.want)
		}
	}
	a.DFR, a.LDR = 0x0fffffff, 0x21000000
	if !a.Addressed(0x23, true) || a.Addressed(0x33, true) || a.Addressed(0x22, true) {
		t.Error("addressed() in the cluster model: want 0x23 yes, 0x33 and 0x22 no")
	}
}

// TestStop ends Run after the instruction whose access called Stop.
func TestStop(t *testing.T) {
	m := newTestMachine(t)
	m.bus.out = func(uint16, int, uint32) { m.p.Stop() }
	m.put(testCode, 0xb0, 0x05, 0xe6, 0x80, 0xb0, 0x06, 0xf4) // mov al, 5; out 0x80, al; mov al, 6
	exit, err := m.p.Run(context.Background(), time.Second)
	if exit != vmm.ExitStopped || err != nil {
		t.Fatalf("Run() = %v, %v, want %v", exit, err, vmm.ExitStopped)
	}
	if m.c.rip != testCode+4 || m.c.now != 2 {
		t.Errorf("stopped at rip %#x after %d instructions, want %#x after 2", m.c.rip, m.c.now, testCode+4)
	}
}

// TestSlices runs a program with a periodic timer in slices of various
// lengths: the end is the same.
func TestSlices(t *testing.T) {
	program := func() *testMachine {
		m := newTestMachine(t)
		m.gate(0x40, testCode+0x100, 0, 0)
		m.c.apic.SVR |= apic.SVREnable
		m.c.apic.LVT[apic.LVTTimer] = apic.TimerPeriodic | 0x40
		m.c.apic.TimerDiv = 0xb
		m.c.apic.TimerInit = 777
		m.c.apic.StartTimer()
		m.mapPage(apic.DefaultBase, apic.DefaultBase, pteP|pteW)
		m.put(testCode, 0xfb, 0x48, 0x8d, 0x1c, 0x5b, 0x48, 0xff, 0xc3, 0x53, 0x58, 0xf3, 0x90, // sti; rbx = 3*rbx+1; push, pop; pause
			0x48, 0x01, 0x04, 0x25, 0, 0, 0x29, 0, 0xeb, 0xeb) // add [testData], rax; jmp
		m.put(testCode+0x100, 0x41, 0xff, 0xc0, 0x4d, 0x89, 0xd9, 0x49, 0x31, 0xd9, 0x50, // inc r8d; mov r9, r11; xor r9, rbx; push rax
			0xb8, 0xb0, 0, 0xe0, 0xfe, 0xc7, 0, 0, 0, 0, 0, 0x58, 0x48, 0xcf) // mov eax, EOI; mov dword [rax], 0; pop rax; iretq
		return m
	}
	type end struct {
		r    [16]uint64
		rip  uint64
		now  uint64
		word uint64
		f    uint64
	}
	run := func(slice time.Duration) end {
		m := program()
		for at := slice; ; at += slice {
			exit, err := m.p.Run(context.Background(), min(at, 100_000))
			if err != nil || exit != vmm.ExitDeadline {
				t.Fatalf("Run() = %v, %v, want %v", exit, err, vmm.ExitDeadline)
			}
			if at >= 100_000 {
				break
			}
		}
		return end{[16]uint64(m.c.r[:16]), m.c.rip, m.c.now, m.word(testData), m.c.rflags()}
	}
	want := run(100_000)
	if want.r[8] < 100 {
		t.Fatalf("%d interrupts, want at least 100", want.r[8])
	}
	for _, slice := range []time.Duration{1, 7, 100, 776, 777, 1000, 99_999} {
		if got := run(slice); got != want {
			t.Errorf("in slices of %d ns: %+v, want %+v", slice, got, want)
		}
	}
}
