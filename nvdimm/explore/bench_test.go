package explore

import (
	"context"
	"fmt"
	"testing"

	"nvlab/nvdimm/persist"
)

// BenchmarkExplore is what an execution costs besides the recovery, in a real
// guest's journal, when it reads 100 lines, most of them decided.
func BenchmarkExplore(b *testing.B) {
	j := recordedJournal(b)
	tr := OfJournal(j, persist.Search{At: persist.AtFence})
	run := func(_ context.Context, s *State) (Execution, error) {
		var e Execution
		sum := byte(0)
		for i := range 100 {
			e.Reads = append(e.Reads, Read{Line: tr.Lines() - 120 + i, Bytes: AllBytes})
			sum += s.Content(tr.Lines() - 120 + i)[0]
		}
		e.Answer = fmt.Sprint(sum % 4)
		return e, nil
	}
	executions := 0
	for b.Loop() {
		r, err := Explore(context.Background(), tr.Space, run, Options{Depth: 2, Limit: 1000})
		if err != nil {
			b.Fatal(err)
		}
		executions += len(r.Leaves)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(executions), "µs/execution")
}
