package px86

import (
	"fmt"
	"slices"
)

// An execution is a program under rules, with the order of its events that holds in any of its runs.
//
// The events are: that an operation begins and that it ends, which the trace orders; that an atom is visible to all; that a flush
// of a line is done; that a flush hint is; the last write-back of each line; and the crash.
type execution struct {
	program Program
	rules   Rules
	cells   []int
	atoms   []atom
	flushes []flush
	hints   []flush
	// visible, backs and crash are events, as are when of a flush, 2*i for the beginning of operation i and 2*i+1 for its end.
	visible []int
	backs   []int
	crash   int
	ordered order
}

// A flush writes a line back; a hint makes durable what its DIMM accepted, from when on it may.
type flush struct {
	op      Op
	at      int // of the program
	line    int
	when    int
	arrived int // of a hint: its store is visible
}

// linesOfDIMM is how many lines a DIMM has.
const linesOfDIMM = 2

func dimm(line int) int { return line / linesOfDIMM }

// Axioms returns the contents that memory may have when the power fails at a moment of p, in order and each once: those for which
// there is an order of the events that the axioms (see the package's documentation) allow. It panics if p has more events than
// fit an order; see Fits.
func (p Program) Axioms(r Rules, at Point) []Image {
	found := map[Image]bool{}
	newExecution(p, r).crashes(at, "", func(image Image) bool { found[image] = true; return true })
	return sorted(found)
}

// Allows says whether memory may have the content image when the power fails at a moment of p. It is quick where Axioms has too many
// contents to return.
func (p Program) Allows(r Rules, at Point, image Image) bool {
	found := false
	newExecution(p, r).crashes(at, image, func(Image) bool { found = true; return false })
	return found
}

// Fits says whether p is small enough for Axioms.
func (p Program) Fits(r Rules) bool {
	n := 2*len(p) + 1 + p.Lines()
	for i, op := range p {
		n += len(split(i, op, r.Vector))
		switch {
		case op.Kind.Flushes():
			n++
		case op.Kind == WBINVD:
			n += p.Lines()
		case op.Kind == Hint:
			n += 2
		}
	}
	return n <= maxEvents
}

func sorted(found map[Image]bool) []Image {
	images := make([]Image, 0, len(found))
	for image := range found {
		images = append(images, image)
	}
	slices.Sort(images)
	return images
}

func begin(i int) int { return 2 * i }
func end(i int) int   { return 2*i + 1 }

func newExecution(p Program, r Rules) *execution {
	if !p.Fits(r) {
		panic(fmt.Sprintf("px86: a program of %d operations and %d lines has more than %d events", len(p), p.Lines(), maxEvents))
	}
	x := &execution{program: p, rules: r, cells: p.Cells(r)}
	next := 2 * len(p)
	event := func() int { next++; return next - 1 }
	x.crash = event()
	for range p.Lines() {
		x.backs = append(x.backs, event())
	}
	for i, op := range p {
		for _, a := range split(i, op, r.Vector) {
			x.atoms, x.visible = append(x.atoms, a), append(x.visible, event())
		}
		switch {
		case op.Kind.Flushes():
			x.flushes = append(x.flushes, flush{op: op, at: i, line: op.Addr / LineSize, when: event()})
		case op.Kind == WBINVD:
			for line := range p.Lines() {
				x.flushes = append(x.flushes, flush{op: op, at: i, line: line, when: event()})
			}
		case op.Kind == Hint:
			x.hints = append(x.hints, flush{op: op, at: i, line: op.Addr / LineSize, when: event(), arrived: event()})
		}
	}
	x.ordered = make(order, next)
	x.orderTrace()
	x.orderStores()
	x.orderFlushes()
	x.orderHints()
	x.orderDrains()
	return x
}

// must adds to the order what holds in every run; the axioms agree with each other, so that it cannot fail.
func (x *execution) must(a, b int) {
	if !x.ordered.before(a, b) {
		panic(fmt.Sprintf("px86: the axioms contradict each other in %v", x.program))
	}
}

// orderTrace: the trace is what retired, in order; nothing takes effect before its instruction begins. An AMD CLFLUSH may look at the
// caches before the stores that wait in the store buffer reach them, that is, at what they were when the buffer was last drained.
func (x *execution) orderTrace() {
	for i := range x.program {
		x.must(begin(i), end(i))
		if i > 0 {
			x.must(end(i-1), begin(i))
		}
	}
	for i, a := range x.atoms {
		x.must(begin(a.op), x.visible[i])
		if a.locked || !x.rules.Buffers && a.class != nt || a.class == dma {
			x.must(x.visible[i], end(a.op))
		}
	}
	for _, f := range x.flushes {
		if f.op.Kind == CLFLUSH && x.rules.CLFLUSH == AMD {
			for i := f.at - 1; i >= 0; i-- {
				if x.program[i].CPU == f.op.CPU && x.program[i].Kind.row().store {
					x.must(end(i), f.when)
					break
				}
			}
			continue
		}
		x.must(begin(f.at), f.when)
		if f.op.Kind == WBINVD {
			x.must(f.when, end(f.at))
		}
	}
	for _, h := range x.hints {
		x.must(begin(h.at), h.arrived)
		x.must(h.arrived, h.when)
		if !x.rules.Buffers {
			x.must(h.arrived, end(h.at))
			if !x.rules.PostedHint {
				x.must(h.when, end(h.at))
			}
		}
	}
}

// orderStores: the stores of one CPU are visible in program order, but for non-temporal ones and those of one instruction among
// themselves (SDM vol. 3, 9.2.2 and 9.2.4). A non-temporal store comes after older stores to its bytes; a cached one to the bytes of an
// older non-temporal one may be in a cache first, but not on the medium, for which see overlap. An uncached store empties the
// write-combining buffers first, and a locked instruction everything.
func (x *execution) orderStores() {
	for i, a := range x.atoms {
		for j, b := range x.atoms {
			if a.cpu != b.cpu || a.op >= b.op || a.class == dma {
				continue
			}
			if a.class != nt && b.class != nt || a.overlaps(b) && b.class == nt || a.class == nt && (b.class == uc || b.locked) {
				x.must(x.visible[i], x.visible[j])
			}
		}
	}
}

// orderFlushes: CLFLUSH as its vendor says; CLWB and CLFLUSHOPT after the older stores to their line (SDM vol. 2) and in no other
// order before a fence.
func (x *execution) orderFlushes() {
	for _, f := range x.flushes {
		strong := f.op.Kind == CLFLUSH && x.rules.CLFLUSH == Intel
		weak := f.op.Kind == CLWB || f.op.Kind == CLFLUSHOPT
		for i, a := range x.atoms {
			if a.cpu != f.op.CPU {
				continue
			}
			if a.op < f.at && (strong || weak && a.line == f.line || f.op.Kind == WBINVD) {
				x.must(x.visible[i], f.when)
			}
			if f.at < a.op && strong {
				x.must(f.when, x.visible[i])
			}
			if f.at < a.op && weak && a.locked {
				x.must(f.when, x.visible[i])
			}
		}
		for j, op := range x.program {
			// What enters the store buffer after a CLFLUSH finds it done, if that buffer does not hold anything.
			if strong && !x.rules.Buffers && f.at < j && op.CPU == f.op.CPU && (op.Kind.Stores() || op.Kind == CLFLUSH) {
				x.must(f.when, end(j))
			}
		}
		for _, g := range x.flushes {
			if strong && g.op.Kind == CLFLUSH && f.op.CPU == g.op.CPU && f.at < g.at {
				x.must(f.when, g.when)
			}
		}
	}
}

// orderHints: a store to a flush hint is one to uncached memory. It has its effect when it arrives, unless hints are posted.
func (x *execution) orderHints() {
	for _, h := range x.hints {
		done := h.when
		if x.rules.PostedHint {
			done = h.arrived
		}
		for i, a := range x.atoms {
			if a.cpu == h.op.CPU && a.op < h.at {
				x.must(x.visible[i], h.arrived)
			}
			if a.cpu == h.op.CPU && h.at < a.op && a.class != nt {
				x.must(done, x.visible[i])
			}
			if a.cpu == h.op.CPU && h.at < a.op && a.locked {
				x.must(h.when, x.visible[i])
			}
		}
		for _, f := range x.flushes {
			if f.op.Kind == CLFLUSH && f.op.CPU == h.op.CPU && x.rules.CLFLUSH == Intel {
				if f.at < h.at {
					x.must(f.when, h.arrived)
				} else {
					x.must(done, f.when)
				}
			}
		}
		for _, g := range x.hints {
			if g.op.CPU == h.op.CPU && h.at < g.at {
				x.must(done, g.arrived)
			}
		}
	}
}

// orderDrains: what the table of kinds says that an operation waits for is done when it ends.
func (x *execution) orderDrains() {
	for j, op := range x.program {
		row := op.Kind.row()
		for i, a := range x.atoms {
			if a.cpu == op.CPU && a.op < j && (a.class == nt && row.combine || a.class != nt && row.store) {
				x.must(x.visible[i], end(j))
			}
		}
		for _, f := range x.flushes {
			if f.op.CPU != op.CPU || f.at >= j {
				continue
			}
			done := row.flopt
			if f.op.Kind == CLFLUSH {
				done = row.flush
				if x.rules.CLFLUSH == AMD {
					done = op.Kind == MFENCE
				}
			}
			if done {
				x.must(f.when, end(j))
			}
		}
		for _, h := range x.hints {
			if h.op.CPU == op.CPU && h.at < j && row.store {
				x.must(h.arrived, end(j))
			}
			if h.op.CPU == op.CPU && h.at < j && (row.flopt || row.store && !x.rules.PostedHint) {
				x.must(h.when, end(j))
			}
		}
	}
}
