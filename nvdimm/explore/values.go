package explore

import (
	"encoding/binary"
	"hash/fnv"
	"maps"
	"math/bits"
	"slices"

	"nvlab/vmm/observe"
)

// values are what an execution computed of bytes of lines, as far as that is followed.
//
// All that is followed is affine over GF(2): each bit of a value is the exclusive or of some
// bits of lines, as they were at first, and a constant. So are check sums that are computed by
// shifts and tables, as CRC is; what is not, is revealed.
type values struct {
	nodes  []node
	leaves [][8]origin
	tables []table
	known  map[tableKey]int
}

// origin is where a byte is from: a line of the space, plus 1, and a byte of it, or a value,
// negative, and a byte of that; 0 is what depends on nothing.
type origin struct {
	line int32
	at   uint8
}

// node is a value, and how it was computed.
type node struct {
	op    nodeOp
	shift uint8
	table int32 // of leaves or tables
	a, b  observe.Value
	k     uint64
	least observe.Value // of those that it was computed of
	is    uint64        // what the execution had
	bits  uint64        // that may be set
}

type nodeOp uint8

const (
	opLeaf nodeOp = iota
	opXor
	opAnd
	opLeft
	opRight
	opTable
)

// table is a table of which entry i is the exclusive or of a constant and of those of basis
// for the bits of i.
type table struct {
	entries []uint64
	basis   [8]uint64
	affine  bool
	bits    uint64
}

type tableKey struct {
	n    int
	hash uint64
}

// maxNodes bounds what is followed in an execution: some hundred bytes each.
const maxNodes = 1 << 22

func (v *values) add(n node) observe.Value {
	if n.bits == 0 {
		return 0
	}
	if len(v.nodes) == 0 {
		v.nodes = append(v.nodes, node{}) // 0 is none
	}
	name := observe.Value(len(v.nodes))
	n.least = name
	if n.op == opLeaf {
		for _, o := range v.leaves[n.table] {
			if o.line < 0 {
				n.least = min(n.least, v.nodes[-o.line].least)
			}
		}
	} else {
		for _, of := range []observe.Value{n.a, n.b} {
			if of != 0 {
				n.least = min(n.least, v.nodes[of].least)
			}
		}
	}
	v.nodes = append(v.nodes, n)
	return name
}

// Follows says that values are followed.
func (r *Reads) Follows() bool { return r.follows }

// fewLines is how many copied lines of a page are too few for that their sum is worth
// following: it would be of so few lines that it counts as a read, or nearly so.
const fewLines = maxRead + 1

// Take is a load of n bytes of ordinary memory with copies, or of a line.
func (r *Reads) Take(base, offset uint64, n uint8, held uint64, first bool) observe.Value {
	v := &r.values
	if len(v.nodes) >= maxNodes {
		return 0
	}
	if first && (r.copies[(base+offset)/LineSize] == nil || bits.OnesCount64(r.page(base+offset)) <= fewLines) {
		return 0
	}
	var from [8]origin
	some := false
	for i := range uint64(n) {
		at := base + offset + i
		o := origin{}
		if c := r.copies[at/LineSize]; c != nil {
			o = c[at%LineSize]
		} else if line, ok := r.line(base, offset+i); ok {
			o = origin{int32(line) + 1, uint8(at % LineSize)}
			if u := r.used[line]; u != nil && u.stored>>o.at&1 != 0 {
				o = origin{}
			}
		}
		if o.line > 0 {
			if u := r.used[int(o.line)-1]; u != nil && u.read>>o.at&1 != 0 {
				o = origin{}
			}
		}
		from[i] = o
		some = some || o.line != 0
	}
	if !some {
		return 0
	}
	if whole := observe.Value(-min(from[0].line, 0)); whole != 0 { // the low bytes of one value
		same := true
		for i := range n {
			same = same && from[i] == origin{-int32(whole), i}
		}
		if same {
			return r.Compute(observe.ValueAnd, whole, 0, 1<<(8*n)-1)
		}
	}
	set := uint64(0)
	for i := range n {
		switch o := from[i]; {
		case o.line > 0:
			set |= 0xff << (8 * i)
		case o.line < 0:
			set |= v.nodes[-o.line].bits >> (8 * o.at) & 0xff << (8 * i)
		default:
			set |= held & (0xff << (8 * i))
		}
	}
	v.leaves = append(v.leaves, from)
	return v.add(node{op: opLeaf, table: int32(len(v.leaves) - 1), is: held, bits: set})
}

// Compute is a result.
func (r *Reads) Compute(op observe.ValueOp, a, b observe.Value, k uint64) observe.Value {
	v := &r.values
	if len(v.nodes) >= maxNodes {
		r.Reveal(a)
		r.Reveal(b)
		return 0
	}
	x, y := v.nodes[a], v.nodes[b]
	switch op {
	case observe.ValueXor:
		if b != 0 {
			k = y.is
		}
		n := node{op: opXor, a: a, b: b, is: x.is ^ k, bits: x.bits | k}
		if b != 0 {
			n.bits = x.bits | y.bits
		}
		return v.add(n)
	case observe.ValueAnd:
		if x.bits&^k == 0 {
			return a
		}
		return v.add(node{op: opAnd, a: a, k: k, is: x.is & k, bits: x.bits & k})
	case observe.ValueLeft:
		return v.add(node{op: opLeft, a: a, shift: uint8(k), is: x.is << k, bits: x.bits << k})
	case observe.ValueRight:
		return v.add(node{op: opRight, a: a, shift: uint8(k), is: x.is >> k, bits: x.bits >> k})
	}
	r.Reveal(a)
	r.Reveal(b)
	return 0
}

// Bits are those of a value that may be set.
func (r *Reads) Bits(v observe.Value) uint64 { return r.values.nodes[v].bits }

// Table gives a table a number.
func (r *Reads) Table(entries []uint64) int {
	v := &r.values
	h := fnv.New64a()
	var b [8]byte
	t := table{entries: slices.Clone(entries), affine: len(entries)&(len(entries)-1) == 0 && len(entries) <= 256}
	for i, e := range entries {
		binary.LittleEndian.PutUint64(b[:], e)
		h.Write(b[:])
		t.bits |= e
		if t.affine && i&(i-1) == 0 && i > 0 {
			t.basis[bits.TrailingZeros(uint(i))] = e ^ entries[0]
		}
	}
	for i, e := range entries {
		is := entries[0]
		for k := range t.basis {
			if i>>k&1 != 0 {
				is ^= t.basis[k]
			}
		}
		t.affine = t.affine && is == e
	}
	key := tableKey{len(entries), h.Sum64()}
	if n, ok := v.known[key]; ok && slices.Equal(v.tables[n].entries, entries) {
		return n
	}
	v.tables = append(v.tables, t)
	if v.known == nil {
		v.known = map[tableKey]int{}
	}
	v.known[key] = len(v.tables) - 1
	return len(v.tables) - 1
}

// Look is an entry of a table.
func (r *Reads) Look(a observe.Value, table int) observe.Value {
	v := &r.values
	t, x := &v.tables[table], v.nodes[a]
	if !t.affine || len(v.nodes) >= maxNodes || x.is >= uint64(len(t.entries)) {
		return 0
	}
	return v.add(node{op: opTable, a: a, table: int32(table), is: t.entries[x.is], bits: t.bits})
}

// Put is a store of a value to ordinary memory.
func (r *Reads) Put(addr uint64, n uint8, a observe.Value) (lines uint64) {
	for i := range uint64(n) {
		at := addr + i
		c := r.copies[at/LineSize]
		if c == nil {
			c = &copied{}
			r.copies[at/LineSize] = c
		}
		c[at%LineSize] = origin{-int32(a), uint8(i)}
	}
	return r.page(addr)
}

// Decide tells that it is decided whether a value is zero.
func (r *Reads) Decide(a observe.Value) {
	d := r.values.decision(a)
	read := 0
	for _, l := range d.lines {
		if u := r.used[l.line]; u == nil || l.bytes&^u.read != 0 {
			read++
		}
	}
	if read <= maxRead {
		r.Reveal(a)
		return
	}
	r.list = append(r.list, Read{Line: -1, Decision: d})
}

// maxRead is how many lines a decision is of at most that counts as a read of them, of
// which it is known then how many states agree.
const maxRead = 2

// Reveal is a read of all bytes that a value depends on, as they were at first.
func (r *Reads) Reveal(a observe.Value) {
	if a == 0 {
		return
	}
	lines := map[int]uint64{}
	r.values.each(a, func(line int, at uint8) { lines[line] |= 1 << at })
	for _, line := range slices.Sorted(maps.Keys(lines)) {
		u := r.use(line)
		if bytes := lines[line] &^ u.read; bytes != 0 {
			u.read |= bytes
			r.list = append(r.list, Read{Line: line, Bytes: bytes})
		}
	}
}

// each calls f for the bytes of lines that a value depends on.
func (v *values) each(a observe.Value, f func(line int, at uint8)) {
	least := v.nodes[a].least
	seen := make([]bool, a-least+1)
	seen[a-least] = true
	for n := a; n >= least; n-- {
		if !seen[n-least] {
			continue
		}
		x := &v.nodes[n]
		if x.op != opLeaf {
			seen[x.a-least] = true
			if x.b != 0 {
				seen[x.b-least] = true
			}
			continue
		}
		for _, o := range v.leaves[x.table] {
			switch {
			case o.line > 0:
				f(int(o.line)-1, o.at)
			case o.line < 0:
				seen[observe.Value(-o.line)-least] = true
			}
		}
	}
}

// A Decision is whether a value that was computed of several lines is zero. The value is the
// exclusive or of a constant and of what each line adds.
type Decision struct {
	Zero bool // it was

	constant uint64
	lines    []share // in their order
}

// A share is what a line adds to a value: for each of its bits that is set, what that flips.
type share struct {
	line  int
	bytes uint64 // that matter
	flips *[LineSize * 8]uint64
}

// of is what the line adds with a content.
func (s *share) of(c *Content) (v uint64) {
	for at := range c {
		if s.bytes>>at&1 == 0 {
			continue
		}
		for b := c[at]; b != 0; b &= b - 1 {
			v ^= s.flips[8*at+bits.TrailingZeros8(b)]
		}
	}
	return v
}

// decision finds how a value depends on lines: backwards, it has for each value that it is
// computed of which of its bits each bit of that flips.
func (v *values) decision(a observe.Value) *Decision {
	d := &Decision{Zero: v.nodes[a].is == 0, constant: v.nodes[a].is}
	least := v.nodes[a].least
	flips := make([]*[64]uint64, a-least+1)
	var free []*[64]uint64
	of := func(n observe.Value) *[64]uint64 {
		f := &flips[n-least]
		if *f == nil {
			if k := len(free) - 1; k >= 0 {
				*f, free = free[k], free[:k]
				**f = [64]uint64{}
			} else {
				*f = &[64]uint64{}
			}
		}
		return *f
	}
	top := of(a)
	for i := range top {
		top[i] = 1 << i
	}
	shares := map[int]*share{}
	for n := a; n >= least; n-- {
		f := flips[n-least]
		if f == nil {
			continue
		}
		x := &v.nodes[n]
		switch x.op {
		case opLeaf:
			for i, o := range v.leaves[x.table] {
				own := f[8*i:][:8]
				switch {
				case o.line > 0:
					s := shares[int(o.line)-1]
					if s == nil {
						s = &share{line: int(o.line) - 1, flips: new([LineSize * 8]uint64)}
						shares[s.line] = s
					}
					for b, m := range own {
						s.flips[8*int(o.at)+b] ^= m
						if x.is>>(8*i+b)&1 != 0 {
							d.constant ^= m
						}
					}
				case o.line < 0:
					to := of(observe.Value(-o.line))
					for b, m := range own {
						to[8*int(o.at)+b] ^= m
					}
				}
			}
		case opXor:
			for _, m := range []observe.Value{x.a, x.b} {
				if m != 0 {
					to := of(m)
					for i := range f {
						to[i] ^= f[i]
					}
				}
			}
		case opAnd:
			to := of(x.a)
			for i := range f {
				if x.k>>i&1 != 0 {
					to[i] ^= f[i]
				}
			}
		case opLeft:
			to := of(x.a)
			for i := int(x.shift); i < 64; i++ {
				to[i-int(x.shift)] ^= f[i]
			}
		case opRight:
			to := of(x.a)
			for i := int(x.shift); i < 64; i++ {
				to[i] ^= f[i-int(x.shift)]
			}
		case opTable:
			to := of(x.a)
			for i, e := range v.tables[x.table].basis {
				for ; e != 0; e &= e - 1 {
					to[i] ^= f[bits.TrailingZeros64(e)]
				}
			}
		}
		flips[n-least] = nil
		free = append(free, f)
	}
	for _, line := range slices.Sorted(maps.Keys(shares)) {
		s := shares[line]
		for i, m := range s.flips {
			if m != 0 {
				s.bytes |= 1 << (i / 8)
			}
		}
		if s.bytes != 0 {
			d.lines = append(d.lines, *s)
		}
	}
	return d
}
