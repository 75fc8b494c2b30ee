package soft

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/x86"
)

// Where programs for two processors are.
const (
	testSecond  = testCode + 0x1000
	testMailbox = testData + 0x8000
)

// newTestPair is a test machine with two processors, the second parked.
func newTestPair(t testing.TB, e Engine, seed uint64) *testMachine {
	t.Helper()
	spec := vmm.ProcessorSpec{Count: 2, Seed: seed, Parking: vmm.Parking{
		Mailbox: testMailbox, CR3: testTables, GDT: testGDT, GDTLimit: 63}}
	m := newTestMachineOf(t, e, spec)
	m.mapPage(apic.DefaultBase, apic.DefaultBase, pteP|pteW)
	m.stubs()
	second := m.p.cpus[1]
	second.idt = m.c.idt
	second.tr = m.c.tr
	second.r[x86.RSP] = testStack - 0x4000
	return m
}

// The first processor's programs start with this.
var wakeSecond = []byte{
	0xbb, 0x00, 0x80, 0x29, 0x00, // mov ebx, testMailbox
	0xc7, 0x43, 0x04, 0x01, 0x00, 0x00, 0x00, // mov dword [rbx+4], 1
	0x48, 0xc7, 0x43, 0x08, 0x00, 0x10, 0x20, 0x00, // mov qword [rbx+8], testSecond
	0x66, 0xc7, 0x03, 0x01, 0x00, // mov word [rbx], 1
	0xf3, 0x90, // asked: pause
	0x66, 0x83, 0x3b, 0x00, // cmp word [rbx], 0
	0x75, 0xf8, // jne asked
}

// contend adds to counters with and without LOCK, and interrupts the other
// processor now and then.
var contend = []byte{
	0xbf, 0x00, 0x00, 0x29, 0x00, // mov edi, testData
	0xbe, 0x00, 0x00, 0xe0, 0xfe, // mov esi, 0xfee00000
	0xc7, 0x86, 0xf0, 0x00, 0x00, 0x00, 0xff, 0x01, 0x00, 0x00, // mov dword [rsi+0xf0], 0x1ff
	0xfb,                         // sti
	0xb9, 0xb8, 0x0b, 0x00, 0x00, // mov ecx, 3000
	0xf0, 0x48, 0xff, 0x07, // turn: lock inc qword [rdi]
	0x48, 0x8b, 0x47, 0x08, // mov rax, [rdi+8]
	0x48, 0xff, 0xc0, // inc rax
	0x48, 0x89, 0x47, 0x08, // mov [rdi+8], rax
	0xf7, 0xc1, 0x3f, 0x00, 0x00, 0x00, // test ecx, 63
	0x75, 0x0a, // jne quiet
	0xc7, 0x86, 0x00, 0x03, 0x00, 0x00, 0x40, 0x00, 0x0c, 0x00, // mov dword [rsi+0x300], 0xc0040: vector 0x40 to all others
	0xff, 0xc9, // quiet: dec ecx
	0x75, 0xdb, // jne turn
	0xf0, 0x48, 0xff, 0x47, 0x18, // lock inc qword [rdi+24]
	0xf3, 0x90, // wait: pause
	0x48, 0x83, 0x7f, 0x18, 0x02, // cmp qword [rdi+24], 2
	0x75, 0xf7, // jne wait
	0xfa, 0xf4, // cli; hlt
}

// contended is what a run of contend ends in.
type contended struct {
	locked, racy, interrupts uint64
	clock                    time.Duration
	instructions             uint64
	r                        [2][16]uint64
	rip                      [2]uint64
}

// contention runs contend on two processors, in slices.
func contention(t *testing.T, e Engine, seed uint64, exact bool, slice time.Duration) contended {
	t.Helper()
	m := newTestPair(t, e, seed)
	defer m.p.Close()
	m.p.exact = exact
	if m.p.cache.native != nil {
		m.p.cache.heat = 2
	}
	m.gate(0x40, testCode+0x800, 0, 0)
	m.put(testCode+0x800,
		0xf0, 0x48, 0xff, 0x47, 0x10, // lock inc qword [rdi+16]
		0xc7, 0x86, 0xb0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // mov dword [rsi+0xb0], 0: EOI
		0x48, 0xcf) // iretq
	m.put(testCode, append(append([]byte{}, wakeSecond...), contend...)...)
	m.put(testSecond, contend...)
	for at := slice; ; at += slice {
		exit, err := m.p.Run(context.Background(), at)
		if err != nil {
			t.Fatal(err)
		}
		if exit == vmm.ExitDead {
			break
		}
		if exit != vmm.ExitDeadline || m.p.Clock() > at || at > 10*time.Millisecond {
			t.Fatalf("Run(%v) = %v with the clock at %v", at, exit, m.p.Clock())
		}
	}
	end := contended{locked: m.word(testData), racy: m.word(testData + 8), interrupts: m.word(testData + 16),
		clock: m.p.Clock(), instructions: m.p.Stats().Instructions}
	for i, c := range m.p.cpus {
		end.r[i], end.rip[i] = [16]uint64(c.r[:16]), c.rip
	}
	return end
}

func TestTwoProcessors(t *testing.T) {
	t.Parallel()
	const whole = 10 * time.Millisecond
	outcomes := map[uint64]bool{}
	for seed := range uint64(6) {
		want := contention(t, Engine{Interpreter: true}, seed, false, whole)
		if want.locked != 6000 {
			t.Errorf("seed %d: the counter with LOCK is %d, want 6000", seed, want.locked)
		}
		if want.racy > want.locked || want.racy < 3000 {
			t.Errorf("seed %d: the counter without LOCK is %d, want 3000 to %d", seed, want.racy, want.locked)
		}
		if want.interrupts < 2 || want.interrupts > 94 {
			t.Errorf("seed %d: %d interrupts, want 2 to 94", seed, want.interrupts)
		}
		outcomes[want.racy<<32|want.interrupts] = true
		for _, other := range []struct {
			name  string
			e     Engine
			exact bool
			slice time.Duration
		}{
			{"again", Engine{Interpreter: true}, false, whole},
			{"compiled", Engine{}, false, whole},
			{"by the executor", Engine{}, true, whole},
			{"in slices of 1 ns", Engine{}, false, 1},
			{"in slices of 997 ns", Engine{}, false, 997},
		} {
			if got := contention(t, other.e, seed, other.exact, other.slice); got != want {
				t.Errorf("seed %d, %s: %+v, want %+v", seed, other.name, got, want)
			}
		}
	}
	if len(outcomes) < 3 {
		t.Errorf("6 seeds show %d interleavings, want more", len(outcomes))
	}
}

// runPair runs two programs until both processors halt.
func (m *testMachine) runPair(first, second []byte) {
	m.t.Helper()
	m.put(testCode, append(append([]byte{}, wakeSecond...), first...)...)
	m.put(testSecond, second...)
	exit, err := m.p.Run(context.Background(), 10*time.Millisecond)
	if err != nil || exit != vmm.ExitDead {
		m.t.Fatalf("Run() = %v, %v at rip %#x and %#x, want %v", exit, err, m.p.cpus[0].rip, m.p.cpus[1].rip, vmm.ExitDead)
	}
}

// TestCodeChangedByTheOther: what one processor stores, the other executes.
func TestCodeChangedByTheOther(t *testing.T) {
	for _, e := range []Engine{{Interpreter: true}, {}} {
		m := newTestPair(t, e, 1)
		m.put(testCode+0x3000, 0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3) // mov eax, 1; ret
		m.runPair([]byte{
			0xb9, 0x20, 0x4e, 0x00, 0x00, // mov ecx, 20000
			0xff, 0xc9, // delay: dec ecx
			0x75, 0xfc, // jne delay
			0xc6, 0x04, 0x25, 0x01, 0x30, 0x20, 0x00, 0x02, // mov byte [testCode+0x3001], 2
			0xfa, 0xf4, // cli; hlt
		}, []byte{
			0xe8, 0xfb, 0x1f, 0x00, 0x00, // calls: call testCode+0x3000
			0xff, 0xc3, // inc ebx
			0x83, 0xf8, 0x02, // cmp eax, 2
			0x75, 0xf4, // jne calls
			0xfa, 0xf4, // cli; hlt
		})
		if calls := m.p.cpus[1].r[x86.RBX]; calls < 1000 {
			t.Errorf("the second processor saw the change after %d calls: it should have called the old code first", calls)
		}
		m.p.Close()
	}
}

// TestOwnMappings has two processors run one page of code that calls a page
// which each maps to another one.
func TestOwnMappings(t *testing.T) {
	for _, e := range []Engine{{Interpreter: true}, {}} {
		m := newTestPair(t, e, 1)
		const called = testCode + 0x3000
		m.put(called, 0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3) // mov eax, 1; ret
		m.put(testData+0x4000, 0xb8, 0x02, 0, 0, 0, 0xc3) // mov eax, 2; ret
		copyTables := m.pt                                // a second set of tables, in which called is elsewhere
		table := func(at uint64) []byte { return m.ram[at:][:x86.PageSize] }
		var from, to uint64 = testTables, copyTables
		for level := range 4 {
			copy(table(to), table(from))
			i := uint64(called) >> (39 - 9*level) & 511 * 8
			if level == 3 {
				binary.LittleEndian.PutUint64(table(to)[i:], (testData+0x4000)|pteP|pteW)
				break
			}
			from = binary.LittleEndian.Uint64(table(to)[i:]) & pteAddr
			binary.LittleEndian.PutUint64(table(to)[i:], (to+x86.PageSize)|pteP|pteW|pteU)
			to += x86.PageSize
		}
		m.p.cpus[1].cr3 = copyTables
		jump := []byte{0xe9, 0, 0, 0, 0} // jmp testCode+0x2000
		at := func(from uint64) []byte {
			b := append([]byte{}, jump...)
			binary.LittleEndian.PutUint32(b[1:], uint32(testCode+0x2000-from-5))
			return b
		}
		m.put(testCode+0x2000,
			0x31, 0xdb, // xor ebx, ebx
			0xb9, 0x88, 0x13, 0x00, 0x00, // mov ecx, 5000
			0xe8, 0xf4, 0x0f, 0x00, 0x00, // calls: call testCode+0x3000
			0x48, 0x01, 0xc3, // add rbx, rax
			0xff, 0xc9, // dec ecx
			0x75, 0xf4, // jne calls
			0xfa, 0xf4) // cli; hlt
		m.runPair(at(testCode+uint64(len(wakeSecond))), at(testSecond))
		if a, b := m.p.cpus[0].r[x86.RBX], m.p.cpus[1].r[x86.RBX]; a != 5000 || b != 10000 {
			t.Errorf("%+v: the processors' sums are %d and %d, want 5000 and 10000", e, a, b)
		}
		m.p.Close()
	}
}

// TestClocksAgree: no processor reads a time below one that another has read.
func TestClocksAgree(t *testing.T) {
	program := []byte{
		0xbf, 0x00, 0x00, 0x29, 0x00, // mov edi, testData
		0xb9, 0x10, 0x27, 0x00, 0x00, // mov ecx, 10000
		0x8b, 0x1f, // turn: mov ebx, [rdi]
		0x0f, 0x31, // rdtsc
		0x39, 0xd8, // cmp eax, ebx
		0x73, 0x04, // jae later
		0xf0, 0xff, 0x47, 0x08, // lock inc dword [rdi+8]
		0x89, 0x07, // later: mov [rdi], eax
		0xff, 0xc9, // dec ecx
		0x75, 0xee, // jne turn
		0xfa, 0xf4, // cli; hlt
	}
	m := newTestPair(t, Engine{}, 1)
	defer m.p.Close()
	m.runPair(program, program)
	if n := m.word(testData + 8); n != 0 {
		t.Errorf("%d reads of the time-stamp counter were below an earlier one", n)
	}
}

// TestHaltedOther: a processor that waits does not hold the other up, and the
// clock jumps only when both wait.
func TestHaltedOther(t *testing.T) {
	m := newTestPair(t, Engine{}, 1)
	defer m.p.Close()
	m.p.cpus[1].apic.SVR |= apic.SVREnable
	m.p.cpus[1].apic.TimerDiv = 0xb
	m.p.cpus[1].apic.LVT[apic.LVTTimer] = 0x41
	m.p.cpus[1].apic.TimerInit = 1_000_000
	m.p.cpus[1].apic.StartTimer()
	m.runPair([]byte{
		0xb9, 0x50, 0xc3, 0x00, 0x00, // mov ecx, 50000
		0xff, 0xc9, // delay: dec ecx
		0x75, 0xfc, // jne delay
		0xfa, 0xf4, // cli; hlt
	}, []byte{0xfb, 0xf4}) // sti; hlt
	if at := m.p.Clock(); at < 1_000_000 || at > 1_000_000+turnMax {
		t.Errorf("the clock is at %v after a timer of 1ms", at)
	}
	if n := m.p.Stats().Instructions; n < 100_000 || n > 110_000 {
		t.Errorf("%d instructions, want some 100000: the rest is waiting", n)
	}
}

func TestMessages(t *testing.T) {
	fresh := func() *testMachine {
		m := newTestPair(t, Engine{}, 1)
		for _, c := range m.p.cpus {
			c.apic.SVR |= apic.SVREnable
			c.apic.LDR = 1 << (24 + c.id)
		}
		return m
	}
	const vec = 0x60
	for _, tt := range []struct {
		name string
		icr  uint64
		want [2]bool
	}{
		{"to 0", 0<<56 | vec, [2]bool{true, false}},
		{"to 1", 1<<56 | vec, [2]bool{false, true}},
		{"to a processor that is not there", 7<<56 | vec, [2]bool{}},
		{"to all by the destination", 0xff<<56 | vec, [2]bool{true, true}},
		{"to the logical 2", 2<<56 | 1<<11 | vec, [2]bool{false, true}},
		{"to the logical 3", 3<<56 | 1<<11 | vec, [2]bool{true, true}},
		{"to the lowest priority of the logical 3", 3<<56 | 1<<11 | 1<<8 | vec, [2]bool{false, true}},
		{"to self", 1<<18 | vec, [2]bool{true, false}},
		{"to all", 2<<18 | vec, [2]bool{true, true}},
		{"to all others", 3<<18 | vec, [2]bool{false, true}},
	} {
		m := fresh()
		m.c.apic.SetTPR(0x20)
		m.c.apic.WriteReg(0x31, uint32(tt.icr>>32))
		m.c.apic.WriteReg(0x30, uint32(tt.icr))
		for i, c := range m.p.cpus {
			if got := c.apic.Pending() == vec; got != tt.want[i] {
				t.Errorf("%s: pending on %d is %v, want %v", tt.name, i, got, tt.want[i])
			}
		}
	}
	m := fresh()
	m.p.Interrupt(vmm.Interrupt{Vector: vec, Dest: 1, Level: true})
	second := m.p.cpus[1]
	second.apic.Acknowledge(vec)
	second.apic.WriteReg(0x0b, 0)
	if len(m.bus.eoi) != 1 || m.bus.eoi[0] != vec {
		t.Errorf("ends of interrupts that the bus saw = %#x, want [%#x]: the second processor ended it", m.bus.eoi, vec)
	}
}

// TestNMI delivers one with interrupts off, and the next after IRET.
func TestNMI(t *testing.T) {
	m := newTestPair(t, Engine{}, 1)
	defer m.p.Close()
	m.gate(excNMI, testCode+0x800, 0, 0)
	m.put(testCode+0x800,
		0xff, 0xc3, // inc ebx
		0xc7, 0x86, 0x00, 0x03, 0x00, 0x00, 0x00, 0x04, 0x04, 0x00, // mov dword [rsi+0x300], 0x40400: NMI to self
		0x89, 0xd9, // mov ecx, ebx
		0x83, 0xfb, 0x03, // cmp ebx, 3
		0x74, 0x02, // je +2
		0x48, 0xcf, // iretq
		0xfa, 0xf4) // cli; hlt
	m.put(testCode,
		0xbe, 0x00, 0x00, 0xe0, 0xfe, // mov esi, 0xfee00000
		0xc7, 0x86, 0x00, 0x03, 0x00, 0x00, 0x00, 0x04, 0x04, 0x00, // mov dword [rsi+0x300], 0x40400
		0xff, 0xc2, // inc edx
		0xeb, 0xfc) // jmp -4
	if exit, err := m.p.Run(context.Background(), time.Millisecond); exit != vmm.ExitDead || err != nil {
		t.Fatalf("Run() = %v, %v, want %v", exit, err, vmm.ExitDead)
	}
	// The one that was sent in the third handler waits for ever.
	if m.c.r[x86.RBX] != 3 || m.c.r[x86.RCX] != 3 || !m.c.nmi {
		t.Errorf("%d NMIs, %d of them done, one pending: %v; want 3, 3, true", m.c.r[x86.RBX], m.c.r[x86.RCX], m.c.nmi)
	}
	if m.c.r[x86.RDX] > 1 {
		t.Errorf("%d instructions between two NMIs, want none", m.c.r[x86.RDX])
	}
}

// TestINIT parks a processor, which the mailbox can start again, also where somebody is
// told of stores late.
func TestINIT(t *testing.T) {
	init := []byte{
		0xbe, 0x00, 0x00, 0xe0, 0xfe, // mov esi, 0xfee00000
		0x81, 0x3c, 0x25, 0x00, 0x00, 0x29, 0x00, 0x00, 0x01, 0x00, 0x00, // wait: cmp dword [testData], 256
		0x72, 0xf3, // jb wait
		0xc7, 0x86, 0x00, 0x03, 0x00, 0x00, 0x00, 0x45, 0x0c, 0x00, // mov dword [rsi+0x300], 0xc4500: INIT to all others
		0xc7, 0x04, 0x25, 0x00, 0x00, 0x29, 0x00, 0x00, 0x00, 0x00, 0x00, // mov dword [testData], 0
	}
	first := append(append(append([]byte{}, init...), wakeSecond...), init...)
	for _, o := range []observe.Observer{nil, &late{t: t}} {
		m := newTestPair(t, Engine{}, 1)
		defer m.p.Close()
		m.p.Observe(o)
		m.runPair(append(first, 0xfa, 0xf4), []byte{
			0xff, 0x04, 0x25, 0x00, 0x00, 0x29, 0x00, // inc dword [testData]
			0xff, 0x04, 0x25, 0x08, 0x00, 0x29, 0x00, // inc dword [testData+8]
			0xeb, 0xf0, // jmp -16
		})
		if c := m.p.cpus[1]; !c.parked || m.word(testData) > 1 || m.word(testData+8) < 512 {
			t.Errorf("parked %v, %d and %d turns; want true, none since, and at least 512", c.parked, m.word(testData), m.word(testData+8))
		}
	}
}

// TestWakeOffline: the mailbox starts a processor that halts with interrupts off,
// and not one that halts with interrupts on.
func TestWakeOffline(t *testing.T) {
	for _, test := range []struct {
		name string
		halt []byte
		want uint64 // starts of the second processor
	}{
		{"cli; hlt", []byte{0xfa, 0xf4}, 2},
		{"sti; hlt", []byte{0xfb, 0xf4}, 1},
	} {
		m := newTestPair(t, Engine{}, 1)
		defer m.p.Close()
		m.put(testCode, append(append(append([]byte{}, wakeSecond...),
			0xb9, 0x50, 0xc3, 0x00, 0x00, // mov ecx, 50000
			0xff, 0xc9, // delay: dec ecx
			0x75, 0xfc, // jne delay
		), append(append([]byte{}, wakeSecond...), 0xfa, 0xf4)...)...)
		m.put(testSecond, append([]byte{0x48, 0xff, 0x04, 0x25, 0x00, 0x00, 0x29, 0x00}, test.halt...)...) // inc qword [testData]
		exit, err := m.p.Run(context.Background(), 2*time.Millisecond)
		if err != nil || test.want == 2 && exit != vmm.ExitDead {
			t.Errorf("%s: Run() = %v, %v, want %v", test.name, exit, err, vmm.ExitDead)
		}
		if got := m.word(testData); got != test.want {
			t.Errorf("%s: the second processor started %d times, want %d", test.name, got, test.want)
		}
	}
}

// BenchmarkTwoProcessors reports millions of instructions a second of both.
func BenchmarkTwoProcessors(b *testing.B) {
	for _, l := range benchLoops {
		for _, n := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/%d", l.name, n), func(b *testing.B) {
				m := newTestPair(b, Engine{}, 1)
				m.put(testCode, l.code...)
				for i, c := range m.p.cpus {
					c.rip = testCode
					c.r[x86.RSI], c.r[x86.RDI] = testData, testData+x86.PageSize
					c.parked, c.halted = i >= n, i >= n
				}
				reportMIPS(b, m.p)
			})
		}
	}
}

// order notes by whom and when stores and fences were.
type order struct {
	last   uint64
	stores [2]int
	groups map[uint64]bool
	wrong  []string
}

func (o *order) at(at *observe.At) {
	if at.Seq < o.last {
		o.wrong = append(o.wrong, fmt.Sprintf("an event after %d instructions follows one after %d", at.Seq, o.last))
	}
	o.last = at.Seq
}

func (o *order) Store(e *observe.Store) {
	o.at(&e.At)
	if o.groups[e.Group] {
		o.wrong = append(o.wrong, fmt.Sprintf("two stores are of group %#x", e.Group))
	}
	o.groups[e.Group] = true
	o.stores[e.VCPU]++
}
func (o *order) Flush(e *observe.Flush) { o.at(&e.At) }
func (o *order) Fence(e *observe.Fence) { o.at(&e.At) }

// TestObserveTwo: the events of two processors have one order.
func TestObserveTwo(t *testing.T) {
	m := newTestPair(t, Engine{}, 1)
	defer m.p.Close()
	o := &order{groups: map[uint64]bool{}}
	if err := m.p.Map(vmm.Region{Base: 0x10000000, Mem: make([]byte, x86.PageSize), Observed: true}); err != nil {
		t.Fatal(err)
	}
	m.mapPage(0x10000000, 0x10000000, pteP|pteW)
	m.p.Observe(o)
	program := []byte{
		0xbf, 0x00, 0x00, 0x00, 0x10, // mov edi, 0x10000000
		0xb9, 0x88, 0x13, 0x00, 0x00, // mov ecx, 5000
		0x48, 0x89, 0x0f, // turn: mov [rdi], rcx
		0xf0, 0x48, 0xff, 0x47, 0x08, // lock inc qword [rdi+8]
		0x0f, 0xae, 0xf8, // sfence
		0xff, 0xc9, // dec ecx
		0x75, 0xf1, // jne turn
		0xfa, 0xf4, // cli; hlt
	}
	m.runPair(program, program)
	if len(o.wrong) > 0 {
		t.Errorf("%d events are wrong; the first: %s", len(o.wrong), o.wrong[0])
	}
	if o.stores != [2]int{10000, 10000} {
		t.Errorf("stores of the two processors: %d, want 10000 each", o.stores)
	}
}
