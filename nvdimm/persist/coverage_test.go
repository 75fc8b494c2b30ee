package persist_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// lines stores to n lines and flushes none of them.
func lines(n int) (list []any) {
	for i := range n {
		list = append(list, st(0, 64*i, i+1))
	}
	return list
}

// TestCoverage: up to 4,096 states of an event are all visited, of more as
// many; equal images once; and what was visited and what not is told.
func TestCoverage(t *testing.T) {
	flushed := events(st(0, A, 1), fl(0, A, observe.CLWB), fe(0, observe.SFENCE), st(0, B, 1), fl(0, B, observe.CLWB), fe(0, observe.SFENCE))
	var crowded []any
	for i := range 140 {
		crowded = append(crowded, st(0, A+8*(i%8), i+1))
	}
	var again []any
	for range 10 {
		again = append(again, st(0, A, 1))
	}
	for _, tt := range []struct {
		name   string
		events []any
		search persist.Search
		states int // visited; -1 for at most 4,096 and many
		stop   int // after so many states
		want   string
	}{
		{"4,096 states", lines(12), persist.Search{At: persist.AtEnd}, 4096, 0, "4096 distinct of 4096 legal states at 1 event; that is all"},
		{"8,192 states", lines(13), persist.Search{At: persist.AtEnd, Seed: 9}, -1, 0, "4096 distinct of 8192 legal states at 1 event; of 1 event with more than 4096 states only as many, chosen by seed = 9"},
		{"10^18 states", lines(60), persist.Search{At: persist.AtEnd}, -1, 0, "distinct of about 10^18 legal states at 1 event; of 1 event with more"},
		{"equal images", flushed, persist.Search{At: persist.AtFence}, 3, 0, "3 distinct of 5 legal states at 3 events, 2 others with images visited before; that is all"},
		{"a limit", lines(12), persist.Search{At: persist.AtEnd, Limit: 100}, 100, 0, "100 distinct of 4096 legal states at 1 event; limit = 100, shared between the events, left the others out"},
		{"a limit that leaves nothing out", again, persist.Search{At: persist.AtStore, Limit: 3}, 2, 0, "2 distinct of 21 legal states at 11 events, 19 others with images visited before; that is all"},
		{"a loop that ends", lines(12), persist.Search{At: persist.AtEnd}, 4096, 7, "7 distinct of 4096 legal states at 1 event; the loop ended it"},
		{"a line with 140 stores", crowded, persist.Search{At: persist.AtEnd}, 129, 0, "129 distinct of 129 legal states at 1 event; taken for written back are the oldest 12 stores of lines with more than 128 undecided"},
		{"no promise", flushed, persist.Search{At: persist.AtEnd, Reading: reading(persist.Nothing)}, 4, 0, "4 distinct of 4 legal states at 1 event; that is all"},
		{"two CPUs", events(st(0, A, 1), st(1, A+8, 2)), persist.Search{At: persist.AtEnd}, 3, 0, "3 distinct of 3 legal states at 1 event; stores of 2 CPUs count as visible when they were made: no state has one that waits in its CPU's store buffer"},
		{"clflush", events(st(0, A, 1), fl(0, A, observe.CLFLUSH)), persist.Search{At: persist.AtEnd}, 2, 0, "that is all; CLFLUSH as on AMD's processors"},
		{"clflush as Intel's", events(st(0, A, 1), fl(0, A, observe.CLFLUSH)), persist.Search{At: persist.AtEnd, Reading: persist.Reading{IntelCLFLUSH: true}}, 2, 0, "that is all; CLFLUSH as on Intel's processors"},
		{"a vector", vector(A, 0), persist.Search{At: persist.AtEnd}, 4, 0, "that is all; stores of 16 bytes may be torn at 8"},
		{"a vector on a processor with AVX", vector(A, 0), persist.Search{At: persist.AtEnd, Reading: persist.Reading{Atomic16: true}}, 2, 0, "that is all; aligned stores of 16 bytes are whole"},
		{"a race", events(kind(st(0, A, 1), observe.NonTemporal), st(1, A, 2), fe(0, observe.SFENCE)), persist.Search{At: persist.AtEnd}, 2, 0, "; 1 non-temporal store that waited while another CPU stored to its bytes became visible as the guest's memory shows"},
		{"eADR", flushed, persist.Search{At: persist.AtEnd, Reading: reading(persist.EADR)}, 1, 0, "1 distinct of 1 legal states at 1 event; that is all"},
	} {
		_, j, media, _ := feed(tt.events, len(tt.events), persist.ADR, persist.Config{}, true)
		seen, n := map[string]bool{}, 0
		for s := range tt.search.States(j) {
			if n++; n < 50 {
				img := imageOf(s, media)
				if seen[img] {
					t.Errorf("%s: the image of state %s was visited before", tt.name, s.ID)
				}
				seen[img] = true
			}
			if n >= 8 {
				continue
			}
			if again, err := j.Find(s.ID); err != nil || imageOf(again, media) != imageOf(s, media) {
				t.Errorf("%s: Find(%s) is another state (%v)", tt.name, s.ID, err)
			}
			if n == tt.stop {
				break
			}
		}
		if tt.stop > 0 && n != tt.stop || tt.stop == 0 && tt.states >= 0 && n != tt.states || tt.states < 0 && (n > 4096 || n < 2000) {
			t.Errorf("%s: %d states were visited, want %d", tt.name, n, tt.states)
		}
		got := regexp.MustCompile(`, \d{3,} others`).ReplaceAllString(tt.search.Coverage(tt.stop > 0), ", N others")
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: coverage %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := (&persist.Search{}).Coverage(true); got != "no states were visited" {
		t.Errorf("coverage of nothing is %q", got)
	}
}

func reading(p persist.Platform) persist.Reading { return persist.Reading{Platform: &p} }

// TestExplicitReading: a fence that is there for another reason counts for
// the processor and not for a careful reader; the ids tell the two apart.
func TestExplicitReading(t *testing.T) {
	list := events(st(0, A, 1), fl(0, A, observe.CLWB), fe(0, observe.Lock))
	_, j, _, _ := feed(list, len(list), persist.ADR, persist.Config{}, true)
	arch := ids(j, persist.Search{At: persist.AtEnd})
	lint := ids(j, persist.Search{At: persist.AtEnd, Reading: persist.Reading{Explicit: true}})
	if len(arch) != 1 || len(lint) != 2 || !strings.Contains(lint[0], ".explicit-") {
		t.Errorf("states %v, with fences by name only %v; want one and two, whose ids say so", arch, lint)
	}
	for _, id := range []string{"", "1", "1.x0", "1.y0-0", "1.x-0", "a.x0-0", "1.x0.szz-0", "1.x0.pmem-0", "-1.x0-0", "1.x99-0"} {
		if s, err := j.Find(id); err == nil {
			t.Errorf("Find(%q) = %v, want an error", id, s.ID)
		}
	}
}

// TestRulesAreCited: every rule of the package's page has a place in the code
// that keeps it.
func TestRulesAreCited(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	code := ""
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(f, "_test.go") {
			_, body, _ := strings.Cut(string(text), "package persist\n")
			code += body
		}
	}
	code = regexp.MustCompile(`R3 to R5`).ReplaceAllString(code, "R3 R4 R5")
	for n := 1; n <= 18; n++ {
		if !regexp.MustCompile(fmt.Sprintf(`\bR%d\b`, n)).MatchString(code) {
			t.Errorf("no code says that it keeps R%d", n)
		}
	}
}

// TestManyLines: a program that copied 256 KiB by REP MOVSB and flushed
// nothing has more states than memory could hold; some of each line are
// looked at, and that there are more is told.
func TestManyLines(t *testing.T) {
	t.Parallel()
	const n = 1 << 12
	mem := make(persist.Bytes, n*persist.LineSize)
	m := persist.NewModel(persist.Config{})
	m.Map(0, persist.NewMedium("nvdimm1", persist.ADR, mem), 0)
	j, err := m.Record(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(mem) / 4 {
		e := observe.Store{Offset: uint64(i) * 4, Value: 0xffffffff, Size: 4, Kind: observe.String, Group: 1}
		j.Store(&e)
		m.Store(&e)
		copy(mem[i*4:], "\xff\xff\xff\xff")
	}
	s := persist.Search{At: persist.AtEnd, Limit: 10}
	visited := 0
	for range s.Views(j) {
		visited++
	}
	if got := s.Coverage(false); visited != 10 || !strings.Contains(got, "10 distinct of at least about 10^") {
		t.Errorf("%d states, coverage %q", visited, got)
	}
	m.Cut(persist.KeepRandom, 1).Apply(m)
	if kept := strings.Count(string(mem), "\xff\xff\xff\xff"); kept == 0 || kept == len(mem)/4 {
		t.Errorf("a random cut keeps %d of %d stores, want some", kept, len(mem)/4)
	}
	if list := j.Missing(); len(list) != 1 || list[0].Bytes != len(mem) {
		t.Errorf("missing: %d findings, want one of all bytes", len(list))
	}
}

// TestStop: a search that is stopped says how far it came, wherever it was, and not that this is all.
func TestStop(t *testing.T) {
	var list []any
	for i := range 10 {
		list = append(list, st(0, A+8*i, 1), fl(0, A+8*i, observe.CLWB), fe(0, observe.SFENCE))
	}
	_, j, _, _ := feed(list, len(list), persist.ADR, persist.Config{}, true)
	all := persist.Search{At: persist.AtFence}
	for range all.States(j) {
	}
	for _, limit := range []int{0, all.Visited, 3} {
		asked, last := 0, -1
		for stop := 0; ; stop++ {
			asked = 0
			search := persist.Search{At: persist.AtFence, Limit: limit, Stop: func() bool { asked++; return asked > stop }}
			n := 0
			for range search.States(j) {
				n++
			}
			coverage := search.Coverage(false)
			if n != search.Visited || n < last {
				t.Fatalf("limit %d: stopped at question %d it says that %d states were visited, and %d were; one question less: %d", limit, stop, search.Visited, n, last)
			}
			if last = n; !search.Ended {
				break
			}
			if !strings.Contains(coverage, "; it was ended before event ") || strings.Contains(coverage, "that is all") {
				t.Fatalf("limit %d: stopped at question %d it says: %s", limit, stop, coverage)
			}
		}
		if want := min(all.Visited, cmp.Or(limit, all.Visited)); last != want {
			t.Errorf("limit %d: %d states, want %d", limit, last, want)
		}
	}
}
