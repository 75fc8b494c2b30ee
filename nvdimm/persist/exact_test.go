package persist_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// exact are programs and all states that power failure may leave of them at
// any event, as litmus shows them. A model that judges any of them wrongly
// misses a bug or accuses a program that has none.
var exact = []struct {
	name     string
	platform persist.Platform
	config   persist.Config
	events   []any
	at       persist.What
	watch    []int
	want     string
}{
	{name: "two movnti before a fence", platform: persist.EADR, at: persist.AtStore, watch: []int{A, B, C},
		events: events(kind(st(0, A, 1), observe.NonTemporal), kind(st(0, B, 2), observe.NonTemporal), fe(0, observe.SFENCE), st(0, C, 3)),
		want:   "000 020 100 120 123"},
	{name: "a string before a store", platform: persist.EADR, at: persist.AtStore, watch: []int{A, A + 8, C},
		events: events(append(rep(A, 2), st(0, C, 3))...),
		want:   "000 010 100 110 113"},
	{name: "a string before a fence", platform: persist.EADR, at: persist.AtStore, watch: []int{A, A + 8},
		events: events(append(rep(A, 2), fe(0, observe.SFENCE))...),
		want:   "00 01 10 11"},
	{name: "a movnti that drains after another CPU's durable store", platform: persist.ADR, at: persist.AtEnd, watch: []int{A},
		events: events(kind(st(0, A, 1), observe.NonTemporal), st(1, A, 2), fl(1, A, observe.CLWB), fe(1, observe.SFENCE)),
		want:   "1 2"},
	{name: "a vector store without a guarantee of 16 bytes", platform: persist.ADR, at: persist.AtEnd, watch: []int{A, A + 8},
		events: vector(A, 0),
		want:   "00 02 10 12"},
	{name: "clflush on the processor that is shown", platform: persist.ADR, at: persist.AtEnd, watch: []int{A, B},
		events: events(st(0, A, 1), fl(0, A, observe.CLFLUSH), st(0, B, 2)),
		want:   "00 02 10 12"},
	{name: "a movnti before clflush", platform: persist.ADR, config: intel, at: persist.AtEnd, watch: []int{A, B, C},
		events: events(kind(st(0, A, 1), observe.NonTemporal), fl(0, A, observe.CLFLUSH), st(0, B, 2), fl(0, B, observe.CLFLUSH), st(0, C, 3)),
		want:   "120 123"},
	{name: "wbinvd does not reach another CPU's cache", platform: persist.ADR, at: persist.AtEnd, watch: []int{A, B},
		events: events(st(0, A, 1), fe(1, observe.WBINVD|observe.Serializing), st(1, B, 2), fl(1, B, observe.CLWB), fe(1, observe.SFENCE)),
		want:   "02 12"},
	{name: "serializing instructions and port I/O do not complete clwb", platform: persist.ADR, at: persist.AtEnd, watch: []int{A},
		events: events(st(0, A, 1), fl(0, A, observe.CLWB), fe(0, observe.Serializing|observe.PortIO)),
		want:   "0 1"},
}

// rep is REP STOSQ of n ones.
func rep(off, n int) (list []any) {
	first := kind(st(0, off, 1), observe.String).(observe.Store)
	for i := range n {
		e := first
		e.Offset += uint64(8 * i)
		list = append(list, e)
	}
	return list
}

// vector is a store of 16 bytes, 1 and 2 in its halves.
func vector(off int, more observe.Kind) (list []any) {
	lo := kind(st(0, off, 1), observe.Vector|more).(observe.Store)
	hi := lo
	hi.Offset, hi.Value = hi.Offset+8, 2
	return events(lo, hi)
}

func TestExact(t *testing.T) {
	for _, tt := range exact {
		_, j, media, _ := feed(tt.events, len(tt.events), tt.platform, tt.config, true)
		if got := show(found(t, j, media, persist.Search{At: tt.at}), tt.watch); got != tt.want {
			t.Errorf("%s: states %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestManyStoresAfterAFlush: more stores to a line than the model keeps apart
// do not take back what the flush before them covers.
func TestManyStoresAfterAFlush(t *testing.T) {
	for _, n := range []int{65, 200} {
		list := events(st(0, A, 1), fl(0, A, observe.CLWB))
		for i := range n {
			list = append(list, st(0, A, i+2))
		}
		list = append(list, fe(0, observe.SFENCE))
		m, j, media, mem := feed(list, len(list), persist.ADR, persist.Config{}, true)
		got := map[int]bool{}
		search := persist.Search{At: persist.AtEnd}
		for s := range search.States(j) {
			got[int(imageOf(s, media)[A])] = true
		}
		left := max(n+1-128, 0) // of the oldest, taken for written back
		for v := range n + 2 {
			if want := v > left || v == max(left, 1); got[v] != want {
				t.Errorf("%d stores: A = %d is among the states: %v, want %v", n, v, got[v], want)
			}
		}
		if all := strings.Contains(search.Coverage(false), "that is all"); all != (left == 0) {
			t.Errorf("%d stores: coverage %q, want it to say that this is all: %v", n, search.Coverage(false), left == 0)
		}
		m.Cut(persist.KeepNone, 0).Apply(m)
		if mem[0][A] == 0 {
			t.Errorf("%d stores: a power cut takes back what was flushed and fenced", n)
		}
	}
}

// TestCutWithinAnInstruction cuts the power before the second half of a store
// that the processor does not tear, and of one that it does.
func TestCutWithinAnInstruction(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kind   observe.Kind
		config persist.Config
		whole  bool
	}{
		{"lock cmpxchg16b", observe.Locked, persist.Config{}, true},
		{"movaps with AVX's guarantee", 0, persist.Config{Atomic16: true}, true},
		{"movaps", 0, persist.Config{}, false},
	} {
		for _, platform := range []persist.Platform{persist.ADR, persist.EADR, persist.Hints, persist.Nothing} {
			for keep := persist.KeepNone; keep <= persist.KeepRandom; keep++ {
				halves := vector(A, tt.kind)
				m, _, _, mem := feed(halves, 1, platform, tt.config, false)
				second := halves[1].(observe.Store)
				m.Abandon(&second)
				c := m.Cut(keep, 0)
				c.Touch(m, &second)
				copy(mem[0][A+8:], []byte{2}) // the instruction runs to its end
				c.Apply(m)
				half := "10"
				if got := watched(string(mem[0])+string(mem[1]), []int{A, A + 8}); got != "00" && (tt.whole || got != half) {
					t.Errorf("%s on %v, keep=%d: the cut leaves %q", tt.name, platform, keep, got)
				} else if !tt.whole && (platform == persist.EADR || keep == persist.KeepAll) && got != half {
					t.Errorf("%s on %v, keep=%d: the cut leaves %q, want the half that was stored", tt.name, platform, keep, got)
				}
			}
		}
	}
}

// TestCutWithinAString: with eADR the stores of a string instruction are not
// durable before another store is.
func TestCutWithinAString(t *testing.T) {
	found := map[string]bool{}
	for seed := range uint64(64) {
		m, _, _, mem := feed(rep(A, 3), 2, persist.EADR, persist.Config{}, false)
		keep := persist.KeepRandom
		if seed == 0 {
			keep = persist.KeepNone
		}
		m.Cut(keep, seed).Apply(m)
		got := watched(string(mem[0])+string(mem[1]), []int{A, A + 8})
		if found[got] = true; keep == persist.KeepNone && got != "00" {
			t.Errorf("a cut in the middle of a string that keeps nothing leaves %q", got)
		}
	}
	if got := strings.Join(slices.Sorted(maps.Keys(found)), " "); got != "00 01 10 11" {
		t.Errorf("random cuts in the middle of a string leave %q, want any", got)
	}
}

// TestFullCacheKeepsAtomicStores: what a model gives up for space does not
// part what the processor keeps together.
func TestFullCacheKeepsAtomicStores(t *testing.T) {
	for most := 1; most < 60; most++ {
		m := persist.NewModel(persist.Config{})
		d := persist.NewMedium("nvdimm", persist.ADR, persist.Bytes(make([]byte, dimmSize)))
		d.KeepAtMost(most)
		m.Map(dimmAt, d, 0)
		j, err := m.Record(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			for _, e := range vector(A+64*i, observe.Locked) {
				s := e.(observe.Store)
				j.Store(&s)
				m.Store(&s)
			}
		}
		search := persist.Search{At: persist.AtAny}
		for s := range search.States(j) {
			img := imageOf(s, []*persist.Medium{d})
			for i := range 4 {
				if got := watched(img, []int{A + 64*i, A + 64*i + 8}); got != "00" && got != "12" {
					t.Fatalf("with room for %d, state %s has %q of an atomic store, want all or nothing", most, s.ID, got)
				}
			}
		}
	}
}

// TestTornLineIsSampled: of a line with more states than can be listed any may
// be drawn, the first store alone among them.
func TestTornLineIsSampled(t *testing.T) {
	var bytes, words []any
	first := kind(st(0, A, 1), observe.String).(observe.Store)
	for i := range 64 {
		e := first
		e.Offset, e.Size = uint64(A+i), 1
		bytes = append(bytes, e)
	}
	for i := range 16 {
		e := kind(st(0, A+4*i, 1), observe.NonTemporal).(observe.Store)
		e.Size = 4
		words = append(words, e)
	}
	for _, tt := range []struct {
		name   string
		events []any
		unit   int
	}{{"rep stosb of 64 bytes", bytes, 1}, {"16 movnti of 4 bytes", words, 4}} {
		alone := func(img string) bool {
			return img[A] == 1 && strings.Trim(img[A+tt.unit:A+64], "\x00") == ""
		}
		lost := func(img string) bool {
			return img[A] == 0 && !strings.Contains(every(img[A+tt.unit:A+64], tt.unit), "\x00")
		}
		for _, seed := range []uint64{0, 3, 11} {
			_, j, _, _ := feed(tt.events, len(tt.events), persist.ADR, persist.Config{}, true)
			search := persist.Search{At: persist.AtEnd, Seed: seed}
			nAlone, nLost := 0, 0
			for v := range search.Views(j) {
				v.Undecided(func(_ *persist.Medium, _ uint64, _, left []byte, _ uint64) {
					if alone(string(left)) {
						nAlone++
					} else if lost(string(left)) {
						nLost++
					}
				})
			}
			if nAlone != 1 || nLost != 1 {
				t.Errorf("%s, seed %d: %d states have the first alone, %d all but the first, want one of each", tt.name, seed, nAlone, nLost)
			}
		}
		cuts := 0
		for seed := range uint64(500) {
			m, _, _, mem := feed(tt.events, len(tt.events), persist.ADR, persist.Config{}, false)
			m.Cut(persist.KeepRandom, seed).Apply(m)
			if alone(string(mem[0])) {
				cuts++
			}
		}
		if cuts == 0 {
			t.Errorf("%s: none of 500 random cuts leaves the first alone", tt.name)
		}
	}
}

// every is each nth byte.
func every(s string, n int) string {
	var b strings.Builder
	for i := 0; i < len(s); i += n {
		b.WriteByte(s[i])
	}
	return b.String()
}

// TestManyDirtyLines: lines that were undecided before the trace do not crowd
// out what the traced command did.
func TestManyDirtyLines(t *testing.T) {
	t.Parallel()
	const lines = 5000
	mem := make(persist.Bytes, (lines+2)*persist.LineSize)
	m := persist.NewModel(persist.Config{})
	m.Map(0, persist.NewMedium("nvdimm", persist.ADR, mem), 0)
	store := func(j *persist.Journal, off uint64, v byte) {
		e := observe.Store{Offset: off, Size: 8, Value: uint64(v), Group: off}
		if j != nil {
			j.Store(&e)
		}
		m.Store(&e)
		mem[off] = v
	}
	for i := range uint64(lines) {
		store(nil, 64*i, 9)
	}
	j, err := m.Record(nil)
	if err != nil {
		t.Fatal(err)
	}
	const entry, mark = 64 * lines, 64 * (lines + 1)
	store(j, entry, 1)
	store(j, mark, 1)
	all := map[uint64]bool{}
	for _, seed := range []uint64{0, 3, 11} {
		bad, before := 0, map[uint64]bool{}
		search := persist.Search{At: persist.AtEnd, Seed: seed}
		states, keys := 0, uint64(0)
		for v := range search.Views(j) {
			entryLeft, markLeft, kept, last := false, false, 0, uint64(0)
			v.Undecided(func(_ *persist.Medium, n uint64, _, left []byte, key uint64) {
				keys += key
				switch {
				case n == entry/64:
					entryLeft = left[0] == 1
				case n == mark/64:
					markLeft = left[0] == 1
				case left[0] != 0:
					kept, last = kept+1, n
				}
			})
			if markLeft && !entryLeft {
				bad++
			}
			if kept == 1 && !markLeft && !entryLeft {
				before[last] = true
			}
			if states++; states == 400 {
				break
			}
		}
		if bad < 40 {
			t.Errorf("seed %d: %d of %d states have the mark without the entry, want at least a tenth", seed, bad, states)
		}
		if len(before) < 50 {
			t.Errorf("seed %d: %d older lines were kept alone, want at least 50", seed, len(before))
		}
		all[keys] = true
	}
	if len(all) < 3 {
		t.Error("two seeds visit the same states")
	}
	search := persist.Search{At: persist.AtEnd, Limit: 400}
	for range search.Views(j) {
	}
	if got, want := search.Coverage(false), "of 5002 lines undecided at one event"; !strings.Contains(got, want) {
		t.Errorf("coverage %q does not say %q", got, want)
	}
}

// TestOtherPlatform looks at a trace that begins with undecided lines under
// the rules of another platform: it has what that would have left, or less and
// says so.
func TestOtherPlatform(t *testing.T) {
	before := events(st(0, A, 1), kind(st(0, B, 2), observe.NonTemporal), st(0, C, 3), fl(0, C, observe.CLWB), fe(1, observe.SFENCE))
	fenced := events(st(0, A, 1), st(0, C, 3), fl(0, C, observe.CLWB), fe(0, observe.SFENCE))
	after := events(st(0, A+8, 4))
	for _, tt := range []struct {
		name     string
		before   []any
		recorded persist.Platform
		read     persist.Platform
		want     string // of A, B, C and A + 8
		less     bool   // than all
	}{
		{"ADR as eADR", before, persist.ADR, persist.EADR, "1034 1234", false},
		{"hints as ADR", fenced, persist.Hints, persist.ADR, "0030 1030 1034", false},
		{"hints as eADR", fenced, persist.Hints, persist.EADR, "1034", false},
		{"eADR as ADR", fenced, persist.EADR, persist.ADR, "1030 1034", true},
		{"ADR as none", fenced, persist.ADR, persist.Nothing, "0030 1030 1034", true},
		{"nothing before", nil, persist.EADR, persist.ADR, "0000 0004", false},
	} {
		m := persist.NewModel(persist.Config{})
		mem := make(persist.Bytes, dimmSize)
		d := persist.NewMedium("nvdimm", tt.recorded, mem)
		m.Map(dimmAt, d, 0)
		tell := func(j *persist.Journal, list []any) {
			for _, e := range list {
				switch e := e.(type) {
				case observe.Store:
					if j != nil {
						j.Store(&e)
					}
					m.Store(&e)
					mem[e.Offset] = byte(e.Value)
				case observe.Flush:
					m.Flush(&e)
				case observe.Fence:
					m.Fence(&e)
				}
			}
		}
		tell(nil, tt.before)
		base := slices.Clone(mem)
		j, err := m.Record(nil)
		if err != nil {
			t.Fatal(err)
		}
		tell(j, after)
		search := persist.Search{At: persist.AtEnd, Reading: reading(tt.read)}
		got := map[string]bool{}
		for s := range search.States(j) {
			img := slices.Clone(base)
			lines, _ := s.Image()
			for _, l := range lines {
				copy(img[l.N*persist.LineSize:], l.Bytes[:])
			}
			got[fmt.Sprint(img[A], img[B], img[C], img[A+8])] = true
		}
		show := strings.ReplaceAll(strings.Join(slices.Sorted(maps.Keys(got)), ","), " ", "")
		if want := strings.ReplaceAll(tt.want, " ", ","); show != want {
			t.Errorf("%s: states %s, want %s", tt.name, show, want)
		}
		if less := !strings.Contains(search.Coverage(false), "that is all"); less != tt.less {
			t.Errorf("%s: coverage %q, want it to say that there may be more: %v", tt.name, search.Coverage(false), tt.less)
		}
	}
}
