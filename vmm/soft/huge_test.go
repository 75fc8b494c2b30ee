package soft

import (
	"fmt"
	"testing"

	"nvlab/vmm"
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/x86"
)

const (
	hugeBase = 0x40000000 // what a page of 1 GiB is mapped at
	hugeSize = 1 << 30
	hugePA   = 0 // and what it shows
)

// mapHuge has the third table from below map a page of 1 GiB.
func (m *testMachine) mapHuge(va, pa, flags uint64) uint64 {
	at := m.word(testTables)&pteAddr + va>>30*8
	copy(m.ram[at:], le64(pa|ptePS|flags))
	return at
}

// TestPagesOf1GiB has the SDM's rules of an entry of the page-directory-pointer
// table that maps a page (SDM 3A, 4.5.4, table 4-16; 4.6; 4.8).
func TestPagesOf1GiB(t *testing.T) {
	const (
		none  = -1
		load  = "\x8b\x04\x25\x08\x00\x29\x40" // mov eax, [hugeBase+testData+8]
		store = "\x89\x04\x25\x08\x00\x29\x40"
		jump  = "\xb8\x00\x00\x29\x40\xff\xe0" // mov eax, hugeBase+testData; jmp rax
		halt  = "\xf4"
		all   = pteP | pteW | pteU
	)
	type row struct {
		name  string
		code  string
		entry uint64 // its flags
		user  bool
		setup func(*testMachine)
		vec   int
		err   uint64
		set   uint64 // what the access sets of accessed and dirty
	}
	nx := func(m *testMachine) { m.c.efer |= x86.EFERNXE }
	smap := func(m *testMachine) {
		for va := uint64(testRAM); va < testEnd; va += x86.PageSize {
			m.mapPage(va, va, pteP|pteW)
		}
		m.c.cr4 |= x86.CR4SMAP | x86.CR4SMEP
	}
	rows := []row{
		{name: "load", code: load + halt, entry: all, vec: none, set: pteA},
		{name: "store", code: store + halt, entry: all, vec: none, set: pteA | pteD},
		{name: "store after load", code: load + store + halt, entry: all, vec: none, set: pteA | pteD},
		{name: "load of a dirty page", code: load + halt, entry: all | pteA | pteD, vec: none},
		{name: "fetch", code: jump, entry: all, vec: none, set: pteA},
		{name: "user's load and store", user: true, code: load + store + "\xcd\x80", entry: all, vec: 0x80, set: pteA | pteD},
		{name: "PAT", code: load + halt, entry: all | 1<<12, vec: none, set: pteA},
		{name: "global", code: load + halt, entry: all | pteG, vec: none, set: pteA, setup: func(m *testMachine) { m.c.cr4 |= x86.CR4PGE }},
		{name: "not present", code: load, entry: pteW | pteU, vec: excPF},
		{name: "not present, with reserved bits", code: load, entry: pteW | pteU | 1<<13, vec: excPF},
		{name: "store to a read-only page", code: store, entry: pteP | pteU, vec: excPF, err: pfPresent | pfWrite},
		{name: "store to a read-only page without CR0.WP", code: store + halt, entry: pteP | pteU, vec: none, set: pteA | pteD,
			setup: func(m *testMachine) { m.c.cr0 &^= x86.CR0WP }},
		{name: "user's load of a supervisor's page", user: true, code: load, entry: pteP | pteW, vec: excPF, err: pfPresent | pfUser},
		{name: "user's store to a supervisor's page", user: true, code: store, entry: pteP | pteW, vec: excPF, err: pfPresent | pfUser | pfWrite},
		{name: "fetch with NX", code: jump, entry: all | pteNX, vec: excPF, err: pfPresent | pfFetch, setup: nx},
		{name: "load with NX", code: load + halt, entry: all | pteNX, vec: none, set: pteA, setup: nx},
		{name: "load with NX, without EFER.NXE", code: load, entry: all | pteNX, vec: excPF, err: pfPresent | pfRsvd},
		{name: "supervisor's load of a user's page with SMAP", code: load, entry: all, vec: excPF, err: pfPresent, setup: smap},
		{name: "supervisor's fetch of a user's page with SMEP", code: jump, entry: all, vec: excPF, err: pfPresent | pfFetch, setup: smap},
		{name: "page size in the top table", code: load, entry: all, vec: excPF, err: pfPresent | pfRsvd,
			setup: func(m *testMachine) {
				// Of half a TiB, so that the rest of the test stays where it is.
				copy(m.ram[testTables+8:], le64(m.word(testTables)|ptePS))
				m.put(testCode, []byte("\x48\xb8\x08\x00\x29\x40\x80\x00\x00\x00\x8b\x00")...)
			}},
	}
	for bit := 13; bit < 30; bit++ {
		rows = append(rows, row{name: fmt.Sprintf("reserved bit %d", bit), code: load, entry: all | 1<<bit, vec: excPF, err: pfPresent | pfRsvd})
	}
	rows = append(rows, row{name: "address beyond the processor's", code: load, entry: all | 1<<vmm.DefaultPhysBits, vec: excPF, err: pfPresent | pfRsvd})
	ways := map[string]*testMachine{
		"executor": newTestMachineWith(t, Engine{Interpreter: true}), "fast path": newTestMachineWith(t, Engine{Interpreter: true}), "compiled code": newCompiled(t),
	}
	for _, tt := range rows {
		for name, m := range ways {
			m.reset(t)
			m.stubs()
			m.gate(0x80, testStubs+16*0x80, 3, 0)
			m.p.exact = name == "executor"
			m.put(testData, []byte(halt)...)
			m.put(testData+8, 0x44, 0x33, 0x22, 0x11)
			at := m.mapHuge(hugeBase, hugePA, tt.entry)
			code := uint64(testCode)
			if tt.user {
				m.put(testCode, toUser...)
				code = testUser
			}
			m.put(code, []byte(tt.code)...)
			if tt.setup != nil {
				tt.setup(m)
				m.c.setMode()
			}
			entry := m.word(at)
			m.c.r[x86.RAX] = 0x11223344
			if got := m.run(); got != tt.vec {
				t.Errorf("%s, %s: vector %d, want %d", tt.name, name, got, tt.vec)
				continue
			}
			if got := m.word(at) ^ entry; got != tt.set {
				t.Errorf("%s, %s: the access changes %#x of the entry, want %#x", tt.name, name, got, tt.set)
			}
			switch tt.vec {
			case excPF:
				if got := m.word(m.c.r[x86.RSP]); got != tt.err {
					t.Errorf("%s, %s: error code %#x, want %#x", tt.name, name, got, tt.err)
				}
			default:
				if got := m.word(testData + 8); got != 0x11223344 {
					t.Errorf("%s, %s: memory has %#x, want 0x11223344", tt.name, name, got)
				}
			}
		}
	}
}

// TestPageOf1GiBTranslates has addresses at the page's ends go to where its are,
// and not a byte further.
func TestPageOf1GiBTranslates(t *testing.T) {
	m := newTestMachine(t)
	var read []uint64
	m.bus.read = func(addr uint64, size int) uint64 { read = append(read, addr); return 0 }
	m.mapHuge(hugeBase, 3*hugeSize, pteP|pteW)
	for _, off := range []uint64{0, 0x1000, 0x1ff008, 0x200008, 0x3ffffff8} {
		m.start(testCode)
		m.put(testCode, 0x8b, 0x00, 0xf4) // mov eax, [rax]
		m.c.r[x86.RAX] = hugeBase + off
		read = nil
		m.stubs()
		m.run()
		if len(read) != 1 || read[0] != 3*hugeSize+off {
			t.Errorf("a load %#x bytes into a page at %#x reads %#x, want %#x", off, uint64(3*hugeSize), read, 3*hugeSize+off)
		}
	}
	m.stubs()
	for _, beyond := range []uint64{hugeBase - 4, hugeBase + hugeSize} {
		m.start(testCode)
		m.c.r[x86.RAX] = beyond
		if got := m.run(); got != excPF || m.c.cr2 != beyond {
			t.Errorf("a load at %#x, beside the page, ends in vector %d with cr2 %#x, want a page fault", beyond, got, m.c.cr2)
		}
	}
}

// TestFlushPageOf1GiB: INVLPG of any address forgets all of a page, and
// nothing of its neighbours.
func TestFlushPageOf1GiB(t *testing.T) {
	m := newTestMachine(t)
	const next = hugeBase + hugeSize
	m.mapHuge(hugeBase, hugePA, pteP|pteW|pteU)
	m.mapHuge(next, hugePA, pteP|pteW|pteU)
	inside := []uint64{hugeBase + testData, hugeBase + testData + 8*x86.PageSize, hugeBase + testCode}
	outside := []uint64{testData + 16*x86.PageSize, next + testData + 24*x86.PageSize}
	held := func(va uint64) bool {
		return m.c.tlbs[0].meta[va>>x86.PageShift&(abi.TLBSize-1)].vtag == va&^x86.PageMask
	}
	for _, kept := range []bool{false, true} {
		for _, va := range append(inside, outside...) {
			if pa, ok := m.c.translate(va, 0, accessRead); !ok || pa != va%hugeSize {
				t.Fatalf("%#x is at %#x, %v, want %#x", va, pa, ok, va%hugeSize)
			}
			if !held(va) {
				t.Fatalf("the TLB lacks %#x, just translated", va)
			}
		}
		if kept { // a flush of all but the global ones leaves what is known of their sizes
			m.c.tlbs[0].flush(false)
			m.mapHuge(hugeBase, hugePA, pteP|pteW|pteU|pteG)
			for _, va := range append(inside, outside...) {
				m.c.translate(va, 0, accessRead)
			}
			m.c.tlbs[0].flush(true)
			for _, va := range inside {
				if !held(va) {
					t.Fatalf("a flush of what is not global forgot %#x, of a global page", va)
				}
			}
		}
		m.c.flushPage(hugeBase + 0x123456)
		for _, va := range inside {
			if held(va) {
				t.Errorf("the TLB has %#x, global %v, after INVLPG of another address of its page", va, kept)
			}
		}
		for _, va := range outside {
			if !kept && !held(va) {
				t.Errorf("INVLPG in the page of 1 GiB forgot %#x of another page", va)
			}
		}
	}
}
