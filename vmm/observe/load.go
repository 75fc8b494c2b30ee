package observe

import (
	"cmp"
	"slices"
)

// A Load reads 1 to 64 bytes of one line of 64 bytes. It comes before the
// bytes are read, so that of an instruction that reads and writes the Load
// comes before the Store.
type Load struct {
	At
	Base   uint64 // guest-physical, of the observed region
	Offset uint64 // in bytes, within it
	Size   uint8
	Kind   LoadKind
}

// LoadKind says who reads. The zero LoadKind is an instruction that reads its
// operand.
type LoadKind uint8

const (
	Fetch      LoadKind = 1 + iota // of instructions
	Walk                           // of a page table
	DeviceLoad                     // by a device, not a CPU
)

// A LoadObserver gets loads of the lines of a Watch, in order with the stores
// that an Observer gets of the same machine.
type LoadObserver interface {
	// Load is a load about to happen. With done it says that it needs no
	// further loads of the line, which the engine may then stop watching.
	Load(*Load) (done bool)
}

// A Copy is bytes that a string instruction copies from watched lines of one page
// to ordinary memory, to one page of it, where they are as they were.
type Copy struct {
	At
	Base   uint64 // guest-physical, of the region that they come from
	Offset uint64 // in bytes, within it
	To     uint64 // guest-physical
	Size   uint64 // in bytes
}

// A CopyObserver is a LoadObserver that follows copies. It is told of a copy
// instead of the loads that the copy is made of. The lines of a page that the answer
// names, bit 0 the first, are watched from then on, instead of those of that
// page that were, though they are ordinary memory; what is stored over them is
// told, if it is not too much trouble: a store that is not told only makes states
// distinct that are one.
type CopyObserver interface {
	LoadObserver
	// Copy is a copy about to happen. The lines are those of the page of e.To.
	Copy(e *Copy) (lines uint64)
	// Overwritten is a store of n bytes within a page of ordinary memory with
	// watched lines.
	Overwritten(addr, n uint64) (lines uint64)
}

// A LoadWatcher is an engine, or a machine, that can tell of loads.
//
// WatchLoads has it tell of every access that may bring bytes of a watched line
// to where the guest or a device can tell them from others: operands of
// instructions, also of those that read, modify and write; fetches; page walks;
// reads by devices. It may tell of more bytes of the line than are read, and of
// loads that do not happen (speculation, an instruction that faults or is begun
// anew): both only make two states distinct that are one. It must not leave a
// load out. Loads from other lines, which may be in the same page, it need not
// tell of and should not be slowed by. A nil Watch ends it. An engine that cannot see
// loads, such as one that runs the guest's code on the host's processor, gives
// an error.
//
// What reads memory past the engine, as a host that looks at a backend, has to
// be told to the observer by who does it.
type LoadWatcher interface {
	WatchLoads(*Watch, LoadObserver) error
}

// A LoadStopper is an engine, or a machine, whose Run can end before a load.
//
// StopBefore has Run end before an instruction that loads from one of the lines, is
// fetched from there, or walks a page table there. It has changed nothing, and the guest's
// clock is what it was after the instruction before; a Run that follows ends at once,
// until other lines are given, or nil. The Watch is not changed any more.
//
// StoppedBefore says that the processors stand before such a load; and passed, that one
// was made since StopBefore: by a device or the host, while a processor entered a handler,
// or by an instruction that takes something from the one before (interrupts that STI holds
// off, a trap of TF), after which it would not be the same.
type LoadStopper interface {
	StopBefore(*Watch)
	StoppedBefore() (stands, passed bool)
}

// watchPage is the page that a Watch has a word for, in bytes.
const watchPage = 4096

// lineSize is the size of a line in bytes.
const lineSize = 64

// A Watch is lines whose loads are told. Its zero value has none.
type Watch struct {
	pages   map[uint64]uint64 // by page: a bit for each line
	whole   []pageRange
	sorted  bool            // whole ascends, and no two of it touch
	dropped map[uint64]bool // pages of whole
}

// A pageRange is pages from the first up to the end, by number.
type pageRange struct{ first, end uint64 }

// AddPages adds all lines of the pages of n bytes. Of such a page all lines are
// dropped with the first.
func (w *Watch) AddPages(addr, n uint64) {
	if n > 0 {
		w.whole, w.sorted = append(w.whole, pageRange{addr / watchPage, (addr+n-1)/watchPage + 1}), false
	}
}

// AddLines adds all lines of a page, each of which is dropped by itself, also if the
// page came with AddPages before.
func (w *Watch) AddLines(addr uint64) {
	w.leave(addr / watchPage)
	w.SetPage(addr, ^uint64(0))
}

// leave has the lines of a page that came with AddPages count by themselves.
func (w *Watch) leave(page uint64) {
	if w.isWhole(page) {
		if w.dropped == nil {
			w.dropped = map[uint64]bool{}
		}
		w.dropped[page] = true
	}
}

// isWhole says that a page came with AddPages, and is watched still.
func (w *Watch) isWhole(page uint64) bool {
	if !w.sorted {
		w.sort()
	}
	list := w.whole
	for len(list) > 1 {
		if half := len(list) / 2; page < list[half].first {
			list = list[:half]
		} else {
			list = list[half:]
		}
	}
	return len(list) == 1 && page-list[0].first < list[0].end-list[0].first && !w.dropped[page]
}

// sort joins the ranges that touch: the lines of an interleave set come one by one.
func (w *Watch) sort() {
	slices.SortFunc(w.whole, func(a, b pageRange) int { return cmp.Compare(a.first, b.first) })
	joined := w.whole[:0]
	for _, r := range w.whole {
		if k := len(joined) - 1; k >= 0 && r.first <= joined[k].end {
			joined[k].end = max(joined[k].end, r.end)
		} else {
			joined = append(joined, r)
		}
	}
	w.whole, w.sorted = joined, true
}

// Add adds the line of a guest-physical address.
func (w *Watch) Add(addr uint64) {
	if w.pages == nil {
		w.pages = map[uint64]uint64{}
	}
	w.pages[addr/watchPage] |= bitOf(addr)
}

// SetPage has those lines of the page of an address watched and no others. It is
// not for pages of AddPages.
func (w *Watch) SetPage(addr, lines uint64) {
	page := addr / watchPage
	if lines == 0 {
		delete(w.pages, page)
		return
	}
	if w.pages == nil {
		w.pages = map[uint64]uint64{}
	}
	w.pages[page] = lines
}

// Drop takes the line of an address out, and says that none is left in its
// page.
func (w *Watch) Drop(addr uint64) (empty bool) {
	page := addr / watchPage
	w.leave(page)
	left := w.pages[page] &^ bitOf(addr)
	if left == 0 {
		delete(w.pages, page)
		return true
	}
	w.pages[page] = left
	return false
}

// Page says which lines of the page of an address are watched, bit 0 the first.
func (w *Watch) Page(addr uint64) uint64 {
	page := addr / watchPage
	if w.isWhole(page) {
		return ^uint64(0)
	}
	return w.pages[page]
}

// Has says that the line of an address is watched.
func (w *Watch) Has(addr uint64) bool { return w.Page(addr)&bitOf(addr) != 0 }

func bitOf(addr uint64) uint64 { return 1 << (addr % watchPage / lineSize) }
