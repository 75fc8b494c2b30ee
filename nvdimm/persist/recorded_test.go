package persist_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"

	"nvlab/internal/expect"
	"nvlab/nvdimm/persist"
)

// recorded is the journal of a real guest that made a namespace in sector mode
// and wrote three sectors. NVLAB_UPDATE=1 go test -run RecordJournal ./lab
// records it anew.
func recorded(t testing.TB) []byte {
	t.Helper()
	return expect.Gunzipped(t, "testdata/sector.journal.gz")
}

// states are the findings of a journal and its states in their order, with
// what survives in each.
func states(t *testing.T, saved []byte, list ...persist.Search) string {
	t.Helper()
	j, err := persist.Load(saved)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, m := range j.Missing() {
		fmt.Fprintf(&b, "missing at %#x: %d stores, %d bytes, %s, lint %v\n", m.Offset, m.Stores, m.Bytes, m.Why, m.Lint)
	}
	for _, s := range list {
		digest := sha256.New()
		for state := range s.States(j) {
			fmt.Fprintln(digest, state.ID, state.Event, state.At, state.Torn)
			for _, o := range append(state.Kept, state.Lost...) {
				fmt.Fprintln(digest, o.Offset, o.Size, o.Kind, o.PC)
			}
		}
		fmt.Fprintf(&b, "%v: %s, %.8x\n", s.At, s.Coverage(false), digest.Sum(nil))
	}
	return b.String()
}

// outcome is all that a journal has to tell.
func outcome(t *testing.T, saved []byte) string {
	t.Helper()
	j, err := persist.Load(saved)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d events: %d stores, %d flushes, %d fences, %d epochs, %d label writes\n", j.Events(), j.Stores, j.Flushes, j.Fences, j.Epochs(), j.LabelWrites())
	digest := sha256.New()
	for _, e := range j.Entries(0) {
		fmt.Fprintln(digest, e.Seq, e.What, e.Label, e.Offset, e.Length, e.Kind, e.PC, e.CR3, e.CPL)
	}
	fmt.Fprintf(&b, "entries %.8x\n", digest.Sum(nil))
	torn := 0
	for l := range j.TornLabels() {
		torn++
		digest.Write(l.Bytes[l.Offset : l.Offset+l.Size])
	}
	fmt.Fprintf(&b, "%d torn labels, %.8x\n", torn, digest.Sum(nil))
	b.WriteString(states(t, saved,
		persist.Search{At: persist.AtFence, Limit: 400, Seed: 7},
		persist.Search{At: persist.AtLabel},
		persist.Search{At: persist.AtEnd, Reading: reading(persist.Nothing), Limit: 40, Seed: 8}))
	return b.String()
}

// TestRecordedJournal looks at one journal many times, and at what it
// told when the repository last changed.
func TestRecordedJournal(t *testing.T) {
	t.Parallel()
	saved := recorded(t)
	search := persist.Search{At: persist.AtFence, Limit: 100, Seed: 3}
	once := states(t, saved, search)
	looks := 40
	if testing.Short() {
		looks = 5
	}
	for n := 2; n <= looks; n++ {
		if again := states(t, saved, search); again != once {
			t.Fatalf("look %d tells\n%swhere the first told\n%s", n, again, once)
		}
	}
	first := outcome(t, saved)
	const golden = "testdata/sector.golden"
	if os.Getenv("NVLAB_UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(first), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if first != string(want) {
		t.Errorf("the journal tells\n%sand told\n%s", first, want)
	}
	if j, err := persist.Load(saved); err != nil {
		t.Error(err)
	} else if again, err := j.Save(); err != nil || string(again) != string(saved) {
		t.Errorf("saved again it has %d bytes, want %d (%v)", len(again), len(saved), err)
	}
	for _, bad := range [][]byte{nil, saved[:100], saved[:len(saved)-1], append([]byte("x"), saved...)} {
		if _, err := persist.Load(bad); err == nil {
			t.Errorf("%d bytes are taken for a journal", len(bad))
		}
	}
}

// BenchmarkSearch visits crash states of the journal.
func BenchmarkSearch(b *testing.B) {
	j, err := persist.Load(recorded(b))
	if err != nil {
		b.Fatal(err)
	}
	states := 0
	for b.Loop() {
		s := persist.Search{At: persist.AtFence}
		for range s.Views(j) {
			states++
		}
	}
	b.ReportMetric(float64(states)/b.Elapsed().Seconds(), "states/s")
}
