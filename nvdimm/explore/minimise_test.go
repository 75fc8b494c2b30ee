package explore

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestMinimise: what is left of a finding is still one, and no line of it can
// be left out; what is known is not run again.
func TestMinimise(t *testing.T) {
	smaller := 0
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 4))
		s := randomSpace(r)
		p := recovery{r.Uint64(), 1 + r.Uint64N(3), 1 + r.IntN(8)}
		found, err := Explore(context.Background(), s, p.runner(s), Options{Depth: r.IntN(3), Torn: r.IntN(2)})
		if err != nil {
			t.Fatal(err)
		}
		l := found.Leaves[r.IntN(len(found.Leaves))]
		x, err := s.State(l.Point, l.All, l.Changes...)
		if err != nil {
			t.Fatal(err)
		}
		all := r.IntN(2) == 0
		bad := func(answer string) bool { return answer == l.Answer }
		runs := 0
		run := func(ctx context.Context, x *State) (Execution, error) {
			runs++
			return p.runner(s)(ctx, x)
		}
		least, ran, err := found.Minimise(context.Background(), run, x, all, bad)
		if err != nil || ran != runs || least.All != all || least.Point != l.Point {
			t.Fatalf("seed %d: Minimise(%s) = %v, %d executions of %d (%v)", seed, l.ID, least, ran, runs, err)
		}
		is := func(changes []Change) bool {
			y, err := s.State(l.Point, all, changes...)
			if err != nil {
				t.Fatal(err)
			}
			e, _ := p.runner(s)(context.Background(), y)
			return bad(e.Answer)
		}
		if !is(least.Changes()) {
			t.Fatalf("seed %d: %s is no finding, %s was", seed, least.ID(), l.ID)
		}
		for i := range least.Changes() {
			if is(slices.Delete(slices.Clone(least.Changes()), i, i+1)) {
				t.Fatalf("seed %d: %s is a finding without its change %d", seed, least.ID(), i)
			}
		}
		if all == l.All && len(least.Changes()) < len(l.Changes) {
			smaller++
		}
		if _, ran, err := found.Minimise(context.Background(), run, x, all, bad); ran != 0 || err != nil {
			t.Fatalf("seed %d: the second time it takes %d executions (%v)", seed, ran, err)
		}
		if _, _, err := found.Minimise(context.Background(), run, x, all, func(string) bool { return false }); err == nil {
			t.Fatalf("seed %d: an answer that is not bad: no error", seed)
		}
	}
	if smaller == 0 {
		t.Error("no state was made smaller")
	}
}

// TestMinimiseMany: of 400 lost lines one is to blame, which takes few executions
// to find.
func TestMinimiseMany(t *testing.T) {
	s, _ := chainSpace(400)
	runs := 0
	run := func(_ context.Context, x *State) (Execution, error) {
		runs++
		e := Execution{Answer: "good"}
		if x.Content(300)[0] == 0 && x.Content(17)[0] == 0 && x.Content(5)[0] == 1 {
			e.Answer = "bad"
		}
		for i := range 400 {
			e.Reads = append(e.Reads, Read{Line: i, Bytes: AllBytes})
		}
		return e, nil
	}
	found, err := Explore(context.Background(), s, run, Options{Depth: 0})
	if err != nil {
		t.Fatal(err)
	}
	var changes []Change
	for i := range 400 {
		if i != 5 {
			changes = append(changes, Change{i, 0})
		}
	}
	x, err := s.State(0, true, changes...)
	if err != nil {
		t.Fatal(err)
	}
	runs = 0
	least, _, err := found.Minimise(context.Background(), run, x, true, func(a string) bool { return a == "bad" })
	if err != nil || least.ID() != "0.e17+300" || runs > 100 {
		t.Errorf("Minimise = %v after %d executions (%v), want 0.e17+300 after 100 at most", least, runs, err)
	}
}

// TestCheck: states that a result speaks for are run, and a read that was not
// reported is found out.
func TestCheck(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := randomSpace(r)
		p := recovery{r.Uint64(), 3, 1 + r.IntN(8)}
		found, err := Explore(context.Background(), s, p.runner(s), Options{Depth: 2, Torn: 2})
		if err != nil {
			t.Fatal(err)
		}
		ran := map[string]bool{}
		for _, l := range found.Leaves {
			ran[l.ID] = true
		}
		n := 0
		ctx, cancel := context.WithCancel(context.Background())
		checked, err := found.Check(ctx, func(ctx context.Context, x *State) (Execution, error) {
			if ran[x.ID()] {
				t.Fatalf("seed %d: state %s is run a second time", seed, x.ID())
			}
			if ran[x.ID()] = true; n == 8 {
				cancel()
				return Execution{}, ctx.Err()
			}
			n++
			return p.runner(s)(ctx, x)
		}, 20, seed)
		cancel()
		if err != nil || checked != n {
			t.Fatalf("seed %d: Check = %d, %v, and %d states were run to their end", seed, checked, err, n)
		}
		if left := new(big.Int).Sub(found.States, big.NewInt(int64(len(found.Leaves)))); n == 0 && left.Cmp(big.NewInt(1000)) > 0 {
			t.Fatalf("seed %d: of %v states that were not run none was checked", seed, left)
		}
	}
	s, _ := chainSpace(6)
	silent := func(_ context.Context, x *State) (Execution, error) {
		return Execution{Reads: []Read{{Line: 0, Bytes: 1}}, Answer: fmt.Sprint(x.Content(0)[0] + x.Content(3)[0])}, nil
	}
	found, err := Explore(context.Background(), s, silent, Options{Depth: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := found.Check(context.Background(), silent, 20, 1); !errors.Is(err, ErrNotDeterministic) || !strings.Contains(err.Error(), "answer") {
		t.Errorf("a read that was not reported: %v", err)
	}
}

// TestSame: a state is the same by whichever extreme it is named.
func TestSame(t *testing.T) {
	s := &Space{}
	s.Line()
	s.Line()
	s.Set(0, []Content{{0}, {1}}, 0)
	s.Set(1, []Content{{2}}, 0)
	s.Point()
	s.Set(0, []Content{{1}}, 0)
	s.Point()
	state := func(point int, all bool, changes ...Change) *State {
		x, err := s.State(point, all, changes...)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	nothing := state(0, false)
	for _, c := range []struct {
		o    *State
		want bool
	}{
		{state(0, true, Change{Line: 0, Content: 0}), true},
		{state(0, true), false},
		{state(0, false, Change{Line: 0, Content: 1}), false},
		{state(1, false), false},
	} {
		if got := nothing.Same(c.o); got != c.want || c.o.Same(nothing) != c.want {
			t.Errorf("state %s is the same as %s: %v, want %v", nothing.ID(), c.o.ID(), got, c.want)
		}
	}
}
