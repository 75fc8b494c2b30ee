package persist_test

import (
	"math/rand/v2"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// torn says that of some line some stores survive and some do not.
func torn(s *persist.State) bool {
	kept := map[persist.Line]bool{}
	for _, o := range s.Kept {
		kept[persist.Line{Medium: o.Medium, N: o.Offset / persist.LineSize}] = true
	}
	for _, o := range s.Lost {
		if kept[persist.Line{Medium: o.Medium, N: o.Offset / persist.LineSize}] {
			return true
		}
	}
	return false
}

// randomProgram stores to some lines, and flushes and fences some of that.
func randomProgram(r *rand.Rand) []any {
	var list []any
	for range 6 + r.IntN(20) {
		switch line := 64 * r.IntN(1+r.IntN(6)); r.IntN(6) {
		case 0:
			list = append(list, fl(0, line, observe.CLWB))
		case 1:
			list = append(list, fe(0, observe.SFENCE))
		default:
			list = append(list, st(0, line+8*r.IntN(2), r.IntN(4)))
		}
	}
	return list
}

// TestLimitIsUsed: with a limit there are as many states as it says, unless
// there are no more; and with seed 0 a state has a torn line only if all images
// that any event leaves with its lines whole are there, as such.
func TestLimitIsUsed(t *testing.T) {
	t.Parallel()
	after := 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1))
		list := randomProgram(r)
		_, j, media, _ := feed(list, len(list), persist.ADR, persist.Config{}, true)
		at := []persist.What{persist.AtFence, persist.AtStore}[r.IntN(2)]
		all, plain := 0, map[string]bool{} // that the first event that has the image leaves whole
		every := persist.Search{At: at}
		for s := range every.States(j) {
			if all++; !torn(s) {
				plain[imageOf(s, media)] = true
			}
		}
		if every.Sampled > 0 {
			continue
		}
		whole := map[string]bool{}
		for s := range (&persist.Search{At: at, Limit: all}).States(j) {
			if image := imageOf(s, media); !torn(s) {
				whole[image] = true
			} else if plain[image] {
				t.Fatalf("program %d: state %s has a torn line, and an event leaves its image whole", seed, s.ID)
			}
		}
		for _, limit := range []int{1, 3, 12, all / 2, len(whole) - 1, len(whole) + 1, all, 2 * all} {
			for _, with := range []uint64{0, 7} {
				s := persist.Search{At: at, Limit: max(limit, 1), Seed: with}
				n, broken := 0, 0
				for state := range s.States(j) {
					if n++; torn(state) {
						broken++
					}
				}
				if want := min(s.Limit, all); n != want || s.Cut != (s.Limit < all) {
					t.Fatalf("program %d, limit %d of %d states, seed %d: %d were visited, want %d: %s", seed, s.Limit, all, with, n, want, s.Coverage(false))
				}
				if want := max(0, n-len(whole)); with == 0 && broken != want {
					t.Fatalf("program %d, limit %d: %d states with a torn line, want %d, as %d images are left whole", seed, s.Limit, broken, want, len(whole))
				}
				after += broken
			}
		}
	}
	if after == 0 {
		t.Error("no state with a torn line was visited")
	}
}

// TestLimitLeavesLinesWhole: an event with few states does not tear its lines
// to use its share while another has many states in which none is torn.
func TestLimitLeavesLinesWhole(t *testing.T) {
	program := events(st(0, A, 1), st(0, A+8, 2), st(0, A+16, 3), fl(0, A, observe.CLWB), fe(0, observe.SFENCE))
	for i := range 20 {
		program = append(program, st(0, B+64*i, 1), st(0, B+64*i+8, 2))
	}
	_, j, _, _ := feed(program, len(program), persist.ADR, persist.Config{}, true)
	s := persist.Search{At: persist.AtFence, Limit: 66}
	n := 0
	for state := range s.States(j) {
		if n++; torn(state) {
			t.Errorf("state %s has a torn line", state.ID)
		}
	}
	if n != 66 {
		t.Errorf("%d states were visited, want 66", n)
	}
}
