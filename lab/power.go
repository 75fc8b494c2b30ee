package lab

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"nvlab/internal/option"
	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// power is what a VM knows of what would survive if the power failed now. It
// is the machine's observer.
type power struct {
	v       *VM
	blind   error // why single stores are not seen
	model   *persist.Model
	media   map[*NVDIMM]*persist.Medium
	journal *persist.Journal // while a command is traced
	areas   map[*nvdimm.DIMM]int
	armed   *PowerCut
	came    int          // events that the armed cut counted
	cut     *persist.Cut // the power has failed
	calls   []*callFault
	epochs  map[*NVDIMM]*backend.Snapshot // what each held at its latest flush hint, if blind
	back    bool                          // the cut goes back to those
}

// Events that a power cut can strike before.
const (
	EventLabelWrite = "label_write"
	EventStore      = "store"
	EventFlush      = "flush"
	EventFence      = "fence"
	EventFlushHint  = "flush_hint"
)

// A PowerCut strikes before an event takes effect.
type PowerCut struct {
	Event  string
	Nth    int // from 1
	Keep   persist.Keep
	NVDIMM *NVDIMM // nil for any
	Offset uint64  // of the bytes of the DIMM that count, or of its label area
	Length *uint64 // nil for all from Offset on
}

// String is the event that the cut strikes before, such as "store 2".
func (c *PowerCut) String() string {
	return fmt.Sprintf("%s %d", c.Event, c.Nth)
}

// matches says whether an event of n bytes counts.
func (c *PowerCut) matches(event string, d *NVDIMM, offset, n uint64) bool {
	switch {
	case c == nil || c.Event != event:
		return false
	case c.NVDIMM == nil && c.Offset == 0 && c.Length == nil:
		return true
	case d == nil || c.NVDIMM != nil && c.NVDIMM != d:
		return false
	}
	return offset+n > c.Offset && (c.Length == nil || offset < c.Offset+*c.Length)
}

// begin attaches to a machine that was just made.
func (p *power) begin() {
	if p.model == nil {
		p.model = persist.NewModel(persist.Config{})
		p.media = map[*NVDIMM]*persist.Medium{}
	}
	p.model.Reset()
	p.model.UnmapAll()
	p.blind = p.v.m.Observe(p)
	p.v.root.OnFlushHint = p.hint
}

// sees says that stores are observed.
func (p *power) sees() bool { return p.blind == nil }

// add maps a DIMM's pieces, which are at offsets of mem.
func (p *power) add(d *NVDIMM, mem []byte, pieces []nvdimm.Piece) {
	m := p.media[d]
	if m == nil {
		platform := persist.PlatformOf(p.v.root.Capabilities(), p.v.opts.FlushHints)
		if d.Unarmed() {
			platform = persist.Nothing
		}
		m = persist.NewMedium(d.ID(), platform, persist.Bytes(mem))
		p.media[d] = m
	}
	shared := p.sharing(d)
	offset := uint64(0)
	for _, piece := range pieces {
		n := uint64(len(piece.Mem))
		// What other NVDIMMs show of the file is in their media.
		at := offset
		for at < offset+n {
			medium, in, end := m, at, offset+n
			for _, o := range shared {
				if at >= o.end || o.start >= end {
					continue
				}
				if at < o.start {
					end = o.start
					continue
				}
				medium, in, end = p.media[o.dimm], at-o.start+o.at, min(end, o.end)
				break
			}
			p.model.MapPart(piece.Addr, at-offset, end-offset, medium, in)
			at = end
		}
		offset += n
	}
}

// sharedRange is what a DIMM that was plugged before has of a DIMM's bytes, from start
// to end: from at on of its own.
type sharedRange struct {
	dimm           *NVDIMM
	start, end, at uint64
}

// sharing lists the ranges of a file that DIMMs of this VM have in common with
// d, by start.
func (p *power) sharing(d *NVDIMM) (list []sharedRange) {
	if !d.backend.Share() || d.backend.Path() == "" {
		return nil
	}
	for _, o := range p.v.dimms {
		if o == d || p.media[o] == nil || !o.backend.Share() || o.backend.Path() == "" || !sameFile(o.backend, d.backend) {
			continue
		}
		from, to := d.backend.offset, o.backend.offset
		mine, theirs := d.Size(), o.Size()
		start, end := max(from, to), min(from+mine, to+theirs)
		if start < end {
			list = append(list, sharedRange{o, start - from, end - from, start - to})
		}
	}
	slices.SortFunc(list, func(x, y sharedRange) int { return cmp.Compare(x.start, y.start) })
	return list
}

// end is the end of a power-on: what a cut left is all there is; otherwise
// all that was visible is there.
func (p *power) end() {
	if p.model == nil {
		return // it was off
	}
	switch {
	case p.back:
		p.fallBack()
	case p.cut != nil:
		unlessLost(func() { p.cut.Apply(p.model) })
	default:
		p.model.Clean()
	}
	*p = power{v: p.v, calls: p.calls}
}

// unlessLost does what touches memory whose file someone may have truncated:
// then there is nothing left to touch.
func unlessLost(f func()) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch fault := recover().(type) {
		case nil, interface{ Addr() uintptr }:
		default:
			panic(fault)
		}
	}()
	f()
}

// seed is that of random states.
func (p *power) seed() uint64 {
	return bootSeed(p.v.x.lab.opts.Seed, p.v.opts.Seed, p.v.number, -p.v.boots)
}

// fail cuts the power. What comes until the machine stops leaves no trace.
func (p *power) fail(keep persist.Keep) {
	p.cut = p.model.Cut(keep, p.seed())
	p.back = p.blind != nil && keep == persist.KeepNone
	if p.v.m != nil {
		p.v.m.Attention()
	}
}

// strikes counts an event, and says whether the armed cut comes before it.
func (p *power) strikes(event string, d *NVDIMM, offset, n uint64) bool {
	if !p.armed.matches(event, d, offset, n) {
		return false
	}
	p.came++
	return p.came == p.armed.Nth
}

// owner is the DIMM at an offset of an observed region, and the offset there.
func (p *power) owner(base, offset uint64) (*NVDIMM, uint64) {
	at, off, ok := p.v.root.Locate(base + offset)
	if !ok {
		return nil, 0
	}
	return p.v.handle(at), off
}

// handle is the handle of a DIMM.
func (v *VM) handle(d *nvdimm.DIMM) *NVDIMM {
	for _, h := range v.dimms {
		if h.DIMM == d {
			return h
		}
	}
	return nil
}

// Store is a store about to take effect.
func (p *power) Store(e *observe.Store) {
	if p.cut != nil {
		p.cut.Touch(p.model, e)
		return
	}
	if p.armed != nil && p.armed.Event == EventStore {
		d, offset := p.owner(e.Base, e.Offset)
		if p.strikes(EventStore, d, offset, uint64(e.Size)) {
			p.model.Abandon(e)
			p.fail(p.armed.Keep)
			p.cut.Touch(p.model, e)
			return
		}
	}
	if p.journal != nil {
		p.journal.Store(e)
	}
	p.model.Store(e)
}

// Flush is a flush about to execute.
func (p *power) Flush(e *observe.Flush) {
	if p.cut != nil {
		return
	}
	if p.armed != nil && p.armed.Event == EventFlush {
		d, offset := p.owner(e.Base, e.Offset)
		if p.strikes(EventFlush, d, offset, persist.LineSize) {
			p.fail(p.armed.Keep)
			return
		}
	}
	if p.journal != nil {
		p.journal.Flush(e)
	}
	p.model.Flush(e)
}

// Fence is a fence about to complete. What other instructions ordered before
// it comes first.
func (p *power) Fence(e *observe.Fence) {
	if p.cut != nil {
		return
	}
	if explicit := e.Order & observe.Explicit; explicit != 0 && e.Order != explicit {
		before, own := *e, *e
		before.Order, own.Order = e.Order&^explicit, explicit
		p.fence(&before)
		e = &own
	}
	p.fence(e)
}

func (p *power) fence(e *observe.Fence) {
	if e.Order&(observe.SFENCE|observe.MFENCE) != 0 && p.strikes(EventFence, nil, 0, 0) {
		p.fail(p.armed.Keep)
		return
	}
	if p.journal != nil {
		p.journal.Fence(e)
	}
	p.model.Fence(e)
}

// hint is a store to a flush hint of a DIMM.
func (p *power) hint(d *nvdimm.DIMM) {
	h := p.v.handle(d)
	if h == nil || p.cut != nil {
		return
	}
	if p.strikes(EventFlushHint, h, 0, 0) {
		p.fail(p.armed.Keep)
		return
	}
	p.endEpoch(h)
	m := p.media[h]
	if m == nil {
		return
	}
	media := []*persist.Medium{m}
	for _, o := range p.sharing(h) {
		media = append(media, p.media[o.dimm])
	}
	for _, m := range media {
		if p.journal != nil {
			p.journal.Hint(m, p.now())
		}
		p.model.Hint(m)
	}
}

func (p *power) now() observe.At { return observe.At{Seq: p.v.m.Stats().Instructions} }

// call sees every _DSM call before it takes effect.
func (p *power) call(c *nvdimm.Call) {
	if p.cut != nil {
		c.Status = nvdimm.StatusFailed
		return
	}
	var d *NVDIMM
	if c.DIMM != nil {
		d = p.v.handle(c.DIMM)
	}
	if c.Data != "" && p.strikes(EventLabelWrite, d, uint64(c.Offset), uint64(c.Length)) {
		c.Status = nvdimm.StatusFailed
		if p.armed.Keep == persist.KeepRandom {
			// Power may fail between any two of its pieces.
			c.Torn = uint32(p.seed() % uint64(len(c.Data)/8+1) * 8)
		}
		p.fail(p.armed.Keep)
		return
	}
	p.inject(d, c)
	if c.Data != "" && p.journal != nil {
		data := c.Data
		if c.Status != 0 {
			data = data[:min(int(c.Torn), len(data))]
		}
		p.journal.Label(p.areas[c.DIMM], uint64(c.Offset), []byte(data), p.now())
	}
}

// ready says why the power cannot be cut with what is to be kept.
func (p *power) ready(keep persist.Keep) error {
	if keep == persist.KeepAll {
		return nil
	}
	if _, ok := p.v.FallsBack(keep); ok {
		return p.alone()
	}
	if err := p.unseen(); err != nil {
		return fmt.Errorf(`keep="all" is all that can be had here: %w`, err)
	}
	return p.alone()
}

// alone says that no other VM stores to the same files.
func (p *power) alone() error {
	for _, d := range p.v.dimms {
		if o := d.alsoIn(); o != nil {
			return fmt.Errorf(`keep="all" is all that can be had here: another running VM maps %s too, as nvdimm %q, and what it stored cannot be told from this VM's`, d.backend, o.ID())
		}
	}
	return nil
}

// alsoIn is another VM's running DIMM on the same file, nil if there is none.
func (d *NVDIMM) alsoIn() *NVDIMM {
	for _, v := range d.vm.x.vms {
		for _, o := range v.dimms {
			if v != d.vm && v.state != Off && o.backend.Path() != "" && sameFile(o.backend, d.backend) {
				return o
			}
		}
	}
	return nil
}

// unseen says why single stores are not seen.
func (p *power) unseen() error {
	err := p.blind
	if p.model == nil && p.v.engine.Name() != "soft" {
		err = fmt.Errorf("the %s engine shows no single stores, flushes and fences", p.v.engine.Name())
	}
	if err != nil {
		return fmt.Errorf(`%w; engine="soft" sees them`, err)
	}
	return nil
}

// PowerCut fails the power now.
func (v *VM) PowerCut(keep persist.Keep) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state == Off:
		return errors.New("the VM is off: there is no power to cut")
	}
	if err := v.power.ready(keep); err != nil {
		return err
	}
	if v.power.cut == nil {
		v.power.fail(keep)
	}
	v.off()
	return nil
}

// PowerCutOn arms a cut that strikes before the nth event from now on. An
// earlier one that has not struck is disarmed. One that is armed while the VM
// is off counts from power-on.
func (v *VM) PowerCutOn(c PowerCut) error {
	switch {
	case v.x.closed:
		return ErrClosed
	case v.state == Crashed:
		return &StateError{State: Crashed, Next: StepRevive}
	case c.NVDIMM != nil && c.NVDIMM.vm != v:
		return fmt.Errorf("nvdimm %q is plugged into another VM", c.NVDIMM.ID())
	case c.Event == EventFlushHint && v.opts.FlushHints == 0:
		return &option.Error{Err: errors.New("the VM has no flush hints"), Option: "flush_hints", Want: 1}
	case c.Event == EventFence && (c.NVDIMM != nil || c.Offset != 0 || c.Length != nil):
		return errors.New("a fence concerns no particular bytes: leave nvdimm, offset and length out")
	}
	if err := c.inReach(); err != nil {
		return err
	}
	err := v.power.ready(c.Keep)
	if c.Event != EventLabelWrite && c.Event != EventFlushHint && err == nil {
		err = v.power.unseen()
	}
	if err != nil {
		return fmt.Errorf("event %q: %w", c.Event, err)
	}
	v.power.armed, v.power.came = &c, 0
	return nil
}

// inReach refuses bytes that the DIMM named does not have.
func (c *PowerCut) inReach() error {
	if c.Length != nil && *c.Length == 0 {
		return errors.New("length=0: no event touches no bytes: give at least 1, or leave it out")
	}
	if c.NVDIMM == nil {
		return nil
	}
	if err := c.NVDIMM.vm.has(c.NVDIMM); err != nil {
		return err
	}
	size, what := c.NVDIMM.Size(), "memory"
	if c.Event == EventLabelWrite {
		size, what = c.NVDIMM.LabelSize(), "label area"
	}
	if c.Offset >= size {
		return fmt.Errorf("offset=%d lies outside of the %s of %q, which has %d bytes", c.Offset, what, c.NVDIMM.ID(), size)
	}
	return nil
}

// AssumesADR says that no capability promises anything, and that ADR is what
// a power cut goes by, as Linux does.
func (v *VM) AssumesADR() bool { return v.root.Capabilities()&3 == 0 && v.opts.FlushHints == 0 }
