package persist_test

import (
	"strings"
	"testing"

	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// TestFullCache: a guest that stores without a flush to all of a large NVDIMM
// does not fill the host's memory, and what was given up for that is told.
func TestFullCache(t *testing.T) {
	t.Parallel()
	const shrink = 16
	const size, room = 20 << 20 / shrink, 17 << 20 / shrink
	mem := make([]byte, size)
	m := persist.NewModel(persist.Config{})
	d := persist.NewMedium("nvdimm", persist.ADR, persist.Bytes(mem))
	d.Shrink(shrink)
	m.Map(0, d, 0)
	j, err := m.Record(nil)
	if err != nil {
		t.Fatal(err)
	}
	for off := uint64(0); off < size; off += 8 {
		e := observe.Store{Offset: off, Size: 8, Value: 1, Group: off}
		j.Store(&e)
		m.Store(&e)
		mem[off] = 1
		if n := d.Undecided() * persist.LineSize; n > room {
			t.Fatalf("after stores to %d bytes, %d are undecided, want at most %d", off, n, room)
		}
	}
	if decided := size - d.Undecided()*persist.LineSize; d.Spilled != decided/8 {
		t.Errorf("%d stores count as written back, want the %d of the lines that are decided", d.Spilled, decided/8)
	}
	search := persist.Search{At: persist.AtEnd, Limit: 1}
	for range search.Views(j) {
	}
	if got, want := search.Coverage(false), "taken for written back, as a cache does that is full, are the oldest "; !strings.Contains(got, want) {
		t.Errorf("coverage %q, want one with %q", got, want)
	}
	m.Cut(persist.KeepNone, 0).Apply(m)
	if mem[0] != 1 || mem[size-8] != 0 {
		t.Errorf("after a power cut the first store left %d and the last %d, want 1 and 0: the oldest are written back", mem[0], mem[size-8])
	}
}
