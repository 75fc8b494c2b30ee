package persist

import (
	"encoding/binary"
	"slices"

	"nvlab/vmm/observe"
)

// op is a store to one chunk of 8 bytes that may not have reached the medium.
type op struct {
	id    uint64 // order of visibility, over all CPUs and media
	value uint64 // in place within the chunk
	group uint64 // instruction
	pc    uint64
	cr3   uint64
	chunk uint8 // of the line
	mask  uint8 // of the chunk's bytes
	under uint8 // of mask: durable stores of other CPUs, which this one may yet overwrite
	kind  observe.Kind
	vcpu  uint8

	process uint32 // see Journal.Process

	flushed  Flushed
	accepted bool  // Hints: it reached the memory controller
	hinted   uint8 // Hints: by which CPUs' stores to a flush hint, a bit for each of at most 8
	full     bool  // it stores all 8 bytes of its chunk

	since uint64 // the latest of under came after all stores with smaller ids, but for those that waited in a buffer
}

// Flushed says what flush of its line came after a store.
type Flushed uint8

const (
	NotFlushed     Flushed = iota
	FlushedEarly           // by a CLFLUSH that need not have seen the store (R11)
	FlushedCLFLUSH         // by a CLFLUSH that MFENCE completes (R11)
	FlushedWaiting         // by a flush that a fence completes
)

// unordered says that no rule orders the op within its line: it does not go by
// the caches, which write back what is visible of a line (R10). Of a line that
// is mapped both as cached and as uncached the SDM promises nothing (3A,
// 12.12.4).
func (o *op) unordered() bool {
	return o.kind&(observe.NonTemporal|observe.Device|observe.ToUncached) != 0
}

// late says that the op may become visible after stores that were visible
// later, of other CPUs: it waits in a write-combining buffer (R7).
func (o *op) late() bool { return o.kind&observe.NonTemporal != 0 && !o.accepted }

// atomicWith says that power failure does not come between o and p, of one
// line (R9).
func (o *op) atomicWith(p *op, c *Config) bool {
	switch both := o.kind & p.kind; {
	case o.group != p.group:
		return false
	case both&observe.Locked != 0:
		return true
	case c.Atomic16 && both&observe.Vector != 0 && both&observe.NonTemporal == 0:
		return o.chunk/2 == p.chunk/2 && o.full && p.full
	}
	return false
}

// bytes are those of the line that the op stores to, a bit for each.
func (o *op) bytes() uint64 { return uint64(o.mask) << (8 * (o.chunk & 7)) }

// overlaps says that o and p store to a byte in common.
func (o *op) overlaps(p *op) bool { return o.chunk == p.chunk && o.mask&p.mask != 0 }

// set makes o, whatever it was, a store in place. It crosses no multiple of 8.
// Field by field: a processor waits where it copies what it just wrote.
func (o *op) set(e *observe.Store, id uint64, process uint32) {
	shift := e.Offset & 7
	o.id = id
	o.value = e.Value << (8 * shift)
	o.group = e.Group
	o.pc = e.PC
	o.cr3 = e.CR3
	o.chunk = uint8(e.Offset % LineSize / 8)
	o.mask = uint8((1<<e.Size - 1) << shift)
	o.under = 0
	o.kind = e.Kind
	o.vcpu = e.VCPU
	o.process = process
	o.flushed, o.accepted, o.hinted, o.full = NotFlushed, false, 0, e.Size == 8
	o.since = 0
}

// apply stores e into a line.
func apply(e *observe.Store, line *[LineSize]byte) {
	var o op
	o.set(e, 0, 0)
	o.apply(line)
}

// bytesOf spreads the bits of a mask over the bytes of a chunk.
func bytesOf(mask uint8) uint64 {
	v := uint64(mask)
	v = (v | v<<28) & 0x0000000f0000000f
	v = (v | v<<14) & 0x0003000300030003
	v = (v | v<<7) & 0x0101010101010101
	return v * 255
}

// apply stores the op into a line, after all that is there.
func (o *op) apply(line *[LineSize]byte) { o.store(line, o.mask) }

// applyVisible stores the op into a line as it is visible: below the stores
// that were visible later.
func (o *op) applyVisible(line *[LineSize]byte) { o.store(line, o.mask&^o.under) }

func (o *op) store(line *[LineSize]byte, mask uint8) {
	p := line[o.chunk*8:][:8]
	m := bytesOf(mask)
	binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)&^m|o.value&m)
}

// line is a line whose last stores may not be on the medium.
type line struct {
	medium  *Medium
	n       uint64
	durable [LineSize]byte // without ops
	ops     []op           // by id
	latest  uint64         // op that went to a cache, not past it
	owner   uint8          // of latest: its CPU plus 1; 0 is a device

	known *contents // of the ops as they are; nil if not looked at
	half  bool      // memory has part of an instruction that no op tells of
}

// cache notes whose cache has the line once e, op id, is visible.
func (l *line) cache(e *observe.Store, id uint64) {
	switch {
	case e.Kind&(observe.NonTemporal|observe.ToUncached) != 0:
	case e.Kind&observe.Device != 0:
		l.latest, l.owner = id, 0
	default:
		l.latest, l.owner = id, e.VCPU+1
	}
}

// maxOps bounds the ops of a line. Beyond it the oldest count as written back.
const maxOps = 128

// add makes room for an op, which the caller sets.
func (l *line) add(c *Config) *op {
	l.known = nil
	if len(l.ops) >= maxOps {
		l.commitOldest(c)
	}
	l.medium.added++
	n := len(l.ops)
	if n == cap(l.ops) {
		l.ops = slices.Grow(l.ops, 1)
	}
	l.ops = l.ops[:n+1]
	return &l.ops[n]
}

// commitOldest makes the oldest op durable, with those that it is atomic with:
// the cache wrote the line back then. It gives states up and adds none.
func (l *line) commitOldest(c *Config) {
	before := l.medium.hashOf(l)
	n := 1
	for n < len(l.ops) && l.ops[n].atomicWith(&l.ops[0], c) {
		n++
	}
	for i := range n {
		l.ops[i].applyVisible(&l.durable)
	}
	l.ops = l.ops[n:]
	l.medium.Truncated += n
	l.medium.added -= n
	l.medium.changed(l, before)
}

// needs says that o survives only if p, which was visible before it, does:
// both are ordered and not of one instruction (R1, R10), or o stores to bytes
// of p, of which 8 on the medium are what memory held at some time (R9).
func (o *op) needs(p *op) bool {
	if !o.unordered() && !p.unordered() && o.group != p.group {
		return true
	}
	return o.overlaps(p) && !(p.late() && !p.sameCPU(o))
}

// sameCPU says that one CPU made both stores.
func (o *op) sameCPU(p *op) bool { return o.vcpu == p.vcpu && (o.kind|p.kind)&observe.Device == 0 }

// commit makes the ops that take picks durable, and what they need.
func (l *line) commit(take func(*op) bool) {
	l.known = nil
	if !l.half && !l.medium.hashed && l.all(take) {
		l.medium.drop(l) // what is visible is durable
		return
	}
	var taken opSet
	for i := len(l.ops) - 1; i >= 0; i-- {
		mate := i+1 < len(l.ops) && l.ops[i].atomicWith(&l.ops[i+1], l.medium.config)
		if take(&l.ops[i]) || l.needed(i, &taken) || mate && taken.has(i+1) {
			taken.add(i)
			for k := i + 1; mate; k++ { // the rest of it
				taken.add(k)
				mate = k+1 < len(l.ops) && l.ops[k].atomicWith(&l.ops[k+1], l.medium.config)
			}
		}
	}
	before := l.medium.hashOf(l)
	kept := l.ops[:0]
	for i := range l.ops {
		o := l.ops[i]
		if !taken.has(i) {
			kept = append(kept, o)
			continue
		}
		o.applyVisible(&l.durable)
		for j := range kept {
			if k := &kept[j]; k.overlaps(&o) { // it is late, or o would need it
				if k.under&^o.mask != 0 || contended(k, kept) || contended(k, l.ops[i+1:]) {
					l.medium.Raced++ // between two of them is given up
				}
				k.under |= k.mask & o.mask
				k.since = max(k.since, l.began(i))
			}
		}
		if o.kind&observe.NonTemporal != 0 && l.raced(&o) {
			l.medium.Raced++
		}
	}
	l.medium.added -= len(l.ops) - len(kept)
	l.ops = kept
	l.medium.changed(l, before)
	if len(kept) == 0 && !l.half {
		l.medium.drop(l)
	}
}

// began is the id of the first op of the instruction that op i is of, among those of the line.
func (l *line) began(i int) uint64 {
	group := l.ops[i].group
	return l.ops[slices.IndexFunc(l.ops, func(o op) bool { return o.group == group })].id
}

// contended says that one of some ops is another CPU's to bytes of o.
func contended(o *op, list []op) bool {
	return o.late() && slices.ContainsFunc(list, func(p op) bool { return !p.sameCPU(o) && p.overlaps(o) })
}

// needed says that a later op that is taken needs op i.
func (l *line) needed(i int, taken *opSet) bool {
	for j := i + 1; j < len(l.ops); j++ {
		if taken.has(j) && l.ops[j].needs(&l.ops[i]) {
			return true
		}
	}
	return false
}

// raced says that o, which becomes durable, stored to bytes that other CPUs
// store to: which of them was visible first is told by the memory from now on.
func (l *line) raced(o *op) bool {
	if o.under != 0 {
		return true
	}
	for i := range l.ops {
		if p := &l.ops[i]; p.id > o.id && !p.sameCPU(o) && p.overlaps(o) {
			return true
		}
	}
	return false
}

func (l *line) all(pick func(*op) bool) bool {
	for i := range l.ops {
		if !pick(&l.ops[i]) {
			return false
		}
	}
	return true
}

// Medium is the storage of one file, or of one anonymous backend.
type Medium struct {
	Name      string
	Platform  Platform
	Truncated int // stores taken for written back, as their line has too many
	Spilled   int // stores taken for written back, as the medium has too many
	Drained   int // stores taken for on the medium, as too many are on their way: see Drain
	Raced     int // non-temporal stores whose order with other CPUs' to their bytes is that of the memory

	added  int  // what spill bounds, less what it left once
	most   int  // of that: maxUndecided, less in a test or by Drain
	drains bool // see Drain

	config    *Config // of the model
	noting    *Model  // that noted stores to it last
	mem       Memory
	index     int
	originals *originals // of the journal that records, or recorded last
	lines     table[line]
	last      *line   // that was touched
	spare     []*line // for reuse: ids tell their stores from older ones
	hash      hash    // of durable, kept where hashed is set
	hashed    bool
	accepted  map[*line]bool
}

// NewMedium is a medium whose contents are durable now.
func NewMedium(name string, platform Platform, mem Memory) *Medium {
	return &Medium{Name: name, Platform: platform, mem: mem, most: maxUndecided, config: &Config{}, accepted: map[*line]bool{}}
}

// Memory is what the guest sees of the medium.
func (d *Medium) Memory() Memory { return d.mem }

// touch is line n, before a store to it.
func (d *Medium) touch(n uint64) *line {
	if d.last != nil && d.last.n == n {
		return d.last
	}
	l := d.lines.get(n)
	if l == nil {
		if k := len(d.spare); k > 0 {
			l, d.spare = d.spare[k-1], d.spare[:k-1]
			l.n = n
		} else {
			l = &line{medium: d, n: n, ops: make([]op, 0, 8)}
		}
		copy(l.durable[:], d.mem.Line(n))
		d.lines.put(n, l)
		d.added += lineCost
	}
	d.last = l
	return l
}

// maxSpare bounds the lines kept for reuse.
const maxSpare = 1 << 14

func (d *Medium) drop(l *line) {
	if d.lines.get(l.n) != l {
		return
	}
	d.lines.drop(l.n)
	if d.added -= lineCost + len(l.ops); d.lines.n == 0 {
		d.added = 0
	}
	if len(d.accepted) > 0 {
		delete(d.accepted, l)
	}
	if d.last == l {
		d.last = nil
	}
	l.ops, l.known, l.half = l.ops[:0], nil, false
	l.latest, l.owner = 0, 0
	if len(d.spare) < maxSpare {
		d.spare = append(d.spare, l)
	}
}

// Undecided is the number of lines that hold more than what is durable.
func (d *Medium) Undecided() int {
	d.follow()
	return d.lines.n
}

// hashOf and changed keep the medium's hash.

func (d *Medium) hashOf(l *line) hash {
	if !d.hashed {
		return hash{}
	}
	return hashLine(d.index, l.n, &l.durable)
}

func (d *Medium) changed(l *line, before hash) {
	if d.hashed {
		d.hash = d.hash.xor(before).xor(hashLine(d.index, l.n, &l.durable))
	}
}
