package label

import (
	"bytes"
	"strings"
	"testing"
)

// update is an area before and after a label was added as Linux does it: the
// slot, then the index block that is not current.
type update struct {
	before, after []byte
	writes        [][2]int // ranges that differ, in order
}

func newUpdate(t testing.TB, v Version) update {
	area := make([]byte, MinSize)
	if err := Init(area, v); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		l := Label{UUID: UUID{1, byte(i)}, Name: "old", NLabel: 1, DPA: uint64(i) << 24, RawSize: 1 << 24}
		if _, err := Add(area, l); err != nil {
			t.Fatal(err)
		}
	}
	u := update{before: bytes.Clone(area)}
	slot, err := Add(area, Label{UUID: UUID{2}, Name: "new", NLabel: 1, DPA: 3 << 24, RawSize: 1 << 24})
	if err != nil {
		t.Fatal(err)
	}
	u.after = area
	a := Parse(area)
	u.writes = [][2]int{
		{a.Geometry.LabelOffset(slot), a.Geometry.LabelOffset(slot + 1)},
		{a.Current * a.Geometry.IndexSize, (a.Current + 1) * a.Geometry.IndexSize},
	}
	return u
}

// states visits the area torn after every 8 bytes of every write. It is valid
// during the visit.
func (u update) states(visit func(write, torn int, area []byte)) {
	area := bytes.Clone(u.before)
	for i, w := range u.writes {
		for at := w[0]; at < w[1]; at += 8 {
			visit(i, at-w[0], area)
			copy(area[at:at+8], u.after[at:])
		}
	}
	visit(len(u.writes), 0, area)
}

func TestJudge(t *testing.T) {
	for _, v := range []Version{V11, V12} {
		u := newUpdate(t, v)
		j := NewJudge(u.before, u.after)
		n := 0
		u.states(func(write, torn int, area []byte) {
			n++
			if err := j.Check(area); err != nil {
				t.Errorf("version %v, write %d torn after %d bytes: %v", v, write, torn, err)
			}
		})
		if n < 40 {
			t.Errorf("version %v: %d states, want dozens", v, n)
		}
	}
}

func TestJudgeFinds(t *testing.T) {
	u := newUpdate(t, V12)
	a := Parse(u.before)
	j := NewJudge(u.before, u.after)
	for name, tt := range map[string]struct {
		damage func(area []byte)
		want   string
	}{
		"no index":             {func(p []byte) { p[0], p[a.Geometry.IndexSize] = 0, 0 }, "no index block is valid"},
		"the index before":     {func(p []byte) { p[a.Current*a.Geometry.IndexSize] = 0 }, "namespaces in force"},
		"an old label changed": {func(p []byte) { p[a.Geometry.LabelOffset(1)+20]++ }, "namespaces in force"},
		"an old label is zero": {func(p []byte) { clear(p[a.Geometry.LabelOffset(0):a.Geometry.LabelOffset(1)]) }, "namespaces in force"},
		"all zero":             {func(p []byte) { clear(p) }, "none"},
	} {
		area := bytes.Clone(u.before)
		tt.damage(area)
		if err := j.Check(area); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Check() = %v, want an error with %q", name, err, tt.want)
		}
	}
	if err := j.Check(nil); err == nil {
		t.Error("an area of no bytes is judged sound")
	}
}

func FuzzJudge(f *testing.F) {
	u := newUpdate(f, V12)
	f.Add(u.before[:4096])
	f.Add([]byte{})
	j := NewJudge(u.before, u.after)
	f.Fuzz(func(t *testing.T, area []byte) {
		same := namespaces(area) == namespaces(u.before) || namespaces(area) == namespaces(u.after)
		if err := j.Check(area); err == nil && !same {
			t.Errorf("an area is judged sound whose namespaces are %s", namespaces(area))
		}
	})
}

// BenchmarkJudge judges the states of a torn update.
func BenchmarkJudge(b *testing.B) {
	u := newUpdate(b, V12)
	j := NewJudge(u.before, u.after)
	n := 0
	for b.Loop() {
		u.states(func(_, _ int, area []byte) {
			n++
			if err := j.Check(area); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "states/s")
}
