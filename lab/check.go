package lab

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"

	"nvlab/internal/pages"
	"nvlab/nvdimm/explore"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// A Check runs after a recovery, in a VM that has not looked at the NVDIMMs, as the
// recovery's had not, and finds on them what the recovery left. It makes the recovery's
// answer the execution's.
type Check func(ctx context.Context, state, answer string, v *VM) (string, error)

// A checker runs a Check once where it would do the same again.
//
// A check is deterministic, as a recovery is: it depends on the answer that it gets, and on
// the bytes of NVDIMMs that it reads before it overwrites them. So what it came to is known
// if an earlier one got the same answer and would find what it found. What it reads counts
// as read by the execution, but for what the recovery overwrote.
type checker struct {
	check Check
	known map[string][]*checked // by the recovery's answer, the latest used first
	kept  []*checked            // the same, the oldest first
	size  int                   // of them together
	anew  bool                  // run each, and believe none
}

// maxChecked bounds what a checker remembers, by the lines and pages that the checks looked
// at, which take some 100 bytes each: a check of a file system looks at some thousand.
const maxChecked = 1 << 19

// A checked is what a check came to, and what that depends on.
type checked struct {
	got    string // from the recovery
	answer string
	lines  []foundLine          // in the order in which they were read
	other  map[touchedPage]bool // pages that it looked at besides, which held what the snapshot has
}

func (k *checked) size() int { return len(k.lines) + len(k.other) }

// A foundLine is bytes of a line that were read, and what they were.
type foundLine struct {
	slot  int
	n     uint64
	which uint64 // a bit for each byte
	bytes [persist.LineSize]byte
}

// check makes an answer of what a recovery came to, which is over. The VM is then as x.base
// is if clean.
func (x *explorer) check(ctx context.Context, v *VM, state, answer string, w *readWatch) (_ string, clean bool, err error) {
	left, err := v.changed(x.base)
	if err != nil {
		return "", false, err
	}
	if err := v.watchReads(nil); err != nil {
		return "", false, err
	}
	if err := v.Restore(ctx, x.base); err != nil {
		return "", false, err
	}
	if err := v.leaveEqual(left); err != nil {
		return "", false, err
	}
	c := x.checks
	if known, err := c.find(v, answer, left); err != nil {
		return "", false, err
	} else if known != nil {
		x.count(known.lines, w.reads)
		return known.answer, true, nil
	}
	for p, b := range left {
		if err := v.poke(v.inSlot(p.Slot), p.Offset, b); err != nil {
			return "", false, err
		}
	}
	of, err := x.pageLines(v, left)
	if err != nil {
		return "", false, err
	}
	check, err := v.watch(of)
	if err != nil {
		return "", false, err
	}
	done := &checked{other: of.other}
	if done.answer, err = v.bootIfOff(ctx); err == nil && done.answer == "" {
		done.answer, err = c.check(ctx, state, answer, v)
	}
	if err != nil {
		return "", false, err
	}
	for _, r := range check.List() {
		done.lines = append(done.lines, of.found(r))
	}
	x.endForks(v)
	x.count(done.lines, w.reads)
	if of.all {
		for _, d := range v.dimms {
			w.read(d, 0, d.backend.Size())
		}
	} else {
		c.keep(answer, done)
	}
	return done.answer, false, nil
}

// changed is the pages of the VM's NVDIMMs that may hold something else than in a snapshot.
func (v *VM) changed(since *VMSnapshot) (map[touchedPage][]byte, error) {
	if !slices.EqualFunc(v.NVDIMMs(), since.dimms, func(d *NVDIMM, s savedDIMM) bool { return d.Slot() == s.slot }) {
		return nil, errors.New("the recovery plugged an NVDIMM, or took one out: what it left cannot be checked in a VM that has others")
	}
	changed, err := v.power.Changed(since.nvdimms)
	if err != nil {
		return nil, &Error{Class: ClassHost, Err: err}
	}
	list := map[touchedPage][]byte{}
	for _, d := range v.dimms {
		for _, n := range changed[d.Slot()] {
			off := n * pages.Size
			b, err := d.readPage(off)
			if err != nil {
				return nil, err
			}
			list[touchedPage{d.Slot(), off}] = b
		}
	}
	return list, nil
}

// leaveEqual leaves out the pages that hold what the VM's do.
func (v *VM) leaveEqual(list map[touchedPage][]byte) error {
	for p, b := range list {
		is, err := v.inSlot(p.Slot).readPage(p.Offset)
		if err != nil {
			return err
		}
		if bytes.Equal(is, b) {
			delete(list, p)
		}
	}
	return nil
}

// find returns what an earlier check came to that got the answer and would find, in a VM
// that is restored and but for some pages, what it found; nil if there is none.
func (c *checker) find(v *VM, answer string, left map[touchedPage][]byte) (*checked, error) {
	if c.anew {
		return nil, nil
	}
	list := c.known[answer]
	for i, k := range list {
		same, err := k.finds(v, left)
		if err != nil {
			return nil, err
		}
		if same {
			copy(list[1:], list[:i])
			list[0] = k
			return k, nil
		}
	}
	return nil, nil
}

func (k *checked) finds(v *VM, left map[touchedPage][]byte) (bool, error) {
	for p := range left {
		if k.other[p] {
			return false, nil
		}
	}
	for i := range k.lines {
		l := &k.lines[i]
		off := l.n * persist.LineSize
		page := pageOf(l.slot, l.n)
		is, ok := left[page]
		if !ok {
			d := v.inSlot(l.slot)
			var line [persist.LineSize]byte
			if _, err := d.backend.b.ReadAt(line[:min(persist.LineSize, d.backend.Size()-off)], int64(off)); err != nil {
				return false, err
			}
			is = line[:]
		} else {
			is = is[off-page.Offset:]
		}
		for b := range l.bytes {
			if l.which>>b&1 != 0 && l.bytes[b] != is[b] {
				return false, nil
			}
		}
	}
	return true, nil
}

// keep remembers what a check came to that got an answer, and forgets the oldest for that.
func (c *checker) keep(answer string, k *checked) {
	k.got = answer
	c.known[answer] = slices.Insert(c.known[answer], 0, k)
	c.kept = append(c.kept, k)
	c.size += k.size()
	for c.size > maxChecked {
		old := c.kept[0]
		c.kept[0] = nil
		c.kept = c.kept[1:]
		c.size -= old.size()
		left := slices.DeleteFunc(c.known[old.got], func(o *checked) bool { return o == old })
		if c.known[old.got] = left; len(left) == 0 {
			delete(c.known, old.got)
		}
	}
}

// count has lines that a check read be read by the execution.
func (x *explorer) count(lines []foundLine, reads *explore.Reads) {
	for _, l := range lines {
		if i, ok := x.space.number(l.slot, l.n); ok {
			reads.Read(i, l.which)
		}
		if a, ok := x.space.areas[l.slot]; ok && (l.n+1)*persist.LineSize > a.start {
			reads.Read(x.space.Area(a.number), explore.AllBytes)
		}
	}
}

// pageLines are all lines of the pages of NVDIMMs in which executions differ.
type pageLines struct {
	first map[touchedPage]int  // the number of a page's first line
	list  []heldPage           // the pages, in the order of these numbers
	other map[touchedPage]bool // pages besides that were looked at
	all   bool                 // too much was looked at to note it
}

// A heldPage is a page with what it held before the check.
type heldPage struct {
	touchedPage
	bytes []byte
}

const linesPerPage = pages.Size / persist.LineSize

// pageOf is the page of line n of an NVDIMM.
func pageOf(slot int, n uint64) touchedPage {
	return touchedPage{slot, n / linesPerPage * pages.Size}
}

// pageLines are those of pages that differ from the snapshot, and of those in which states
// differ.
func (x *explorer) pageLines(v *VM, left map[touchedPage][]byte) (*pageLines, error) {
	set := map[touchedPage]bool{}
	for p := range left {
		set[p] = true
	}
	for m, n := range x.space.Watched() {
		set[pageOf(x.trace.names[m].Slot(), n)] = true
	}
	for slot, a := range x.space.areas {
		for off := a.start &^ (pages.Size - 1); x.space.Changes(x.space.Area(a.number)) && off < v.inSlot(slot).backend.Size(); off += pages.Size {
			set[touchedPage{slot, off}] = true
		}
	}
	l := &pageLines{first: map[touchedPage]int{}, other: map[touchedPage]bool{}}
	for _, p := range slices.SortedFunc(maps.Keys(set), touchedPage.compare) {
		b, err := v.inSlot(p.Slot).readPage(p.Offset)
		if err != nil {
			return nil, err
		}
		l.first[p] = len(l.list) * linesPerPage
		l.list = append(l.list, heldPage{p, b})
	}
	return l, nil
}

func (l *pageLines) number(slot int, n uint64) (int, bool) {
	i, ok := l.first[pageOf(slot, n)]
	return i + int(n%linesPerPage), ok
}

func (l *pageLines) within(slot int, offset, n uint64) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, p := range l.list {
			for at := range uint64(linesPerPage) {
				if line := p.Offset + at*persist.LineSize; p.Slot == slot && line < offset+n && offset < line+persist.LineSize && !yield(i*linesPerPage+int(at)) {
					return
				}
			}
		}
	}
}

func (l *pageLines) watch(w *observe.Watch, d *NVDIMM) {
	d.watchPages(w)
	for _, p := range l.list {
		if p.Slot != d.Slot() {
			continue
		}
		for addr := range d.Addresses(p.Offset, pages.Size) {
			w.AddLines(addr)
		}
	}
}

// maxLooked bounds the bytes that are noted of one look: more is taken for all.
const maxLooked = 16 << 20

// look notes the other pages that n bytes are in.
func (l *pageLines) look(slot int, offset, n uint64) {
	if n > maxLooked {
		l.all = true
		return
	}
	for off := offset &^ (pages.Size - 1); off < offset+n; off += pages.Size {
		p := touchedPage{slot, off}
		if _, watched := l.first[p]; !watched {
			l.other[p] = true
		}
	}
}

// found is a read, with what was found.
func (l *pageLines) found(r explore.Read) foundLine {
	p, at := &l.list[r.Line/linesPerPage], r.Line%linesPerPage*persist.LineSize
	f := foundLine{slot: p.Slot, n: (p.Offset + uint64(at)) / persist.LineSize, which: r.Bytes}
	copy(f.bytes[:], p.bytes[at:])
	return f
}
