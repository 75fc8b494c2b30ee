package soft

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"nvlab/vmm/soft/x86"
)

// TestWayThroughLegacy goes from 64-bit code to protected mode without paging
// and back, as Linux does with a processor that firmware hands over in long
// mode.
func TestWayThroughLegacy(t *testing.T) {
	m := newTestMachine(t)
	m.stubs()
	gdt := le64(0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff)
	copy(m.ram[testGDT+0x800:], gdt)
	m.put(testCode,
		0x0f, 0x01, 0x15, 0xf9, 0x01, 0x00, 0x00, // lgdt [rip+0x1f9]: at testCode+0x200
		0xff, 0x2d, 0xfd, 0x01, 0x00, 0x00) // jmp far dword [rip+0x1fd]: at testCode+0x20a
	binary.LittleEndian.PutUint16(m.ram[testCode+0x200:], uint16(len(gdt)-1))
	binary.LittleEndian.PutUint64(m.ram[testCode+0x202:], testGDT+0x800)
	binary.LittleEndian.PutUint32(m.ram[testCode+0x20a:], testCode+0x40)
	m.ram[testCode+0x20e] = 0x08
	m.put(testCode+0x40, // compatibility mode
		0xbc, 0x34, 0x12, 0x00, 0x00, // mov esp, 0x1234
		0x66, 0xba, 0x18, 0x00, // mov dx, 0x18
		0xb8, 0x33, 0x00, 0x05, 0x00, // mov eax, 0x50033
		0x0f, 0x22, 0xc0, // mov cr0, eax
		0xea, 0x80, 0x00, 0x20, 0x00, 0x08, 0x00) // jmp 0x08:testCode+0x80
	m.put(testCode+0x80, // protected mode
		0x8e, 0xd2, // mov ss, edx
		0x83, 0xc4, 0x10, // add esp, 16
		0x8e, 0xda, // mov ds, edx
		0x0f, 0xba, 0x2d, 0x00, 0x00, 0x29, 0x00, 0x03, // bts dword [testData], 3
		0xa1, 0x10, 0x00, 0x29, 0x00, // mov eax, [testData+0x10]
		0x0f, 0x22, 0xe0, // mov cr4, eax
		0xb8, 0x00, 0x00, 0x10, 0x00, // mov eax, testTables
		0x0f, 0x22, 0xd8, // mov cr3, eax
		0xb9, 0x80, 0x00, 0x00, 0xc0, // mov ecx, EFER
		0x0f, 0x32, // rdmsr
		0xa3, 0x20, 0x00, 0x29, 0x00, // mov [testData+0x20], eax
		0xb8, 0x33, 0x00, 0x05, 0x80, // mov eax, 0x80050033
		0x0f, 0x22, 0xc0, // mov cr0, eax
		0x0f, 0x32, // rdmsr
		0xa3, 0x24, 0x00, 0x29, 0x00, // mov [testData+0x24], eax
		0xea, 0x00, 0x01, 0x20, 0x00, 0x10, 0x00) // jmp 0x10:testCode+0x100
	m.put(testCode+0x100, 0x48, 0xff, 0xc3, 0xf4) // 64-bit: inc rbx; hlt
	binary.LittleEndian.PutUint32(m.ram[testData+0x10:], x86.CR4PAE|x86.CR4OSFXSR)
	m.mapPage(testStack, testData, pteP|pteW) // seen with paging alone
	m.c.r[x86.RBX] = 0xffff_ffff_ffff_fffe
	m.run()
	c := m.c
	if c.rip != testCode+0x104 || !c.long {
		t.Fatalf("ended at %#x, in 64-bit code: %v; want %#x, true", c.rip, c.long, testCode+0x104)
	}
	if c.r[x86.RBX] != 0xffff_ffff {
		t.Errorf("rbx = %#x, want 0xffffffff: the upper halves are gone", c.r[x86.RBX])
	}
	if c.r[x86.RSP] != 0x1244 || m.word(testData) != 8 {
		t.Errorf("rsp = %#x, bts made %#x; want 0x1244 and 8", c.r[x86.RSP], m.word(testData))
	}
	if off, on := uint32(m.word(testData+0x20)), uint32(m.word(testData+0x20)>>32); off != x86.EFERLME || on != x86.EFERLME|x86.EFERLMA {
		t.Errorf("EFER = %#x without paging and %#x with it, want %#x and %#x", off, on, x86.EFERLME, x86.EFERLME|x86.EFERLMA)
	}
	if c.cr4 != x86.CR4PAE|x86.CR4OSFXSR || c.cr3 != testTables {
		t.Errorf("cr4 = %#x, cr3 = %#x", c.cr4, c.cr3)
	}
}

// TestLegacyLimits: in compatibility mode, what is not for it raises an
// exception in a 64-bit handler.
func TestLegacyLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []byte
		vec  int
	}{
		{"syscall without EFER.SCE", []byte{0x0f, 0x05}, excUD},
		{"sysenter", []byte{0x0f, 0x34}, excUD},
		{"sysret", []byte{0x0f, 0x07}, excUD},
		{"vex", []byte{0xc5, 0xf8, 0x77}, excUD},
		{"evex", []byte{0x62, 0xf1, 0x7c, 0x48, 0x28, 0xc0}, excUD},
		{"a selector beyond the table", []byte{0xea, 0, 0, 0x20, 0, 0, 1}, excGP},
		{"a load from nowhere", []byte{0xa1, 0, 0, 0, 0x40}, excPF},
	} {
		m := newTestMachine(t)
		m.stubs()
		copy(m.ram[testGDT+0x30:], le64(0x00cf9b000000ffff))
		m.put(testCode, 0xff, 0x2c, 0x25, 0x00, 0x00, 0x29, 0x00) // jmp far dword [testData]
		binary.LittleEndian.PutUint32(m.ram[testData:], testCode+0x40)
		m.ram[testData+4] = 0x30
		m.put(testCode+0x40, tt.code...)
		if got := m.run(); got != tt.vec {
			t.Errorf("%s: vector %d, want %d", tt.name, got, tt.vec)
		}
		if !m.c.long {
			t.Errorf("%s: the handler is 32-bit code, want 64-bit", tt.name)
		}
	}
}

// TestLegacySegments: code that is not flat is refused.
func TestLegacySegments(t *testing.T) {
	for name, d := range map[string]uint64{"a base": 0x00cf9b000001ffff, "a limit": 0x004f9b000000ffff, "16-bit code": 0x008f9b000000ffff} {
		m := newTestMachine(t)
		m.stubs()
		copy(m.ram[testGDT+0x30:], le64(d))
		m.put(testCode, 0xff, 0x2c, 0x25, 0x00, 0x00, 0x29, 0x00) // jmp far dword [testData]
		binary.LittleEndian.PutUint32(m.ram[testData:], testCode+0x40)
		m.ram[testData+4] = 0x30
		if got := m.run(); got != excGP {
			t.Errorf("a code segment with %s: vector %d, want %d", name, got, excGP)
		}
	}
}

// Selectors of user32's descriptors.
const (
	selCode32   = 0x43
	selSmall    = 0x4b // 16 bytes at testData
	selDown     = 0x53 // all above 0x29ffff
	selReadOnly = 0x5b
)

// to32 is IRETQ to 32-bit code at testUser.
var to32 = []byte{
	0x6a, 0x23, // push 0x23
	0x68, 0x00, 0x00, 0x28, 0x00, // push testStack
	0x6a, 0x02, // push 2
	0x6a, selCode32, // push
	0x68, 0x00, 0x00, 0x22, 0x00, // push testUser
	0x48, 0xcf, // iretq
}

// user32 readies a machine to run a 32-bit program.
func user32(t *testing.T, code string) *testMachine {
	m := newTestMachine(t)
	m.program32([]byte(code))
	return m
}

func (m *testMachine) program32(code []byte) {
	m.stubs()
	m.gate(0x80, testStubs+16*0x80, 3, 0)
	m.gate(excBP, testStubs+16*excBP, 3, 0)
	copy(m.ram[testGDT+0x40:], le64(0x00cffb000000ffff, 0x0040f3000000000f|testData<<16, 0x00c0f70000000000|0x29f, 0x00cff1000000ffff))
	m.c.gdt.limit = 0x5f
	m.put(testCode, to32...)
	m.put(testUser, code...)
}

// FuzzProgram32 runs any bytes as a 32-bit program: it ends in an exception, or
// goes on, and the engine has no defect.
func FuzzProgram32(f *testing.F) {
	r := rand.New(rand.NewPCG(21, 22))
	var list []encoding
	for _, e := range encodings32() {
		if !e.redundant() {
			list = append(list, e)
		}
	}
	for range 20 {
		f.Add(randomCode(r, list, 60), r.Uint64())
	}
	f.Add([]byte{0x60, 0x61, 0xc8, 0x10, 0x00, 0x03, 0xc9, 0x9a, 0, 0, 0x22, 0, 0x2b, 0}, uint64(1))
	m := newTestMachine(f)
	f.Fuzz(func(t *testing.T, code []byte, seed uint64) {
		if len(code) > 256 {
			return
		}
		m.reset(t)
		m.program32(code)
		r := rand.New(rand.NewPCG(seed, 23))
		for i := range 16 {
			if m.c.r[i] = interesting(r); r.IntN(2) == 0 {
				m.c.r[i] = testData + uint64(r.IntN(x86.PageSize))
			}
		}
		m.c.r[x86.RSP] = testStack
		if _, err := m.p.Run(context.Background(), 2000); err != nil {
			t.Fatalf("Run() of % x: %v", code, err)
		}
		if m.c.long {
			return
		}
		for i, v := range m.c.r[:8] {
			if v>>32 != 0 {
				t.Errorf("% x: register %d is %#x in 32-bit code", code, i, v)
			}
		}
	})
}

// TestProgram32 has what a 32-bit program may not do.
func TestProgram32(t *testing.T) {
	const ds = "\xb8%\x00\x00\x00\x8e\xd8" // mov eax, sel; mov ds, eax
	with := func(load string, sel byte, code string) string {
		b := []byte(load)
		b[1] = sel
		return string(b) + code
	}
	for _, tt := range []struct {
		name string
		code string
		vec  int
		err  int   // or -1
		off  int64 // of the saved RIP
	}{
		{"int 0x80", "\xcd\x80", 0x80, -1, 2},
		{"int3 after a call and a return", "\xe8\x01\x00\x00\x00\xcc\xc3", excBP, -1, 6},
		{"into", "\xb0\x7f\x04\x01\xce", excGP, excOF<<3 | 2, 4}, // a gate of DPL 0
		{"into without overflow", "\x31\xc0\xce\x0f\x0b", excUD, -1, 3},
		{"bound", "\x31\xc0\x48\x36\x62\x05\x00\x00\x29\x00", excBR, -1, 3},
		{"aam 0", "\xd4\x00", excDE, -1, 0},
		{"hlt", "\xf4", excGP, 0, 0},
		{"les in a register", "\xc4\xc0", excUD, -1, 0},
		{"a word of a branch", "\x66\xeb\x00", excPF, pfUser, 3 - testUser},
		{"a load at the limit", with(ds, selSmall, "\xa1\x0c\x00\x00\x00\x0f\x0b"), excUD, -1, 12},
		{"a load beyond the limit", with(ds, selSmall, "\xa1\x0d\x00\x00\x00"), excGP, 0, 7},
		{"a load around the end", with(ds, selSmall, "\xa1\xfe\xff\xff\xff"), excGP, 0, 7},
		{"a load above an expand-down limit", with(ds, selDown, "\xa1\x00\x00\x2a\x00\x0f\x0b"), excUD, -1, 12},
		{"a load below it", with(ds, selDown, "\xa1\x00\x00\x29\x00"), excGP, 0, 7},
		{"a store to a read-only segment", with(ds, selReadOnly, "\xa3\x00\x00\x29\x00"), excGP, 0, 7},
		{"a load from it", with(ds, selReadOnly, "\xa1\x00\x00\x29\x00\x0f\x0b"), excUD, -1, 12},
		{"a store to the code segment", "\x2e\xa3\x00\x00\x29\x00", excGP, 0, 0},
		{"a load from a null segment", with(ds, 0, "\xa1\x00\x00\x29\x00"), excGP, 0, 7},
		{"a repeated store beyond the limit", "\xb8\x4b\x00\x00\x00\x8e\xc0\x31\xff\xb9\x20\x00\x00\x00\xf3\xaa", excGP, 0, 14},
		{"a null stack", "\x31\xc0\x8e\xd0", excGP, 0, 2},
		{"a push beyond the limit", "\xb8\x4b\x00\x00\x00\x8e\xd0\xbc\x14\x00\x00\x00\x50\x50\x50", excSS, 0, 12},
		{"a read-only stack", "\xb8\x5b\x00\x00\x00\x8e\xd0", excGP, selReadOnly &^ 3, 5},
		{"a far jump to a segment beyond the table", "\xea\x00\x00\x00\x00\x03\x01", excGP, 0x100, 0},
		{"syscall", "\x0f\x05", excUD, -1, 0},
	} {
		m := user32(t, tt.code)
		m.ram[testData] = 1 // the bounds are 1 and 0
		if got := m.run(); got != tt.vec {
			t.Errorf("%s: vector %d, want %d", tt.name, got, tt.vec)
			continue
		}
		sp := m.c.r[x86.RSP]
		if tt.err >= 0 {
			if got := m.word(sp); got != uint64(tt.err) {
				t.Errorf("%s: error code %#x, want %#x", tt.name, got, tt.err)
			}
			sp += 8
		}
		if rip, cs, ss := m.word(sp), m.word(sp+8), m.word(sp+32); rip != uint64(testUser+tt.off) || cs != selCode32 {
			t.Errorf("%s: saved %#x:%#x with stack %#x, want %#x:%#x", tt.name, cs, rip, ss, selCode32, testUser+tt.off)
		}
		if !m.c.long {
			t.Errorf("%s: the handler is 32-bit code, want 64-bit", tt.name)
		}
	}
}

// TestSegments32 is thread-local memory, and a way to 64-bit code and back.
func TestSegments32(t *testing.T) {
	m := user32(t, "\xb8\x4b\x00\x00\x00\x8e\xe8"+ // mov eax, selSmall; mov gs, eax
		"\x65\xc7\x05\x04\x00\x00\x00\x78\x56\x34\x12"+ // mov dword gs:[4], 0x12345678
		"\x65\xa1\x04\x00\x00\x00"+ // mov eax, gs:[4]
		"\x67\x8d\x40\x02"+ // lea eax, [bx+si+2]
		"\x60\x61"+ // pusha; popa
		"\x9a\x40\x00\x22\x00\x2b\x00"+ // call 0x2b:testUser+0x40
		"\xcd\x80")
	m.c.r[x86.RBX], m.c.r[x86.RSI] = 0xffff, 0x10
	m.put(testUser+0x40, 0x49, 0xff, 0xc0, 0xcb) // inc r8; retf
	if got := m.run(); got != 0x80 {
		t.Fatalf("vector %d, want 128", got)
	}
	if got := uint32(m.word(testData + 4)); got != 0x12345678 {
		t.Errorf("gs:[4] is %#x, want 0x12345678", got)
	}
	if m.c.r[x86.RAX] != 0x11 || m.c.r[8] != 1 {
		t.Errorf("eax = %#x, r8 = %d, want 0x11 and 1", m.c.r[x86.RAX], m.c.r[8])
	}
	if sp := m.c.r[x86.RSP]; m.word(sp+24) != testStack || m.word(sp+8) != selCode32 {
		t.Errorf("esp = %#x and cs = %#x at the end, want %#x and %#x", m.word(sp+24), m.word(sp+8), testStack, selCode32)
	}
}

// TestSyscall32 is SYSCALL in a 32-bit program, and the return.
func TestSyscall32(t *testing.T) {
	m := user32(t, "\x41\x0f\x05\x40\xcd\x80") // inc ecx; syscall; inc eax; int 0x80
	m.c.efer |= x86.EFERSCE
	m.c.msr.star = 0x10<<32 | (selCode32&^3)<<48
	m.c.msr.lstar, m.c.msr.cstar = testStubs, testCode+0x200
	m.c.msr.fmask = x86.FlagIF
	m.put(testCode+0x200, 0x48, 0x89, 0xcb, 0x0f, 0x07) // mov rbx, rcx; sysretl
	// SYSRET's stack segment is the descriptor after the code segment's.
	if got := m.run(); got != 0x80 {
		t.Fatalf("vector %d at %#x, want 128", got, m.c.rip)
	}
	if m.c.r[x86.RBX] != testUser+3 || m.c.r[x86.RAX] != 1 {
		t.Errorf("the kernel saw rcx = %#x, and eax = %d at the end; want %#x and 1", m.c.r[x86.RBX], m.c.r[x86.RAX], testUser+3)
	}
	if sp := m.c.r[x86.RSP]; m.word(sp+8) != selCode32 || m.word(sp+32) != selSmall {
		t.Errorf("cs = %#x, ss = %#x at the end, want %#x and %#x", m.word(sp+8), m.word(sp+32), selCode32, selSmall)
	}
}
