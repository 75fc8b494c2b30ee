package soft

import (
	"fmt"
	"testing"

	"nvlab/vmm/soft/x86"
)

// breakAt enables breakpoint n at an address; kind and length are as in DR7.
func (m *testMachine) breakAt(n uint, at, kind, length uint64) {
	m.c.dr[n] = at
	m.c.dr[7] |= 1<<(2*n) | kind<<(16+4*n) | length<<(18+4*n)
}

var withTF = []byte{0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d} // pushfq; or dword [rsp], TF; popfq

// TestDebug has the debug exception or, with vec set, the one there is instead.
func TestDebug(t *testing.T) {
	const store = "\x89\x04\x25\x00\x00\x29\x00" // mov [testData], eax
	const load = "\x8b\x04\x25\x00\x00\x29\x00"
	step := func(s string) string { return string(withTF) + s }
	for _, tt := range []struct {
		name  string
		code  string
		setup func(*testMachine)
		vec   int
		dr6   uint64
		at    uint64 // saved RIP
		check func(*testMachine) string
	}{
		{name: "an instruction", code: "\x90\x90", dr6: 1, at: testCode + 1,
			setup: func(m *testMachine) { m.breakAt(0, testCode+1, breakExecute, 0) }},
		{name: "an instruction, where the breakpoint is for data", code: "\x90\x0f\x0b", vec: excUD, at: testCode + 1,
			setup: func(m *testMachine) { m.breakAt(0, testCode, breakAccess, 0) }},
		{name: "a store", code: store, dr6: 2, at: testCode + 7,
			setup: func(m *testMachine) { m.breakAt(1, testData, breakWrite, 3); m.c.r[x86.RAX] = 7 },
			check: func(m *testMachine) string {
				if got := m.word(testData); got != 7 {
					return fmt.Sprintf("memory is %d, want 7: the store comes before the trap", got)
				}
				return ""
			}},
		{name: "a store to the last byte", code: store, dr6: 4, at: testCode + 7,
			setup: func(m *testMachine) { m.breakAt(2, testData+3, breakWrite, 0) }},
		{name: "a store beside", code: store + "\x0f\x0b", vec: excUD, at: testCode + 7,
			setup: func(m *testMachine) { m.breakAt(2, testData+4, breakWrite, 3) }},
		{name: "a store within eight bytes", code: store, dr6: 8, at: testCode + 7,
			setup: func(m *testMachine) { m.breakAt(3, testData+6, breakWrite, 2) }},
		{name: "a load, where stores are watched", code: load + "\x0f\x0b", vec: excUD, at: testCode + 7,
			setup: func(m *testMachine) { m.breakAt(0, testData, breakWrite, 3) }},
		{name: "a load", code: load, dr6: 1, at: testCode + 7,
			setup: func(m *testMachine) { m.breakAt(0, testData, breakAccess, 3) }},
		{name: "a push", code: "\x50", dr6: 1, at: testCode + 1,
			setup: func(m *testMachine) { m.breakAt(0, testStack-8, breakWrite, 2) }},
		{name: "two at once", code: store, dr6: 3, at: testCode + 7,
			setup: func(m *testMachine) {
				m.breakAt(0, testData, breakWrite, 3)
				m.breakAt(1, testData+1, breakAccess, 0)
			}},
		{name: "an instruction that faults", code: "\xa5", vec: excPF, at: testCode, // movsd
			setup: func(m *testMachine) {
				m.breakAt(0, testData, breakAccess, 3)
				m.c.r[x86.RSI], m.c.r[x86.RDI] = testData, 0x40000000
			}},
		{name: "a repeated store", code: "\xf3\xaa", dr6: 1, at: testCode, // rep stosb
			setup: func(m *testMachine) {
				m.breakAt(0, testData+10, breakWrite, 0)
				m.c.r[x86.RDI], m.c.r[x86.RCX] = testData, 100
			},
			check: func(m *testMachine) string {
				if m.c.r[x86.RCX] != 89 {
					return fmt.Sprintf("%d elements to go, want 89", m.c.r[x86.RCX])
				}
				return ""
			}},
		{name: "a port", code: "\xe6\x80", dr6: 1, at: testCode + 2,
			setup: func(m *testMachine) { m.c.cr4 |= x86.CR4DE; m.breakAt(0, 0x80, breakPort, 0) }},
		{name: "a port without CR4.DE", code: "\xe6\x80\x0f\x0b", vec: excUD, at: testCode + 2,
			setup: func(m *testMachine) { m.breakAt(0, 0x80, breakPort, 0) }},
		{name: "a debug register", code: "\x90\x0f\x21\xf8", dr6: dr6BD, at: testCode + 1, // mov rax, dr7
			setup: func(m *testMachine) { m.c.dr[7] |= dr7GD },
			check: func(m *testMachine) string {
				if m.c.dr[7]&dr7GD != 0 {
					return "DR7.GD is set in the handler"
				}
				return ""
			}},
		{name: "DR4 with CR4.DE", code: "\x0f\x21\xe0", vec: excUD, at: testCode, setup: func(m *testMachine) { m.c.cr4 |= x86.CR4DE }},
		{name: "DR8", code: "\x44\x0f\x21\xc0", vec: excUD, at: testCode},
		{name: "the upper half of DR7", code: "\x48\xb8\x00\x00\x00\x00\x01\x00\x00\x00\x0f\x23\xf8", vec: excGP, at: testCode + 10},
		{name: "the upper half of DR6", code: "\x48\xb8\x00\x00\x00\x00\x01\x00\x00\x00\x0f\x23\xf0", vec: excGP, at: testCode + 10},

		{name: "a step", code: step("\x90\x90"), dr6: dr6BS, at: testCode + 10},
		{name: "a step over a branch", code: step("\xeb\x10"), dr6: dr6BS, at: testCode + 27},
		{name: "a step with a store", code: step(store), dr6: dr6BS | 1, at: testCode + 16,
			setup: func(m *testMachine) { m.breakAt(0, testData, breakWrite, 3) }},
		{name: "a step of a repeated store", code: step("\xf3\xaa"), dr6: dr6BS, at: testCode + 9,
			setup: func(m *testMachine) { m.c.r[x86.RDI], m.c.r[x86.RCX] = testData, 5 },
			check: func(m *testMachine) string {
				if m.c.r[x86.RCX] != 4 {
					return fmt.Sprintf("%d elements to go, want 4", m.c.r[x86.RCX])
				}
				return ""
			}},
		{name: "a step of a repeated comparison", code: step("\xf3\xa6"), dr6: dr6BS, at: testCode + 9,
			setup: func(m *testMachine) { m.c.r[x86.RSI], m.c.r[x86.RDI], m.c.r[x86.RCX] = testData, testData, 5 }},
		{name: "a step over sti", code: step("\xfb\x90"), dr6: dr6BS, at: testCode + 10},
		{name: "a step over mov ss", code: "\x8c\xd0" + step("\x8e\xd0\x90\x90"), dr6: dr6BS, at: testCode + 14},
		{name: "mov ss from watched memory", code: "\x8e\x14\x25\x00\x00\x29\x00\x90\x90", dr6: 1, at: testCode + 8,
			setup: func(m *testMachine) { m.ram[testData] = 0x18; m.breakAt(0, testData, breakAccess, 1) }},
		{name: "a breakpoint after mov ss", code: "\x8c\xd0\x8e\xd0\x90\x0f\x0b", vec: excUD, at: testCode + 5,
			setup: func(m *testMachine) { m.breakAt(0, testCode+4, breakExecute, 0) }},
		{name: "a step into int3", code: step("\xcc"), vec: excBP, at: testCode + 10},
		{name: "a step into a fault", code: step("\x0f\x0b"), vec: excUD, at: testCode + 9},
		{name: "a step over popf that ends it", code: step("\x6a\x02\x90"), dr6: dr6BS, at: testCode + 11},
		{name: "a step over iretq", // push ss; push rsp; push TF; push cs; push target; iretq; target: nop; nop
			code: "\x6a\x18\x68\x00\x00\x28\x00\x68\x02\x01\x00\x00\x6a\x10\x68\x16\x00\x20\x00\x48\xcf\x90\x90\x90", dr6: dr6BS, at: testCode + 23},
	} {
		for _, exact := range []bool{false, true} {
			m := newTestMachine(t)
			m.stubs()
			m.put(testCode, []byte(tt.code)...)
			if tt.setup != nil {
				tt.setup(m)
			}
			m.p.exact = exact
			vec := excDB
			if tt.vec != 0 {
				vec = tt.vec
			}
			if got := m.run(); got != vec {
				t.Errorf("%s, exact=%v: vector %d, want %d", tt.name, exact, got, vec)
				continue
			}
			sp := m.c.r[x86.RSP]
			if vec == excGP || vec == excPF {
				sp += 8
			}
			if got := m.word(sp); got != tt.at {
				t.Errorf("%s, exact=%v: saved rip is %#x, want %#x", tt.name, exact, got, tt.at)
			}
			if got := m.word(sp+16)&x86.FlagRF != 0; got != (vec != excDB && vec != excBP) {
				t.Errorf("%s, exact=%v: the saved RF is %v", tt.name, exact, got)
			}
			if got := m.c.dr[6]; got != 0xffff0ff0|tt.dr6 {
				t.Errorf("%s, exact=%v: DR6 = %#x, want %#x", tt.name, exact, got, 0xffff0ff0|tt.dr6)
			}
			if tt.check != nil {
				if s := tt.check(m); s != "" {
					t.Errorf("%s, exact=%v: %s", tt.name, exact, s)
				}
			}
		}
	}
}

// TestResumeFlag goes on after a breakpoint on an instruction.
func TestResumeFlag(t *testing.T) {
	m := newTestMachine(t)
	m.stubs()
	m.gate(excDB, testCode+0x100, 0, 0)
	// or byte [rsp+18], RF>>16; inc rbx; iretq
	m.put(testCode+0x100, 0x80, 0x4c, 0x24, 0x12, 0x01, 0x48, 0xff, 0xc3, 0x48, 0xcf)
	// mov ecx, 3; L: inc rax; sub ecx, 1; jne L; hlt
	m.put(testCode, 0xb9, 3, 0, 0, 0, 0x48, 0xff, 0xc0, 0x83, 0xe9, 0x01, 0x75, 0xf8, 0xf4)
	m.breakAt(0, testCode+5, breakExecute, 0)
	m.run()
	if m.c.r[x86.RAX] != 3 || m.c.r[x86.RBX] != 3 {
		t.Errorf("%d turns and %d breakpoints, want 3 and 3", m.c.r[x86.RAX], m.c.r[x86.RBX])
	}
	if m.c.flags&x86.FlagRF != 0 {
		t.Error("RF is set after an instruction")
	}
}

// TestStepSystemCall: a step over a system call ends behind its return, and
// none in the kernel if FMASK has TF.
func TestStepSystemCall(t *testing.T) {
	m := newTestMachine(t)
	m.stubs()
	m.c.efer |= x86.EFERSCE
	m.c.msr.star = 0x10<<32 | 0x1b<<48
	m.c.msr.lstar = testCode + 0x200
	m.c.msr.fmask = x86.FlagTF | x86.FlagIF
	m.put(testCode+0x200, 0x48, 0xff, 0xc3, 0x48, 0x0f, 0x07) // inc rbx; sysretq
	m.put(testCode, toUser...)
	m.put(testUser, append(withTF, 0x0f, 0x05, 0x90, 0x90)...) // syscall; nop; nop
	if got := m.run(); got != excDB {
		t.Fatalf("vector %d, want %d", got, excDB)
	}
	sp := m.c.r[x86.RSP]
	if m.c.r[x86.RBX] != 1 || m.word(sp) != testUser+11 || m.word(sp+8) != 0x2b {
		t.Errorf("the step ended at %#x:%#x after %d system calls, want 0x2b:%#x after 1", m.word(sp+8), m.word(sp), m.c.r[x86.RBX], testUser+11)
	}
}
