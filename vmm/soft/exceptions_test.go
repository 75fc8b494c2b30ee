package soft

import (
	"testing"

	"nvlab/vmm"
	"nvlab/vmm/soft/x86"
)

// Descriptors that moreSegments adds to the GDT, by selector.
const (
	selAbsentCode  = 0x40
	selAbsentData  = 0x48
	selCallGate    = 0x50
	selCode16      = 0x58
	selBusyTSS     = 0x60 // two entries
	selLDT         = 0x70 // two entries
	selAbsentLDT   = 0x80 // two entries
	selBadBase     = 0x90 // two entries, an LDT
	selExecuteOnly = 0xa0
	selConforming  = 0xa8
)

func moreSegments(m *testMachine) {
	copy(m.ram[testGDT+0x40:], le64(
		0x00af1b000000ffff, 0x00cf73000000ffff, 0x00008c0000100000, 0x008f9b000000ffff,
		0x00008b0000000067, 0, 0x0000820000000067, 0, 0x0000020000000067, 0, 0x0000820000000067, 0x00008000,
		0x00af99000000ffff, 0x00af9f000000ffff))
	m.c.gdt.limit = 0xaf
}

// with prepends MOV RAX, v, which is 10 bytes long.
func with(v uint64, code ...byte) []byte {
	return append(append([]byte{0x48, 0xb8}, le64(v)...), code...)
}

// wrmsr is 17 bytes long, of which the last two are WRMSR.
func wrmsr(n uint32, v uint64) []byte {
	code := le32([]byte{0xb9}, n)
	code = le32(append(code, 0xb8), uint32(v))
	return append(le32(append(code, 0xba), uint32(v>>32)), 0x0f, 0x30)
}

// stacked puts words on top of the stack.
func stacked(words ...uint64) func(*testMachine) {
	return func(m *testMachine) {
		moreSegments(m)
		m.c.r[x86.RSP] = testStack - 0x1000
		copy(m.ram[testStack-0x1000:], le64(words...))
	}
}

const nowhere = 1 << 47 // not canonical

// TestReturnFaults has what IRET and RETF refuse. The stack is the old one, and
// nothing is taken from it.
func TestReturnFaults(t *testing.T) {
	iretq, retfq := []byte{0x48, 0xcf}, []byte{0x48, 0xcb}
	var list []exceptionCase
	for _, tt := range []struct {
		name                   string
		rip, cs, flags, sp, ss uint64
		vec                    uint8
		err                    int
	}{
		{"a null CS", testUser, 0, 2, testStack, 0x18, excGP, 0},
		{"a CS beyond the table", testUser, 0x103, 2, testStack, 0x23, excGP, 0x100},
		{"data as CS", testUser, 0x23, 2, testStack, 0x23, excGP, 0x20},
		{"a CS whose DPL is not the RPL", testUser, 0x13, 2, testStack, 0x23, excGP, 0x10},
		{"16-bit code", testUser, selCode16, 2, testStack, 0x18, excGP, selCode16},
		{"an absent CS", testUser, selAbsentCode, 2, testStack, 0x18, excNP, selAbsentCode},
		{"a null SS for a user", testUser, 0x2b, 2, testStack, 3, excGP, 0},
		{"an SS beyond the table", testUser, 0x2b, 2, testStack, 0x103, excGP, 0x100},
		{"an SS whose RPL is not the new CPL", testUser, 0x2b, 2, testStack, 0x20, excGP, 0x20},
		{"a supervisor's SS for a user", testUser, 0x2b, 2, testStack, 0x1b, excGP, 0x18},
		{"code as SS", testUser, 0x2b, 2, testStack, 0x2b, excGP, 0x28},
		{"an absent SS", testUser, 0x2b, 2, testStack, selAbsentData | 3, excSS, selAbsentData},
		{"a RIP that is not canonical", nowhere, 0x2b, 2, testStack, 0x23, excGP, 0},
		{"a RIP that is not canonical, at the same CPL", nowhere, 0x10, 2, testStack, 0x18, excGP, 0},
	} {
		list = append(list, exceptionCase{name: "iretq to " + tt.name, code: iretq, vec: tt.vec, err: tt.err,
			setup: stacked(tt.rip, tt.cs, tt.flags, tt.sp, tt.ss)})
		list = append(list, exceptionCase{name: "retfq to " + tt.name, code: retfq, vec: tt.vec, err: tt.err,
			setup: stacked(tt.rip, tt.cs, tt.sp, tt.ss)})
	}
	list = append(list,
		exceptionCase{name: "iretq with NT", code: iretq, vec: excGP, setup: func(m *testMachine) {
			stacked(testUser, 0x2b, 2, testStack, 0x23)(m)
			m.c.flags |= x86.FlagNT
		}},
		exceptionCase{name: "a user's iretq to the supervisor", user: true, vec: excGP, err: 0x10, off: 17,
			code: append([]byte{0x6a, 0x18, 0x68, 0, 0, 0x28, 0, 0x6a, 0x02, 0x6a, 0x10, 0x68, 0, 0, 0x20, 0, 0x90}, iretq...)},
		exceptionCase{name: "iretq from a stack that is not there", code: iretq, vec: excPF, cr2: 0x40000000, setup: onIST(func(m *testMachine) { m.c.r[x86.RSP] = 0x40000000 })},
		exceptionCase{name: "iretq from a stack that is not canonical", code: iretq, vec: excSS, setup: onIST(func(m *testMachine) { m.c.r[x86.RSP] = nowhere })},
		exceptionCase{name: "sysretq to what is not canonical", code: []byte{0x48, 0x0f, 0x07}, vec: excGP,
			setup: func(m *testMachine) { m.c.efer |= x86.EFERSCE; m.c.r[x86.RCX] = nowhere }},
	)
	raise(t, list)
}

// onIST gives all handlers a stack of their own.
func onIST(setup func(*testMachine)) func(*testMachine) {
	return func(m *testMachine) {
		for v := range 256 {
			m.gate(uint8(v), testStubs+16*uint64(v), 0, 1)
		}
		x86.PutLE(m.ram[testTSS+36:], 8, testStack-0x4000)
		setup(m)
	}
}

// TestSegmentFaults has what loads of segment registers and far branches
// refuse.
func TestSegmentFaults(t *testing.T) {
	load := func(sel byte, modrm byte) []byte { return []byte{0xb8, sel, 0, 0, 0, 0x8e, modrm} }
	const ds, ss, fs = 0xd8, 0xd0, 0xe0
	far := func(sel uint64, off uint64) func(*testMachine) { // jmp or call far dword [rsp]
		return func(m *testMachine) { stacked(off&0xffffffff | sel<<32)(m) }
	}
	raise(t, []exceptionCase{
		{name: "mov ds, absent", code: load(selAbsentData|3, ds), vec: excNP, err: selAbsentData, off: 5, setup: moreSegments},
		{name: "mov ds, code that cannot be read", code: load(selExecuteOnly, ds), vec: excGP, err: selExecuteOnly, off: 5, setup: moreSegments},
		{name: "mov ds, a system segment", code: load(0x30, ds), vec: excGP, err: 0x30, off: 5},
		{name: "mov fs, beyond the table", code: load(0x78, fs), vec: excGP, err: 0x78, off: 5},
		{name: "mov fs, in an LDT there is not", code: load(0x0c, fs), vec: excGP, err: 0x0c, off: 5},
		{name: "a user's mov ds, the supervisor's", user: true, code: load(0x18, ds), vec: excGP, err: 0x18, off: 5},
		{name: "mov ss, a user's", code: load(0x23, ss), vec: excGP, err: 0x20, off: 5},
		{name: "mov ss, code", code: load(0x10, ss), vec: excGP, err: 0x10, off: 5},
		{name: "mov cs", code: []byte{0x8e, 0xc8}, vec: excUD, err: none},
		{name: "mov to a sixth segment", code: []byte{0x8e, 0xf0}, vec: excUD, err: none},
		{name: "a descriptor that is not there", code: load(0x20, ds), vec: excPF, cr2: 0x40000020, off: 5,
			setup: func(m *testMachine) {
				onIST(func(*testMachine) {})(m)
				m.c.gdt.base = 0x40000000
				m.c.ldtr = segment{sel: 8, base: testGDT, limit: 63}
				for v := range 256 {
					m.ram[testIDT+16*v+2] = 0x14 // by the LDT
				}
			}, cs: 0x10},
		{name: "jmp to a call gate", code: []byte{0xff, 0x2c, 0x24}, vec: excGP, err: selCallGate, setup: far(selCallGate, testCode)},
		{name: "call to absent code", code: []byte{0xff, 0x1c, 0x24}, vec: excNP, err: selAbsentCode, setup: far(selAbsentCode, testCode)},
		{name: "jmp to a null selector", code: []byte{0xff, 0x2c, 0x24}, vec: excGP, setup: far(0, testCode)},
		{name: "jmp to a user's code", code: []byte{0xff, 0x2c, 0x24}, vec: excGP, err: 0x28, setup: far(0x2b, testCode)},
		{name: "jmp to 16-bit code", code: []byte{0xff, 0x2c, 0x24}, vec: excGP, err: selCode16, setup: far(selCode16, testCode)},
		{name: "jmp far to what is not canonical", code: []byte{0x48, 0xff, 0x2c, 0x24}, vec: excGP, setup: stacked(nowhere, 0x10)},
		{name: "jmp far with a register", code: []byte{0xff, 0xe8}, vec: excUD, err: none},
		{name: "lldt of data", code: []byte{0xb8, 0x18, 0, 0, 0, 0x0f, 0x00, 0xd0}, vec: excGP, err: 0x18, off: 5},
		{name: "lldt, absent", code: []byte{0xb8, selAbsentLDT, 0, 0, 0, 0x0f, 0x00, 0xd0}, vec: excNP, err: selAbsentLDT, off: 5, setup: moreSegments},
		{name: "lldt whose base is not canonical", code: []byte{0xb8, selBadBase, 0, 0, 0, 0x0f, 0x00, 0xd0}, vec: excGP, err: selBadBase, off: 5, setup: moreSegments},
		{name: "ltr of a null selector", code: []byte{0x31, 0xc0, 0x0f, 0x00, 0xd8}, vec: excGP, off: 2},
		{name: "ltr of a busy task", code: []byte{0xb8, selBusyTSS, 0, 0, 0, 0x0f, 0x00, 0xd8}, vec: excGP, err: selBusyTSS, off: 5, setup: moreSegments},
		{name: "ltr of an LDT", code: []byte{0xb8, selLDT, 0, 0, 0, 0x0f, 0x00, 0xd8}, vec: excGP, err: selLDT, off: 5, setup: moreSegments},
		{name: "a user's lldt", user: true, code: []byte{0x0f, 0x00, 0xd0}, vec: excGP},
		{name: "a user's ltr", user: true, code: []byte{0x0f, 0x00, 0xd8}, vec: excGP},
		{name: "lgdt whose base is not canonical", code: []byte{0x0f, 0x01, 0x14, 0x24}, vec: excGP, setup: stacked(0x1000<<0|0<<16, 0x8000<<0)},
		{name: "a user's lgdt", user: true, code: []byte{0x0f, 0x01, 0x14, 0x24}, vec: excGP},
		{name: "a user's swapgs", user: true, code: []byte{0x0f, 0x01, 0xf8}, vec: excGP},
		{name: "a user's invlpg", user: true, code: []byte{0x0f, 0x01, 0x38}, vec: excGP},
		{name: "a user's clts", user: true, code: []byte{0x0f, 0x06}, vec: excGP},
		{name: "a user's wbinvd", user: true, code: []byte{0x0f, 0x09}, vec: excGP},
		{name: "a user's lmsw", user: true, code: []byte{0x0f, 0x01, 0xf0}, vec: excGP},
		{name: "a user's mov from dr7", user: true, code: []byte{0x0f, 0x21, 0xf8}, vec: excGP},
		{name: "a user's rdtsc with CR4.TSD", user: true, code: []byte{0x0f, 0x31}, vec: excGP, setup: func(m *testMachine) { m.c.cr4 |= x86.CR4TSD }},
		{name: "a user's out to a port of the bitmap that is denied", user: true, code: []byte{0xe6, 0x80}, vec: excGP, setup: func(m *testMachine) { portBitmap(m, 0x01) }},
		{name: "a user's out to one that is allowed", user: true, code: []byte{0xe6, 0x81, 0x0f, 0x0b}, vec: excUD, err: none, off: 2, setup: func(m *testMachine) { portBitmap(m, 0x01) }},
		{name: "a user's wider out that reaches one that is denied", user: true, code: []byte{0x66, 0xe7, 0x81}, vec: excGP, setup: func(m *testMachine) { portBitmap(m, 0x04) }},
	})
}

// portBitmap allows all ports but those of eight from 80h on.
func portBitmap(m *testMachine, denied byte) {
	m.ram[testTSS+102] = 0x68
	clear(m.ram[testTSS+0x68 : testTSS+0x100])
	m.ram[testTSS+0x68+0x80/8] = denied
	m.c.tr.limit = 0xff
}

// TestReservedBits has what control and model-specific registers refuse.
func TestReservedBits(t *testing.T) {
	user := []exceptionCase{}
	for name, code := range map[string][]byte{
		"sgdt": {0x0f, 0x01, 0x04, 0x24}, "sidt": {0x0f, 0x01, 0x0c, 0x24}, "sldt": {0x0f, 0x00, 0xc0}, "str": {0x0f, 0x00, 0xc8}, "smsw": {0x0f, 0x01, 0xe0},
	} {
		user = append(user,
			exceptionCase{name: "a user's " + name + " with UMIP", user: true, code: code, vec: excGP, setup: func(m *testMachine) { m.c.cr4 |= x86.CR4UMIP }},
			exceptionCase{name: "a user's " + name + " without", user: true, code: append(code, 0x0f, 0x0b), vec: excUD, err: none, off: uint64(len(code))})
	}
	raise(t, append(user, []exceptionCase{
		{name: "cr0 with bit 32", code: with(1<<32|x86.CR0PG|x86.CR0PE, 0x0f, 0x22, 0xc0), vec: excGP, off: 10},
		{name: "cr0 with NW and no CD", code: with(x86.CR0PG|x86.CR0PE|x86.CR0NW, 0x0f, 0x22, 0xc0), vec: excGP, off: 10},
		{name: "cr0 with PG and no PE", code: with(x86.CR0PG, 0x0f, 0x22, 0xc0), vec: excGP, off: 10},
		{name: "cr3 with a bit above the physical addresses", code: with(1<<vmm.DefaultPhysBits, 0x0f, 0x22, 0xd8), vec: excGP, off: 10},
		{name: "cr4 without PAE", code: with(0, 0x0f, 0x22, 0xe0), vec: excGP, off: 10},
		{name: "cr4 with VMXE", code: with(x86.CR4PAE|1<<13, 0x0f, 0x22, 0xe0), vec: excGP, off: 10},
		{name: "cr8 of 16", code: with(16, 0x44, 0x0f, 0x22, 0xc0), vec: excGP, off: 10},
		{name: "cr1", code: []byte{0x0f, 0x22, 0xc8}, vec: excUD, err: none},
		{name: "a user's cr1", user: true, code: []byte{0x0f, 0x20, 0xc8}, vec: excUD, err: none},
		{name: "EFER with a reserved bit", code: wrmsr(msrEFER, x86.EFERLME|x86.EFERLMA|2), vec: excGP, off: 15},
		{name: "EFER without LME", code: wrmsr(msrEFER, 0), vec: excGP, off: 15},
		{name: "LSTAR that is not canonical", code: wrmsr(msrLSTAR, nowhere), vec: excGP, off: 15},
		{name: "CSTAR that is not canonical", code: wrmsr(msrCSTAR, nowhere), vec: excGP, off: 15},
		{name: "FS base that is not canonical", code: wrmsr(msrFSBase, nowhere), vec: excGP, off: 15},
		{name: "KernelGSbase that is not canonical", code: wrmsr(msrKernelGS, nowhere), vec: excGP, off: 15},
		{name: "SYSENTER_EIP that is not canonical", code: wrmsr(msrSysenterEIP, nowhere), vec: excGP, off: 15},
		{name: "PAT with a type there is not", code: wrmsr(msrPAT, 2), vec: excGP, off: 15},
		{name: "MTRRdefType with a reserved bit", code: wrmsr(msrMTRRDef, 1<<12), vec: excGP, off: 15},
		{name: "TSC_AUX with bit 32", code: wrmsr(msrTSCAux, 1<<32), vec: excGP, off: 15},
		{name: "MTRRcap", code: wrmsr(msrMTRRCap, 0), vec: excGP, off: 15},
		{name: "an MSR there is not", code: wrmsr(0x1234, 0), vec: excGP, off: 15},
		{name: "ldmxcsr with a reserved bit", code: []byte{0x0f, 0xae, 0x14, 0x24}, vec: excGP, setup: stacked(1 << 16)},
		{name: "syscall without SCE", code: []byte{0x0f, 0x05}, vec: excUD, err: none},
		{name: "sysret without SCE", code: []byte{0x48, 0x0f, 0x07}, vec: excUD, err: none},
		{name: "a user's sysret", user: true, code: []byte{0x48, 0x0f, 0x07}, vec: excGP, setup: func(m *testMachine) { m.c.efer |= x86.EFERSCE }},
	}...))
}

// TestAlignment has #AC and what does not raise it; and the #GP of operands
// that must be aligned.
func TestAlignment(t *testing.T) {
	ac := func(code ...byte) []byte { // set AC first: 9 bytes
		return append([]byte{0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d}, code...)
	}
	mask := func(m *testMachine) { m.c.cr0 |= x86.CR0AM }
	at := func(opcodes ...byte) []byte { return append(opcodes, 0x04, 0x25, 1, 0, 0x29, 0) } // an operand at testData+1
	var list []exceptionCase
	for _, tt := range []struct {
		name string
		code []byte
	}{
		{"a word", at(0x66, 0x8b)}, {"a doubleword", at(0x8b)}, {"a quadword", at(0x48, 0x8b)}, {"a store", at(0x89)},
		{"an addition", at(0x01)}, {"a locked addition", at(0xf0, 0x01)}, {"an SSE scalar", at(0xf3, 0x0f, 0x10)}, {"an x87 double", at(0xdd)},
	} {
		list = append(list,
			exceptionCase{name: tt.name, user: true, code: ac(tt.code...), setup: mask, vec: excAC, err: 0, off: 9},
			exceptionCase{name: tt.name + " without CR0.AM", user: true, code: ac(append(tt.code, 0x0f, 0x0b)...), vec: excUD, err: none, off: 9 + uint64(len(tt.code))},
			exceptionCase{name: tt.name + " of the supervisor", code: ac(append(tt.code, 0x0f, 0x0b)...), setup: mask, vec: excUD, err: none, off: 9 + uint64(len(tt.code))})
	}
	list = append(list,
		exceptionCase{name: "a byte", user: true, code: ac(append(at(0x8a), 0x0f, 0x0b)...), setup: mask, vec: excUD, err: none, off: 16},
		exceptionCase{name: "a push", user: true, code: ac(0x48, 0x83, 0xec, 0x01, 0x50), setup: mask, vec: excAC, err: 0, off: 13},
		exceptionCase{name: "rep movsd", user: true, code: ac(0xbe, 1, 0, 0x29, 0, 0xbf, 0, 0, 0x29, 0, 0xb9, 9, 0, 0, 0, 0xf3, 0xa5), setup: mask, vec: excAC, err: 0, off: 24},
		exceptionCase{name: "a page fault comes after", user: true, code: ac(0x8b, 0x04, 0x25, 1, 0, 0, 0x40), setup: mask, vec: excAC, err: 0, off: 9})
	for name, code := range map[string][]byte{
		"movaps": at(0x0f, 0x28), "movapd": at(0x66, 0x0f, 0x29), "movdqa": at(0x66, 0x0f, 0x6f), "addps": at(0x0f, 0x58), "pxor": at(0x66, 0x0f, 0xef),
		"movntps": at(0x0f, 0x2b), "movntdq": at(0x66, 0x0f, 0xe7), "fxsave": at(0x0f, 0xae), "cmpxchg16b": append([]byte{0x48, 0x0f, 0xc7, 0x0c, 0x25}, 1, 0, 0x29, 0),
	} {
		list = append(list, exceptionCase{name: name, code: code, vec: excGP})
	}
	raise(t, list)
}

// TestDeliveryFaults has gates and stacks that exceptions cannot use.
func TestDeliveryFaults(t *testing.T) {
	ud2 := []byte{0x0f, 0x0b}
	edit := func(off int, b byte) func(*testMachine) {
		return func(m *testMachine) { m.ram[testIDT+16*excUD+off] = b }
	}
	const gate = excUD<<3 | 2 | 1
	raise(t, []exceptionCase{
		{name: "an absent gate", code: ud2, vec: excNP, err: gate, setup: edit(5, 0x0e)},
		{name: "a gate of another type", code: ud2, vec: excGP, err: gate, setup: edit(5, 0x85)},
		{name: "a null code segment", code: ud2, vec: excGP, err: 1, setup: edit(2, 0)},
		{name: "data as the code segment", code: ud2, vec: excGP, err: 0x18 | 1, setup: edit(2, 0x18)},
		{name: "a user's code segment", code: ud2, vec: excGP, err: 0x28 | 1, setup: edit(2, 0x28)},
		{name: "an absent code segment", code: ud2, vec: excNP, err: selAbsentCode | 1,
			setup: func(m *testMachine) { moreSegments(m); edit(2, selAbsentCode)(m) }},
		{name: "a handler that is not canonical", code: ud2, vec: excGP, err: 1, setup: edit(9, 0x80)},
		{name: "an int beyond the IDT", code: []byte{0xcd, 0x90}, vec: excGP, err: 0x90<<3 | 2, setup: func(m *testMachine) { m.c.idt.limit = 0x8ff }},
		{name: "a stack that is not canonical", code: ud2, vec: excSS, err: 1,
			setup: onIST(func(m *testMachine) {
				m.gate(excUD, testStubs+16*excUD, 0, 2)
				x86.PutLE(m.ram[testTSS+44:], 8, nowhere)
			})},
		{name: "a stack that is not there", code: ud2, vec: excPF, err: pfWrite, cr2: 0x40000ff8,
			setup: onIST(func(m *testMachine) {
				m.gate(excUD, testStubs+16*excUD, 0, 2)
				x86.PutLE(m.ram[testTSS+44:], 8, 0x40001000)
			})},
		{name: "a supervisor's stack that is not canonical", user: true, code: ud2, vec: excDF, err: 0, setup: func(m *testMachine) {
			x86.PutLE(m.ram[testTSS+4:], 8, nowhere)
			m.gate(excDF, testStubs+16*excDF, 0, 1)
			x86.PutLE(m.ram[testTSS+36:], 8, testStack-0x4000)
		}},
		{name: "a page fault in a page fault", code: []byte{0x8b, 0x04, 0x25, 0, 0, 0, 0x40}, vec: excDF, err: 0,
			setup: onIST(func(m *testMachine) {
				m.gate(excPF, testStubs+16*excPF, 0, 2)
				x86.PutLE(m.ram[testTSS+44:], 8, 0x40001000)
			})},
		{name: "a page fault after a general one", code: []byte{0xff, 0xe0}, vec: excPF, err: pfWrite, cr2: 0x40000ff8,
			setup: onIST(func(m *testMachine) {
				m.c.r[x86.RAX] = nowhere
				m.gate(excGP, testStubs+16*excGP, 0, 2)
				x86.PutLE(m.ram[testTSS+44:], 8, 0x40001000)
			})},
		{name: "a push to what is not canonical", code: []byte{0x50}, vec: excSS, setup: onIST(func(m *testMachine) { m.c.r[x86.RSP] = nowhere + 8 })},
		{name: "a call with such a stack", code: []byte{0xe8, 0, 0, 0, 0}, vec: excSS, setup: onIST(func(m *testMachine) { m.c.r[x86.RSP] = nowhere + 8 })},
		{name: "a return from one", code: []byte{0xc3}, vec: excSS, setup: onIST(func(m *testMachine) { m.c.r[x86.RSP] = nowhere })},
		{name: "a return to what is not canonical", code: []byte{0xc3}, vec: excGP, setup: stacked(nowhere)},
		{name: "a call of what is not canonical", code: []byte{0xff, 0xd0}, vec: excGP, setup: func(m *testMachine) { m.c.r[x86.RAX] = nowhere }},
		{name: "an operand across the end", code: []byte{0x48, 0x8b, 0x00}, vec: excGP, setup: func(m *testMachine) { m.c.r[x86.RAX] = nowhere - 4 }},
	})
}
