package soft

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/x86"
)

const (
	extraPhys = 0x8000000 // physical address of a further region
	extraVirt = 0x60000000
)

// withRegion maps two pages of further memory.
func withRegion(t *testing.T, r vmm.Region) *testMachine {
	t.Helper()
	m := newTestMachine(t)
	r.Base = extraPhys
	if err := m.p.Map(r); err != nil {
		t.Fatal(err)
	}
	for off := uint64(0); off < uint64(len(r.Mem)); off += x86.PageSize {
		m.mapPage(extraVirt+off, extraPhys+off, pteP|pteW)
	}
	m.stubs()
	m.start(testCode)
	m.c.r[x86.RDI], m.c.r[x86.RSI] = extraVirt, extraVirt
	m.c.r[x86.RAX], m.c.r[x86.RCX] = 0x1122334455667788, 16
	return m
}

// Stores of all kinds at [rdi].
var storeKinds = []struct {
	name string
	code []byte
	want byte // at the first byte, which holds 1 before
}{
	{"mov", []byte{0x48, 0x89, 0x07}, 0x88},
	{"mov byte", []byte{0x88, 0x07}, 0x88},
	{"add", []byte{0x48, 0x01, 0x07}, 0x89},
	{"inc", []byte{0xff, 0x07}, 2},
	{"xchg", []byte{0x48, 0x87, 0x07}, 0x88},
	{"lock xadd", []byte{0xf0, 0x48, 0x0f, 0xc1, 0x07}, 0x89},
	{"movnti", []byte{0x48, 0x0f, 0xc3, 0x07}, 0x88},
	{"movaps", []byte{0x0f, 0x57, 0xc0, 0x0f, 0x29, 0x07}, 0},
	{"stosq", []byte{0x48, 0xab}, 0x88},
	{"rep stosb", []byte{0xf3, 0xaa}, 0x88},
	{"push", []byte{0x48, 0x8d, 0x67, 0x08, 0x50}, 0x88},
	{"bts", []byte{0x0f, 0xba, 0x2f, 0x01}, 3},
	{"setcc", []byte{0x31, 0xd2, 0x0f, 0x95, 0x07}, 0},
}

func TestStoreKinds(t *testing.T) {
	for _, kind := range []vmm.Region{{}, {ReadOnly: true}, {Observed: true}, {Revocable: true}} {
		for _, s := range storeKinds {
			kind.Mem = make([]byte, 2*x86.PageSize)
			m := withRegion(t, kind)
			kind.Mem[0] = 1
			if kind.Observed {
				m.p.Observe(&counter{})
			}
			m.put(testCode, s.code...)
			m.ram[testCode+len(s.code)] = 0xf4
			m.run()
			want := s.want
			if kind.ReadOnly {
				want = 1
			}
			if kind.Mem[0] != want {
				t.Errorf("%s to memory with ReadOnly %v, Observed %v: %#x, want %#x", s.name, kind.ReadOnly, kind.Observed, kind.Mem[0], want)
			}
			e := m.c.tlb[extraVirt>>x86.PageShift&(abi.TLBSize-1)]
			if (kind.ReadOnly || kind.Observed) && e.WTag == extraVirt {
				t.Errorf("%s: the fast path may store to memory with ReadOnly %v, Observed %v", s.name, kind.ReadOnly, kind.Observed)
			}
		}
	}
}

func TestMMIO(t *testing.T) {
	m := newTestMachine(t)
	m.stubs()
	m.mapPage(extraVirt, 0x70000000, pteP|pteW)
	type event struct {
		addr uint64
		size int
		v    uint64
	}
	var reads, writes []event
	m.bus.read = func(a uint64, n int) uint64 { reads = append(reads, event{a, n, 0}); return 0xfedcba9876543210 }
	m.bus.write = func(a uint64, n int, v uint64) { writes = append(writes, event{a, n, v}) }
	m.c.r[x86.RDI] = extraVirt
	m.put(testCode, 0x8b, 0x07, 0x66, 0x89, 0x47, 0x04, 0x48, 0x8b, 0x5f, 0x08, 0xf4) // mov eax, [rdi]; mov [rdi+4], ax; mov rbx, [rdi+8]
	m.run()
	if m.c.r[x86.RAX] != 0x76543210 || m.c.r[x86.RBX] != 0xfedcba9876543210 {
		t.Errorf("rax = %#x, rbx = %#x after reads of a device, want 0x76543210 and 0xfedcba9876543210", m.c.r[x86.RAX], m.c.r[x86.RBX])
	}
	if len(reads) != 2 || reads[0] != (event{0x70000000, 4, 0}) || reads[1] != (event{0x70000008, 8, 0}) {
		t.Errorf("reads that the bus saw: %x", reads)
	}
	if len(writes) != 1 || writes[0] != (event{0x70000004, 2, 0x3210}) {
		t.Errorf("writes that the bus saw: %x, want 2 bytes of 3210 at 70000004", writes)
	}
}

// TestUnmap takes memory away that the fast path has a pointer to.
func TestUnmap(t *testing.T) {
	mem := make([]byte, x86.PageSize)
	m := withRegion(t, vmm.Region{Mem: mem})
	// mov [rdi], rax; out 0x80, al; mov [rdi], rax; hlt
	m.put(testCode, 0x48, 0x89, 0x07, 0xe6, 0x80, 0x48, 0x89, 0x07, 0xf4)
	m.bus.out = func(uint16, int, uint32) { m.p.Stop() }
	if exit, err := m.p.Run(context.Background(), time.Second); exit != vmm.ExitStopped || err != nil {
		t.Fatalf("Run() = %v, %v, want %v", exit, err, vmm.ExitStopped)
	}
	if err := m.p.Unmap(extraPhys); err != nil {
		t.Fatal(err)
	}
	clear(mem)
	wrote := false
	m.bus.write = func(uint64, int, uint64) { wrote = true }
	m.run()
	if mem[0] != 0 || !wrote {
		t.Errorf("after Unmap a store went to the memory (%#x) and to the bus: %v, want only the bus", mem[0], wrote)
	}
	if err := m.p.Unmap(extraPhys); err == nil {
		t.Error("Unmap() of what is not there = nil, want an error")
	}
}

func TestMapErrors(t *testing.T) {
	m := newTestMachine(t)
	for _, r := range []vmm.Region{
		{Base: 0x10000000, Mem: make([]byte, 100)},
		{Base: 0x10000001, Mem: make([]byte, x86.PageSize)},
		{Base: 0x10000000},
		{Base: testData, Mem: make([]byte, x86.PageSize)},
		{Base: 1 << vmm.DefaultPhysBits, Mem: make([]byte, x86.PageSize)},
		{Base: 1<<vmm.DefaultPhysBits - x86.PageSize, Mem: make([]byte, 2*x86.PageSize)},
	} {
		if err := m.p.Map(r); err == nil {
			t.Errorf("Map() of %d bytes at %#x = nil, want an error", len(r.Mem), r.Base)
		}
	}
}

// TestWrote changes code from outside, as a device does.
func TestWrote(t *testing.T) {
	m := newTestMachine(t)
	m.stubs()
	// mov bl, 1; out 0x80, al; jmp start
	m.put(testCode, 0xb3, 0x01, 0xe6, 0x80, 0xeb, 0xfa)
	turns := 0
	m.bus.out = func(uint16, int, uint32) {
		if turns++; turns == 3 {
			m.p.Stop()
		}
	}
	if _, err := m.p.Run(context.Background(), time.Second); err != nil {
		t.Fatal(err)
	}
	m.put(testCode, 0xb3, 0x07, 0xf4)
	m.p.Wrote(testCode+1, 2)
	m.run()
	if m.c.r[x86.RBX] != 7 {
		t.Errorf("bl = %d after the code changed, want 7", m.c.r[x86.RBX])
	}
}

func TestEndings(t *testing.T) {
	m := newTestMachine(t)
	m.put(testCode, 0xeb, 0xfe) // jmp .
	if exit, err := m.p.Run(context.Background(), 12345); exit != vmm.ExitDeadline || err != nil || m.p.Clock() != 12345 {
		t.Errorf("Run() = %v, %v at %v, want %v at 12.345µs", exit, err, m.p.Clock(), vmm.ExitDeadline)
	}
	m.p.Kick()
	if exit, err := m.p.Run(context.Background(), time.Hour); exit != vmm.ExitStopped || err != nil {
		t.Errorf("Run() after Kick() = %v, %v, want %v", exit, err, vmm.ExitStopped)
	}
	time.AfterFunc(20*time.Millisecond, m.p.Kick)
	if exit, err := m.p.Run(context.Background(), time.Hour); exit != vmm.ExitStopped || err != nil {
		t.Errorf("Run() with Kick() meanwhile = %v, %v, want %v", exit, err, vmm.ExitStopped)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := m.p.Run(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run() with a context that ends = %v, want %v", err, context.DeadlineExceeded)
	}
	m.put(testCode, 0xfb, 0xf4) // sti; hlt
	m.p.Wrote(testCode, 2)
	if exit, err := m.p.Run(context.Background(), time.Hour); exit != vmm.ExitDeadline || err != nil || m.p.Clock() != time.Hour {
		t.Errorf("Run() of a halted processor = %v, %v at %v, want %v at 1h", exit, err, m.p.Clock(), vmm.ExitDeadline)
	}
}

// TestDefect: a panic on the way is an error that says where.
func TestDefect(t *testing.T) {
	m := newTestMachine(t)
	m.put(testCode, 0xe6, 0x80)
	m.bus.out = func(uint16, int, uint32) { panic("out of order") }
	_, err := m.p.Run(context.Background(), time.Second)
	if err == nil || !strings.Contains(err.Error(), "defect in the software engine at rip=0x200000, bytes e6 80") {
		t.Fatalf("Run() = %v, want a defect at rip=0x200000", err)
	}
	if _, again := m.p.Run(context.Background(), time.Second); again == nil {
		t.Error("Run() after a defect = nil, want the error again")
	}
}

func TestNewErrors(t *testing.T) {
	for _, n := range []int{0, maxCPUs + 1} {
		if _, err := (Engine{}).New(vmm.ProcessorSpec{Count: n}, &fakeBus{}); !errors.Is(err, vmm.ErrNoEngine) {
			t.Errorf("New() of %d processors = %v, want %v", n, err, vmm.ErrNoEngine)
		}
	}
	if _, err := (Engine{}).New(vmm.ProcessorSpec{Count: 1}, nil); !errors.Is(err, vmm.ErrNoEngine) {
		t.Errorf("New() without a bus = %v, want %v", err, vmm.ErrNoEngine)
	}
}

// TestManyRegions finds memory in thousands of pieces that came in any order.
func TestManyRegions(t *testing.T) {
	const base, n = 1 << 30, 4096
	mem := memory{limit: 1 << 40}
	all := make([]byte, n*x86.PageSize)
	for i := range uint64(n) {
		k := i * 2039 % n // odd: each once
		if k%5 == 3 {
			continue
		}
		if _, err := mem.add(vmm.Region{Base: base + 2*k*x86.PageSize, Mem: all[k*x86.PageSize:][:x86.PageSize]}); err != nil {
			t.Fatal(err)
		}
	}
	for k := range uint64(n) {
		at := base + 2*k*x86.PageSize
		if r := mem.find(at + x86.PageMask); (r != nil) != (k%5 != 3) || r != nil && (r.base != at || &r.mem[0] != &all[k*x86.PageSize]) {
			t.Fatalf("at %#x there is %+v, want piece %d, of which each fifth is missing", at, r, k)
		}
		if r := mem.find(at + x86.PageSize); r != nil {
			t.Fatalf("between pieces, at %#x, there is %+v", at+x86.PageSize, r)
		}
	}
	if _, err := mem.add(vmm.Region{Base: base - x86.PageSize, Mem: all[:2*x86.PageSize]}); err == nil {
		t.Error("memory that reaches into the first piece was added")
	}
	if _, err := mem.remove(base); err != nil || mem.find(base) != nil {
		t.Errorf("the first piece is there after its removal: %v", err)
	}
}
