package soft

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// Where an observed region is, of four pages.
const watched = 0x40000000

// told notes the lines that loads were told of.
type told struct {
	lines []uint64
	done  bool // of one load a line is enough
}

func (o *told) Load(e *observe.Load) bool {
	line := (e.Base + e.Offset) &^ 63
	if e.Size == 0 || (e.Base+e.Offset+uint64(e.Size)-1)&^63 != line {
		panic(fmt.Sprintf("a load of %d bytes at %#x is not of one line", e.Size, e.Base+e.Offset))
	}
	if !slices.Contains(o.lines, line) {
		o.lines = append(o.lines, line)
	}
	return o.done
}

// TestLoadsAreTold has instructions load from watched lines, in all tiers. No
// watched line may be left out, what is not loaded is not told, and neither
// the clock nor anything else differs from a run that is not watched.
func TestLoadsAreTold(t *testing.T) {
	const line = watched + 0x40
	for _, tt := range []struct {
		name string
		code []byte
		want []uint64
	}{
		{"mov", []byte{0x48, 0x8b, 0x1e}, []uint64{line}},
		{"add to memory", []byte{0x48, 0x01, 0x1e}, []uint64{line}},
		{"a store", []byte{0x48, 0x89, 0x1e}, nil},
		{"mov across lines", []byte{0x48, 0x8b, 0x5e, 0x3c}, []uint64{line, line + 0x40}},
		{"movups", []byte{0x0f, 0x10, 0x46, 0x38}, []uint64{line, line + 0x40}},
		{"xchg", []byte{0x48, 0x87, 0x1e}, []uint64{line}},
		{"lock inc", []byte{0xf0, 0x48, 0xff, 0x06}, []uint64{line}},
		{"cmpxchg8b", []byte{0x0f, 0xc7, 0x0e}, []uint64{line}},
		{"push", []byte{0xff, 0x36}, []uint64{line}},
		{"lodsb", []byte{0xac}, []uint64{line}},
		{"rep movsb", []byte{0xb9, 0x41, 0, 0, 0, 0xf3, 0xa4}, []uint64{line, line + 0x40}},
		{"rep movsq, down", []byte{0xfd, 0xb9, 3, 0, 0, 0, 0xf3, 0x48, 0xa5}, []uint64{line, line - 0x40}},
		{"repe cmpsb", []byte{0x48, 0x89, 0xf7, 0xb9, 0x41, 0, 0, 0, 0xf3, 0xa6}, []uint64{line, line + 0x40}},
		{"fld", []byte{0xdd, 0x06}, []uint64{line}},
		{"a group", []byte{0x48, 0x8b, 0x1e, 0x48, 0x8b, 0x5e, 0x40, 0x48, 0x8b, 0x5e, 0x08}, []uint64{line, line + 0x40}},
		{"clflush", []byte{0x0f, 0xae, 0x3e}, nil},
		{"a page that is not watched", []byte{0x48, 0x8b, 0x9e, 0x00, 0x10, 0, 0}, nil},
	} {
		for _, tier := range []string{"executor", "interpreter", "compiler"} {
			for _, done := range []bool{false, true} {
				var ends [2]State
				for i := range ends {
					m := newTestMachineWith(t, Engine{Interpreter: tier != "compiler"})
					m.p.exact = tier == "executor"
					if m.p.cache.native != nil {
						m.p.cache.heat = 2
					}
					region := make([]byte, 4*x86.PageSize)
					if err := m.p.Map(vmm.Region{Base: watched, Mem: region, Observed: true}); err != nil {
						t.Fatal(err)
					}
					for page := uint64(0); page < 4; page++ {
						m.mapPage(watched+page*x86.PageSize, watched+page*x86.PageSize, pteP|pteW|pteU)
					}
					m.start(testCode)
					m.stubs()
					// Ten times: esi, edi, esp and DF are set, and the code is run.
					setup := []byte{0x41, 0xbb, 10, 0, 0, 0} // mov r11d, 10
					loop := le32([]byte{0xfc, 0xbe}, line)
					loop = le32(append(loop, 0xbf), testData)
					loop = le32(append(loop, 0xbc), testStack)
					loop = append(loop, tt.code...)
					loop = append(loop, 0x41, 0xff, 0xcb, 0x75, byte(-len(loop)-5), 0xf4) // dec r11d; jnz loop; hlt
					code := append(setup, loop...)
					m.put(testCode, code...)
					o := &told{done: done}
					if i == 1 {
						watchPage(t, m, o)
					}
					if exit, err := m.p.Run(context.Background(), time.Millisecond); err != nil || exit != vmm.ExitDead {
						t.Fatalf("%s: Run = %v, %v at %#x", tt.name, exit, err, m.c.rip)
					}
					ends[i] = m.p.States()[0]
					if ends[i].R[11] != 0 {
						t.Fatalf("%s by the %s: %d rounds are left", tt.name, tier, ends[i].R[11])
					}
					if i == 1 {
						slices.Sort(o.lines)
						want := slices.Sorted(slices.Values(tt.want))
						if !slices.Equal(o.lines, want) {
							t.Errorf("%s by the %s: loads of the lines %#x are told, want %#x", tt.name, tier, o.lines, want)
						}
					}
					m.p.Close()
				}
				if diff := ends[0].Differ(ends[1]); diff != "" {
					t.Errorf("%s by the %s: watched, the run ends otherwise:\n%s", tt.name, tier, diff)
				}
			}
		}
	}
}

// watchPage has the loads of the page at watched told.
func watchPage(t *testing.T, m *testMachine, o observe.LoadObserver) {
	t.Helper()
	w := &observe.Watch{}
	for at := uint64(watched); at < watched+x86.PageSize; at += 64 {
		w.Add(at)
	}
	if err := m.p.WatchLoads(w, o); err != nil {
		t.Fatal(err)
	}
}

// TestFetchesAndWalksAreTold has code, and a page table, in watched lines, also where
// the processor had them before anybody watched.
func TestFetchesAndWalksAreTold(t *testing.T) {
	for _, before := range []bool{false, true} {
		t.Run(fmt.Sprintf("before=%v", before), func(t *testing.T) { fetchesAndWalks(t, before) })
	}
}

func fetchesAndWalks(t *testing.T, before bool) {
	const shown = 0x10000000 + testData // by a table that is watched
	m := newCompiled(t)
	region := make([]byte, 2*x86.PageSize)
	if err := m.p.Map(vmm.Region{Base: watched, Mem: region, Observed: true}); err != nil {
		t.Fatal(err)
	}
	m.mapPage(watched, watched, pteP|pteW|pteU)
	m.start(testCode)
	m.stubs()
	// Its page is below a table in the second page.
	binary.LittleEndian.PutUint64(region[x86.PageSize+8*(shown>>12&511):], testData|pteP|pteW)
	low := binary.LittleEndian.Uint64(m.ram[testTables:]) & pteAddr
	directory := binary.LittleEndian.Uint64(m.ram[low:]) & pteAddr
	binary.LittleEndian.PutUint64(m.ram[directory+shown>>21*8:], (watched+x86.PageSize)|pteP|pteW)
	copy(region[0x80:], []byte{0xc3})                                // ret
	code := append(le32([]byte{0xb8}, watched+0x80), 0xff, 0xd0)     // mov eax, watched+0x80; call rax
	code = append(le32(append(code, 0x8b, 0x04, 0x25), shown), 0xf4) // mov eax, [shown]; hlt
	m.put(testCode, code...)
	if before {
		m.run()
		m.c.rip, m.c.halted = testCode, false
	}
	w, o := &observe.Watch{}, &told{}
	w.Add(watched + 0x80)
	w.Add(watched + 0x1c0)
	w.Add(watched + x86.PageSize + 8*(shown>>12&511))
	w.Add(watched + x86.PageSize + 0xfc0)
	if err := m.p.WatchLoads(w, o); err != nil {
		t.Fatal(err)
	}
	m.run()
	slices.Sort(o.lines)
	// Of a page with code that runs all lines are told.
	want := []uint64{watched + 0x80, watched + 0x1c0, watched + x86.PageSize + 8*(shown>>12&511)&^63}
	if !slices.Equal(o.lines, want) {
		t.Errorf("reads of the lines %#x are told, want %#x", o.lines, want)
	}
}
