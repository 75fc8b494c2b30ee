package persist_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"nvlab/nvdimm/persist"
	"nvlab/nvdimm/persist/px86"
	"nvlab/vmm/observe"
)

// A piece is one of the events of which an engine tells for an operation of a program.
type piece struct {
	op    int
	event any // observe.Store, Flush or Fence, or the number of a DIMM for a hint
}

const (
	dimmLines = 2 // of a DIMM, in package px86
	dimms     = 2
)

// pieces is what an engine tells of p.
func pieces(p px86.Program) []piece {
	var all []piece
	for i, op := range p {
		at := observe.At{Seq: uint64(16 * i), VCPU: uint8(max(op.CPU, 0))}
		add := func(event any) { all = append(all, piece{i, event}) }
		order := orderOf[op.Kind]
		if order != 0 {
			add(observe.Fence{At: at, Order: order})
		}
		switch {
		case op.Kind.Flushes():
			flush := observe.Flush{At: at, Op: flushOf[op.Kind]}
			flush.Base, flush.Offset = where(op.Addr / px86.LineSize * px86.LineSize)
			add(flush)
		case op.Kind == px86.Hint:
			add(op.Addr / px86.LineSize / dimmLines)
		case op.Kind.Stores():
			for n := range op.Count {
				for lo, end := op.Addr+n*op.Size, op.Addr+(n+1)*op.Size; lo < end; {
					hi := min(end, (lo/8+1)*8)
					s := observe.Store{At: at, Size: uint8(hi - lo), Kind: kindOf[op.Kind], Group: uint64(i + 1)}
					s.Seq += uint64(n)
					if op.Size == 16 {
						s.Kind |= observe.Vector
					}
					s.Base, s.Offset = where(lo)
					for range hi - lo {
						s.Value = s.Value<<8 | uint64(i+1)
					}
					add(s)
					lo = hi
				}
			}
		}
		if op.Kind == px86.Lock {
			add(observe.Fence{At: at, Order: order}) // what it stored is visible, too
		}
	}
	return all
}

// where returns the DIMM's address and the offset in it of a byte of a program's memory.
func where(addr int) (base, offset uint64) {
	const size = dimmLines * px86.LineSize
	return dimmAt + uint64(addr/size)<<16, uint64(addr % size)
}

var kindOf = map[px86.Kind]observe.Kind{
	px86.NT: observe.NonTemporal, px86.NTVector: observe.NonTemporal, px86.Lock: observe.Locked,
	px86.String: observe.String, px86.DMAStore: observe.Device, px86.UC: observe.ToUncached,
}

var flushOf = map[px86.Kind]observe.FlushOp{px86.CLFLUSH: observe.CLFLUSH, px86.CLFLUSHOPT: observe.CLFLUSHOPT, px86.CLWB: observe.CLWB}

// orderOf is what an engine tells of the operations that order others. Of the rest it tells nothing, or only what they store.
var orderOf = map[px86.Kind]observe.Order{
	px86.Lock: observe.Lock, px86.LockElsewhere: observe.Lock, px86.SFENCE: observe.SFENCE, px86.MFENCE: observe.MFENCE,
	px86.WBINVD: observe.WBINVD | observe.Serializing, px86.Serialize: observe.Serializing, px86.PortIO: observe.PortIO,
	px86.Interrupt: observe.Interrupt, px86.Exception: observe.Exception, px86.UCRead: observe.Uncached, px86.Hint: observe.Uncached,
}

// A modelled machine is the model with what it follows.
type modelled struct {
	model   *persist.Model
	journal *persist.Journal
	media   [dimms]*persist.Medium
	memory  [dimms][]byte
}

func newModelled(rules px86.Rules) *modelled {
	m := &modelled{model: persist.NewModel(configOf(rules))}
	platform := [...]persist.Platform{px86.ADR: persist.ADR, px86.EADR: persist.EADR, px86.Hints: persist.Hints}[rules.Platform]
	for i := range m.media {
		m.memory[i] = make([]byte, dimmLines*px86.LineSize)
		m.media[i] = persist.NewMedium("nvdimm", platform, persist.Bytes(m.memory[i]))
		m.model.Map(uint64(dimmAt+i<<16), m.media[i], 0)
	}
	var err error
	if m.journal, err = m.model.Record(nil); err != nil {
		panic(err)
	}
	return m
}

func (m *modelled) tell(event any) {
	switch e := event.(type) {
	case observe.Store:
		m.journal.Store(&e)
		m.model.Store(&e)
		copy(m.memory[(e.Base-dimmAt)>>16][e.Offset:][:e.Size], binary.LittleEndian.AppendUint64(nil, e.Value))
	case observe.Flush:
		m.journal.Flush(&e)
		m.model.Flush(&e)
	case observe.Fence:
		m.journal.Fence(&e)
		m.model.Fence(&e)
	case int:
		m.journal.Hint(m.media[e], observe.At{})
		m.model.Hint(m.media[e])
	}
}

// crashes are the contents that the model says are legal before the events of at, and the search that found them.
func (m *modelled) crashes(rules px86.Rules, cells []int, at persist.What) (map[px86.Image]bool, *persist.Search) {
	set := map[px86.Image]bool{}
	search := searchOf(rules)
	search.At = at
	var visible [dimms * dimmLines][px86.LineSize]byte
	line := func(d *persist.Medium, n uint64) int { return slices.Index(m.media[:], d)*dimmLines + int(n) }
	for view := range search.Views(m.journal) {
		view.Fresh(func(d *persist.Medium, n uint64, bytes []byte) { copy(visible[line(d, n)][:], bytes) })
		left := visible
		view.Undecided(func(d *persist.Medium, n uint64, _, bytes []byte, _ uint64) { copy(left[line(d, n)][:], bytes) })
		image := make([]byte, len(cells))
		for i, cell := range cells {
			image[i] = left[cell/px86.LineSize][cell%px86.LineSize]
		}
		set[px86.Image(image)] = true
	}
	return set, search
}

// A difference is a moment of a program at which the model and the oracle disagree.
type difference struct {
	program      px86.Program
	rules        px86.Rules
	at           string
	illegal      []px86.Image // what the model makes up
	unreached    []px86.Image // what it never produces
	model, legal []px86.Image
}

// unless returns d, or nil if all of it is what the model says that it leaves out: bound is the name of what it says, or "".
func (d *difference) unless(bound string, used map[string]int) *difference {
	if d == nil || bound == "" {
		return d
	}
	if len(d.unreached) > 0 {
		used[bound]++
		d.unreached = nil
	}
	if d.illegal == nil {
		return nil
	}
	return d
}

func (d *difference) String() string {
	show := func(images []px86.Image) string { return px86.Show(d.program, d.rules, images) }
	kind := "I"
	if len(d.unreached) > 0 {
		kind = "U"
		if len(d.illegal) > 0 {
			kind = "I, U"
		}
	}
	return fmt.Sprintf("| %s | %v | `%v` | %s | %s | %s |", kind, d.rules, d.program, d.at, show(d.legal), show(d.model))
}

// An oracle gives the contents that are legal at a moment of a program.
type oracle func(px86.Point) []px86.Image

// oracleOf returns px86 in one of its two forms, which agree.
func oracleOf(p px86.Program, rules px86.Rules, axioms bool) oracle {
	if axioms || p.Atoms(rules) > 8 {
		return func(at px86.Point) []px86.Image { return p.Axioms(rules, at) }
	}
	return p.Machine(rules).At
}

// compare returns the first moment at which the model and the oracle disagree about p, or nil: after each operation, and over all
// moments, those within operations included. It counts in used the moments at which the model leaves something out, by the bound.
func compare(p px86.Program, rules px86.Rules, axioms bool, used map[string]int) *difference {
	cells := p.Cells(rules)
	legal := oracleOf(p, rules, axioms)
	m := newModelled(rules)
	all := pieces(p)
	ever := map[px86.Image]bool{}
	var within []px86.Image
	for i := range len(p) + 1 {
		for ; len(all) > 0 && all[0].op < i; all = all[1:] {
			m.tell(all[0].event)
		}
		after := legal(px86.Point{Op: i})
		for _, image := range append(after, within...) {
			ever[image] = true
		}
		got, search := m.crashes(rules, cells, persist.AtEnd)
		d := differ(p, rules, fmt.Sprint("after ", i), got, after).unless(bounded(p, search), used)
		if d != nil && i > 0 && inParts(p[i-1]) {
			// That it has ended, the model sees at its CPU's next event. Until then it may say what is legal within it.
			begun := differ(p, rules, fmt.Sprint("within or after ", i), got, within)
			if d.unreached == nil && (begun == nil || begun.illegal == nil) {
				d = nil
			}
		}
		if d != nil {
			return d
		}
		if i < len(p) {
			within = legal(px86.Point{Op: i, Within: true})
		}
	}
	got, search := m.crashes(rules, cells, persist.AtAny)
	return differ(p, rules, "ever", got, slices.Sorted(maps.Keys(ever))).unless(bounded(p, search), used)
}

// cut returns what a power failure leaves that is illegal, before piece n of p, as lab has it happen: the instruction that it comes in
// the middle of is taken back, if it is never torn there.
func cut(p px86.Program, rules px86.Rules, n int, keep persist.Keep, seed uint64) *difference {
	all := pieces(p)
	m := newModelled(rules)
	for _, piece := range all[:n] {
		m.tell(piece.event)
	}
	at := px86.Point{Op: all[n].op, Within: n > 0 && all[n-1].op == all[n].op}
	if e, ok := all[n].event.(observe.Store); ok {
		m.model.Abandon(&e)
	}
	if at.Op > 0 && !at.Within && inParts(p[at.Op-1]) {
		at = px86.Point{Op: at.Op - 1, Within: true}
	}
	m.model.Cut(keep, seed).Apply(m.model)
	image := map[px86.Image]bool{m.image(p.Cells(rules)): true}
	return differ(p, rules, fmt.Sprintf("%v, keep=%v", at, [...]string{"none", "all", "random"}[keep]), image, p.Axioms(rules, at))
}

// image is what memory holds.
func (m *modelled) image(cells []int) px86.Image {
	image := make([]byte, len(cells))
	for i, cell := range cells {
		base, offset := where(cell)
		image[i] = m.memory[(base-dimmAt)>>16][offset]
	}
	return px86.Image(image)
}

func differ(p px86.Program, rules px86.Rules, at string, model map[px86.Image]bool, legal []px86.Image) *difference {
	d := &difference{program: p, rules: rules, at: at, legal: legal, model: slices.Sorted(maps.Keys(model))}
	for _, image := range d.model {
		if _, ok := slices.BinarySearch(legal, image); !ok {
			d.illegal = append(d.illegal, image)
		}
	}
	for _, image := range legal {
		if !model[image] {
			d.unreached = append(d.unreached, image)
		}
	}
	if d.illegal == nil && d.unreached == nil {
		return nil
	}
	return d
}

// pairs counts which kind of operation came right after which in the programs that were compared.
type pairs map[[2]px86.Kind]int

func (c pairs) add(p px86.Program) {
	for i := range p[1:] {
		c[[2]px86.Kind{p[i].Kind, p[i+1].Kind}]++
	}
}

func (c pairs) join(other pairs) {
	for pair, n := range other {
		c[pair] += n
	}
}

// missing returns the pairs of kinds that were not seen.
func (c pairs) missing() (all [][2]px86.Kind) {
	for _, first := range comparedKinds() {
		for _, second := range comparedKinds() {
			if c[[2]px86.Kind{first, second}] == 0 {
				all = append(all, [2]px86.Kind{first, second})
			}
		}
	}
	return all
}

// String is a table, a row for the earlier kind.
func (c pairs) String() string {
	var b strings.Builder
	for _, first := range comparedKinds() {
		fmt.Fprintf(&b, "%12v", first)
		for _, second := range comparedKinds() {
			fmt.Fprintf(&b, " %6d", c[[2]px86.Kind{first, second}])
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// program returns random program n and rules for it: half of them of all kinds, half of a few, which meet more often.
func program(n uint64) (px86.Program, px86.Rules) {
	rng := rand.New(rand.NewPCG(n, 1))
	shape := px86.Shape{Ops: 5, CPUs: 3, Lines: 3, Kinds: comparedKinds()}
	if n%2 == 1 {
		rng.Shuffle(len(shape.Kinds), func(i, j int) { shape.Kinds[i], shape.Kinds[j] = shape.Kinds[j], shape.Kinds[i] })
		shape.Kinds = shape.Kinds[:2+rng.IntN(4)]
	}
	p, rules := shape.Random(rng), comparedRules(rng)
	return follow(p, rules), rules
}

// inParts says whether an engine tells of the stores of op one by one, of which any may be visible first.
func inParts(op px86.Op) bool {
	if !op.Kind.Stores() {
		return false
	}
	if op.Kind == px86.Lock {
		return op.Addr/px86.LineSize != (op.Addr+op.Size-1)/px86.LineSize
	}
	return len(pieces(px86.Program{op})) > 1
}

// follow makes each instruction that stores in parts be followed by an event of its CPU, where it matters which parts were visible, with
// eADR and to uncached memory: where the next is another CPU's, an engine may tell of it between two parts.
func follow(p px86.Program, rules px86.Rules) px86.Program {
	var q px86.Program
	for i, op := range p {
		q = append(q, op)
		if (rules.Platform == px86.EADR || op.Kind == px86.UC) && inParts(op) && i+1 < len(p) && (p[i+1].CPU != op.CPU || len(pieces(p[i+1:i+2])) == 0) {
			q = append(q, px86.Op{CPU: op.CPU, Kind: px86.UCRead})
		}
	}
	return q
}

// A tally is what came of comparing programs.
type tally struct {
	programs int
	pairs    pairs
	bounded  map[string]int // moments of programs at which the model says that it leaves something out, by why
}

func (c *tally) join(other *tally) {
	c.programs += other.programs
	c.pairs.join(other.pairs)
	for why, n := range other.bounded {
		c.bounded[why] += n
	}
}

// opinions are the numbers of the programs that NVLAB_OPINION asks for: N are the first N, M-N those from M to before N.
func opinions(t *testing.T, from, end uint64) (uint64, uint64) {
	s := os.Getenv("NVLAB_OPINION")
	if s == "" {
		return from, end
	}
	first, last, part := strings.Cut(s, "-")
	if !part {
		first, last = "0", first
	}
	from, err := strconv.ParseUint(first, 10, 64)
	end, err2 := strconv.ParseUint(last, 10, 64)
	if err := cmp.Or(err, err2); err != nil || from >= end {
		t.Fatalf("NVLAB_OPINION=%q: want a number of programs, or FROM-END: %v", s, err)
	}
	return from, end
}

// TestSecondOpinion compares the model with package px86 on random programs. NVLAB_OPINION is how many: 110,000 in .ci/run, 10 million
// in the hour that those take.
func TestSecondOpinion(t *testing.T) {
	t.Parallel()
	few := uint64(10_000)
	if testing.Short() {
		few = 2_000
	}
	first, end := opinions(t, 0, few)
	total := end - first
	// Parts of it, so that a run that is ended has said how far it came.
	const part = 100_000
	all, start := tally{pairs: pairs{}, bounded: map[string]int{}}, time.Now()
	for from := first; from < end && !t.Failed(); from += part {
		compareAll(t, from, min(from+part, end), &all)
		if total > part {
			t.Logf("%d programs of %d are alike, %.0f a second", all.programs, min(from+part, end)-first, float64(all.programs)/time.Since(start).Seconds())
		}
	}
	t.Logf("%d programs of %d; how often the kind of a row came before that of a column:\n%v", all.programs, total, all.pairs)
	for _, why := range slices.Sorted(maps.Keys(bounds)) {
		t.Logf("%d times a subset, as is printed: %s", all.bounded[why], why)
	}
	if missing := all.pairs.missing(); total >= 100_000 && len(missing) > 0 {
		t.Errorf("%d programs have none with %v", all.programs, missing)
	}
}

// TestOnceApart compares the model with package px86 on programs on which they differed once.
func TestOnceApart(t *testing.T) {
	for _, c := range []struct {
		program string
		rules   px86.Rules
	}{
		// Both CPUs asked for it, and the second fenced: the model knew of the first only.
		{"1:movnti4 a; 1:hint a; 2:hint a; 2:mfence", px86.Rules{Platform: px86.Hints, Vector: 8, CLFLUSH: px86.Intel, PostedHint: true}},
		// The store was over, though nothing followed it on its CPU.
		{"uc1 a+7; 1:hint a; 1:mfence", px86.Rules{Platform: px86.Hints, Vector: 8, CLFLUSH: px86.Intel, PostedHint: true}},
		// The non-temporal store came after the third, and the second over it, though that was visible before the third.
		{"movnti8 a+56; 1:mov1 a+60; 1:uc4 a+54; 1:cpuid", px86.Rules{Vector: 16, CLFLUSH: px86.Intel, PostedHint: true}},
		{"movnti8 a+16; 1:mov1 a+18; 1:movnti4 a+14; 1:cpuid", px86.Rules{Vector: 8, CLFLUSH: px86.AMD, PostedHint: true}},
	} {
		p, err := px86.Parse(c.program)
		if err != nil {
			t.Fatal(err)
		}
		for _, axioms := range []bool{false, true} {
			if d := compare(p, c.rules, axioms, map[string]int{}); d != nil {
				t.Errorf("the model and the oracle disagree:\n| kind | rules | program | power fails | legal | model |\n%v", d)
			}
		}
	}
}

// compareAll compares the programs of some numbers, and adds to what came of others.
func compareAll(t *testing.T, from, end uint64, sum *tally) {
	tallies := make([]tally, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for w := range tallies {
		c := &tallies[w]
		*c = tally{pairs: pairs{}, bounded: map[string]int{}}
		all.Go(func() {
			for n := from + uint64(w); n < end && !t.Failed(); n += uint64(len(tallies)) {
				p, rules := program(n)
				if !p.Fits(rules) || !p.Runs(rules) {
					continue
				}
				c.programs++
				c.pairs.add(p)
				axioms := n/2%2 == 0
				if compare(p, rules, axioms, c.bounded) != nil {
					none := map[string]int{}
					small := px86.Shrink(p, func(p px86.Program) bool {
						return slices.Equal(p, follow(p, rules)) && compare(p, rules, axioms, none) != nil
					})
					t.Errorf("program %d: the model and the oracle disagree:\n| kind | rules | program | power fails | legal | model |\n%v",
						n, compare(small, rules, axioms, none))
				}
			}
		})
	}
	all.Wait()
	for w := range tallies {
		sum.join(&tallies[w])
	}
}

// TestSecondOpinionOfCuts holds what Cut leaves, at a random event of each of many random programs, to be legal there.
func TestSecondOpinionOfCuts(t *testing.T) {
	total := uint64(5_000)
	if testing.Short() {
		total = 1_000
	}
	for n := range total {
		p, rules := program(n)
		all := len(pieces(p))
		if all == 0 || !p.Fits(rules) {
			continue
		}
		keep := persist.Keep(n % 3)
		if d := cut(p, rules, int(n/3)%all, keep, n); d != nil && d.illegal != nil {
			t.Fatalf("program %d: a power failure leaves what is illegal:\n| kind | rules | program | power fails | legal | left |\n%v", n, d)
		}
	}
}
