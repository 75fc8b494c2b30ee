package power

import (
	"os"
	"path/filepath"
	"testing"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// TestSharedRange plugs three NVDIMMs on overlapping parts of one file, by two
// names, into a machine. A byte of the file is durable when it was made so
// through any of them, whoever stored to it.
func TestSharedRange(t *testing.T) {
	const page = backend.PageSize
	dir := t.TempDir()
	one, two := filepath.Join(dir, "pmem.img"), filepath.Join(dir, "again.img")
	if err := os.WriteFile(one, make([]byte, 4*page), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(one, two); err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, nvdimm.Config{})
	starts := [3]uint64{page, 0, 0}
	dimms := [3]*nvdimm.DIMM{
		m.plug(backend.FileConfig{Path: one, Offset: page, Size: 2 * page}, 0),
		m.plug(backend.FileConfig{Path: two, Offset: 0, Size: 2 * page}, 0),
		m.plug(backend.FileConfig{Path: one, Offset: 0, Size: 4 * page}, 0),
	}
	m.powerOn()
	// store stores through DIMM i at an offset of the file.
	store := func(i int, at uint64, v byte, durable bool) {
		m.store(dimms[i], at-starts[i], v)
		if durable {
			m.persist(dimms[i], at-starts[i])
		}
	}
	store(0, page, 1, false)
	store(1, page, 2, true) // the same byte, by another name
	store(2, 2*page, 3, false)
	store(0, 2*page, 4, true)
	store(1, 64, 5, false)
	store(2, 64, 6, true)
	store(2, 3*page, 7, true)
	store(1, 128, 8, false)
	store(1, page+64, 9, false) // all three have the page
	store(2, page+64, 10, true)
	store(2, page+128, 11, false)
	store(1, page+128, 12, true)
	m.tracker.Fail(persist.KeepNone, false)
	m.powerOff()
	file := contents(t, dimms[0])
	for _, want := range []struct{ at, v int }{{page, 2}, {2 * page, 4}, {64, 6}, {3 * page, 7}, {128, 0}, {page + 64, 10}, {page + 128, 12}} {
		if got := file[want.at]; got != byte(want.v) {
			t.Errorf("after the power failed the file has %d at %#x, want %d", got, want.at, want.v)
		}
	}
}

// TestSharedRangeHint: a flush hint of a DIMM makes durable what reached the
// controller of the bytes that it shows, also those that another shows.
func TestSharedRangeHint(t *testing.T) {
	const page = backend.PageSize
	path := filepath.Join(t.TempDir(), "pmem.img")
	if err := os.WriteFile(path, make([]byte, 3*page), 0o644); err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, nvdimm.Config{FlushHints: 1, HintBase: 1 << 31})
	first := m.plug(backend.FileConfig{Path: path, Size: 2 * page}, 0)
	second := m.plug(backend.FileConfig{Path: path, Offset: page, Size: 2 * page}, 0)
	m.powerOn()
	for i, d := range []*nvdimm.DIMM{first, second} {
		m.store(d, uint64(1-i)*page+uint64(i)*64, 1) // both in the page that both show
		m.persist(d, uint64(1-i)*page+uint64(i)*64)
	}
	m.hint(second)
	m.tracker.Fence(&observe.Fence{Order: observe.SFENCE})
	m.store(second, page, 2)
	m.persist(second, page) // it reaches the controller, and no hint follows
	m.tracker.Fail(persist.KeepNone, false)
	m.powerOff()
	file := contents(t, first)
	if file[page] != 1 || file[page+64] != 1 || file[2*page] != 0 {
		t.Errorf("after the power failed the file has %d and %d in what was hinted, and %d in what was not, want 1, 1, 0", file[page], file[page+64], file[2*page])
	}
}

// TestRemove: a DIMM whose plugging failed leaves nothing behind, and another
// may take its slot.
func TestRemove(t *testing.T) {
	m := newMachine(t, nvdimm.Config{})
	first := m.plugNew()
	m.powerOn()
	gone := m.plugNew()
	if err := m.tracker.Add(gone); err != nil {
		t.Fatal(err)
	}
	m.tracker.Remove(gone)
	gone.Unmap()
	m.root.Withdraw(gone)
	d := m.plugNew()
	if err := m.tracker.Add(d); err != nil {
		t.Fatal(err)
	}
	if d.Slot() != gone.Slot() {
		t.Fatalf("the second DIMM is in slot %d, want %d again", d.Slot(), gone.Slot())
	}
	for _, d := range []*nvdimm.DIMM{first, d} {
		m.store(d, 0, 1)
		m.persist(d, 0)
		m.store(d, 64, 1)
	}
	m.tracker.Fail(persist.KeepNone, false)
	m.powerOff()
	for _, d := range []*nvdimm.DIMM{first, d} {
		if file := contents(t, d); file[0] != 1 || file[64] != 0 {
			t.Errorf("after the power failed %s has %d and %d, want what was made durable, 1, and 0", d.ID(), file[0], file[64])
		}
	}
}
