package soft

import (
	"encoding/binary"
	"testing"
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
	binary.LittleEndian.PutUint32(m.ram[testData+0x10:], cr4PAE|cr4OSFXSR)
	m.mapPage(testStack, testData, pteP|pteW) // seen with paging alone
	m.c.r[rBX] = 0xffff_ffff_ffff_fffe
	m.run()
	c := m.c
	if c.rip != testCode+0x104 || !c.long {
		t.Fatalf("ended at %#x, in 64-bit code: %v; want %#x, true", c.rip, c.long, testCode+0x104)
	}
	if c.r[rBX] != 0xffff_ffff {
		t.Errorf("rbx = %#x, want 0xffffffff: the upper halves are gone", c.r[rBX])
	}
	if c.r[rSP] != 0x1244 || m.word(testData) != 8 {
		t.Errorf("rsp = %#x, bts made %#x; want 0x1244 and 8", c.r[rSP], m.word(testData))
	}
	if off, on := uint32(m.word(testData+0x20)), uint32(m.word(testData+0x20)>>32); off != eferLME || on != eferLME|eferLMA {
		t.Errorf("EFER = %#x without paging and %#x with it, want %#x and %#x", off, on, eferLME, eferLME|eferLMA)
	}
	if c.cr4 != cr4PAE|cr4OSFXSR || c.cr3 != testTables {
		t.Errorf("cr4 = %#x, cr3 = %#x", c.cr4, c.cr3)
	}
}

// TestLegacyLimits: in compatibility mode, what is not for it raises #UD in a
// 64-bit handler.
func TestLegacyLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []byte
		vec  int
	}{
		{"push", []byte{0x50}, excUD},
		{"inc in one byte", []byte{0x40}, excUD},
		{"call", []byte{0xe8, 0, 0, 0, 0}, excUD},
		{"syscall", []byte{0x0f, 0x05}, excUD},
		{"a 16-bit address", []byte{0x67, 0x8b, 0x07}, excUD},
		{"sse", []byte{0x0f, 0x57, 0xc0}, excUD},
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
