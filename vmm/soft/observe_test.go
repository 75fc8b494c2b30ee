package soft

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// pmBase is where the observed region of these tests is.
const pmBase = 0x40000000

// recorder writes events down.
type recorder struct {
	events []string
	groups map[uint64]int
	full   bool // with groups, and places in the code
}

func (r *recorder) group(g uint64) string {
	if r.groups == nil {
		r.groups = map[uint64]int{}
	}
	if _, ok := r.groups[g]; !ok {
		r.groups[g] = len(r.groups)
	}
	return fmt.Sprintf(" g%d", r.groups[g])
}

func (r *recorder) add(at *observe.At, group string, format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if r.full {
		s += fmt.Sprintf("%s @%x", group, at.PC-testCode)
	}
	r.events = append(r.events, s)
}

func (r *recorder) Store(e *observe.Store) {
	r.add(&e.At, r.group(e.Group), "%v %x/%d=%x", e.Kind, e.Offset, e.Size, e.Value)
}
func (r *recorder) Flush(e *observe.Flush) { r.add(&e.At, "", "%v %x", e.Op, e.Offset) }
func (r *recorder) Fence(e *observe.Fence) { r.add(&e.At, "", "%v", e.Order) }

// observed is a machine with two pages of observed memory at pmBase, which
// rdi points to; rax, rcx, rdx hold patterns.
func observed(t testing.TB, o observe.Observer, code ...byte) (*testMachine, []byte) {
	m := newTestMachine(t)
	m.stubs()
	pm := make([]byte, 2*x86.PageSize)
	if err := m.p.Map(vmm.Region{Base: pmBase, Mem: pm, Observed: true}); err != nil {
		t.Fatal(err)
	}
	for off := uint64(0); off < uint64(len(pm)); off += x86.PageSize {
		m.mapPage(pmBase+off, pmBase+off, pteP|pteW|pteU)
	}
	m.put(testCode, append(code, 0xf4)...)
	m.c.r[x86.RDI], m.c.r[x86.RAX], m.c.r[x86.RDX] = pmBase, 0x1122334455667788, 0xd0d1d2d3d4d5d6d7
	m.c.r[x86.RSI] = testData
	m.c.fpu.xmm[0] = [2]uint64{0xa0a1a2a3a4a5a6a7, 0xa8a9aaabacadaeaf}
	m.p.Observe(o)
	return m, pm
}

func TestObserve(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []byte
		full bool
		want string
	}{
		{name: "store", code: []byte{0x48, 0x89, 0x07}, want: "plain 0/8=1122334455667788"},
		{name: "byte", code: []byte{0x88, 0x47, 0x05}, want: "plain 5/1=88"},
		{name: "immediate", code: []byte{0xc7, 0x47, 0x40, 1, 2, 3, 4}, want: "plain 40/4=4030201"},
		{name: "across eight bytes", code: []byte{0x48, 0x89, 0x47, 0x05}, full: true, want: "plain 5/3=667788 g0 @0; plain 8/5=1122334455 g0 @0"},
		{name: "across a page", code: []byte{0x48, 0x89, 0x87, 0xfe, 0x0f, 0, 0}, want: "plain ffe/2=7788; plain 1000/6=112233445566"},
		{name: "read-modify-write", code: []byte{0x48, 0x01, 0x07}, want: "plain 0/8=1122334455667788"},
		{name: "movnti", code: []byte{0x48, 0x0f, 0xc3, 0x07}, want: "non-temporal 0/8=1122334455667788"},
		{name: "movnti of 4", code: []byte{0x0f, 0xc3, 0x47, 0x04}, want: "non-temporal 4/4=55667788"},
		{name: "movntdq", code: []byte{0x66, 0x0f, 0xe7, 0x07}, full: true,
			want: "non-temporal+vector 0/8=a0a1a2a3a4a5a6a7 g0 @0; non-temporal+vector 8/8=a8a9aaabacadaeaf g0 @0"},
		{name: "movntps", code: []byte{0x0f, 0x2b, 0x07}, want: "non-temporal+vector 0/8=a0a1a2a3a4a5a6a7; non-temporal+vector 8/8=a8a9aaabacadaeaf"},
		{name: "movdqu", code: []byte{0xf3, 0x0f, 0x7f, 0x07}, want: "vector 0/8=a0a1a2a3a4a5a6a7; vector 8/8=a8a9aaabacadaeaf"},
		{name: "movq", code: []byte{0x66, 0x0f, 0xd6, 0x07}, want: "plain 0/8=a0a1a2a3a4a5a6a7"},
		{name: "two stores, two groups", code: []byte{0x48, 0x89, 0x07, 0x88, 0x07}, full: true,
			want: "plain 0/8=1122334455667788 g0 @0; plain 0/1=88 g1 @3"},
		{name: "clflush", code: []byte{0x0f, 0xae, 0x7f, 0x41}, want: "clflush 40"},
		{name: "clflushopt", code: []byte{0x66, 0x0f, 0xae, 0x7f, 0x41}, want: "clflushopt 40"},
		{name: "clwb", code: []byte{0x66, 0x0f, 0xae, 0x77, 0x7f}, want: "clwb 40"},
		{name: "flush of other memory", code: []byte{0x66, 0x0f, 0xae, 0x76, 0x7f}, want: ""},
		{name: "fences", code: []byte{0x0f, 0xae, 0xf8, 0x0f, 0xae, 0xe8, 0x0f, 0xae, 0xf0}, want: "sfence; mfence"},
		{name: "lock add to observed memory", code: []byte{0xf0, 0x48, 0x01, 0x07}, want: "lock; locked 0/8=1122334455667788; lock"},
		{name: "lock add to other memory", code: []byte{0x48, 0x89, 0x07, 0xf0, 0x48, 0x01, 0x06, 0x48, 0x89, 0x07},
			want: "plain 0/8=1122334455667788; lock; plain 0/8=1122334455667788"},
		{name: "xchg with other memory", code: []byte{0x87, 0x0e, 0x48, 0x89, 0x07}, want: "lock; plain 0/8=1122334455667788"},
		{name: "xchg of registers", code: []byte{0x87, 0xc9, 0x88, 0x07}, want: "plain 0/1=88"},
		{name: "lock at the end", code: []byte{0xf0, 0x48, 0x01, 0x06}, want: "lock"},
		{name: "failed cmpxchg stores what was there", code: []byte{0xf0, 0x48, 0x0f, 0xb1, 0x17}, want: "lock; locked 0/8=0; lock"},
		{name: "cmpxchg16b", code: []byte{0x31, 0xc0, 0x31, 0xd2, 0x31, 0xc9, 0xb3, 0x55, 0xf0, 0x48, 0x0f, 0xc7, 0x0f},
			want: "lock; locked 0/8=55; locked 8/8=0; lock"},
		{name: "cpuid", code: []byte{0x31, 0xc0, 0x0f, 0xa2, 0x88, 0x07}, want: "serializing; plain 0/1=7"},
		{name: "out", code: []byte{0xe6, 0x80}, want: "port"},
		{name: "int3", code: []byte{0xcc}, want: "exception"},
		{name: "cmpxchg8b", code: []byte{0x31, 0xc0, 0x31, 0xd2, 0x31, 0xc9, 0xb3, 0x55, 0x0f, 0xc7, 0x0f}, want: "plain 0/8=55"},
		{name: "lock cmpxchg8b", code: []byte{0x31, 0xc0, 0x31, 0xd2, 0x31, 0xc9, 0xb3, 0x55, 0xf0, 0x0f, 0xc7, 0x0f}, want: "lock; locked 0/8=55; lock"},
		{name: "cmpxchg8b across eight bytes", code: []byte{0x31, 0xc0, 0x31, 0xd2, 0x31, 0xc9, 0xb3, 0x55, 0x0f, 0xc7, 0x4f, 0x04}, full: true,
			want: "plain 4/4=55 g0 @8; plain 8/4=0 g0 @8"},
		{name: "lock inc that faults", code: []byte{0xf0, 0xff, 0x04, 0x25, 0, 0, 0, 0x70, 0x48, 0x89, 0x07}, want: "exception"},
		{name: "lock of a register", code: []byte{0xf0, 0x01, 0xc9, 0x48, 0x89, 0x07}, want: "exception"},
		{name: "wrmsr of the TSC deadline", code: []byte{0xb9, 0xe0, 0x06, 0, 0, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30, 0x88, 0x07}, want: "plain 0/1=0"},
		{name: "wrmsr of STAR", code: []byte{0xb9, 0x81, 0, 0, 0xc0, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30, 0x88, 0x07}, want: "serializing; plain 0/1=0"},
		{name: "wbinvd", code: []byte{0x0f, 0x09}, want: "serializing+wbinvd"},
		{name: "load", code: []byte{0x48, 0x8b, 0x07}, want: ""},
		{name: "rep stosq", code: []byte{0xb9, 2, 0, 0, 0, 0xf3, 0x48, 0xab, 0x88, 0x07}, full: true,
			want: "string 0/8=1122334455667788 g0 @5; string 8/8=1122334455667788 g0 @5; plain 10/1=88 g1 @8"},
		{name: "rep movsb, twice", code: []byte{0xb9, 2, 0, 0, 0, 0xf3, 0xa4, 0xb1, 1, 0xf3, 0xa4}, full: true,
			want: "string 0/1=c8 g0 @5; string 1/1=c9 g0 @5; string 2/1=ca g1 @9"},
		{name: "stosb", code: []byte{0xaa}, want: "plain 0/1=88"},
		{name: "push", code: []byte{0x48, 0x8d, 0x67, 0x10, 0x50, 0x9c}, want: "plain 8/8=1122334455667788; plain 0/8=2"},
	} {
		for _, how := range []string{"exact", "fast", "compiled"} {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				r := &recorder{full: tt.full}
				m, _ := observed(t, r, tt.code...)
				copy(m.ram[testData:], "\xc8\xc9\xca")
				m.p.exact = how == "exact"
				if how == "compiled" {
					m.compileAll()
				}
				m.run()
				if got := strings.Join(r.events, "; "); got != tt.want {
					t.Errorf("events of % x:\n got %s\nwant %s", tt.code, got, tt.want)
				}
			})
		}
	}
}

// TestMemoryTypes stores to pages of each memory type, by PAT and by MTRR.
func TestMemoryTypes(t *testing.T) {
	const pwt, pcd, pat = 1 << 3, 1 << 4, 1 << 7
	const huge = 1 << 52 // of the test's own: another table's entry
	stores := []byte{
		0x48, 0x89, 0x07, // mov [rdi], rax
		0x48, 0x0f, 0xc3, 0x47, 0x08, // movnti [rdi+8], rax
		0x48, 0x83, 0xc7, 0x10, 0xb9, 2, 0, 0, 0, 0xf3, 0x48, 0xab, // rep stosq
		0xf0, 0x48, 0xff, 0x07, // lock inc qword [rdi]
	}
	for _, tt := range []struct {
		name  string
		entry uint64 // bits of the page's
		mtrr  uint64 // type of observed memory
		want  string // the kinds
	}{
		{"WB", 0, 6, "plain non-temporal string string locked"},
		{"WT", pwt, 6, "write-through non-temporal string+write-through string+write-through locked+write-through"},
		{"UC-", pcd, 6, "uncached uncached uncached uncached locked+uncached"},
		{"UC", pcd | pwt, 6, "uncached uncached uncached uncached locked+uncached"},
		{"WC", pat, 6, "non-temporal non-temporal non-temporal non-temporal non-temporal+locked"},
		{"WP", pat | pwt, 6, "uncached uncached uncached uncached locked+uncached"},
		{"WB by PAT, UC by MTRR", 0, 0, "uncached uncached uncached uncached locked+uncached"},
		{"WC by PAT, UC by MTRR", pat, 0, "non-temporal non-temporal non-temporal non-temporal non-temporal+locked"},
		{"UC- by PAT, WC by MTRR", pcd, 1, "non-temporal non-temporal non-temporal non-temporal non-temporal+locked"},
		{"UC by PAT, WC by MTRR", pcd | pwt, 1, "uncached uncached uncached uncached locked+uncached"},
		{"WB, a page of 1 GiB", huge, 6, "plain non-temporal string string locked"},
		{"WC, a page of 1 GiB", huge | 1<<12, 6, "non-temporal non-temporal non-temporal non-temporal non-temporal+locked"},
	} {
		for _, how := range []string{"exact", "fast", "compiled"} {
			k := &keeper{}
			m, _ := observed(t, k, stores...)
			m.c.msr.pat = patReset&^uint64(0xffff<<32) | 0x0501<<32 // entries 4 and 5 are WC and WP
			m.c.msr.mtrrVar[0], m.c.msr.mtrrVar[1] = pmBase|tt.mtrr, (1<<vmm.DefaultPhysBits-1)&^(1<<20-1)|1<<11
			if tt.entry&huge == 0 {
				m.mapPage(pmBase, pmBase, pteP|pteW|pteU|tt.entry)
			} else {
				m.mapHuge(pmBase, pmBase, pteP|pteW|pteU|tt.entry&^huge)
			}
			m.p.exact = how == "exact"
			if how == "compiled" {
				m.compileAll()
			}
			m.run()
			var kinds []string
			for _, e := range k.events {
				if s, ok := e.(observe.Store); ok {
					kinds = append(kinds, s.Kind.String())
				}
			}
			if got := strings.Join(kinds, " "); got != tt.want {
				t.Errorf("%s, %s: kinds %q, want %q", tt.name, how, got, tt.want)
			}
		}
	}
}

// TestObservePageWalk: accessed and dirty bits in observed memory are no part
// of the instruction that the walker works for.
func TestObservePageWalk(t *testing.T) {
	k := &keeper{}
	m, pm := observed(t, k, 0x48, 0x0f, 0xc3, 0x06, 0xf0, 0x48, 0xff, 0x47, 0x08) // movnti [rsi], rax; lock inc [rdi+8]
	// The page table of rsi's 2 MiB lies in observed memory, whose second page it is.
	const far = 0x10000000
	m.mapPage(far, testData, pteP|pteW|pteU) // which makes the tables above
	dir := uint64(testTables)
	for level := 3; level > 1; level-- {
		dir = le.Uint64(m.ram[dir+far>>(12+9*level)&511*8:]) & pteAddr
	}
	le.PutUint64(m.ram[dir+far>>21&511*8:], pmBase+x86.PageSize|pteP|pteW|pteU)
	le.PutUint64(pm[x86.PageSize+far>>12&511*8:], testData|pteP|pteW|pteU)
	m.c.r[x86.RSI] = far
	m.run()
	var got []string
	groups := map[uint64]bool{}
	for _, e := range k.events {
		if s, ok := e.(observe.Store); ok {
			got = append(got, s.Kind.String())
			groups[s.Group] = true
		}
	}
	if show := strings.Join(got, " "); show != "plain locked" || len(groups) != 2 {
		t.Errorf("stores of kinds %q in %d groups, want the walker's plain one and a locked one", show, len(groups))
	}
}

// TestObserveInterrupts: what comes from outside empties write-combining
// buffers, and what a program raises is told as something else.
func TestObserveInterrupts(t *testing.T) {
	for external, want := range map[bool]string{false: "exception", true: "interrupt"} {
		r := &recorder{}
		m, _ := observed(t, r, 0x90)
		m.c.exc = exception{vec: excUD, external: external}
		m.c.interrupt(m.c.exc)
		m.c.tellOrder()
		if got := strings.Join(r.events, "; "); got != want {
			t.Errorf("external=%v: an observer was told %q, want %q", external, got, want)
		}
	}
}

// keeper keeps all events whole.
type keeper struct{ events []any }

func (k *keeper) Store(e *observe.Store) { k.events = append(k.events, *e) }
func (k *keeper) Flush(e *observe.Flush) { k.events = append(k.events, *e) }
func (k *keeper) Fence(e *observe.Fence) { k.events = append(k.events, *e) }

func (k *keeper) Load(e *observe.Load) (done bool) {
	k.events = append(k.events, *e)
	return false
}

// late is a keeper that may be told of stores late.
type late struct {
	keeper
	t        *testing.T
	was      []byte // what memory was before the stores to come
	streamed int
}

func (l *late) Streams() bool { return true }

func (l *late) Store(e *observe.Store) {
	x86.PutLE(l.was[e.Offset:], e.Size, e.Value)
	l.keeper.Store(e)
}

func (l *late) Stream(s *observe.Stream) {
	for i, o := range s.Stores {
		if was := le.Uint64(l.was[o.Offset:]); was != o.Old {
			l.t.Errorf("a store at %#x is said to replace %#x, want %#x", o.Offset, o.Old, was)
		}
		e := s.Store(i)
		l.Store(&e)
	}
	l.streamed += len(s.Stores)
}

// TestObserveTiers runs random programs on observed memory by the executor, by
// the fast path and compiled: all must tell the same, to the last field. So must
// compiled code that tells of stores late.
func TestObserveTiers(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	encodings := scalarEncodings()
	programs := 60
	if testing.Short() {
		programs = 10
	}
	l := late{t: t}
	var machines [4]*testMachine
	var memory [4][]byte
	var o [4]*keeper
	var observers [4]observe.Observer
	for i := range machines {
		o[i] = &keeper{}
		observers[i] = o[i]
		if i == 3 {
			o[i], observers[i] = &l.keeper, &l
		}
		machines[i], memory[i] = observed(t, observers[i])
	}
	machines[2].compileAll()
	machines[3].compileAll()
	stores := 0
	for range programs {
		var code []byte
		for len(code) < 150 {
			// mov [rdi+d], rax or cl; movnti; movdqu; movntdq; rep movsb; rep stosd; else anything
			switch d := byte(r.IntN(128)); r.IntN(12) {
			case 10: // four movnti, as Linux has them
				d &= 0x5f &^ 7
				code = append(code, 0x48, 0x0f, 0xc3, 0x47, d, 0x48, 0x0f, 0xc3, 0x57, d+8, 0x48, 0x0f, 0xc3, 0x4f, d+16, 0x48, 0x0f, 0xc3, 0x47, d+24)
			case 0, 1, 2:
				code = append(code, 0x48, 0x89, 0x47, d)
			case 3:
				code = append(code, 0x88, 0x4f, d, 0xc7, 0x47, d, 1, 2, 3, 4)
			case 4:
				code = append(code, 0x48, 0x0f, 0xc3, 0x47, d, 0x66, 0x0f, 0xe7, 0x47, d&^15)
			case 5:
				code = append(code, 0xf3, 0x0f, 0x7f, 0x47, d, 0x66, 0x0f, 0xd6, 0x47, d)
			case 6:
				code = append(code, 0x57, 0xb9, d, 0, 0, 0, 0xf3, 0xa4, 0x5f, 0xbe, 0, 0, byte(testData>>16), 0) // rdi and rsi as they were
			case 7:
				code = append(code, 0x57, 0xb9, d, 0, 0, 0, 0xf3, 0xab, 0x5f, 0x0f, 0xae, 0xf8) // and sfence
			default:
				code = append(code, randomCode(r, encodings, 1)...)
			}
		}
		code = append(code, 0xe9)
		code = le32(code, uint32(-len(code)-4))
		rdi, seed := uint64(pmBase+r.IntN(x86.PageSize)), r.Uint64()
		if r.IntN(2) == 0 {
			rdi &^= 7
		}
		l.was = make([]byte, 2*x86.PageSize)
		for i, m := range machines {
			m.reset(t)
			m.stubs()
			m.p.exact = i == 0
			clear(memory[i])
			for off := uint64(0); off < 2*x86.PageSize; off += x86.PageSize {
				m.mapPage(pmBase+off, pmBase+off, pteP|pteW|pteU)
			}
			m.put(testCode, code...)
			g := rand.New(rand.NewPCG(seed, 1))
			for n := range 16 {
				if n != x86.RSP {
					m.c.r[n] = interesting(g)
				}
			}
			m.c.r[x86.RDI], m.c.r[x86.RSI] = rdi, testData
			m.p.Observe(observers[i])
			o[i].events = nil
			if _, err := m.p.Run(t.Context(), 2000); err != nil {
				t.Fatal(err)
			}
		}
		stores += len(o[0].events)
		for i, tier := range []string{1: "the fast path", 2: "compiled code", 3: "compiled code that tells late"} {
			if i == 0 {
				continue
			}
			for n := range o[0].events {
				if n >= len(o[i].events) || o[0].events[n] != o[i].events[n] {
					var got any = "nothing"
					if n < len(o[i].events) {
						got = o[i].events[n]
					}
					t.Fatalf("% x: event %d of %s is %+v, of the executor %+v", code, n, tier, got, o[0].events[n])
				}
			}
			if len(o[i].events) != len(o[0].events) || !bytes.Equal(memory[i], memory[0]) {
				t.Fatalf("% x: %s tells of %d events, the executor of %d; memory equal: %v", code, tier, len(o[i].events), len(o[0].events), bytes.Equal(memory[i], memory[0]))
			}
		}
	}
	t.Logf("%d events of %d programs are equal, %d of them were told late", stores, programs, l.streamed)
	if l.streamed < 3*programs {
		t.Errorf("%d stores were told late, which is too few to say anything", l.streamed)
	}
	if stores < 100*programs {
		t.Errorf("%d programs make %d events, want more", programs, stores)
	}
}

// TestLoadsComeAfterStreams: a load is told after the stores before it, also where
// these are told late.
func TestLoadsComeAfterStreams(t *testing.T) {
	code := []byte{0xb9, 40, 0, 0, 0, // mov ecx, 40; L:
		0x48, 0x0f, 0xc3, 0x07, 0x48, 0x0f, 0xc3, 0x16, // movnti [rdi], rax; movnti [rsi], rdx
		0x48, 0x8b, 0x9f, 0x00, 0x10, 0, 0, // mov rbx, [rdi+0x1000]
		0x48, 0xff, 0xc0, 0xff, 0xc9, 0x75, 0xea} // inc rax; dec ecx; jne L
	l := &late{t: t, was: make([]byte, 2*x86.PageSize)}
	k := &keeper{}
	for _, late := range []bool{false, true} {
		var o observe.Observer = k
		if late {
			o = l
		}
		m, _ := observed(t, o, code...)
		m.p.exact = !late
		if late {
			m.compileAll()
		}
		m.c.r[x86.RSI] = pmBase + 0x40
		w := &observe.Watch{}
		w.Add(pmBase + x86.PageSize)
		if err := m.p.WatchLoads(w, o.(observe.LoadObserver)); err != nil {
			t.Fatal(err)
		}
		m.run()
	}
	if !slices.Equal(k.events, l.events) || len(k.events) != 3*40 {
		t.Errorf("events are\n%v\nwhere stores may be told late, want\n%v", l.events, k.events)
	}
	if l.streamed == 0 {
		t.Error("no store was told late")
	}
}

// peeker looks at memory when it is told of a store.
type peeker struct {
	recorder
	pm   []byte
	seen []byte
}

func (p *peeker) Store(e *observe.Store) { p.seen = append(p.seen, p.pm[e.Offset]) }

func TestObserveBeforeEffect(t *testing.T) {
	p := &peeker{}
	m, pm := observed(t, p, 0xc6, 0x07, 1, 0xc6, 0x07, 2) // mov byte [rdi], 1; ... 2
	p.pm = pm
	m.run()
	if want := []byte{0, 1}; !slices.Equal(p.seen, want) || pm[0] != 2 {
		t.Errorf("an observer of stores of 1 and 2 saw memory hold %v, and %d in the end; want %v, 2", p.seen, pm[0], want)
	}
}

func TestObserveEnds(t *testing.T) {
	r := &recorder{}
	m, pm := observed(t, r, 0x88, 0x07, 0xf0, 0x01, 0x06)
	m.p.Observe(nil)
	m.run()
	if len(r.events) != 0 || pm[0] != 0x88 {
		t.Errorf("an observer that was taken away got %q, and memory holds %#x, want nothing and 0x88", r.events, pm[0])
	}
}

// counter is the cheapest observer.
type counter struct{ stores, flushes, fences int }

func (c *counter) Store(*observe.Store) { c.stores++ }
func (c *counter) Flush(*observe.Flush) { c.flushes++ }
func (c *counter) Fence(*observe.Fence) { c.fences++ }

// eightStores is a loop of eight stores and a jump.
func eightStores() (code []byte) {
	for i := range byte(8) {
		code = append(code, 0x48, 0x89, 0x47, 8*i) // mov [rdi+8i], rax
	}
	return append(code, 0xeb, 0xde)
}

// BenchmarkObservedStore is ns per store.
func BenchmarkObservedStore(b *testing.B) {
	code := eightStores()
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("observed=%v", on), func(b *testing.B) {
			c := &counter{}
			m, _ := observed(b, c, code...)
			m.compileAll()
			if !on {
				m.c.r[x86.RDI] = testData
			}
			b.ReportAllocs()
			b.ResetTimer()
			n := uint64(b.N)/8*9 + 9
			if _, err := m.p.Run(context.Background(), time.Duration(n)); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if on && c.stores < b.N-8 {
				b.Fatalf("%d stores, want %d", c.stores, b.N)
			}
		})
	}
}

// BenchmarkLocked shows what noting LOCK costs where nothing is stored to
// observed memory.
func BenchmarkLocked(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("observer=%v", on), func(b *testing.B) {
			m, _ := observed(b, &counter{}, 0xf0, 0xff, 0x06, 0xf0, 0xff, 0x0e, 0xeb, 0xf8) // lock inc [rsi]; lock dec [rsi]; jmp
			m.compileAll()
			if !on {
				m.p.Observe(nil)
			}
			if _, err := m.p.Run(context.Background(), time.Duration(b.N)); err != nil {
				b.Fatal(err)
			}
		})
	}
}
