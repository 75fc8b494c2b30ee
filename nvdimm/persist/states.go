package persist

import (
	"math/bits"
	"slices"

	"nvlab/vmm/observe"
)

// content is what a line may hold after power failed.
type content struct {
	bytes [LineSize]byte
	hash  hash
	kept  opSet // ops of the line
}

// maxLineStates bounds the contents of one line that are listed, and
// maxPointStates those of all lines of an event, of each of which a few are.
// Of a line that has more any is drawn.
const (
	maxLineStates  = 4096
	maxPointStates = 1 << 15
	minLineStates  = 4
)

// lineStates is how many contents are listed of each of n lines.
func lineStates(n int) int { return min(max(maxPointStates/max(n, 1), minLineStates), maxLineStates) }

// unit is ops that survive together.
type unit struct {
	first, end int // indexes of ops
	group      uint64
	free       bool // no rule orders it within the line
	bytes      uint64
}

// units divides the ops of a line.
func (l *line) units(c *Config) []unit {
	var list []unit
	for i := range l.ops {
		o := &l.ops[i]
		if n := len(list); n > 0 && o.atomicWith(&l.ops[i-1], c) {
			list[n-1].end = i + 1
			list[n-1].bytes |= o.bytes()
			continue
		}
		list = append(list, unit{i, i + 1, o.group, o.unordered(), o.bytes()})
	}
	return list
}

// contents is what a line may hold.
type contents struct {
	units   []unit
	list    []content // the first has no ops, the last all; complete if whole
	whole   bool
	durable hash
	config  Config
	most    int // contents that the list was to have at most
}

// contents lists what the line may hold, unless that was done since the line
// changed. A list that is not whole would not be with fewer contents either.
func (l *line) contents(c *Config, most int) *contents {
	if k := l.known; k == nil || k.config != *c || k.whole && len(k.list) > most || !k.whole && k.most < most {
		units := l.units(c)
		list, whole := l.enumerate(units, most)
		l.known = &contents{units, list, whole, hashLine(l.medium.index, l.n, &l.durable), *c, most}
	}
	return l.known
}

// enumerate lists what the line may hold: what is durable and, on top, any set
// of units that with each holds all that must come before it (R1, R7, R8,
// R10). The first has none of them and the last has all. whole says that the
// list is complete; if not, as there are more than most or it would take too
// long to tell, it has these two only.
func (l *line) enumerate(units []unit, most int) (list []content, whole bool) {
	none, all := l.nothing(), l.everything()
	switch {
	case l.races():
		list, whole = l.interleave(units, most)
	case l.several(units, most):
		// There are too many, and nothing is to be listed.
	default:
		list, whole = l.subsets(units, most)
	}
	if !whole {
		return []content{none, all}, false
	}
	// Sets of several sizes may give the same contents: that of all of them is
	// the last, that of none the first. Where the two are the same, there is one,
	// and no other content is without torn units.
	list[0] = none
	last := func(c content) bool { return c.bytes == all.bytes }
	torn := slices.DeleteFunc(list[1:], last)
	if len(torn) == 0 && last(none) {
		return []content{all}, true
	}
	return append(list[:1+len(torn)], all), true
}

// several says that the line may hold more than most contents, if that is plain:
// that units which change it survive in any combination.
func (l *line) several(units []unit, most int) bool {
	var o order // as if all were lost that came before
	n := 0
	for i := range units {
		u := &units[i]
		if o.allows(u) {
			bytes := l.durable
			if l.put(u, &bytes); bytes != l.durable {
				n++
			}
		}
		o = o.after(u)
	}
	return n >= bits.Len(uint(most))
}

// put stores a unit into the line's bytes.
func (l *line) put(u *unit, bytes *[LineSize]byte) {
	for j := u.first; j < u.end; j++ {
		l.ops[j].apply(bytes)
	}
}

// nothing is the content without ops.
func (l *line) nothing() content {
	return content{bytes: l.durable, hash: hashLine(l.medium.index, l.n, &l.durable)}
}

// everything is the content with every op, as it is visible.
func (l *line) everything() content {
	all := content{bytes: l.durable}
	for i := range l.ops {
		l.ops[i].applyVisible(&all.bytes)
		all.kept.add(i)
	}
	all.hash = hashLine(l.medium.index, l.n, &all.bytes)
	return all
}

// order is what the units that are left out say of later ones. It is for lines
// without races.
type order struct {
	lost  uint64 // the bytes that they store to
	gap   bool   // ordered ones are left out
	mixed bool   // and not all of one instruction
	group uint64 // the instruction
}

// after is the order once u is left out.
func (o order) after(u *unit) order {
	o.lost |= u.bytes
	if !u.free {
		o.gap, o.mixed, o.group = true, o.mixed || o.gap && o.group != u.group, u.group
	}
	return o
}

// allows says that u may survive: see op.needs.
func (o order) allows(u *unit) bool {
	return o.lost&u.bytes == 0 && (u.free || !o.gap || !o.mixed && o.group == u.group)
}

// enumeration collects what a line may hold.
type enumeration struct {
	line *line
	seen map[hash]bool // of the list's contents
	list []content
	kept opSet
	most int  // contents that the list may have
	left int  // steps that the search may take
	full bool // the list has no room for more
}

// over says that the list will not be complete.
func (e *enumeration) over() bool { return e.full || e.left <= 0 }

// add notes contents that may be left.
func (e *enumeration) add(bytes *[LineSize]byte) {
	h := hashLine(e.line.medium.index, e.line.n, bytes)
	if e.seen[h] {
		return
	}
	if e.full = e.full || len(e.list) == e.most; !e.full {
		e.seen[h] = true
		e.list = append(e.list, content{*bytes, h, e.kept})
	}
}

// subsets are an enumeration of a line without races.
type subsets struct {
	enumeration
	units []unit
	later []later        // by unit: of it and those after it
	been  map[stage]bool // if there are many units
}

// later is the bytes that units store to, and which are ordered.
type later struct {
	free, any uint64
	ordered   bool
}

// stage is where subsets are, as far as what it finds from there depends on it.
type stage struct {
	unit  int
	bytes [LineSize]byte
	order order
}

// manyUnits is from where on it pays to note the stages: most of the
// sets of so many units give the same contents, or there are too many.
const manyUnits = 10

// subsets lists what the line may hold, if nothing races.
func (l *line) subsets(units []unit, most int) (list []content, whole bool) {
	w := subsets{units: units, later: make([]later, len(units)+1)}
	w.enumeration = enumeration{line: l, seen: map[hash]bool{}, most: most, left: 4 * most * (len(units) + 1)}
	for i := len(units) - 1; i >= 0; i-- {
		u, t := &units[i], w.later[i+1]
		t.any |= u.bytes
		if u.free {
			t.free |= u.bytes
		} else {
			t.ordered = true
		}
		w.later[i] = t
	}
	if len(units) > manyUnits {
		w.been = map[stage]bool{}
	}
	w.from(0, l.durable, order{})
	return w.list, !w.over()
}

// relevant is what of an order matters to the units from i on. Orders that do not
// differ in that allow the same.
func (w *subsets) relevant(i int, o order) order {
	t := &w.later[i]
	if o.gap && !o.mixed {
		same := func(u unit) bool { return !u.free && u.group == o.group }
		o.mixed = !slices.ContainsFunc(w.units[i:], same)
	}
	switch {
	case !t.ordered:
		return order{lost: o.lost & t.any}
	case o.mixed: // ordered ones are lost, whatever bytes are
		return order{lost: o.lost & t.free, gap: true, mixed: true}
	}
	o.lost &= t.any
	return o
}

// from lists what may be left of the units from i on.
func (w *subsets) from(i int, bytes [LineSize]byte, o order) {
	if w.left--; w.over() {
		return
	}
	if i == len(w.units) {
		w.add(&bytes)
		return
	}
	if w.been != nil {
		at := stage{i, bytes, w.relevant(i, o)}
		if w.been[at] {
			return
		}
		w.been[at] = true
	}
	u := &w.units[i]
	if !o.allows(u) {
		w.from(i+1, bytes, o.after(u))
		return
	}
	with := bytes
	if w.line.put(u, &with); with != bytes {
		w.from(i+1, bytes, o.after(u))
	} // else whatever may be left without the unit may be left with it too
	kept := w.kept
	for j := u.first; j < u.end; j++ {
		w.kept.add(j)
	}
	w.from(i+1, with, o)
	w.kept = kept
}

// An Op is a store in a report.
type Op struct {
	Medium  *Medium
	Promise Platform // what the medium was taken for
	Offset  uint64   // in bytes
	Size    int
	Kind    observe.Kind
	PC, CR3 uint64
	VCPU    int
	Process uint32  // see Journal.Process
	Flushed Flushed // what flush came after it, and no fence after that
}

// divide lists the ops that are kept and those that are lost.
func (l *line) divide(set *opSet) (kept, lost []int) {
	for i := range l.ops {
		if set.has(i) {
			kept = append(kept, i)
		} else {
			lost = append(lost, i)
		}
	}
	return kept, lost
}

// report lists ops of the line as stores.
func (l *line) report(ops []int) []Op {
	var list []Op
	for _, i := range ops {
		o := &l.ops[i]
		if o.mask == 0 {
			continue
		}
		first, n := 0, 0
		for b := range 8 {
			if o.mask>>b&1 != 0 {
				if n == 0 {
					first = b
				}
				n = b + 1 - first
			}
		}
		list = append(list, Op{l.medium, l.medium.Platform, l.n*LineSize + uint64(o.chunk)*8 + uint64(first), n, o.kind, o.pc, o.cr3, int(o.vcpu), o.process, o.flushed})
	}
	return list
}
