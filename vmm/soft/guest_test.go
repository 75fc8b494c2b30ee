package soft

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/soft/x86"
)

const (
	testStubs = testCode + 0x10000 // a HLT per vector, 16 bytes apart
	testUser  = testCode + 0x20000
)

// stubs makes a handler of HLT for every vector but those named.
func (m *testMachine) stubs(but ...uint8) {
	for v := range 256 {
		m.ram[testStubs+16*v] = 0xf4
		m.gate(uint8(v), testStubs+16*uint64(v), 0, 0)
	}
	for _, v := range but {
		clear(m.ram[testIDT+16*int(v):][:16])
	}
}

// run runs until the processor halts with interrupts off, and returns the
// vector whose stub it is in, or -1.
func (m *testMachine) run() int {
	m.t.Helper()
	exit, err := m.p.Run(context.Background(), time.Millisecond)
	if err != nil {
		m.t.Fatal(err)
	}
	if exit != vmm.ExitDead && (!m.stops || exit != vmm.ExitStopped) {
		m.t.Fatalf("Run() = %v at rip %#x, want %v", exit, m.c.rip, vmm.ExitDead)
	}
	if m.c.rip > testStubs && m.c.rip <= testStubs+16*256 {
		return int(m.c.rip-testStubs) / 16
	}
	return -1
}

// word reads a quadword of physical memory.
func (m *testMachine) word(pa uint64) uint64 { return binary.LittleEndian.Uint64(m.ram[pa:]) }

// toUser is IRETQ to testUser at CPL 3 with RFLAGS 2.
var toUser = []byte{
	0x6a, 0x23, // push 0x23
	0x68, 0x00, 0x00, 0x28, 0x00, // push testStack
	0x6a, 0x02, // push 2
	0x6a, 0x2b, // push 0x2b
	0x68, 0x00, 0x00, 0x22, 0x00, // push testUser
	0x48, 0xcf, // iretq
}

// exceptionCase is code that ends in an exception.
type exceptionCase struct {
	name  string
	code  []byte
	user  bool
	setup func(*testMachine)
	vec   uint8
	err   int // error code, or none
	cr2   uint64
	off   uint64 // of the saved RIP
	cs    uint64 // saved, if not the code's
}

const none = -1

func TestExceptions(t *testing.T) {
	setNX := func(m *testMachine) { m.c.efer |= x86.EFERNXE }
	raise(t, []exceptionCase{
		{name: "ud2", code: []byte{0x0f, 0x0b}, vec: excUD, err: none},
		{name: "divide by zero", code: []byte{0x31, 0xc9, 0xf7, 0xf1}, vec: excDE, err: none, off: 2},
		{name: "quotient too large", code: []byte{0xb2, 0x05, 0xb1, 0x02, 0xf7, 0xf1}, vec: excDE, err: none, off: 4},
		{name: "int3", code: []byte{0xcc}, vec: excBP, err: none, off: 1},
		{name: "int 0x80", code: []byte{0xcd, 0x80}, vec: 0x80, err: none, off: 2},
		{name: "int1", code: []byte{0xf1}, vec: excDB, err: none, off: 1},
		{name: "into", code: []byte{0xce}, vec: excUD, err: none},
		{name: "lock mov", code: []byte{0xf0, 0x89, 0x00}, vec: excUD, err: none},
		{name: "vex", code: []byte{0xc5, 0xf8, 0x77}, vec: excUD, err: none},
		{name: "sixteen bytes", code: []byte{0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90}, vec: excGP},
		{name: "load from nowhere", code: []byte{0x8b, 0x04, 0x25, 0, 0, 0, 0x40}, vec: excPF, err: 0, cr2: 0x40000000},
		{name: "store to nowhere", code: []byte{0x89, 0x04, 0x25, 0, 0, 0, 0x40}, vec: excPF, err: pfWrite, cr2: 0x40000000},
		{name: "store to a read-only page", code: []byte{0x89, 0x04, 0x25, 8, 0, 0x29, 0}, vec: excPF, err: pfPresent | pfWrite, cr2: testData + 8,
			setup: func(m *testMachine) { m.mapPage(testData, testData, pteP) }},
		{name: "reserved bit", code: []byte{0x8b, 0x04, 0x25, 8, 0, 0x29, 0}, vec: excPF, err: pfPresent | pfRsvd, cr2: testData + 8,
			setup: func(m *testMachine) { m.mapPage(testData, testData, pteP|1<<45) }},
		{name: "NX without EFER.NXE", code: []byte{0x8b, 0x04, 0x25, 8, 0, 0x29, 0}, vec: excPF, err: pfPresent | pfRsvd, cr2: testData + 8,
			setup: func(m *testMachine) { m.mapPage(testData, testData, pteP|pteNX) }},
		{name: "execute from an NX page", code: []byte{0xb8, 0, 0, 0x29, 0, 0xff, 0xe0}, vec: excPF, err: pfPresent | pfFetch, cr2: testData, off: testData - testCode,
			setup: func(m *testMachine) { setNX(m); m.mapPage(testData, testData, pteP|pteNX) }},
		{name: "jump to nowhere", code: []byte{0xb8, 0, 0, 0, 0x40, 0xff, 0xe0}, vec: excPF, err: 0, cr2: 0x40000000, off: 0x40000000 - testCode},
		{name: "jump to a non-canonical address", code: []byte{0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0xe0}, vec: excGP, off: 10},
		{name: "load from a non-canonical address", code: []byte{0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x8b, 0x00}, vec: excGP, off: 10},
		{name: "the same by rbp", code: []byte{0x48, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x8b, 0x45, 0x00}, vec: excSS, off: 10},
		{name: "user store to a supervisor page", user: true, code: []byte{0x89, 0x04, 0x25, 8, 0, 0x29, 0}, vec: excPF, err: pfPresent | pfWrite | pfUser, cr2: testData + 8,
			setup: func(m *testMachine) { m.mapPage(testData, testData, pteP|pteW) }},
		{name: "user load from nowhere", user: true, code: []byte{0x8b, 0x04, 0x25, 0, 0, 0, 0x40}, vec: excPF, err: pfUser, cr2: 0x40000000},
		{name: "user hlt", user: true, code: []byte{0xf4}, vec: excGP},
		{name: "user cli", user: true, code: []byte{0xfa}, vec: excGP},
		{name: "user in", user: true, code: []byte{0xec}, vec: excGP},
		{name: "user mov cr0", user: true, code: []byte{0x0f, 0x20, 0xc0}, vec: excGP},
		{name: "user wrmsr", user: true, code: []byte{0x0f, 0x30}, vec: excGP},
		{name: "user int 0x80 through a gate of DPL 0", user: true, code: []byte{0xcd, 0x80}, vec: excGP, err: 0x80<<3 | 2},
		{name: "user sgdt with UMIP", user: true, code: []byte{0x0f, 0x01, 0x04, 0x25, 0, 0, 0x29, 0}, vec: excGP,
			setup: func(m *testMachine) { m.c.cr4 |= x86.CR4UMIP }},
		{name: "supervisor fetch of a user page with SMEP", code: []byte{0xb8, 0, 0, 0x29, 0, 0xff, 0xe0}, vec: excPF, err: pfPresent | pfFetch, cr2: testData, off: testData - testCode,
			setup: func(m *testMachine) {
				for va := uint64(testRAM); va < testData; va += x86.PageSize {
					m.mapPage(va, va, pteP|pteW)
				}
				m.c.cr4 |= x86.CR4SMEP
			}},
		{name: "unknown MSR", code: []byte{0xb9, 0x34, 0x12, 0, 0, 0x0f, 0x32}, vec: excGP, off: 5},
		{name: "rdpmc", code: []byte{0x0f, 0x33}, vec: excGP},
		{name: "reserved bit of cr4", code: []byte{0x0f, 0x20, 0xe0, 0x48, 0x0f, 0xba, 0xe8, 0x1f, 0x0f, 0x22, 0xe0}, vec: excGP, off: 8},
		{name: "paging off", code: []byte{0x0f, 0x20, 0xc0, 0x0f, 0xba, 0xf0, 0x1f, 0x0f, 0x22, 0xc0}, vec: excGP, off: 7},
		{name: "null ss", user: true, code: []byte{0x31, 0xc0, 0x8e, 0xd0}, vec: excGP, off: 2},
		{name: "selector beyond the table", code: []byte{0xb8, 0x00, 0x01, 0, 0, 0x8e, 0xd8}, vec: excGP, err: 0x100, off: 5},
		{name: "movaps to a misaligned address", code: []byte{0xb8, 8, 0, 0x29, 0, 0x0f, 0x29, 0x00}, vec: excGP, off: 5},
		{name: "sse with CR0.TS", code: []byte{0x0f, 0x57, 0xc0}, vec: excNM, err: none, setup: func(m *testMachine) { m.c.cr0 |= x86.CR0TS }},
		{name: "sse with CR0.EM", code: []byte{0x0f, 0x57, 0xc0}, vec: excUD, err: none, setup: func(m *testMachine) { m.c.cr0 |= x86.CR0EM }},
		{name: "sse without CR4.OSFXSR", code: []byte{0x0f, 0x57, 0xc0}, vec: excUD, err: none, setup: func(m *testMachine) { m.c.cr4 &^= x86.CR4OSFXSR }},
		{name: "x87 with CR0.TS", code: []byte{0xd9, 0xe8}, vec: excNM, err: none, setup: func(m *testMachine) { m.c.cr0 |= x86.CR0TS }},
		{name: "unmasked SIMD exception", code: []byte{0x0f, 0x57, 0xc0, 0x0f, 0x5e, 0xc0}, vec: excXM, err: none, off: 3,
			setup: func(m *testMachine) { m.c.setMXCSR(0x1f00) }},
		{name: "reserved bit of mxcsr", code: []byte{0x68, 0, 0, 1, 0, 0x0f, 0xae, 0x14, 0x24}, vec: excGP, off: 5},
		{name: "misaligned user load with AC", user: true, code: []byte{0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0x8b, 0x04, 0x25, 1, 0, 0x29, 0}, vec: excAC, err: 0, off: 9,
			setup: func(m *testMachine) { m.c.cr0 |= x86.CR0AM }},
		{name: "single step", code: []byte{0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90}, vec: excDB, err: none, off: 10},
	})
}

// raise runs each case by the executor, by the fast path and compiled.
func raise(t *testing.T, list []exceptionCase) {
	ways := []struct {
		name  string
		m     *testMachine
		exact bool
	}{
		{"executor", newTestMachineWith(t, Engine{Interpreter: true}), true},
		{"fast path", newTestMachineWith(t, Engine{Interpreter: true}), false},
		{"compiled code", newCompiled(t), false},
	}
	for _, tt := range list {
		for _, way := range ways {
			m := way.m
			m.reset(t)
			m.stubs()
			m.p.exact = way.exact
			at, cs := uint64(testCode), uint64(0x10)
			if tt.user {
				m.put(testCode, toUser...)
				at, cs = testUser, 0x2b
			}
			if tt.cs != 0 {
				cs = tt.cs
			}
			m.put(at, tt.code...)
			if tt.setup != nil {
				tt.setup(m)
				m.c.setMode()
			}
			if got := m.run(); got != int(tt.vec) {
				t.Errorf("%s, %s: vector %d, want %d", tt.name, way.name, got, tt.vec)
				continue
			}
			sp := m.c.r[x86.RSP]
			if tt.err != none {
				if got := m.word(sp); got != uint64(tt.err) {
					t.Errorf("%s, %s: error code %#x, want %#x", tt.name, way.name, got, tt.err)
				}
				sp += 8
			}
			if got := m.word(sp); got != at+tt.off {
				t.Errorf("%s, %s: saved rip is %#x, want %#x", tt.name, way.name, got, at+tt.off)
			}
			if got := m.word(sp + 8); got != cs {
				t.Errorf("%s, %s: saved cs is %#x, want %#x", tt.name, way.name, got, cs)
			}
			if tt.vec == excPF && m.c.cr2 != tt.cr2 {
				t.Errorf("%s, %s: cr2 is %#x, want %#x", tt.name, way.name, m.c.cr2, tt.cr2)
			}
		}
	}
}

func TestDoubleFault(t *testing.T) {
	m := newTestMachine(t)
	m.stubs(excPF)
	m.put(testCode, 0x8b, 0x04, 0x25, 0, 0, 0, 0x40)
	// The page fault's gate is missing, which is #GP: contributory.
	if got := m.run(); got != excDF {
		t.Fatalf("vector %d, want %d", got, excDF)
	}
	if got := m.word(m.c.r[x86.RSP]); got != 0 {
		t.Errorf("error code of the double fault is %#x, want 0", got)
	}
}

func TestTripleFault(t *testing.T) {
	m := newTestMachine(t)
	m.put(testCode, 0x0f, 0x0b)
	m.c.idt.limit = 0
	exit, err := m.p.Run(context.Background(), time.Millisecond)
	if exit != vmm.ExitTripleFault || err != nil {
		t.Fatalf("Run() = %v, %v, want %v", exit, err, vmm.ExitTripleFault)
	}
}

func TestFetchAcrossPages(t *testing.T) {
	const at = testData + x86.PageSize - 2
	for _, exact := range []bool{false, true} {
		m := newTestMachine(t)
		m.stubs()
		m.p.exact = exact
		m.start(at)
		m.put(at, 0xb8, 0x78, 0x56, 0x34, 0x12, 0xf4) // mov eax, imm; hlt
		if m.run(); m.c.r[x86.RAX] != 0x12345678 {
			t.Fatalf("exact=%v: rax = %#x after an instruction across two pages, want 0x12345678", exact, m.c.r[x86.RAX])
		}
		m.mapPage(testData+x86.PageSize, 0, 0)
		m.start(at)
		if got := m.run(); got != excPF {
			t.Fatalf("exact=%v: vector %d with the second page absent, want %d", exact, got, excPF)
		}
		if m.c.cr2 != testData+x86.PageSize || m.word(m.c.r[x86.RSP]+8) != at {
			t.Errorf("exact=%v: cr2 %#x, saved rip %#x, want %#x and %#x", exact, m.c.cr2, m.word(m.c.r[x86.RSP]+8), testData+x86.PageSize, at)
		}
	}
}

// TestSelfModifying changes an instruction that the same block holds, further
// on; and one through another mapping of its page.
func TestSelfModifying(t *testing.T) {
	for _, alias := range []bool{false, true} {
		m := newTestMachine(t)
		m.stubs()
		target := byte(0x20)
		if alias {
			m.mapPage(0x50000000, testCode, pteP|pteW)
			target = 0x50
		}
		// Twice over: call f; change f; call f.
		m.put(testCode,
			0xe8, 0x3b, 0, 0, 0, // call testCode+0x40
			0xc6, 0x04, 0x25, 0x41, 0, 0, 0, 0x02, // mov byte [testCode+0x41], 2
			0xe8, 0x2e, 0, 0, 0, // call testCode+0x40
			0xf4)
		copy(m.ram[testCode+5+3:], []byte{0x41, 0, target, 0})
		if alias {
			copy(m.ram[testCode+5+3:], []byte{0x41, 0, 0, target})
		}
		m.put(testCode+0x40, 0xb0, 0x01, 0x00, 0xc3, 0xc3) // mov al, 1; add bl, al; ret
		m.run()
		if got := m.c.r[x86.RBX]; got != 3 {
			t.Errorf("alias=%v: the changed function added up to %d, want 3", alias, got)
		}
		// The next instruction of the same block.
		m.start(testCode + 0x80)
		m.put(testCode+0x80, 0xc6, 0x04, 0x25, 0x89, 0, target, 0, 0x07, 0xb0, 0x01, 0xf4)
		if alias {
			copy(m.ram[testCode+0x80+3:], []byte{0x89, 0, 0, target})
		}
		m.run()
		if got := m.c.r[x86.RAX] & 0xff; got != 7 {
			t.Errorf("alias=%v: the instruction just changed loaded %d, want 7", alias, got)
		}
	}
}

// TestRemappedCode runs two pages' code at one address.
func TestRemappedCode(t *testing.T) {
	const at = 0x50000000
	m := newTestMachine(t)
	m.stubs()
	m.put(testData, 0x83, 0xc3, 0x01, 0xc3)              // add ebx, 1; ret
	m.put(testData+x86.PageSize, 0x83, 0xc3, 0x10, 0xc3) // add ebx, 16; ret
	m.mapPage(at, testData, pteP|pteW)
	m.start(testCode)
	pte := uint64(testTables)
	for level := 3; level > 0; level-- {
		pte = m.word(pte+at>>(12+9*level)&511*8) & pteAddr
	}
	pte += at >> 12 & 511 * 8
	code := []byte{0xb8, 0, 0, 0, 0x50, 0xff, 0xd0} // mov eax, at; call rax
	code = append(code, 0x48, 0x81, 0x04, 0x25, byte(pte), byte(pte>>8), byte(pte>>16), 0, 0, 0x10, 0, 0)
	code = append(code, 0x0f, 0x01, 0x38, 0xff, 0xd0, 0xf4) // invlpg [rax]; call rax; hlt
	m.put(testCode, code...)
	m.mapPage(testTables, testTables, pteP|pteW)
	for p := uint64(testTables); p < m.pt; p += x86.PageSize {
		m.mapPage(p, p, pteP|pteW)
	}
	m.run()
	if m.c.r[x86.RBX] != 17 {
		t.Errorf("functions added up to %d, want 17", m.c.r[x86.RBX])
	}
}
