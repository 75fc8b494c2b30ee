package soft

import (
	"encoding/binary"
	"testing"

	"nvlab/vmm"
	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/x86"
)

// fakeBus records accesses and answers with what the test says.
type fakeBus struct {
	in    func(port uint16, size int) uint32
	out   func(port uint16, size int, v uint32)
	read  func(addr uint64, size int) uint64
	write func(addr uint64, size int, v uint64)
	eoi   []uint8
}

func (b *fakeBus) PortIn(port uint16, size int) uint32 {
	if b.in == nil {
		return ^uint32(0)
	}
	return b.in(port, size)
}

func (b *fakeBus) PortOut(port uint16, size int, v uint32) {
	if b.out != nil {
		b.out(port, size, v)
	}
}

func (b *fakeBus) MMIORead(addr uint64, size int) uint64 {
	if b.read == nil {
		return ^uint64(0)
	}
	return b.read(addr, size)
}

func (b *fakeBus) MMIOWrite(addr uint64, size int, v uint64) {
	if b.write != nil {
		b.write(addr, size, v)
	}
}

func (b *fakeBus) EndOfInterrupt(v uint8) { b.eoi = append(b.eoi, v) }

// Where a test machine has what. Physical addresses equal virtual ones below
// 4 GiB, in pages of 4 KiB that a test may change.
const (
	testTables = 0x100000 // 1 MiB of paging structures
	testRAM    = 0x200000
	testCode   = 0x200000
	testStack  = 0x280000 // top
	testGDT    = 0x281000
	testIDT    = 0x282000
	testTSS    = 0x283000
	testData   = 0x290000
	testEnd    = 0x300000
)

// testMachine is a processor with a little memory.
type testMachine struct {
	t   testing.TB
	p   *processors
	c   *cpu
	bus *fakeBus
	ram []byte // from 0
	pt  uint64 // next free page for tables

	stops bool // run may end before a load
}

func newTestMachine(t testing.TB) *testMachine {
	t.Helper()
	return newTestMachineWith(t, Engine{})
}

func newTestMachineWith(t testing.TB, e Engine) *testMachine {
	t.Helper()
	return newTestMachineOf(t, e, vmm.ProcessorSpec{Count: 1, Seed: 1})
}

func newTestMachineOf(t testing.TB, e Engine, spec vmm.ProcessorSpec) *testMachine {
	t.Helper()
	bus := &fakeBus{}
	procs, err := e.New(spec, bus)
	if err != nil {
		t.Fatal(err)
	}
	m := &testMachine{t: t, p: procs.(*processors), bus: bus, ram: newRAM(t, testEnd)}
	m.c = m.p.cpu
	if err := m.p.Map(vmm.Region{Mem: m.ram}); err != nil {
		t.Fatal(err)
	}
	m.boot()
	return m
}

// reset makes a used machine a new one.
func (m *testMachine) reset(t testing.TB) {
	m.t = t
	*m.bus = fakeBus{}
	clearRAM(t, m.ram)
	m.boot()
}

// boot is the start of a machine whose memory is zero.
func (m *testMachine) boot() {
	m.pt = testTables + x86.PageSize
	for va := uint64(testRAM); va < testEnd; va += x86.PageSize {
		m.mapPage(va, va, pteP|pteW|pteU)
	}
	m.start(testCode)
}

func (m *testMachine) start(rip uint64) {
	m.t.Helper()
	copy(m.ram[testGDT:], le64(0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff,
		0x00cff3000000ffff, 0x00affb000000ffff, 0x0000890000000067|testTSS<<16, 0))
	entry := vmm.Entry{RIP: rip, RSP: testStack, CR3: testTables, GDT: testGDT, GDTLimit: 63}
	if err := m.p.Start(entry); err != nil {
		m.t.Fatal(err)
	}
	m.c.cr4 |= x86.CR4OSFXSR | x86.CR4OSXMMEXCPT
	m.c.setMode()
	m.c.idt = table{base: testIDT, limit: 0xfff}
	m.c.tr = segment{sel: 0x30, base: testTSS, limit: 0x67, attr: attrTSS}
	binary.LittleEndian.PutUint64(m.ram[testTSS+4:], testStack-0x8000)
	m.ram[testTSS+102] = 0x68 // no I/O permission bitmap
}

// tick has the timer interrupt again and again.
func (m *testMachine) tick() {
	m.c.apic.SVR |= apic.SVREnable
	m.c.apic.LVT[apic.LVTTimer] = apic.TimerPeriodic | 0x40
	m.c.apic.TimerDiv = 0xb
	m.c.apic.TimerInit = 333
	m.c.apic.StartTimer()
}

func le64(v ...uint64) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b
}

// entryAt finds the page-table entry of va, making tables on the way.
func (m *testMachine) entryAt(va uint64) []byte {
	base := uint64(testTables)
	for level := 3; ; level-- {
		e := m.ram[base+va>>(12+9*level)&511*8:][:8]
		if level == 0 {
			return e
		}
		v := binary.LittleEndian.Uint64(e)
		if v == 0 {
			v = m.pt | pteP | pteW | pteU
			m.pt += x86.PageSize
			binary.LittleEndian.PutUint64(e, v)
		}
		base = v & pteAddr
	}
}

// mapPage maps a page, without flushing.
func (m *testMachine) mapPage(va, pa, flags uint64) {
	binary.LittleEndian.PutUint64(m.entryAt(va), pa|flags)
}

// gate sets an interrupt gate.
func (m *testMachine) gate(vec uint8, target uint64, dpl, ist uint64) {
	copy(m.ram[testIDT+16*uint64(vec):], le64(
		target&0xffff|0x10<<16|ist<<32|(0x8e|dpl<<5)<<40|target>>16&0xffff<<48, target>>32))
}

func (m *testMachine) put(addr uint64, b ...byte) { copy(m.ram[addr:], b) }
