package persist_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft"
)

// again makes a loop of a program that lets rbp be: the engine compiles what
// runs often.
func again(n int, program []byte) []byte {
	body := code([]byte{0x57}, program, []byte{0x5f, 0xff, 0xcd}) // push rdi; ...; pop rdi; dec ebp
	back := -len(body) - 6
	return code([]byte{0xbd, byte(n), byte(n >> 8), 0, 0}, body, []byte{0x0f, 0x85, byte(back), byte(back >> 8), 0xff, 0xff})
}

// told shows events without the places they are told of, groups by number, and
// fences that follow each other as one.
func told(events []any) (list []string) {
	groups := map[uint64]int{}
	fence := observe.Order(0)
	for _, e := range append(slices.Clone(events), nil) {
		if _, ok := e.(observe.Fence); !ok && fence != 0 {
			list = append(list, fence.String())
			fence = 0
		}
		switch e := e.(type) {
		case observe.Store:
			if _, ok := groups[e.Group]; !ok {
				groups[e.Group] = len(groups)
			}
			list = append(list, fmt.Sprintf("%v %x+%d=%x of instruction %d", e.Kind, e.Base-dimmAt+e.Offset, e.Size, e.Value, groups[e.Group]))
		case observe.Flush:
			list = append(list, fmt.Sprintf("%v %x", e.Op, e.Base-dimmAt+e.Offset))
		case observe.Fence:
			fence |= e.Order
		case int:
			list = append(list, fmt.Sprintf("hint %d", e))
		}
	}
	return list
}

// TestTiersTellTheModel runs loops of a guest's stores, flushes and fences of
// each kind on the interpreter and compiled. The model must be told what these
// instructions are, and find of it the states that it finds when it is told
// directly.
func TestTiersTellTheModel(t *testing.T) {
	t.Parallel()
	const times = 90
	// parts are pieces of one instruction, of k: pairs of offset and value.
	parts := func(k observe.Kind, size int, offsetsAndValues ...int) (list []any) {
		e := kind(st(0, 0, 0), k).(observe.Store)
		for i := 0; i < len(offsetsAndValues); i += 2 {
			e.Offset, e.Size, e.Value = uint64(offsetsAndValues[i]), uint8(size), uint64(offsetsAndValues[i+1])
			list = append(list, e)
		}
		return list
	}
	lock := func(of ...any) []any {
		return slices.Concat([]any{fe(0, observe.Lock)}, of, []any{fe(0, observe.Lock)})
	}
	for _, tt := range []struct {
		name    string
		program []byte
		events  func() []any // of each time
		watch   []int
	}{
		{"store", mov(A, 1), func() []any { return parts(0, 8, A, 1) }, []int{A}},
		{"store across eight bytes", mov(A+4, 1), func() []any {
			return parts(0, 4, A+4, 1, A+8, 0)
		}, []int{A + 4}},
		{"lock xchg", xchg(A, 1), func() []any { return lock(parts(observe.Locked, 8, A, 1)...) }, []int{A}},
		{"lock cmpxchg16b", cmpxchg16b(A, 1, 2), func() []any { return lock(parts(observe.Locked, 8, A, 1, A+8, 2)...) }, []int{A, A + 8}},
		{"rep stosq", stos(A, 1, 2, true), func() []any { return parts(observe.String, 8, A, 1, A+8, 1) }, []int{A, A + 8}},
		{"rep stosb", stos(A, 1, 3, false), func() []any { return parts(observe.String, 1, A, 1, A+1, 1, A+2, 1) }, []int{A, A + 1, A + 2}},
		{"movdqu", code(xmm(1, 2), movdqu(A)), func() []any { return parts(observe.Vector, 8, A, 1, A+8, 2) }, []int{A, A + 8}},
		{"movntdq", code(xmm(1, 2), movntdq(A), sfence), func() []any {
			return append(parts(observe.Vector|observe.NonTemporal, 8, A, 1, A+8, 2), fe(0, observe.SFENCE))
		}, []int{A, A + 8}},
		{"movnti", code(nt(A, 1), sfence), func() []any { return append(parts(observe.NonTemporal, 8, A, 1), fe(0, observe.SFENCE)) }, []int{A}},
		{"uncached", mov(UC+A, 1), func() []any { return parts(observe.ToUncached, 8, A, 1) }, []int{A}},
		{"write-through", mov(WT+A, 1), func() []any { return parts(observe.ToWriteThrough, 8, A, 1) }, []int{A}},
		{"clwb, sfence, hint, mfence", code(mov(A, 1), clwb(A), sfence, mov(H0, 1), mfence), func() []any {
			return append(parts(0, 8, A, 1), fl(0, A, observe.CLWB), fe(0, observe.SFENCE), fe(0, observe.Uncached), 0, fe(0, observe.MFENCE))
		}, []int{A}},
		{"clflush, clflushopt", code(mov(A, 1), clflush(A), clflushopt(B), mov(B, 2)), func() []any {
			return slices.Concat(parts(0, 8, A, 1), events(fl(0, A, observe.CLFLUSH), fl(0, B, observe.CLFLUSHOPT)), parts(0, 8, B, 2))
		}, []int{A, B}},
	} {
		var direct []any
		for range times {
			direct = append(direct, tt.events()...)
		}
		want := told(direct)
		for _, interpreter := range []bool{true, false} {
			c := runOn(t, soft.Engine{Interpreter: interpreter}, again(times, tt.program))
			if first, ok := c.events[0].(observe.Fence); ok { // the prologue's
				first.Order &^= observe.Serializing
				c.events[0] = first
			}
			got := told(c.events)
			if !slices.Equal(got, want) {
				n := 0
				for n < len(got) && n < len(want) && got[n] == want[n] {
					n++
				}
				t.Errorf("%s, interpreter=%v: %d events, want %d; from the %dth on %q, want %q", tt.name, interpreter, len(got), len(want), n, got[n:min(n+4, len(got))], want[n:min(n+4, len(want))])
				continue
			}
			for _, platform := range []persist.Platform{persist.ADR, persist.EADR} {
				states := func(list []any) string {
					_, j, media, _ := feed(list, len(list), platform, persist.Config{}, true)
					search := persist.Search{At: persist.AtStore, Limit: 12}
					images := map[string]bool{}
					for s := range search.States(j) {
						images[watched(imageOf(s, media), tt.watch)] = true
					}
					return strings.Join(slices.Sorted(maps.Keys(images)), " ")
				}
				if got, want := states(c.events), states(direct); got != want {
					t.Errorf("%s, interpreter=%v, %v: states %q, fed directly %q", tt.name, interpreter, platform, got, want)
				}
			}
		}
	}
}
