package persist

import (
	"cmp"
	"math"
	"slices"

	"nvlab/vmm/observe"
)

// A Model follows one machine. It is its observer.
type Model struct {
	Config Config

	media  []*Medium
	bases  map[uint64][]mapped
	last   mapped // that find returned
	base   uint64 // of last
	cpus   []cpu
	nextID uint64
	clean  uint64 // nextID when all was durable
	group  uint64 // of the latest store

	latest observe.At // of the latest fence

	waiting bool // a store may end what a CPU did before: see Store

	process uint32 // of the stores to come

	noted noted
}

// mapped is what of a medium is at a guest-physical address, or at a part of
// what is there.
type mapped struct {
	medium   *Medium
	line     uint64 // the first
	from, to uint64 // of the region's lines
}

// has says that line n of the region is one of it.
func (p *mapped) has(n uint64) bool { return n-p.from < p.to-p.from }

// cpu is what the kernel, or the programs, of one CPU asked for and did not
// fence.
type cpu struct {
	vcpu   uint8
	wb     map[*line]cover // CLWB, CLFLUSHOPT
	clf    map[*line]cover // CLFLUSH
	nt     []run           // non-temporal stores
	sealed int             // of nt: before the latest CLFLUSH (R2)
	strong bool            // Intel: a CLFLUSH may not be complete
	seen   uint64          // id of the latest store that was visible for sure at a fence
	parts  []ref           // of an instruction that may be in progress: with EADR, or to uncached memory
	group  uint64          // the instruction
	torn   bool            // its parts may be parted
	hinted []*Medium       // to whose flush hints it stored since its latest fence
}

// cover is the latest op that a flush covers, by its id.
type cover uint64

// run is the non-temporal stores of a CPU to a line, by their first and last.
type run struct {
	line        *line
	first, last uint64
}

// ref is an op.
type ref struct {
	line *line
	id   uint64
}

// NewModel is a model without media.
func NewModel(c Config) *Model {
	return &Model{Config: c, bases: map[uint64][]mapped{}, nextID: 1, clean: 1}
}

// Map puts the part of a medium from offset on, a multiple of LineSize, at a
// guest-physical address. A medium may be mapped by several models, whose
// machines do not run at once.
func (m *Model) Map(base uint64, d *Medium, offset uint64) {
	delete(m.bases, base)
	m.last = mapped{}
	m.MapPart(base, 0, math.MaxUint64&^(LineSize-1), d, offset)
}

// MapPart does so for the bytes from one offset in a region to another: where
// two regions show one range of a file, that range has one medium.
func (m *Model) MapPart(base, from, to uint64, d *Medium, offset uint64) {
	m.bases[base] = append(m.bases[base], mapped{d, offset / LineSize, from / LineSize, to / LineSize})
	m.Add(d)
}

// Add has the model know a medium. Map does so too.
func (m *Model) Add(d *Medium) {
	d.follow()
	d.config = &m.Config
	if !slices.Contains(m.media, d) {
		d.index = len(m.media)
		m.media = append(m.media, d)
	}
}

// Remove has the model forget a medium, that nothing was stored to, and where
// it is.
func (m *Model) Remove(d *Medium) {
	m.follow()
	m.last = mapped{}
	for base, parts := range m.bases {
		m.bases[base] = slices.DeleteFunc(parts, func(p mapped) bool { return p.medium == d })
	}
	m.media = slices.DeleteFunc(m.media, func(o *Medium) bool { return o == d })
	for i, o := range m.media {
		o.index = i
	}
}

// UnmapAll forgets what is where, and no medium.
func (m *Model) UnmapAll() {
	clear(m.bases)
	m.last = mapped{}
}

// Media lists what the model knows, in the order in which it came.
func (m *Model) Media() []*Medium { return m.media }

// find is the medium and line of an offset in an observed region, nil if it is
// none of the model's.
func (m *Model) find(base, offset uint64) (*Medium, uint64) {
	n := offset / LineSize
	at := &m.last
	if base != m.base || !at.has(n) {
		m.last, m.base = mapped{}, base
		for _, part := range m.bases[base] {
			if n >= part.from && n < part.to {
				m.last = part
			}
		}
	}
	return at.medium, at.line + n - at.from
}

// ring is where programs and where the kernel of a CPU are in Model.cpus.
func ring(at *observe.At) int {
	n := int(at.VCPU) << 1
	if at.CPL == 3 {
		n |= 1
	}
	return n
}

// cpu is the part of a CPU that an event is of.
func (m *Model) cpu(at *observe.At) *cpu {
	n := ring(at)
	for n|1 >= len(m.cpus) {
		m.cpus = append(m.cpus, cpu{vcpu: uint8(len(m.cpus) / 2), wb: map[*line]cover{}, clf: map[*line]cover{}})
	}
	return &m.cpus[n]
}

// of is what of a CPU an event of it concerns. By name, a fence of the kernel,
// which it executes for reasons of its own, does not complete what a program
// flushed.
func (m *Model) of(at *observe.At) []cpu {
	m.cpu(at)
	n := ring(at)
	if m.Config.Explicit {
		return m.cpus[n : n+1]
	}
	n &^= 1
	return m.cpus[n : n+2]
}

// Store is a store about to become visible.
func (m *Model) Store(e *observe.Store) {
	if e.Kind&observe.NonTemporal != 0 && m.note(e) {
		return
	}
	m.follow()
	d, n := m.find(e.Base, e.Offset)
	m.store(d, n, e)
}

// store follows a store to line n of a medium, nil if it is none of the model's.
func (m *Model) store(d *Medium, n uint64, e *observe.Store) {
	own := m.cpu(&e.At)
	if m.waiting && e.Kind&observe.Device == 0 {
		for cpus := m.of(&e.At); len(cpus) > 0; cpus = cpus[1:] {
			c := &cpus[0]
			if c.strong {
				// A non-temporal store may wait, and the CLFLUSH with it. But if it
				// survives, so does what the CLFLUSH covers, in any line: the states in
				// which both wait are given up.
				c.completeCLFLUSH()
			}
			if len(c.parts) > 0 && e.Group != c.group {
				c.endParts()
			}
		}
	}
	if e.Kind&observe.ToUncached != 0 && !m.Config.Explicit {
		own.drain(len(own.nt)) // R7
	}
	if d == nil {
		return
	}
	if d.noting != m {
		d.follow()
	}
	weak := e.Kind&(observe.NonTemporal|observe.Device) != 0
	uncached := e.Kind&observe.ToUncached != 0
	parts := (d.Platform == EADR && !weak || uncached) && (e.Kind&(observe.String|observe.Locked|observe.Vector) != 0 || len(own.parts) > 0 ||
		e.Size < 8 && (e.Offset+uint64(e.Size))%8 == 0) // there may be more of it
	if d.Platform == EADR && !weak && !parts && d.lines.get(n) == nil {
		// R12: durable at once, so that the memory itself says it all.
		m.nextID++
		d.direct(n, e)
		return
	}
	if d.added+1 >= d.most && (e.Group != m.group || e.Kind&(observe.Locked|observe.Vector) == 0) {
		d.spill() // not between the parts of an atomic store
	}
	m.group = e.Group
	l := d.touch(n)
	id := m.nextID
	m.nextID++
	l.add(&m.Config).set(e, id, m.process)
	l.cache(e, id)
	switch {
	case parts:
		own.part(l, id, e.Group, &m.Config) // R8, R9
		m.waiting = true
	case uncached:
		l.reach(func(o *op) bool { return o.id == id }) // R18
	case e.Kind&observe.Device != 0:
		if d.Platform == EADR {
			l.commitOne(id) // at its completion, which is its visibility
		}
	case e.Kind&observe.NonTemporal != 0:
		own.combine(l, id) // R7
	case d.Platform != EADR:
		if e.Kind&observe.ToWriteThrough != 0 {
			own.combine(l, id) // R18
		}
	default:
		l.commitOne(id)
	}
}

// direct accounts for a store that is durable at once.
func (d *Medium) direct(n uint64, e *observe.Store) {
	if d.hashed {
		l := line{medium: d, n: n}
		copy(l.durable[:], d.mem.Line(n))
		before := d.hashOf(&l)
		apply(e, &l.durable)
		d.changed(&l, before)
	}
}

func (l *line) commitOne(id uint64) { l.commit(func(o *op) bool { return o.id == id }) }

// covers says that a flush includes an op.
func (f cover) covers(o *op) bool { return o.kind&observe.NonTemporal == 0 && o.id <= uint64(f) }

// reach is what happens to ops that reach the memory controller.
func (l *line) reach(take func(*op) bool) {
	switch l.medium.Platform {
	case Hints, Requests:
		any := false
		for i := range l.ops {
			if o := &l.ops[i]; take(o) && !o.accepted {
				if o.kind&observe.NonTemporal != 0 && l.raced(o) {
					l.medium.Raced++
				}
				o.accepted, any = true, true
				o.mask, o.under, o.since = o.mask&^o.under, 0, 0
			}
		}
		if any {
			l.medium.accepted[l] = true
		}
		l.known = nil
	case Nothing:
	default:
		l.commit(take)
	}
}

// Flush is a write-back about to execute.
func (m *Model) Flush(e *observe.Flush) {
	m.follow()
	own := m.cpu(&e.At)
	for cpus := m.of(&e.At); len(cpus) > 0; cpus = cpus[1:] {
		cpus[0].endParts()
	}
	f, state := cover(m.nextID-1), FlushedWaiting // R4, R5: older stores to the line are in
	set := own.wb
	if e.Op == observe.CLFLUSH {
		set = own.clf
		if m.Config.IntelCLFLUSH {
			for cpus := m.of(&e.At); len(cpus) > 0; cpus = cpus[1:] {
				c := &cpus[0]
				c.completeCLFLUSH() // R2: CLFLUSHes are ordered with each other; R3: not with the others
				c.strong, c.sealed, m.waiting = true, len(c.nt), true
			}
		} else {
			f, state = cover(own.seen), FlushedCLFLUSH // R11
		}
	}
	d, n := m.find(e.Base, e.Offset)
	if d == nil {
		return
	}
	l := d.lines.get(n)
	if l == nil {
		return
	}
	for i := range l.ops {
		switch o := &l.ops[i]; {
		case f.covers(o):
			o.flushed = max(o.flushed, state)
		case o.kind&observe.NonTemporal == 0:
			o.flushed = max(o.flushed, FlushedEarly)
		}
	}
	set[l] = max(f, set[l])
}

// Fence is a fence about to complete.
func (m *Model) Fence(e *observe.Fence) {
	m.fenced(e)
	cpus := m.of(&e.At)
	for i := range cpus {
		c := &cpus[i]
		if e.Order&observe.MFENCE != 0 {
			complete(c.clf) // R11
		}
		if m.Config.Explicit && e.Order&observe.Explicit != 0 || !m.Config.Explicit && e.Order&(ordersStores|observe.Interrupt|observe.Exception) != 0 {
			c.seen = m.nextID - 1 // its store buffer is empty (SDM 3A, 12.10)
		}
		if m.full(e.Order) {
			complete(c.wb)
			if m.Config.IntelCLFLUSH {
				complete(c.clf)
				c.strong = false
			}
			for _, d := range c.hinted {
				for l := range d.accepted {
					l.commit(func(o *op) bool { return o.hinted&(1<<c.vcpu) != 0 })
				}
			}
			c.hinted = c.hinted[:0]
		}
		if m.drains(e.Order) {
			c.drain(len(c.nt))
		}
		c.endParts()
	}
	m.latest = e.At
	if e.Order&observe.WBINVD != 0 {
		for _, d := range m.media {
			for _, l := range d.sorted() {
				if last := l.cached(e.VCPU); last != 0 {
					l.reach(func(o *op) bool { return o.kind&observe.NonTemporal == 0 && o.id <= last })
				}
			}
		}
	}
}

// ordersStores are the orders that no store passes (R6).
const ordersStores = observe.Explicit | observe.Lock | observe.Serializing | observe.PortIO

// cached is the latest op of the line that a CPU's own cache has: the latest
// that went to a cache, if that is this CPU's (R17). It is 0 if the line is not
// there. What goes past the caches does not say where the line is.
func (l *line) cached(vcpu uint8) uint64 {
	if l.owner != vcpu+1 {
		return 0
	}
	return l.latest
}

// full says that an order makes earlier flushes complete (R3 to R5).
func (m *Model) full(o observe.Order) bool {
	fences := observe.SFENCE | observe.MFENCE
	if !m.Config.Explicit {
		fences |= observe.Lock
	}
	return o&fences != 0
}

// drains says that an order empties write-combining buffers (R7).
func (m *Model) drains(o observe.Order) bool {
	if m.Config.Explicit {
		return o&observe.Explicit != 0
	}
	return o&^observe.Exception != 0
}

// complete completes write-backs of a CPU.
func complete(set map[*line]cover) {
	if len(set) == 0 {
		return
	}
	for l, f := range set {
		l.reach(f.covers)
	}
	clear(set)
}

// completeCLFLUSH completes a CLFLUSH of Intel's, and the non-temporal stores
// that it is not reordered with (R2).
func (c *cpu) completeCLFLUSH() {
	complete(c.clf)
	c.drain(c.sealed)
	c.strong = false
}

// combine notes a non-temporal store.
func (c *cpu) combine(l *line, id uint64) {
	if n := len(c.nt); n > c.sealed && c.nt[n-1].line == l {
		c.nt[n-1].last = id
		return
	}
	c.nt = append(c.nt, run{l, id, id})
}

// combined says that an op is one of a run.
func (c *cpu) combined(r *run, o *op) bool {
	return o.kind&(observe.NonTemporal|observe.ToWriteThrough) != 0 && o.vcpu == c.vcpu && o.id >= r.first && o.id <= r.last
}

// drain empties the write-combining buffers of the first n runs.
func (c *cpu) drain(n int) {
	if n == 0 {
		return
	}
	for _, r := range c.nt[:n] {
		r.line.reach(func(o *op) bool { return c.combined(&r, o) })
	}
	c.nt = c.nt[:copy(c.nt, c.nt[n:])]
	c.sealed = 0
}

// part notes a part of an instruction.
func (c *cpu) part(l *line, id, group uint64, config *Config) {
	if n := len(c.parts); n == 0 {
		c.torn = false
	} else if last := c.parts[n-1]; last.line != l || len(l.ops) < 2 || !l.ops[len(l.ops)-1].atomicWith(&l.ops[len(l.ops)-2], config) {
		c.torn = true
	}
	c.parts, c.group = append(c.parts, ref{l, id}), group
}

// endParts has the parts of an instruction that ended reach the memory
// controller, or with eADR be durable.
func (c *cpu) endParts() {
	if len(c.parts) == 0 {
		return
	}
	for _, r := range c.parts {
		r.line.reach(func(o *op) bool { return o.id == r.id })
	}
	c.parts, c.torn = c.parts[:0], false
}

// endWhole ends the instruction whose parts no power failure parts, which all
// are there unless the next event is of it too.
func (c *cpu) endWhole(next *event) {
	if len(c.parts) > 0 && !c.torn && (next == nil || next.what != AtStore || next.Group != c.group) {
		c.endParts()
	}
}

// Hint is a flush request of a medium of Requests, which is done when the call
// returns (R19), or a store to a flush hint of another (R13): what reached the memory
// controller before it is in at the CPU's next fence, as the kernel executes
// one (R16). An engine tells of the
// access to uncached memory that it is right before it.
func (m *Model) Hint(d *Medium) {
	m.endWhole(nil) // of other CPUs, which say no more of it
	c := m.cpu(&m.latest)
	if c.strong {
		c.completeCLFLUSH() // R2: it is a store
	}
	if d.Platform == Requests {
		d.commitVisible()
		return
	}
	for l := range d.accepted {
		for i := range l.ops {
			if o := &l.ops[i]; o.accepted {
				o.hinted |= 1 << c.vcpu
			}
		}
	}
	if len(d.accepted) > 0 {
		c.hinted = append(c.hinted, d)
	}
}

// commitVisible makes durable all but what waits in write-combining buffers.
func (d *Medium) commitVisible() {
	for _, l := range d.sorted() {
		l.commit(func(o *op) bool { return !o.late() })
	}
}

// endWhole ends the instructions that no power failure parts and the next
// event, nil for none, is not of.
func (m *Model) endWhole(next *event) {
	m.follow()
	for i := range m.cpus {
		m.cpus[i].endWhole(next)
	}
}

// Settle tells that n lines from one on hold on the medium what the memory
// does: something besides the guest wrote both.
func (d *Medium) Settle(first, n uint64) {
	d.follow()
	for _, l := range d.sorted() {
		if l.n-first < n {
			d.drop(l)
		}
	}
}

// Reset tells that the CPUs start anew: what they asked for is forgotten, and
// what they stored is not.
func (m *Model) Reset() {
	m.follow()
	for i := range m.cpus {
		m.cpus[i].endParts()
	}
	m.cpus = nil
}

// Clean tells that the machine powered off cleanly: all is durable.
func (m *Model) Clean() {
	m.noted.forget()
	for _, d := range m.media {
		d.lines.clear()
		d.added = 0
		clear(d.accepted)
		d.last, d.spare = nil, nil
	}
	m.cpus = nil
	m.clean = m.nextID
}

// sorted lists the undecided lines by number.
func (d *Medium) sorted() []*line {
	list := make([]*line, 0, d.lines.n)
	for _, l := range d.lines.all() {
		list = append(list, l)
	}
	slices.SortFunc(list, func(x, y *line) int { return cmp.Compare(x.n, y.n) })
	return list
}

// pending says that a fence of this order would make something durable.
func (m *Model) pending(at *observe.At, o observe.Order) bool {
	m.follow()
	if o&observe.WBINVD != 0 {
		return true
	}
	cpus := m.of(at)
	for i := range cpus {
		c := &cpus[i]
		if m.full(o) && (len(c.wb)+len(c.hinted) > 0 || m.Config.IntelCLFLUSH && len(c.clf) > 0) ||
			o&observe.MFENCE != 0 && len(c.clf) > 0 ||
			m.drains(o) && len(c.nt) > 0 {
			return true
		}
	}
	return false
}

// pendingCLFLUSH says that a store or a CLFLUSH would make something durable.
func (m *Model) pendingCLFLUSH(at *observe.At) bool {
	cpus := m.of(at)
	for i := range cpus {
		if c := &cpus[i]; c.strong && (len(c.clf) > 0 || c.sealed > 0) {
			return true
		}
	}
	return false
}

// pendingParts says that an event would end another instruction whose parts
// may be parted.
func (m *Model) pendingParts(e *event) bool {
	cpus := m.of(&e.At)
	for i := range cpus {
		if c := &cpus[i]; len(c.parts) > 0 && c.torn && (e.what != AtStore || e.Group != c.group) {
			return true
		}
	}
	return false
}
