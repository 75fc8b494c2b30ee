package persist_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// filled is REP STOSB of n bytes at offset off, all of one value, as instruction number group.
func filled(off, n, value int, group uint64) (list []any) {
	for i := range n {
		e := kind(st(0, off+i, value), observe.String).(observe.Store)
		e.Size, e.Group = 1, group
		list = append(list, e)
	}
	return list
}

// TestCrowdedLines looks at lines of so many stores that their sets cannot be looked at one by one: what they may leave is
// listed if there is little of it, and if not it is plain soon that there is too much.
func TestCrowdedLines(t *testing.T) {
	var rewritten []any // a byte at a time, to what it was and back
	for i := range 64 {
		rewritten = append(rewritten, filled(A+i, 1, 1, uint64(100+2*i))...)
		rewritten = append(rewritten, filled(A+i, 1, 0, uint64(101+2*i))...)
	}
	free := func(n, value int) (list []any) {
		for i := range n {
			e := kind(st(0, A+4*i, value), observe.NonTemporal).(observe.Store)
			e.Size, e.Group = 4, uint64(1000*value+i)
			list = append(list, e)
		}
		return list
	}
	for _, tt := range []struct {
		name   string
		events []any
		states int // 0 for more than are listed
	}{
		{"zeros twice over zeros", slices.Concat(filled(A, 64, 0, 1), filled(A, 64, 0, 2)), 1},
		{"zeros over zeros, then ones", slices.Concat(filled(A, 64, 0, 1), filled(A, 8, 1, 2)), 256},
		{"ones, then zeros", slices.Concat(filled(A, 8, 1, 1), filled(A, 64, 0, 2)), 256},
		{"movnti of zeros over zeros, then the same again", slices.Concat(free(16, 0), free(16, 0), free(16, 0), free(16, 0)), 1},
		{"a byte after the other, to one and back", rewritten, 65},
		{"ones twice", slices.Concat(filled(A, 64, 1, 1), filled(A, 64, 1, 2)), 0},
		{"movnti of ones, then of twos", slices.Concat(free(16, 1), free(16, 2)), 0},
		{"a race of two CPUs", slices.Concat(free(16, 1), events(st(1, A, 9), st(1, A+32, 9)), free(16, 2)), 0},
	} {
		_, j, media, _ := feed(tt.events, len(tt.events), persist.ADR, persist.Config{}, true)
		search := persist.Search{At: persist.AtEnd}
		images := map[string]bool{}
		n := 0
		for s := range search.States(j) {
			images[imageOf(s, media)] = true
			if n++; n == 1000 {
				break
			}
		}
		all := fmt.Sprint(len(images))
		if search.AtLeast {
			all = "more than are listed"
		}
		want := fmt.Sprint(tt.states)
		if tt.states == 0 {
			want = "more than are listed"
		}
		if all != want {
			t.Errorf("%s: %s states, want %s", tt.name, all, want)
		}
	}
}

// TestStoresOfWhatIsThere compares what a line may hold with what the rules allow, for random stores of few values to few bytes: many of them
// change nothing, and many sets of them leave the same.
func TestStoresOfWhatIsThere(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var c collector
		group := uint64(0)
		for n := 6 + rng.IntN(7); n > 0; {
			group++
			e := observe.Store{Base: dimmAt, Group: group, Kind: []observe.Kind{0, observe.NonTemporal, observe.NonTemporal, observe.String}[rng.IntN(4)]}
			parts := 1
			if e.Kind == observe.String {
				parts += rng.IntN(4)
			}
			e.Size = 1 << rng.IntN(3)
			for ; parts > 0 && n > 0; parts, n = parts-1, n-1 {
				e.Offset = uint64(rng.IntN(4)) / uint64(e.Size) * uint64(e.Size)
				e.Value = uint64(rng.IntN(3)) * 0x01010101 & (1<<(8*e.Size) - 1)
				c.Store(&e)
			}
		}
		want := rules{platform: adr}.legal(c.steps, dimmSize)
		_, j, media, _ := feed(c.events, len(c.events), persist.ADR, persist.Config{}, true)
		watch := []int{0, 1, 2, 3}
		if got := found(t, j, media, persist.Search{At: persist.AtEnd}); !slices.Equal(got, want) {
			t.Fatalf("program %d of %d stores: states %q, want by the rules %q", seed, len(c.events), show(got, watch), show(want, watch))
		}
	}
}
