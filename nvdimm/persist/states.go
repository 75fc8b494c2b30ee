package persist

import (
	"slices"

	"nvlab/vmm/observe"
)

// content is what a line may hold after power failed.
type content struct {
	bytes [LineSize]byte
	hash  hash
	kept  []int // ops of the line, by index
}

// maxLineStates bounds the contents of one line that are looked at, and
// maxPointStates those of all lines of an event, of each of which a few are.
const (
	maxLineStates  = 4096
	maxPointStates = 1 << 15
	minLineStates  = 4
)

// lineStates is how many contents are looked at of each of n lines.
func lineStates(n int) int { return min(max(maxPointStates/max(n, 1), minLineStates), maxLineStates) }

// unit is ops that survive together.
type unit struct {
	first, end int // indexes of ops
	group      uint64
	free       bool // no rule orders it within the line
}

// units divides the ops of a line.
func (l *line) units(tear bool) []unit {
	var list []unit
	for i := range l.ops {
		o := &l.ops[i]
		if n := len(list); n > 0 {
			last := &l.ops[i-1]
			if o.joined && last.joined || o.group == last.group && o.whole(tear) && last.whole(tear) {
				list[n-1].end = i + 1
				continue
			}
		}
		list = append(list, unit{i, i + 1, o.group, o.unordered()})
	}
	return list
}

// contents is what a line may hold.
type contents struct {
	list    []content
	whole   bool // the list is complete
	durable hash
	tear    bool
	most    int // contents that the list may have
}

// contents lists what the line may hold, unless that was done since the line
// changed.
func (l *line) contents(tear bool, most int) *contents {
	if k := l.known; k == nil || k.tear != tear || k.most != most && !(k.whole && len(k.list) <= most) {
		list, whole := l.enumerate(tear, most)
		l.known = &contents{list, whole, hashLine(l.medium.index, l.n, &l.durable), tear, most}
	}
	return l.known
}

// enumerate lists what the line may hold: what is durable and, on top, any set
// of units that with each holds all that must come before it (R1, R7, R8,
// R10). The first has none of them and the last has all. whole says that the
// list is complete.
func (l *line) enumerate(tear bool, most int) (list []content, whole bool) {
	e := enumeration{line: l, units: l.units(tear), seen: map[[LineSize]byte]bool{}, most: most, left: 4 * most}
	e.walk(0, l.durable, order{})
	// Sets of several sizes may give the same contents; that of all of them is
	// the last, and there even if the enumeration was cut short.
	all := l.everything()
	list = slices.DeleteFunc(e.list, func(c content) bool { return c.bytes == all.bytes })
	return append(list, all), e.left > 0 && !e.full
}

// everything is the content with every op.
func (l *line) everything() content {
	all := content{bytes: l.durable}
	for i := range l.ops {
		l.ops[i].apply(&all.bytes)
		all.kept = append(all.kept, i)
	}
	all.hash = hashLine(l.medium.index, l.n, &all.bytes)
	return all
}

// order is what the ordered units that are left out say of later ones.
type order struct {
	gap   bool   // some are left out
	mixed bool   // and not all of one instruction
	group uint64 // the instruction
}

type enumeration struct {
	line  *line
	units []unit
	seen  map[[LineSize]byte]bool
	list  []content
	kept  []int
	most  int  // contents that the list may have
	left  int  // contents to look at
	full  bool // the list has no room for more
}

func (e *enumeration) walk(i int, bytes [LineSize]byte, o order) {
	if e.left <= 0 {
		return
	}
	if i == len(e.units) {
		e.left--
		if e.seen[bytes] {
			return
		}
		if e.full = len(e.list) == e.most; !e.full {
			e.seen[bytes] = true
			e.list = append(e.list, content{bytes, hashLine(e.line.medium.index, e.line.n, &bytes), append([]int(nil), e.kept...)})
		}
		return
	}
	u := e.units[i]
	without := o
	if !u.free {
		without.mixed = o.mixed || o.gap && o.group != u.group
		without.gap, without.group = true, u.group
	}
	e.walk(i+1, bytes, without)
	if !u.free && o.gap && (o.mixed || o.group != u.group) {
		return
	}
	n := len(e.kept)
	for j := u.first; j < u.end; j++ {
		e.line.ops[j].apply(&bytes)
		e.kept = append(e.kept, j)
	}
	e.walk(i+1, bytes, o)
	e.kept = e.kept[:n]
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
	Process uint32 // see Journal.Process
	Flushed bool   // a flush was executed, and no fence after it
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
