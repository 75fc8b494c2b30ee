package soft

import (
	"fmt"
	"testing"

	"nvlab/vmm/soft/x86"
)

// guardData makes the page at testData a user's, all else the supervisor's, and has
// SMAP guard it.
func (m *testMachine) guardData() {
	m.mapPage(testTables, testTables, pteP|pteW)
	for va := uint64(testRAM); va < testEnd; va += x86.PageSize {
		if va != testData {
			m.mapPage(va, va, pteP|pteW)
		}
	}
	m.c.cr4 |= x86.CR4SMAP
	m.c.flushTLB(false)
}

// TestSMAP has supervisor accesses to a user's page, at testData. All else is
// the supervisor's.
func TestSMAP(t *testing.T) {
	const none = -1
	const (
		load  = "\x8b\x04\x25\x08\x00\x29\x00" // mov eax, [testData+8]
		store = "\x89\x04\x25\x08\x00\x29\x00"
		stac  = "\x0f\x01\xcb"
		clac  = "\x0f\x01\xca"
	)
	for _, tt := range []struct {
		name  string
		code  string
		setup func(*testMachine)
		vec   int
		err   uint64
		off   uint64
	}{
		{name: "load", code: load, vec: excPF, err: pfPresent},
		{name: "store", code: store, vec: excPF, err: pfPresent | pfWrite},
		{name: "load after stac", code: stac + load + "\xf4", vec: none},
		{name: "store after stac", code: stac + store + "\xf4", vec: none},
		{name: "load after clac", code: stac + load + clac + load, vec: excPF, err: pfPresent, off: 13},
		{name: "store after clac", code: stac + store + clac + store, vec: excPF, err: pfPresent | pfWrite, off: 13},
		{name: "load after popf that sets AC", code: "\x68\x02\x00\x04\x00\x9d" + load + "\xf4", vec: none},
		{name: "load after popf that clears AC", code: stac + load + "\x6a\x02\x9d" + load, vec: excPF, err: pfPresent, off: 13},
		{name: "rep stosb", code: "\xf3\xaa", vec: excPF, err: pfPresent | pfWrite,
			setup: func(m *testMachine) { m.c.r[x86.RDI], m.c.r[x86.RCX] = testData, 100 }},
		{name: "rep stosb after stac", code: stac + "\xf3\xaa\xf4", vec: none,
			setup: func(m *testMachine) { m.c.r[x86.RDI], m.c.r[x86.RCX] = testData, 100 }},
		{name: "fxsave", code: "\x0f\xae\x04\x25\x00\x00\x29\x00", vec: excPF, err: pfPresent | pfWrite},
		{name: "push", code: "\xbc\x08\x00\x29\x00\x50", vec: excPF, err: pfPresent | pfWrite, off: 5,
			setup: func(m *testMachine) { m.gate(excPF, testStubs+16*excPF, 0, 1) }},
		{name: "a descriptor, after stac", code: stac + "\xb8\x08\x00\x00\x00\x8e\xd8", vec: excPF, err: pfPresent, off: 8,
			setup: func(m *testMachine) {
				copy(m.ram[testData:], m.ram[testGDT:testGDT+64])
				copy(m.ram[testData+8:], le64(0x00cf93000000ffff))
				m.c.gdt.base = testData
				m.c.gdt.limit = 15
				m.setKernelGDT()
			}},
		{name: "a descriptor, after stac and an access", code: stac + load + "\xb8\x08\x00\x00\x00\x8e\xd8", vec: excPF, err: pfPresent, off: 15,
			setup: func(m *testMachine) {
				copy(m.ram[testData+8:], le64(0x00cf93000000ffff))
				m.c.gdt.base = testData
				m.c.gdt.limit = 15
				m.setKernelGDT()
			}},
		{name: "a fetch", code: "\xb8\x00\x00\x29\x00\xff\xe0", vec: none,
			setup: func(m *testMachine) { m.ram[testData] = 0xf4 }},
		{name: "a load of code that was just fetched", code: "\xb8\x00\x00\x29\x00\xff\xe0", vec: excPF, err: pfPresent, off: testData - testCode,
			setup: func(m *testMachine) { m.put(testData, []byte(load)...) }},
		{name: "stac with a prefix", code: "\x66\x0f\x01\xcb", vec: excUD},
	} {
		for name, m := range map[string]*testMachine{"executor": newTestMachine(t), "fast path": newTestMachineWith(t, Engine{Interpreter: true}), "compiled code": newCompiled(t)} {
			m.p.exact = name == "executor"
			m.stubs()
			m.guardData()
			x86.PutLE(m.ram[testTSS+36:], 8, testStack-0x1000)
			m.put(testCode, []byte(tt.code)...)
			if tt.setup != nil {
				tt.setup(m)
			}
			if got := m.run(); got != tt.vec {
				t.Errorf("%s, %s: vector %d, want %d", tt.name, name, got, tt.vec)
				continue
			}
			if tt.vec != excPF {
				continue
			}
			sp := m.c.r[x86.RSP]
			if got := m.word(sp); got != tt.err {
				t.Errorf("%s, %s: error code %#x, want %#x", tt.name, name, got, tt.err)
			}
			if got := m.word(sp + 8); got != testCode+tt.off {
				t.Errorf("%s, %s: saved rip is %#x, want %#x", tt.name, name, got, testCode+tt.off)
			}
			if m.c.cr2>>x86.PageShift != testData>>x86.PageShift {
				t.Errorf("%s, %s: cr2 is %#x, want an address of the page at %#x", tt.name, name, m.c.cr2, testData)
			}
		}
	}
}

// TestKernelEntries swaps the bases of GS and accesses a user's page, as a kernel
// does at every system call: all tiers come to the same, and compiled code goes on
// by itself.
func TestKernelEntries(t *testing.T) {
	const turns = 1000
	for name, m := range map[string]*testMachine{"executor": newTestMachine(t), "interpreter": newTestMachineWith(t, Engine{Interpreter: true}), "compiled code": newCompiled(t)} {
		m.p.exact = name == "executor"
		m.stubs()
		m.guardData()
		m.c.r[x86.SlotGS], m.c.msr.kernelGS = testData+x86.PageSize, testData+x86.PageSize+8
		m.put(testData, le64(3)...)
		m.put(testData+x86.PageSize, append(le64(5), le64(7)...)...)
		m.put(testCode, 0xb9, turns&0xff, turns>>8, 0, 0, // mov ecx, turns
			0x0f, 0x01, 0xf8, // L: swapgs
			0x65, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0, // add rax, gs:[0]
			0x0f, 0x01, 0xcb, // stac
			0x48, 0x03, 0x1c, 0x25, 0, 0, 0x29, 0, // add rbx, [testData]
			0x0f, 0x01, 0xca, // clac
			0x83, 0xe9, 0x01, 0x75, 0xe1, 0xf4) // sub ecx, 1; jne L; hlt
		m.run()
		if m.c.r[x86.RAX] != turns/2*(5+7) || m.c.r[x86.RBX] != turns*3 || m.c.rip != testCode+37 {
			t.Errorf("%s: the sums are %d and %d at %#x, want %d and %d at %#x", name, m.c.r[x86.RAX], m.c.r[x86.RBX], m.c.rip, turns/2*(5+7), turns*3, testCode+37)
		}
		if n := m.p.cache.native; n != nil && n.Stats().Entries > 10 {
			t.Errorf("code was entered %d times, want 10 at most", n.Stats().Entries)
		}
	}
}

// setKernelGDT is for tests whose GDT is short of the handlers' code segment:
// the IDT then names one of the LDT.
func (m *testMachine) setKernelGDT() {
	m.c.ldtr = segment{sel: 8, base: testGDT, limit: 63}
	for v := range 256 {
		m.ram[testIDT+16*v+2] = 0x14
	}
}

// TestSMAPOfUsers: stac is not for users, whose AC is another thing.
func TestSMAPOfUsers(t *testing.T) {
	for i, code := range []string{"\x0f\x01\xcb", "\x0f\x01\xca"} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			m := newTestMachine(t)
			m.stubs()
			m.put(testCode, toUser...)
			m.put(testUser, []byte(code)...)
			if got := m.run(); got != excUD {
				t.Errorf("vector %d, want %d", got, excUD)
			}
		})
	}
}
