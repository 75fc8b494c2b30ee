package explore

import (
	"context"
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"
)

// TestToldKeepsNoSpace: a run keeps what each of its explorations came to, and
// none of the memory that these took.
func TestToldKeepsNoSpace(t *testing.T) {
	var space weak.Pointer[Space]
	told := func() *Result {
		s := randomSpace(rand.New(rand.NewPCG(1, 0)))
		space = weak.Make(s)
		r, err := Explore(context.Background(), s, func(context.Context, *State) (Execution, error) { return Execution{Answer: "fine"}, nil }, Options{Depth: 1, Torn: -1})
		if err != nil {
			t.Fatal(err)
		}
		return r.Told()
	}()
	runtime.GC()
	if space.Value() != nil {
		t.Error("what is told of an exploration keeps its space")
	}
	if len(told.Leaves) == 0 || !told.Complete {
		t.Errorf("%d executions are told of, complete: %v, want some, and all", len(told.Leaves), told.Complete)
	}
}
