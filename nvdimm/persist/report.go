package persist

import (
	"cmp"
	"slices"

	"nvlab/vmm/observe"
)

// An Entry is an event of a journal, in a report.
type Entry struct {
	Seq     uint64
	What    What
	Medium  *Medium // nil of a fence
	Label   int     // the label area's number, of a label write
	Offset  uint64  // in bytes, of the medium or of the label area
	Length  int
	Addr    uint64 // guest-physical, of a store or flush
	Kind    string // of the store, flush or fence
	PC, CR3 uint64
	CPL     uint8
	Process uint32 // see Journal.Process
}

// Entries lists the first events, all if limit is 0. Instructions that order
// for other reasons are left out.
func (j *Journal) Entries(limit int) []Entry {
	var list []Entry
	var e event
	start := j.start.Model()
	for c := j.events.read(); c.next(&e); {
		if limit > 0 && len(list) == limit {
			break
		}
		d, n := start.find(e.Base, e.Offset)
		if d != nil {
			d = j.media[d.index]
		}
		entry := Entry{Seq: e.Seq, What: e.what, Medium: d, Offset: n*LineSize + e.Offset%LineSize, Length: int(e.Size), PC: e.PC, CR3: e.CR3, CPL: e.CPL, Process: e.process}
		switch e.what {
		case AtStore:
			entry.Kind, entry.Addr = e.Kind.String(), e.Base+e.Offset
		case AtFlush:
			entry.Kind, entry.Addr = e.flush.String(), e.Base+e.Offset
		case AtFence:
			entry.Kind, entry.Medium, entry.Offset = e.order.String(), nil, 0
		case AtHint:
			entry.Kind, entry.Medium, entry.Offset = "flush_hint", j.media[e.number], 0
		case AtLabel:
			w := j.writes[e.number]
			entry.Kind, entry.Medium, entry.Label, entry.Offset, entry.Length = "label_write", nil, w.area, w.off, len(w.data)
		default:
			continue
		}
		list = append(list, entry)
	}
	return list
}

// Epochs counts the fences that made stores durable, or could have.
func (j *Journal) Epochs() int {
	n := 0
	for r := j.replay(); r.more; r.step() {
		if e := &r.event; (e.what == AtFence || e.what == AtOrder) && r.model.pending(&e.At, e.order) {
			n++
		}
	}
	return n
}

// A Missing is stores of one instruction of the guest that nothing made
// durable by the end of a journal.
type Missing struct {
	Op         // the first of them
	Stores int // how many there are
	Bytes  int // that they cover, counted once
	Why    string
	// Lint says that only an instruction that orders by the way, such as one
	// with LOCK, made them durable: see Config.Explicit.
	Lint bool
	// State is a crash state at the journal's end in which all survived but
	// the line of the first of them.
	State *State
}

// Missing lists what is not durable at the end though it was stored since the
// beginning, by place.
func (j *Journal) Missing() []Missing {
	list := j.missing(false)
	found := map[Op]bool{}
	for _, m := range list {
		found[m.Op] = true
	}
	for _, m := range j.missing(true) {
		if !found[m.Op] {
			m.Lint, m.Why = true, m.Why+" by name"
			list = append(list, m)
		}
	}
	return list
}

func (j *Journal) missing(explicit bool) []Missing {
	r := j.replayAs(Reading{Explicit: explicit})
	for r.more {
		r.step()
	}
	type key struct {
		pc, cr3 uint64
		process uint32
		kind    observe.Kind
		flushed Flushed
	}
	index := map[key]int{}
	var list []Missing
	p := r.point()
	at := -1 // the line, of p.lines
	for i, d := range r.model.media {
		for _, l := range d.sorted() {
			at++
			var ops []int
			for k := range l.ops {
				if l.ops[k].id >= j.start.nextID {
					ops = append(ops, k)
				}
			}
			covered := map[int]*[LineSize]bool{} // by place
			for _, o := range l.report(ops) {
				o.Medium = j.media[i]
				k := key{o.PC, o.CR3, o.Process, o.Kind, o.Flushed}
				n, ok := index[k]
				if !ok {
					n = len(list)
					index[k] = n
					list = append(list, Missing{Op: o, Why: o.Why(), State: p.without(at, Reading{Explicit: explicit})})
				}
				list[n].Stores++
				if covered[n] == nil {
					covered[n] = new([LineSize]bool)
				}
				for b := range o.Size {
					if at := o.Offset%LineSize + uint64(b); !covered[n][at] {
						covered[n][at] = true
						list[n].Bytes++
					}
				}
			}
		}
	}
	slices.SortStableFunc(list, func(x, y Missing) int {
		return cmp.Or(cmp.Compare(slices.Index(j.media, x.Medium), slices.Index(j.media, y.Medium)), cmp.Compare(x.Offset, y.Offset))
	})
	return list
}

// without is the state in which all survived but a line.
func (p *point) without(line int, x Reading) *State {
	n := name{event: p.r.at, method: 'l', k: line, Reading: x}
	c := p.choose(n.method, n.k)
	return p.state(n.id(p.hash(c)), x, c)
}

// Why says what the store lacks to be durable.
func (o *Op) Why() string {
	switch p := o.Promise; {
	case p == Nothing:
		return "the platform promises nothing"
	case p == Requests:
		return "no flush request after it"
	case o.Kind&(observe.NonTemporal|observe.ToWriteThrough) != 0:
		return "no fence after it"
	case o.Flushed == NotFlushed:
		return "no flush of its line after it"
	case o.Flushed == FlushedEarly:
		return "CLFLUSH after it, no MFENCE between them"
	case p == Hints:
		return "flushed, no fence and store to a flush hint after it"
	case o.Flushed == FlushedCLFLUSH:
		return "CLFLUSH after it, no MFENCE after that"
	}
	return "flushed, no fence after it"
}
