package explore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nvlab/internal/expect"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// randomJournal is what a random program of two CPUs did to two DIMMs and a
// label area. Part of it came before the journal.
func randomJournal(t *testing.T, r *rand.Rand, events int) *persist.Journal {
	platforms := []persist.Platform{persist.ADR, persist.ADR, persist.EADR, persist.Hints, persist.Nothing}
	m := persist.NewModel(persist.Config{})
	var mem []persist.Bytes
	for i := range 2 {
		mem = append(mem, make(persist.Bytes, 4*LineSize))
		m.Map(uint64(i)<<20, persist.NewMedium(fmt.Sprint("nvdimm", i), platforms[r.IntN(len(platforms))], mem[i]), 0)
	}
	label := make([]byte, 64)
	var j *persist.Journal
	began := r.IntN(events / 2)
	group := uint64(0)
	for i := range events {
		if i == began {
			var err error
			if j, err = m.Record([]*persist.Labels{{Name: "nvdimm0", Read: func() ([]byte, error) { return label, nil }}}); err != nil {
				t.Fatal(err)
			}
		}
		at := observe.At{Seq: uint64(i), PC: uint64(r.IntN(5)), VCPU: uint8(r.IntN(2) * r.IntN(2))}
		dimm, offset := r.IntN(2), uint64(r.IntN(3))*LineSize
		switch r.IntN(8) {
		case 0, 1, 2, 3:
			e := observe.Store{At: at, Base: uint64(dimm) << 20, Offset: offset + uint64(r.IntN(2))*8, Size: 1 << r.IntN(4), Value: uint64(r.IntN(3)), Group: group}
			if r.IntN(4) == 0 {
				e.Kind = []observe.Kind{observe.NonTemporal, observe.String, observe.Vector}[r.IntN(3)]
			}
			if group++; e.Kind == observe.String && r.IntN(2) == 0 {
				group--
			}
			if j != nil {
				j.Store(&e)
			}
			m.Store(&e)
			for b := range int(e.Size) {
				mem[dimm][int(e.Offset)+b] = byte(e.Value >> (8 * b))
			}
		case 4, 5:
			e := observe.Flush{At: at, Base: uint64(dimm) << 20, Offset: offset, Op: observe.FlushOp(r.IntN(3))}
			if j != nil {
				j.Flush(&e)
			}
			m.Flush(&e)
		case 6:
			e := observe.Fence{At: at, Order: []observe.Order{observe.SFENCE, observe.MFENCE, observe.Lock}[r.IntN(3)]}
			if j != nil {
				j.Fence(&e)
			}
			m.Fence(&e)
		case 7:
			if d := m.Media()[dimm]; r.IntN(2) == 0 {
				if j != nil {
					j.Hint(d, at)
				}
				m.Hint(d)
			} else if j != nil {
				data := make([]byte, 1+r.IntN(20))
				for k := range data {
					data[k] = byte(r.IntN(2))
				}
				j.Label(0, uint64(r.IntN(3)*8), data, at)
				// The area is read at the beginning only.
			}
		}
	}
	return j
}

// image is all that a state leaves.
func image(lines []persist.Line, labels [][]byte) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %d %x\n", l.Medium.Name, l.N, l.Bytes)
	}
	return b.String() + fmt.Sprintf("%x", labels)
}

// imageOf is that of a state of a space.
func imageOf(tr *Trace, s *State) string {
	var lines []persist.Line
	for i := range tr.places {
		d, n := tr.Place(i)
		lines = append(lines, persist.Line{Medium: d, N: n, Bytes: *s.Content(i)})
	}
	slices.SortFunc(lines, func(x, y persist.Line) int {
		return strings.Compare(fmt.Sprintf("%s %8d", x.Medium.Name, x.N), fmt.Sprintf("%s %8d", y.Medium.Name, y.N))
	})
	var labels [][]byte
	for i := range tr.journal.LabelAreas() {
		labels = append(labels, tr.Label(s, i))
	}
	return image(lines, labels)
}

// TestOfJournal: the space has the states that a search visits, and no others,
// as many of them as the search says there are, and their ids are found.
func TestOfJournal(t *testing.T) {
	torn, labels := 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 6))
		j := randomJournal(t, r, 4+r.IntN(24))
		search := persist.Search{At: []persist.What{persist.AtFence, persist.AtStore, persist.AtAny, persist.AtLabel}[r.IntN(4)]}
		if r.IntN(3) == 0 {
			p := persist.Platform(r.IntN(4))
			search.Platform = &p
		}
		tr := OfJournal(j, search)
		want := map[string]bool{}
		for s := range search.States(j) {
			want[image(s.Image())] = true
		}
		if search.Sampled > 0 {
			continue
		}
		if tr.Legal().Cmp(search.Legal) != 0 || tr.Points() != search.Points || tr.Search.Caveats() != search.Caveats() {
			t.Fatalf("seed %d: %v states of %d points, want %v of %d", seed, tr.Legal(), tr.Points(), search.Legal, search.Points)
		}
		got := map[string]bool{}
		found, err := Explore(context.Background(), tr.Space, func(_ context.Context, s *State) (Execution, error) {
			return Execution{Answer: s.ID()}, nil
		}, Options{Depth: -1, Torn: -1, NoPrune: true, Workers: 1})
		if err != nil || !found.All() {
			t.Fatalf("seed %d: %s (%v)", seed, found.Coverage(), err)
		}
		for _, l := range found.Leaves {
			s, err := tr.State(l.Point, l.All, l.Changes...)
			if err != nil {
				t.Fatal(err)
			}
			img := imageOf(tr, s)
			if got[img] {
				t.Fatalf("seed %d: the image of %s was run before", seed, l.ID)
			}
			got[img] = true
			if !want[img] {
				t.Fatalf("seed %d: %s is\n%s\nwhich no state of the search is", seed, l.ID, img)
			}
			at, err := j.Find(l.ID)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if found := image(at.Image()); found != img || at.Event != tr.Event(s) {
				t.Fatalf("seed %d: Find(%s) is\n%s\nwant\n%s", seed, l.ID, found, img)
			}
			if strings.Contains(l.ID, "t") {
				torn++
			}
			if strings.Contains(l.ID, "w") {
				labels++
			}
			// What differs from the beginning is all that has to be written.
			n := 0
			for d, l := range tr.Image(s) {
				if i, ok := tr.LineOf(d, l.N); !ok || *s.Content(i) != l.Bytes {
					t.Fatalf("seed %d: line %d of %s is %x", seed, l.N, d.Name, l.Bytes)
				}
				n++
			}
			for i := range tr.places {
				if *s.Content(i) != tr.start[i] {
					n--
				}
			}
			if n != 0 {
				t.Fatalf("seed %d: %d lines too many are written", seed, n)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d images, want %d", seed, len(got), len(want))
		}
	}
	if torn == 0 || labels == 0 {
		t.Errorf("%d torn lines, %d torn label writes: want some", torn, labels)
	}
}

// TestFindRefuses: ids of states that a trace has not are errors.
func TestFindRefuses(t *testing.T) {
	j := randomJournal(t, rand.New(rand.NewPCG(1, 6)), 20)
	for _, id := range []string{"3.n", "3.n40t0-0", "3.n41-0", "3.nw-0", "3.nw99-0", "3.n3:40-0", "3.e99940-0", "3.n-1:40-0", "3.n40t999-0", "3.n40+-0", "3.nx-0"} {
		if s, err := j.Find(id); err == nil {
			t.Errorf("Find(%q) = %s, want an error", id, s.ID)
		}
	}
}

// recordedJournal is that of a real guest that made a namespace in sector mode
// and wrote three sectors.
func recordedJournal(t testing.TB) *persist.Journal {
	t.Helper()
	j, err := persist.Load(expect.Gunzipped(t, "../persist/testdata/sector.journal.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestRecorded explores a real guest's journal, with a recovery that decides
// by what it read what it reads next.
func TestRecorded(t *testing.T) {
	j := recordedJournal(t)
	tr := OfJournal(j, persist.Search{At: persist.AtFence})
	watched := 0
	for range tr.Watched() {
		watched++
	}
	r, err := Explore(context.Background(), tr.Space, func(_ context.Context, s *State) (Execution, error) {
		var e Execution
		sum := byte(0)
		for i := 0; i < tr.Lines() && len(e.Reads) < 8; i += 1 + int(sum)%3 {
			e.Reads = append(e.Reads, Read{Line: i, Bytes: 0xff})
			sum += s.Content(i)[0]
		}
		e.Answer = fmt.Sprint(sum % 4)
		return e, nil
	}, Options{Depth: 2, Torn: 1})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Complete || len(r.Leaves) < 2 || watched == 0 || watched > tr.Lines() {
		t.Errorf("%d of %d lines are watched; %s", watched, tr.Lines(), r.Coverage())
	}
	for _, l := range r.Leaves {
		if _, err := j.Find(l.ID); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d lines, %d points: %s", watched, tr.Points(), r.Coverage())
}
