package lab

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"nvlab/internal/pages"
	"nvlab/internal/states"
	"nvlab/nvdimm/power"
	"nvlab/vmm/observe"
)

// A touchedPage is a page of an NVDIMM, or of its label area.
type touchedPage struct {
	Slot   int
	Offset uint64 // within the backend
}

func (p touchedPage) compare(o touchedPage) int {
	return cmp.Or(cmp.Compare(p.Slot, o.Slot), cmp.Compare(p.Offset, o.Offset))
}

// A condition is what a page has to hold for a state to be what would be
// computed.
type condition struct {
	touchedPage
	Sum states.Sum
}

// A writtenPage is a page as it was afterwards.
type writtenPage struct {
	touchedPage
	Bytes []byte
}

// A pageWatch notes the pages of NVDIMMs that a guest reads or writes, and what
// they held before it did.
type pageWatch struct {
	v      *VM
	before map[touchedPage]states.Sum
	err    error // a page could not be read, or power failed
}

var (
	_ observe.LoadObserver = (*pageWatch)(nil)
	_ power.Watcher        = (*pageWatch)(nil)
)

func newPageWatch(v *VM) *pageWatch {
	w := &pageWatch{v: v, before: map[touchedPage]states.Sum{}}
	v.power.Watch(w)
	return w
}

// maxTouched bounds the pages that are looked at: more take longer than they
// save.
const maxTouched = 2048

// arm has a machine that is new tell of its loads.
func (w *pageWatch) arm() error {
	watch := &observe.Watch{}
	for _, d := range w.v.dimms {
		d.watchPages(watch)
	}
	return w.v.m.WatchLoads(watch, w)
}

// watchPages adds all pages of the NVDIMM's memory.
func (d *NVDIMM) watchPages(w *observe.Watch) {
	for addr, n := range d.Addresses(0, d.Size()) {
		w.AddPages(addr, n)
	}
}

// end tells of no more.
func (w *pageWatch) end() {
	w.v.power.Watch(nil)
	if w.v.m != nil {
		w.v.m.WatchLoads(nil, nil)
	}
}

// Load is a load of the guest.
func (w *pageWatch) Load(e *observe.Load) (done bool) {
	w.at(e.Base + e.Offset)
	return true
}

// Store is a store of the guest. What it leaves of the page is read by whoever
// keeps the page.
func (w *pageWatch) Store(e *observe.Store) { w.at(e.Base + e.Offset) }

// Stream is stores that were made already. What a page held before is what it
// holds without them, from the last to the first.
func (w *pageWatch) Stream(s *observe.Stream) {
	const inPage = pages.Size - 1
	for i := 0; i < len(s.Stores) && w.err == nil; {
		page := s.Stores[i].Offset &^ inPage
		if d, off, ok := w.v.root.Locate(s.Base + page); ok {
			w.noteAs(w.v.handle(d), off, func(b []byte) {
				for _, o := range slices.Backward(s.Stores) {
					if o.Offset&^inPage == page {
						binary.LittleEndian.PutUint64(b[o.Offset&inPage:], o.Old)
					}
				}
			})
		}
		for i < len(s.Stores) && s.Stores[i].Offset&^inPage == page {
			i++
		}
	}
}

// Call is a call of a DIMM's functions: it may read or write the label area.
func (w *pageWatch) Call(slot int) {
	for _, d := range w.v.dimms {
		if size := d.backend.Size(); d.Slot() == slot {
			for off := (size - d.LabelSize()) &^ (pages.Size - 1); off < size; off += pages.Size {
				w.note(d, off)
			}
		}
	}
}

// Failure ends it: what follows is no boot.
func (w *pageWatch) Failure() { w.err = cmp.Or(w.err, fmt.Errorf("the power failed")) }

func (w *pageWatch) at(addr uint64) {
	d, off, ok := w.v.root.Locate(addr)
	if !ok {
		return
	}
	w.note(w.v.handle(d), off&^(pages.Size-1))
}

// note is for a page about to be touched.
func (w *pageWatch) note(d *NVDIMM, off uint64) { w.noteAs(d, off, func([]byte) {}) }

// noteAs is for a page that held what before makes of what it holds.
func (w *pageWatch) noteAs(d *NVDIMM, off uint64, before func([]byte)) {
	p := touchedPage{d.Slot(), off}
	if _, ok := w.before[p]; ok || w.err != nil {
		return
	}
	if len(w.before) == maxTouched {
		w.err = errors.New("too many pages to look at")
		return
	}
	b, err := d.readPage(off)
	if err != nil {
		w.err = err
		return
	}
	before(b)
	w.before[p] = sha256.Sum256(b)
}

// readPage is what the guest sees of a page.
func (d *NVDIMM) readPage(off uint64) ([]byte, error) {
	size := d.backend.Size()
	if off >= size {
		return nil, fmt.Errorf("a page at %#x of a backend of %#x bytes", off, size)
	}
	b := make([]byte, min(pages.Size, size-off))
	_, err := d.backend.b.ReadAt(b, int64(off))
	return b, err
}

// any says that there is something to tell of.
func (w *pageWatch) any() bool { return len(w.before) > 0 || w.err != nil }

// result is what the pages held before, and those that hold something else now.
func (w *pageWatch) result() (conditions []condition, written []writtenPage, err error) {
	if w.err != nil {
		return nil, nil, w.err
	}
	for _, p := range slices.SortedFunc(maps.Keys(w.before), touchedPage.compare) {
		d := w.v.inSlot(p.Slot)
		if d == nil {
			return nil, nil, fmt.Errorf("there is no NVDIMM in slot %d any more", p.Slot)
		}
		b, err := d.readPage(p.Offset)
		if err != nil {
			return nil, nil, err
		}
		conditions = append(conditions, condition{p, w.before[p]})
		if sha256.Sum256(b) != w.before[p] {
			written = append(written, writtenPage{p, bytes.Clone(b)})
		}
	}
	return conditions, written, nil
}

// holds says that the NVDIMMs, which are mapped, hold what they have to.
func (v *VM) holds(list []condition) bool {
	for _, c := range list {
		d := v.inSlot(c.Slot)
		if d == nil {
			return false
		}
		if b, err := d.readPage(c.Offset); err != nil || sha256.Sum256(b) != c.Sum {
			return false
		}
	}
	return true
}
