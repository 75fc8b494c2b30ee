package persist

import (
	"cmp"
	"slices"

	"nvlab/vmm/observe"
)

// A Model follows one machine. It is its observer.
type Model struct {
	Config Config

	media  []*Medium
	bases  map[uint64]mapped
	last   mapped // that find returned
	base   uint64 // of last
	cpus   []cpu
	nextID uint64

	process uint32 // of the stores to come
}

// mapped is what of a medium is at a guest-physical address.
type mapped struct {
	medium *Medium
	line   uint64 // the first
}

// cpu is what one CPU asked for and has not fenced.
type cpu struct {
	wb    map[*line]uint64 // CLWB, CLFLUSHOPT: covers ops up to an id
	clf   map[*line]uint64 // CLFLUSH
	nt    []run            // non-temporal stores
	str   []ref            // EADR: of the string instruction in progress
	group uint64
}

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
func NewModel(c Config) *Model { return &Model{Config: c, bases: map[uint64]mapped{}, nextID: 1} }

// Map puts the part of a medium from offset on, a multiple of LineSize, at a
// guest-physical address. A medium may be mapped by several models, whose
// machines do not run at once.
func (m *Model) Map(base uint64, d *Medium, offset uint64) {
	m.bases[base] = mapped{d, offset / LineSize}
	if !slices.Contains(m.media, d) {
		m.media = append(m.media, d)
	}
}

// UnmapAll forgets what is where.
func (m *Model) UnmapAll() {
	clear(m.bases)
	m.last, m.media = mapped{}, nil
}

// Media lists what is mapped.
func (m *Model) Media() []*Medium { return m.media }

// find is the medium and line of an offset in an observed region, nil if it is
// none of the model's.
func (m *Model) find(base, offset uint64) (*Medium, uint64) {
	if base != m.base || m.last.medium == nil {
		m.last, m.base = m.bases[base], base
	}
	at := &m.last
	return at.medium, at.line + offset/LineSize
}

// slot numbers the CPUs. By name, a fence of the kernel, which it executes for
// reasons of its own, does not complete what a program flushed.
func (m *Model) slot(at *observe.At) int {
	n := int(at.VCPU) << 1
	if m.Config.Explicit && at.CPL == 3 {
		n |= 1
	}
	return n
}

func (m *Model) cpu(n int) *cpu {
	for n >= len(m.cpus) {
		m.cpus = append(m.cpus, cpu{wb: map[*line]uint64{}, clf: map[*line]uint64{}})
	}
	return &m.cpus[n]
}

// Store is a store about to become visible.
func (m *Model) Store(e *observe.Store) {
	c := m.cpu(m.slot(&e.At))
	if e.Kind&observe.Device == 0 {
		m.commit(c.clf) // R2
		if len(c.str) > 0 && e.Group != c.group {
			m.endString(c)
		}
	}
	d, n := m.find(e.Base, e.Offset)
	if d == nil {
		return
	}
	weak := e.Kind&(observe.NonTemporal|observe.Device) != 0
	if d.Platform == EADR && !weak && e.Kind&observe.String == 0 && d.lines.get(n) == nil {
		// R12: durable at once, so that the memory itself says it all.
		m.nextID++
		d.direct(n, e)
		return
	}
	if d.added++; d.added >= d.most {
		d.spill()
	}
	l := d.touch(n)
	id := m.nextID
	m.nextID++
	l.add().set(e, id, m.process)
	switch {
	case e.Kind&observe.Device != 0:
		if d.Platform == EADR {
			l.foldOne(id) // at its completion, which is its visibility
		}
	case e.Kind&observe.NonTemporal != 0:
		c.combine(l, id) // R7
	case d.Platform != EADR:
	case e.Kind&observe.String != 0:
		c.str, c.group = append(c.str, ref{l, id}), e.Group // R8
	default:
		l.foldOne(id)
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

func (l *line) foldOne(id uint64) { l.fold(func(o *op) bool { return o.id == id }) }

// upTo folds, or accepts, the ordered ops up to an id.
func (l *line) upTo(id uint64) {
	l.reach(func(o *op) bool { return o.id <= id && o.kind&observe.NonTemporal == 0 })
}

// reach is what happens to ops that reach the memory controller.
func (l *line) reach(take func(*op) bool) {
	switch l.medium.Platform {
	case Hints:
		for i := range l.ops {
			if o := &l.ops[i]; take(o) {
				o.accepted = true
				l.medium.accepted[l] = true
			}
		}
	case Nothing:
	default:
		l.fold(take)
	}
}

// Flush is a write-back about to execute.
func (m *Model) Flush(e *observe.Flush) {
	c := m.cpu(m.slot(&e.At))
	m.endString(c)
	strong := e.Op == observe.CLFLUSH && !m.Config.WeakCLFLUSH // R11
	if strong {
		m.commit(c.clf) // R2: CLFLUSHes are ordered with each other; R3: not with the others
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
		if o := &l.ops[i]; o.kind&observe.NonTemporal == 0 {
			o.flushed = true
		}
	}
	// R4, R5: older stores to the line, of any CPU that are visible, are in.
	if strong {
		c.clf[l] = m.nextID - 1
	} else {
		c.wb[l] = m.nextID - 1
	}
}

// Fence is a fence about to complete.
func (m *Model) Fence(e *observe.Fence) {
	c := m.cpu(m.slot(&e.At))
	m.endString(c)
	switch {
	case m.full(e.Order):
		m.commit(c.clf)
		m.commit(c.wb)
		m.drain(c, e.VCPU)
	case m.drains(e.Order):
		m.drain(c, e.VCPU)
	}
	if e.Order&observe.WBINVD != 0 {
		for _, d := range m.media {
			for _, l := range d.sorted() {
				l.upTo(m.nextID)
			}
		}
	}
}

// full says that an order makes earlier flushes complete (R3 to R6).
func (m *Model) full(o observe.Order) bool {
	if m.Config.Explicit {
		return o&observe.Explicit != 0
	}
	return o&(observe.Explicit|observe.Lock|observe.Serializing|observe.PortIO) != 0
}

// drains says that an order empties write-combining buffers (R7).
func (m *Model) drains(o observe.Order) bool { return o != 0 && !m.Config.Explicit }

// commit completes write-backs.
func (m *Model) commit(set map[*line]uint64) {
	if len(set) == 0 {
		return
	}
	for l, id := range set {
		l.upTo(id)
	}
	clear(set)
}

// combine notes a non-temporal store.
func (c *cpu) combine(l *line, id uint64) {
	if n := len(c.nt); n > 0 && c.nt[n-1].line == l {
		c.nt[n-1].last = id
		return
	}
	c.nt = append(c.nt, run{l, id, id})
}

// drain empties the write-combining buffers.
func (m *Model) drain(c *cpu, vcpu uint8) {
	for _, r := range c.nt {
		r.line.reach(func(o *op) bool {
			return o.kind&observe.NonTemporal != 0 && o.vcpu == vcpu && o.id >= r.first && o.id <= r.last
		})
	}
	c.nt = c.nt[:0]
}

// endString makes the stores of a string instruction that ended durable.
func (m *Model) endString(c *cpu) {
	for _, r := range c.str {
		r.line.foldOne(r.id)
	}
	c.str = c.str[:0]
}

// Hint is a store to a flush hint of a medium (R13). What the kernel fenced
// before it is in; its second fence adds nothing (R16).
func (m *Model) Hint(d *Medium) {
	for l := range d.accepted {
		l.fold(func(o *op) bool { return o.accepted })
	}
	clear(d.accepted)
}

// Settle tells that no instruction is in progress, at the end of a run.
func (m *Model) Settle() {
	for i := range m.cpus {
		m.endString(&m.cpus[i])
	}
}

// Reset tells that the CPUs start anew: what they asked for is forgotten, and
// what they stored is not.
func (m *Model) Reset() {
	m.Settle()
	m.cpus = nil
}

// Clean tells that the machine powered off cleanly: all is durable.
func (m *Model) Clean() {
	for _, d := range m.media {
		d.lines.clear()
		clear(d.accepted)
		d.last, d.spare = nil, nil
	}
	m.cpus = nil
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
	c := m.cpu(m.slot(at))
	switch {
	case o&observe.WBINVD != 0:
		return true
	case m.full(o):
		return len(c.wb)+len(c.clf)+len(c.nt) > 0
	case m.drains(o):
		return len(c.nt) > 0
	}
	return false
}
