package explore

import (
	"context"
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// dirty is a journal of stores to many lines, with a moment at which power may fail after each, and of a line that may hold more than is
// listed, if crowded says so.
func dirty(t *testing.T, lines int, crowded bool) *persist.Journal {
	m := persist.NewModel(persist.Config{})
	m.Map(0, persist.NewMedium("nvdimm", persist.ADR, persist.Bytes(make([]byte, (lines+1)*LineSize))), 0)
	j, err := m.Record(nil)
	if err != nil {
		t.Fatal(err)
	}
	group := uint64(0)
	store := func(offset uint64, size uint8, kind observe.Kind) {
		e := observe.Store{Offset: offset, Size: size, Value: 1, Kind: kind, Group: group}
		j.Store(&e)
		m.Store(&e)
	}
	for i := range uint64(64) {
		if crowded {
			store(i, 1, observe.String)
		}
	}
	for i := range lines {
		group++
		store(uint64(i+1)*LineSize, 8, 0)
		f := observe.Flush{Offset: uint64(i+1) * LineSize, Op: observe.CLWB}
		j.Flush(&f)
		m.Flush(&f)
		fence := observe.Fence{Order: observe.SFENCE}
		j.Fence(&fence)
		m.Fence(&fence)
	}
	return j
}

// TestListingIsEnded: a search that is stopped while states are listed leaves the points before, of which the
// result does not say that they are all.
func TestListingIsEnded(t *testing.T) {
	j := dirty(t, 20, false)
	for _, tt := range []struct {
		asked, points int // the first question is at the journal's beginning
	}{{0, 0}, {1, 0}, {8, 7}, {1000, 21}} {
		left := tt.asked
		tr := OfJournal(j, persist.Search{At: persist.AtFence, Stop: func() bool { left--; return left < 0 }})
		all := tt.points == 21
		if tr.Points() != tt.points || tr.AtLeast == all || tr.Search.Ended == all {
			t.Errorf("a search that may ask %d times lists the states of %d points, and is ended: %v; want %d, and %v", tt.asked, tr.Points(), tr.Search.Ended, tt.points, !all)
		}
		r, err := Explore(context.Background(), tr.Space, readsAll(tr), Options{Depth: 2, Torn: -1})
		if err != nil {
			t.Fatal(err)
		}
		if coverage := r.Coverage(); r.All() != all || r.Exhaustive() != all || strings.Contains(coverage, "; that is all") != all {
			t.Errorf("of %d points of 21 an exploration says that it is exhaustive: %v: %s", tr.Points(), r.Exhaustive(), coverage)
		}
		if r.Complete && tr.Points() == 0 {
			t.Error("an exploration of nothing is complete")
		}
	}
}

// TestCrowdedLineIsSaid: where a line may hold more than is listed, no result is exhaustive.
func TestCrowdedLineIsSaid(t *testing.T) {
	tr := OfJournal(dirty(t, 2, true), persist.Search{At: persist.AtFence})
	r, err := Explore(context.Background(), tr.Space, readsAll(tr), Options{Depth: -1, Torn: -1})
	if err != nil {
		t.Fatal(err)
	}
	if coverage, want := r.Coverage(), "of those that are listed that is all that differ from nothing or everything, and more are legal"; !r.Complete || r.Exhaustive() || !strings.Contains(coverage, want) {
		t.Errorf("exhaustive: %v, %s, want %q", r.Exhaustive(), coverage, want)
	}
}

// TestExploreIsEnded: an exploration whose context is done while it looks for what is missing says so.
func TestExploreIsEnded(t *testing.T) {
	tr := OfJournal(dirty(t, 20, false), persist.Search{At: persist.AtFence})
	for _, n := range []int{0, 1, 5} {
		ctx, cancel := context.WithCancel(context.Background())
		ran := 0
		if n == 0 {
			cancel()
		}
		r, err := Explore(ctx, tr.Space, func(ctx context.Context, s *State) (Execution, error) {
			if ran++; ran == n {
				cancel()
			}
			return readsAll(tr)(ctx, s)
		}, Options{Depth: -1, Torn: -1, Workers: 1})
		if err != nil || r.Complete || r.Exhaustive() || r.Pending == 0 {
			t.Errorf("ended after %d executions: complete %v, %d missing, %v", n, r.Complete, r.Pending, err)
		}
		cancel()
	}
}

// readsAll is a recovery that reads each line.
func readsAll(tr *Trace) Runner {
	return func(_ context.Context, s *State) (Execution, error) {
		e := Execution{Answer: "as it is"}
		for i := range tr.Lines() {
			e.Reads = append(e.Reads, Read{Line: i, Bytes: AllBytes})
		}
		return e, nil
	}
}
