package judge

import (
	"errors"
	"fmt"
	"hash/maphash"

	"nvlab/nvdimm/btt"
	"nvlab/nvdimm/infoblock"
	"nvlab/nvdimm/label"
	"nvlab/nvdimm/persist"
)

// Sectors looks at crash states of the namespaces that are in sector mode when
// the record begins. In each the table must attach with every
// block in one place, and a sector must hold what it held at some time of the
// command, whole. It returns how many states are not so, and findings of the
// first of them; the search says how many there are.
func (r *Record) Sectors(s *persist.Search) (failed int, findings []Finding, err error) {
	var tables []*sectors
	for _, d := range r.DIMMs {
		list, err := sectorMode(&d)
		if err != nil {
			return 0, nil, err
		}
		tables = append(tables, list...)
	}
	if len(tables) == 0 {
		return 0, nil, errors.New("no namespace is in sector mode when the command begins")
	}
	for m, l := range r.Stored() {
		for _, x := range tables {
			x.learn(m, l)
		}
	}
	for _, x := range tables {
		if err := x.rewind(); err != nil {
			return 0, nil, err
		}
	}
	for v := range s.Views(r.Journal) {
		for _, x := range tables {
			err := x.judge(v)
			if err == nil {
				continue
			}
			if failed++; len(findings) < maxFindings {
				findings = append(findings, Finding{v.State(), fmt.Sprintf("nvdimm %q, namespace at %#x: %v", x.dimm.Name, x.base, err)})
			}
			break
		}
	}
	return failed, findings, nil
}

// sectorMode are the namespaces of a DIMM that are.
func sectorMode(d *DIMM) ([]*sectors, error) {
	size := d.Backend - d.LabelSize
	area := make([]byte, d.LabelSize)
	if _, err := d.Start.ReadAt(area, int64(size)); err != nil {
		return nil, err
	}
	type span struct{ base, size uint64 }
	spans := []span{{0, size}} // without labels
	if a := label.Parse(area); a.CurrentIndex() != nil {
		spans = nil
		for _, l := range a.Active {
			if l.NLabel <= 1 && l.DPA < size && l.RawSize <= size-l.DPA {
				spans = append(spans, span{l.DPA, l.RawSize})
			}
		}
	}
	var list []*sectors
	for _, sp := range spans {
		x, err := openSectors(d, sp.base, sp.size)
		if err != nil {
			return nil, err
		}
		if x != nil {
			list = append(list, x)
		}
	}
	return list, nil
}

// sectors is a namespace in sector mode, as a crash state leaves it.
type sectors struct {
	dimm  *DIMM
	base  uint64 // of the namespace, in the backend
	ns    []byte // its bytes now
	table *btt.Table

	touched []int       // sectors that the command wrote
	legal   map[int]set // their contents at any time, hashed

	// Of one event:
	event    int
	verdicts map[uint64]*verdict // by what is left of the table
	suspect  map[int]bool        // lines of data that are undecided, by offset
}

type set map[uint64]bool

// verdict is what there is to say of a table, whatever is in its blocks.
type verdict struct {
	err    error
	places []int // of the touched sectors
}

var contentSeed = maphash.MakeSeed()

// maxJudged is the size of the largest namespace that is held in memory.
const maxJudged = 2 << 30

// openSectors is nil for a namespace in another mode.
func openSectors(d *DIMM, base, size uint64) (*sectors, error) {
	block := make([]byte, infoblock.Size)
	found := false
	for _, at := range []uint64{0, infoblock.Size} {
		if at+infoblock.Size > size {
			break
		}
		if _, err := d.Start.ReadAt(block, int64(base+at)); err != nil {
			return nil, err
		}
		_, err := infoblock.ParseBTT(block)
		found = found || err == nil
	}
	if !found {
		return nil, nil
	}
	if size > maxJudged {
		return nil, fmt.Errorf("a namespace of %#x bytes is too large to be judged: the largest has %#x", size, uint64(maxJudged))
	}
	x := &sectors{dimm: d, base: base, ns: make([]byte, size), legal: map[int]set{}, event: -1}
	if err := x.rewind(); err != nil {
		return nil, err
	}
	var err error
	if x.table, err = btt.Open(x.ns); err != nil {
		return nil, nil
	}
	return x, nil
}

// line is where a line of a medium is in the namespace.
func (x *sectors) line(m *persist.Medium, n uint64) (at int, ok bool) {
	off := n*persist.LineSize - x.base
	return int(off), m == x.dimm.Medium && off < uint64(len(x.ns))
}

// learn makes a store visible, and notes what sectors it gives which contents.
func (x *sectors) learn(m *persist.Medium, l persist.Line) {
	at, ok := x.line(m, l.N)
	if !ok {
		return
	}
	first, n := x.table.Entries(at, persist.LineSize)
	if n == 0 {
		copy(x.ns[at:], l.Bytes[:])
		return
	}
	before := make([]int, n)
	for i := range n {
		before[i], _ = x.table.Mapped(first + i)
	}
	copy(x.ns[at:], l.Bytes[:])
	for i := range n {
		sector := first + i
		now, ok := x.table.Mapped(sector)
		if !ok || now == before[i] {
			continue
		}
		if x.legal[sector] == nil {
			x.legal[sector] = set{}
			x.touched = append(x.touched, sector)
		}
		x.legal[sector][x.contents(before[i])] = true
		x.legal[sector][x.contents(now)] = true
	}
}

// contents hashes a block.
func (x *sectors) contents(at int) uint64 {
	end := at + x.table.SectorSize()
	if at < 0 || end > len(x.ns) {
		return 0
	}
	return maphash.Bytes(contentSeed, x.ns[at:end])
}

// rewind makes the namespace what it was at the beginning.
func (x *sectors) rewind() error {
	_, err := x.dimm.Start.ReadAt(x.ns, int64(x.base))
	return err
}

// judge looks at one crash state.
func (x *sectors) judge(v *persist.View) error {
	if v.Event() != x.event {
		x.event, x.verdicts, x.suspect = v.Event(), map[uint64]*verdict{}, map[int]bool{}
	}
	v.Fresh(func(m *persist.Medium, n uint64, visible []byte) {
		if at, ok := x.line(m, n); ok {
			copy(x.ns[at:], visible)
		}
	})
	key := uint64(0)
	v.Undecided(func(m *persist.Medium, n uint64, _, left []byte, k uint64) {
		at, ok := x.line(m, n)
		if !ok {
			return
		}
		copy(x.ns[at:], left)
		if x.table.IsData(at) {
			x.suspect[at] = true
		} else {
			key ^= k
		}
	})
	err := x.check(key)
	v.Undecided(func(m *persist.Medium, n uint64, visible, _ []byte, _ uint64) {
		if at, ok := x.line(m, n); ok {
			copy(x.ns[at:], visible)
		}
	})
	return err
}

func (x *sectors) check(key uint64) error {
	known := x.verdicts[key]
	if known == nil {
		known = &verdict{err: x.table.Check()}
		for i, sector := range x.touched {
			if known.err != nil {
				break
			}
			at, _ := x.table.Block(sector)
			known.places = append(known.places, at)
			if !x.legal[sector][x.contents(at)] && !x.undecided(at) {
				known.err = x.torn(i)
			}
		}
		x.verdicts[key] = known
	}
	if known.err != nil {
		return known.err
	}
	for i, at := range known.places {
		if x.undecided(at) && !x.legal[x.touched[i]][x.contents(at)] {
			return x.torn(i)
		}
	}
	return nil
}

// undecided says that a block has lines that states of this event decide.
func (x *sectors) undecided(at int) bool {
	if len(x.suspect) == 0 {
		return false
	}
	for line := at &^ (persist.LineSize - 1); line < at+x.table.SectorSize(); line += persist.LineSize {
		if x.suspect[line] {
			return true
		}
	}
	return false
}

func (x *sectors) torn(i int) error {
	return fmt.Errorf("sector %d holds what it never held: neither its contents before a write nor those after it", x.touched[i])
}
