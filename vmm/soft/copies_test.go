package soft

import (
	"context"
	"slices"
	"testing"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// follower notes of which bytes of the watched region ordinary memory holds
// copies, and which of them are loaded.
type follower struct {
	copies map[uint64]uint64 // by address: where the byte is from
	loaded []uint64          // bytes of the region
}

func (f *follower) Load(e *observe.Load) (done bool) {
	at := e.Base + e.Offset
	for b := at; b < at+uint64(e.Size); b++ {
		from, copied := f.copies[b]
		if !copied {
			from = b
		}
		if (copied || b >= watched) && !slices.Contains(f.loaded, from) {
			f.loaded = append(f.loaded, from)
		}
	}
	return false
}

func (f *follower) Copy(e *observe.Copy) uint64 {
	for i := range e.Size {
		from, to := e.Base+e.Offset+i, e.To+i
		delete(f.copies, to)
		if of, copied := f.copies[from]; copied {
			f.copies[to] = of
		} else if from >= watched {
			f.copies[to] = from
		}
	}
	return linesOf(f.copies, e.To)
}

func (f *follower) Overwritten(addr, n uint64) uint64 {
	for i := range n {
		delete(f.copies, addr+i)
	}
	return linesOf(f.copies, addr)
}

// linesOf are the lines of the page of an address that some addresses are in, bit 0 the first.
func linesOf[T any](bytes map[uint64]T, addr uint64) (lines uint64) {
	for at := range bytes {
		if at>>x86.PageShift == addr>>x86.PageShift {
			lines |= 1 << (at & x86.PageMask >> 6)
		}
	}
	return lines
}

// TestCopiesAreFollowed has string instructions copy from watched lines, and
// others load from the copies and store over them, in all tiers. What is loaded of
// a copy is told, what is only copied is not, and the run is as without.
func TestCopiesAreFollowed(t *testing.T) {
	const second = testData + 0x2000
	bytes := func(from, n uint64) (list []uint64) {
		for i := range n {
			list = append(list, watched+from+i)
		}
		return list
	}
	join := func(l ...[]byte) []byte { return slices.Concat(l...) }
	point := func(from, to uint32) []byte { // mov esi, from; mov edi, to
		return le32(append(le32([]byte{0xbe}, from), 0xbf), to)
	}
	moves := func(from, to, n uint32) []byte { // rep movsb
		return append(le32(append(point(from, to), 0xb9), n), 0xf3, 0xa4)
	}
	load := func(at uint32) []byte { return le32([]byte{0x48, 0x8b, 0x1c, 0x25}, at) }  // mov rbx, [at]
	store := func(at uint32) []byte { return le32([]byte{0x48, 0x89, 0x1c, 0x25}, at) } // mov [at], rbx
	fill := func(to, n uint32) []byte {                                                 // xor eax, eax; rep stosb
		return append(le32(append(point(0, to), 0x31, 0xc0, 0xb9), n), 0xf3, 0xaa)
	}
	for _, tt := range []struct {
		name string
		code []byte
		want []uint64
		host bool // reads all of the second page's first line at the end
	}{
		{"a copy", moves(watched, testData, 0x80), nil, false},
		{"a load from a copy", join(moves(watched, testData, 0x80), load(testData+8)), bytes(8, 8), false},
		{"a load across lines of a copy", join(moves(watched, testData, 0x80), load(testData+0x3c)), bytes(0x3c, 8), false},
		{"a load beside a copy", join(moves(watched, testData, 0x40), load(testData+0x40)), nil, false},
		{"a load from a copy of a copy", join(moves(watched+0x10, testData, 0x40), moves(testData, second, 0x40), load(second)), bytes(0x10, 8), false},
		{"a load from where a store was", join(moves(watched, testData, 0x40), store(testData+8), load(testData+8)), nil, false},
		{"a load from where a fill was", join(moves(watched, testData, 0x40), fill(testData, 0x20), load(testData+0x10)), nil, false},
		{"a load beside a fill", join(moves(watched, testData, 0x40), fill(testData, 0x20), load(testData+0x1c)), bytes(0x20, 4), false},
		{"a load from where another copy was", join(moves(watched, testData, 0x40), moves(second, testData, 0x40), load(testData)), nil, false},
		{"addition to a copy", join(moves(watched, testData, 0x40), le32([]byte{0x48, 0x01, 0x1c, 0x25}, testData)), bytes(0, 8), false},
		{"a copy of quadwords", join(point(watched, testData), le32([]byte{0xb9}, 8), []byte{0xf3, 0x48, 0xa5}, load(testData+0x38)), bytes(0x38, 8), false},
		{"a copy downwards is a load", join([]byte{0xfd}, moves(watched+7, testData+7, 8), []byte{0xfc}), bytes(0, 8), false},
		{"a copy within the region is a load", moves(watched, watched+0x1000, 8), bytes(0, 8), false},
		{"a copy to two pages", join(moves(watched, second-8, 0x10), load(second-8), load(second)), bytes(0, 16), false},
		{"a host that reads a copy", moves(watched, second, 8), bytes(0, 8), true},
	} {
		for _, tier := range []string{"executor", "interpreter", "compiler"} {
			var ends [2]State
			for i := range ends {
				m := newTestMachineWith(t, Engine{Interpreter: tier != "compiler"})
				m.p.exact = tier == "executor"
				if m.p.cache.native != nil {
					m.p.cache.heat = 2
				}
				region := make([]byte, 2*x86.PageSize)
				for at := range region {
					region[at] = byte(at)
				}
				if err := m.p.Map(vmm.Region{Base: watched, Mem: region, Observed: true}); err != nil {
					t.Fatal(err)
				}
				for page := uint64(0); page < 2; page++ {
					m.mapPage(watched+page*x86.PageSize, watched+page*x86.PageSize, pteP|pteW|pteU)
				}
				m.start(testCode)
				m.stubs()
				// Ten times, after loads and stores that fill the TLB.
				loop := join(load(testData+0x400), store(testData+0x800), load(second+0x400), store(second+0x800), []byte{0x31, 0xdb}, tt.code)
				loop = append(loop, 0x41, 0xff, 0xcb, 0x0f, 0x85)
				loop = le32(loop, uint32(-len(loop)-4))
				m.put(testCode, join(le32([]byte{0x41, 0xbb}, 10), loop, []byte{0xf4})...)
				f := &follower{copies: map[uint64]uint64{}}
				if i == 1 {
					watchPage(t, m, f)
				}
				if exit, err := m.p.Run(context.Background(), time.Millisecond); err != nil || exit != vmm.ExitDead {
					t.Fatalf("%s: Run = %v, %v at %#x", tt.name, exit, err, m.c.rip)
				}
				if tt.host {
					m.p.ReadByHost(second, 64)
				}
				ends[i] = m.p.States()[0]
				if ends[i].R[11] != 0 {
					t.Fatalf("%s by the %s: %d rounds are left", tt.name, tier, ends[i].R[11])
				}
				if slices.Sort(f.loaded); i == 1 && !slices.Equal(f.loaded, tt.want) {
					t.Errorf("%s by the %s: bytes %#x are told, want %#x", tt.name, tier, f.loaded, tt.want)
				}
				m.p.Close()
			}
			if diff := ends[0].Differ(ends[1]); diff != "" {
				t.Errorf("%s by the %s: watched, the run ends otherwise:\n%s", tt.name, tier, diff)
			}
		}
	}
}
