package persist_test

import (
	"fmt"
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

func user(e any) any {
	switch e := e.(type) {
	case observe.Store:
		e.CPL = 3
		return e
	case observe.Flush:
		e.CPL = 3
		return e
	case observe.Fence:
		e.CPL = 3
		return e
	}
	return e
}

// elsewhere is a store by another instruction.
func elsewhere(e any) any {
	s := e.(observe.Store)
	s.PC += 16
	return s
}

func TestMissing(t *testing.T) {
	for _, tt := range []struct {
		name     string
		platform persist.Platform
		events   []any
		want     string // offset, stores, bytes, why
	}{
		{"all is well", persist.ADR, events(st(0, A, 1), fl(0, A, observe.CLWB), fe(0, observe.SFENCE)), ""},
		{"no flush", persist.ADR, events(st(0, A, 1), fe(0, observe.SFENCE)), "0 1 8 no flush of its line after it"},
		{"no flush of the second", persist.ADR, events(st(0, A, 1), fl(0, A, observe.CLWB), st(0, A+8, 1), fe(0, observe.SFENCE)), "8 1 8 no flush of its line after it"},
		{"no fence", persist.ADR, events(st(0, A, 1), fl(0, A, observe.CLWB)), "0 1 8 flushed, no fence after it"},
		{"a loop", persist.ADR, events(st(0, A, 1), st(0, A, 2), st(0, B, 3)), "0 3 16 no flush of its line after it"},
		{"two places that store to the same bytes", persist.ADR, events(st(0, A, 1), elsewhere(st(0, A, 2))), "0 1 8 no flush of its line after it; 0 1 8 no flush of its line after it"},
		{"no fence after a movnti", persist.EADR, events(kind(st(0, A, 1), observe.NonTemporal)), "0 1 8 no fence after it"},
		{"no flush with eADR", persist.EADR, events(st(0, A, 1)), ""},
		{"no hint", persist.Hints, events(st(0, A, 1), fl(0, A, observe.CLWB), fe(0, observe.SFENCE)), "0 1 8 flushed, no fence and store to a flush hint after it"},
		{"no promise", persist.Nothing, events(st(0, A, 1), fl(0, A, observe.CLWB), fe(0, observe.SFENCE)), "0 1 8 the platform promises nothing"},
		{"by LOCK only", persist.ADR, events(st(0, A, 1), fl(0, A, observe.CLWB), fe(0, observe.Lock)), "0 1 8 flushed, no fence after it by name lint"},
		{"by the kernel's fence only", persist.ADR, events(user(st(0, A, 1)), user(fl(0, A, observe.CLWB)), fe(0, observe.MFENCE)), "0 1 8 flushed, no fence after it by name lint"},
		{"by the program's own", persist.ADR, events(user(st(0, A, 1)), user(fl(0, A, observe.CLWB)), user(fe(0, observe.SFENCE))), ""},
		{"the kernel flushes for a program", persist.ADR, events(user(st(0, A, 1)), fl(0, A, observe.CLWB), fe(0, observe.SFENCE)), ""},
	} {
		_, j, _, _ := feed(tt.events, len(tt.events), tt.platform, persist.Config{}, true)
		var got []string
		for _, m := range j.Missing() {
			if again, err := j.Find(m.State.ID); err != nil || len(again.Lost) == 0 || again.Lost[0].Offset != m.Offset {
				t.Errorf("%s: state %s does not lose the store at %d (%v)", tt.name, m.State.ID, m.Offset, err)
			}
			s := fmt.Sprintf("%d %d %d %s", m.Offset, m.Stores, m.Bytes, m.Why)
			if m.Lint {
				s += " lint"
			}
			got = append(got, s)
		}
		if got := strings.Join(got, "; "); got != tt.want {
			t.Errorf("%s: missing %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestJoin: a line with more stores than are kept apart still has all and none
// of them among its states, and no state that breaks the order.
func TestJoin(t *testing.T) {
	var list []any
	for i := range 200 {
		list = append(list, st(0, A+8*(i%8), i+1))
	}
	_, j, media, _ := feed(list, len(list), persist.ADR, persist.Config{}, true)
	n := 0
	search := persist.Search{At: persist.AtEnd}
	for s := range search.States(j) {
		n++
		img := imageOf(s, media)
		// After store k, place i holds the last value of those stores.
		last := 0
		for i := range 8 {
			last = max(last, int(img[A+8*i]))
		}
		for i := range 8 {
			want := last - (last-1-i+8)%8
			if last <= i || want < 0 {
				want = 0
			}
			if got := int(img[A+8*i]); got != want {
				t.Fatalf("state %s: place %d holds %d with %d stores done, want %d", s.ID, i, got, last, want)
			}
		}
	}
	if n < 32 || media[0].Truncated == 0 {
		t.Errorf("%d states, %d given up; want some of both", n, media[0].Truncated)
	}
}

func TestLabelWrites(t *testing.T) {
	area := make([]byte, 64)
	m := persist.NewModel(persist.Config{})
	j, err := m.Record([]*persist.Labels{{Name: "nvdimm", Read: func() ([]byte, error) { return area, nil }}})
	if err != nil {
		t.Fatal(err)
	}
	j.Label(0, 8, []byte("abcdefghABCDEFGHxyz"), observe.At{})
	j.Label(0, 0, []byte("new"), observe.At{})
	var got []string
	search := persist.Search{At: persist.AtLabel}
	for s := range search.States(j) {
		_, labels := s.Image()
		again, err := j.Find(s.ID)
		if err != nil {
			t.Error(err)
		} else if _, l := again.Image(); string(l[0]) != string(labels[0]) {
			t.Errorf("Find(%s) is another state", s.ID)
		}
		got = append(got, strings.ReplaceAll(string(labels[0][:30]), "\x00", "."))
	}
	want := []string{
		"..............................",
		"........abcdefgh..............",
		"........abcdefghABCDEFGH......",
		"........abcdefghABCDEFGHxyz...",
		"new.....abcdefghABCDEFGHxyz...",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("label states\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	n := 0
	for l := range j.TornLabels() {
		n++
		s := j.LabelState(l.Write, l.Torn)
		if _, labels := s.Image(); string(labels[0]) != string(l.Bytes) {
			t.Errorf("LabelState(%d, %d) is not the torn label area", l.Write, l.Torn)
		}
		if again, err := j.Find(s.ID); err != nil || again.Torn != l.Torn {
			t.Errorf("Find(%q) = %v, want the label state", s.ID, err)
		}
	}
	if n != 6 {
		t.Errorf("%d torn label areas, want 6", n)
	}
	for _, id := range []string{"", "x", "0.t9-0", "0.x0-12345678", "99.x0-0", "0.x9-0", "0.r-5-0", "0.z1-0"} {
		if _, err := j.Find(id); err == nil {
			t.Errorf("Find(%q) succeeds", id)
		}
	}
}

// BenchmarkStore is the kernel's durable write of 4 KiB: non-temporal stores
// and a fence. It reports ns per store.
func BenchmarkStore(b *testing.B) {
	mem := make([]byte, 1<<20)
	for name, platform := range map[string]persist.Platform{"ADR": persist.ADR, "eADR": persist.EADR, "hints that drain": persist.Hints} {
		b.Run(name, func(b *testing.B) {
			m := persist.NewModel(persist.Config{})
			d := persist.NewMedium("nvdimm", platform, persist.Bytes(mem))
			if platform == persist.Hints {
				d.Drain(64 << 10)
			}
			m.Map(0, d, 0)
			e := observe.Store{Size: 8, Kind: observe.NonTemporal} // one for all, as an engine has it
			b.ReportAllocs()
			for i := range b.N {
				e.Offset, e.Value, e.Group = uint64(i)*8%(1<<20), uint64(i), uint64(i)
				m.Store(&e)
				if i%512 == 511 {
					m.Fence(&observe.Fence{Order: observe.SFENCE})
				}
			}
		})
	}
}

// big is a journal with more states than can be visited.
func big() []any {
	var list []any
	for epoch := range 3 {
		for i := range 16 {
			list = append(list, st(0, 64*i, epoch+1), st(0, 64*i+8, epoch+1))
		}
		for i := range 16 {
			list = append(list, fl(0, 64*i, observe.CLWB))
		}
		list = append(list, fe(0, observe.SFENCE))
	}
	return list
}

func ids(j *persist.Journal, s persist.Search) (list []string) {
	for state := range s.States(j) {
		list = append(list, state.ID)
	}
	return list
}

// TestSearchRepeats: one seed gives one list of states, another another.
func TestSearchRepeats(t *testing.T) {
	t.Parallel()
	_, j, _, _ := feed(big(), len(big()), persist.ADR, persist.Config{}, true)
	want := ids(j, persist.Search{At: persist.AtFence, Limit: 300, Seed: 7})
	for range 100 {
		_, again, _, _ := feed(big(), len(big()), persist.ADR, persist.Config{}, true)
		if got := ids(again, persist.Search{At: persist.AtFence, Limit: 300, Seed: 7}); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatal("two searches with one seed visit different states")
		}
	}
	if got := ids(j, persist.Search{At: persist.AtFence, Limit: 300, Seed: 8}); strings.Join(got, " ") == strings.Join(want, " ") {
		t.Error("two searches with two seeds visit the same states")
	}
	for _, id := range want {
		if s, err := j.Find(id); err != nil || s.ID != id {
			t.Errorf("Find(%q) = %v, %v", id, s, err)
		}
	}
}

// TestLimitIsShared: a limit leaves room for every event.
func TestLimitIsShared(t *testing.T) {
	_, j, _, _ := feed(big(), len(big()), persist.ADR, persist.Config{}, true)
	at := map[int]int{}
	search := persist.Search{At: persist.AtFence, Limit: 90}
	for s := range search.States(j) {
		at[s.Event]++
	}
	if len(at) < 3 || search.Visited > 90 || !search.Cut {
		t.Errorf("a search with limit 90 visits %d states at events %v, cut=%v; want at most 90 at each of 3 events", search.Visited, at, search.Cut)
	}
}

// TestLimitIsSeeded: what a limit too small for the plain states leaves in is
// the seed's choice.
func TestLimitIsSeeded(t *testing.T) {
	_, j, _, _ := feed(big(), len(big()), persist.ADR, persist.Config{}, true)
	chosen := map[string]uint64{}
	for seed := range uint64(4) {
		got := strings.Join(ids(j, persist.Search{At: persist.AtFence, Limit: 12, Seed: seed}), " ")
		if other, ok := chosen[got]; ok {
			t.Errorf("a search with limit 12 visits the same states with seeds %d and %d: %s", other, seed, got)
		}
		chosen[got] = seed
	}
}

// BenchmarkJournal records what BenchmarkStore does. It reports ns per store.
func BenchmarkJournal(b *testing.B) {
	mem := make([]byte, 64<<20)
	m := persist.NewModel(persist.Config{})
	m.Map(0, persist.NewMedium("nvdimm", persist.ADR, persist.Bytes(mem)), 0)
	j, err := m.Record(nil)
	if err != nil {
		b.Fatal(err)
	}
	e := observe.Store{Size: 8, Kind: observe.NonTemporal} // one for all, as an engine has it
	b.ReportAllocs()
	for i := range b.N {
		if i%(32<<20) == 0 {
			j, _ = m.Record(nil)
		}
		e.Offset, e.Value, e.Group = uint64(i)*8%(64<<20), uint64(i), uint64(i)
		e.Seq, e.PC = uint64(i)*2, 0xffffffff81000000+uint64(i)%4*5
		j.Store(&e)
		if i%512 == 511 {
			j.Fence(&observe.Fence{At: e.At, Order: observe.SFENCE})
		}
	}
}
