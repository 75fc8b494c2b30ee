package px86

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// one is the rules for one CPU, those of Intel for CLFLUSH where a test does not say otherwise.
var one = Rules{CLFLUSH: Intel}

func (r Rules) on(p Platform) Rules     { r.Platform = p; return r }
func (r Rules) with(v Vendor) Rules     { r.CLFLUSH = v; return r }
func (r Rules) vectors(bytes int) Rules { r.Vector = bytes; return r }
func (r Rules) buffered() Rules         { r.Buffers = true; return r }
func (r Rules) posted() Rules           { r.PostedHint = true; return r }

// litmus are programs with all that memory may hold after their last operation, or within it. Where the test is a known one, what
// says so first names it.
var litmus = []struct {
	why     string
	program string
	rules   Rules
	within  bool
	legal   string
}{
	// Raad, Wickerson, Neiger, Vafeiadis: Persistency semantics of the Intel-x86 architecture, POPL 2020, section 2.
	{"Px86: lines persist in any order",
		"mov8 a; mov8 b", one, false, "{} {b=2} {a=1} {a=1 b=2}"},
	{"Px86: stores to one line persist in order",
		"mov8 a; mov8 a+8", one, false, "{} {a=1} {a=1 a+8=2}"},
	{"Px86: CLFLUSH is ordered with the next store",
		"mov8 a; clflush a; mov8 b", one, false, "{a=1} {a=1 b=3}"},
	{"Px86: CLFLUSHOPT is not",
		"mov8 a; clflushopt a; mov8 b", one, false, "{} {b=3} {a=1} {a=1 b=3}"},
	{"Px86: nor is CLWB",
		"mov8 a; clwb a; mov8 b", one, false, "{} {b=3} {a=1} {a=1 b=3}"},
	{"Px86: CLFLUSHOPT and SFENCE are",
		"mov8 a; clflushopt a; sfence; mov8 b", one, false, "{a=1} {a=1 b=4}"},
	{"Px86: CLFLUSHOPT and a locked instruction are",
		"mov8 a; clflushopt a; lock8 b", one, false, "{a=1} {a=1 b=3}"},
	{"Px86: CLFLUSHOPT may pass an older store to another line, but not one to its own",
		"mov8 a; mov8 b; clflushopt b; sfence", one, false, "{b=2} {a=1 b=2}"},
	{"Px86: what a flush does not promise may happen after it",
		"clwb a; mov8 a; sfence", one, false, "{} {a=2}"},
	{"Px86: a fence orders the flushes of its own CPU",
		"mov8 a; clwb a; 1:sfence; 1:mov8 b", one, false, "{} {b=4} {a=1} {a=1 b=4}"},
	{"Px86: a flush covers what another CPU stored, once it is visible",
		"mov8 a; 1:clwb a; 1:sfence; 1:mov8 b", one, false, "{a=1} {a=1 b=4}"},
	{"Px86: the same, where the store may wait in a buffer",
		"mov8 a; 1:clwb a; 1:sfence; 1:mov8 b", one.buffered(), false, "{} {b=4} {a=1} {a=1 b=4}"},
	{"Px86: the same, where a fence has drained the buffer",
		"mov8 a; mfence; 1:clwb a; 1:sfence; 1:mov8 b", one.buffered(), false, "{a=1} {a=1 b=5}"},
	// Khyzha, Lahav: Taming x86-TSO persistency, POPL 2021: a flush that retired before a fence is done, not only ordered.
	{"PTSOsyn: flushed and fenced is durable, with nothing after it",
		"mov8 a; clwb a; sfence", one, false, "{a=1}"},
	{"PTSOsyn: the later of two stores to one line, and so the earlier",
		"mov8 a; mov8 a+8; clwb a; sfence", one, false, "{a=1 a+8=2}"},
	{"PTSOsyn: a store after the flush is not covered",
		"mov8 a; clwb a; mov8 a; sfence", one, false, "{a=1} {a=3}"},
	{"PTSOsyn: store buffers are first in, first out",
		"mov8 a; mov8 b; 1:mfence", one.on(EADR).buffered(), false, "{} {a=1} {a=1 b=2}"},
	// Raad, Maranget, Vafeiadis: Extending Intel-x86 consistency and persistency, POPL 2022.
	{"Ex86: non-temporal stores are in no order",
		"movnti8 a; movnti8 b", one, false, "{} {b=2} {a=1} {a=1 b=2}"},
	{"Ex86: SFENCE orders them",
		"movnti8 a; sfence; movnti8 b", one, false, "{a=1} {a=1 b=3}"},
	{"Ex86: those to one place are in program order",
		"movnti8 a; movnti8 a; sfence", one, false, "{a=2}"},
	{"Ex86: a cached store to the place of a non-temporal one comes after it",
		"movnti8 a; mov8 a; clwb a; sfence", one, false, "{a=2}"},
	{"Ex86: an uncached store does not pass a non-temporal one",
		"movnti8 a; uc8 b", one, false, "{a=1 b=2}"},
	{"Ex86: non-temporal and cached stores to one line are in no order",
		"mov8 a; movnti8 a+8", one, false, "{} {a+8=2} {a=1} {a=1 a+8=2}"},

	// Programs that a model of persistence got wrong once.
	{"a store that was flushed survives, whatever was stored over it",
		"mov8 a; clwb a; mov8 a; mov8 a; mov8 a; mov8 a; mov8 a; mov8 a; sfence", one, false,
		"{a=1} {a=3} {a=4} {a=5} {a=6} {a=7} {a=8}"},
	{"the same with a hint",
		"mov8 a; clwb a; mov8 a; mov8 a; mov8 a; sfence; hint a", one.on(Hints), false, "{a=1} {a=3} {a=4} {a=5}"},
	{"whoever maps the bytes, the last that was flushed is there",
		"mov8 a; 1:mov8 a; 1:clwb a; 1:sfence", one, false, "{a=2}"},
	{"eADR, within CMPXCHG16B with LOCK: all or nothing",
		"lock16 a", one.on(EADR), true, "{} {a=1}"},
	{"eADR, within a vector store: its halves in any order",
		"movups16 a", one.on(EADR), true, "{} {a+8=1} {a=1} {a=1 a+8=1}"},
	{"eADR: write-combining buffers are lost, each alone",
		"movnti8 a; movnti8 b", one.on(EADR), false, "{} {b=2} {a=1} {a=1 b=2}"},
	{"eADR: up to the fence",
		"movnti8 a; movnti8 b; sfence; mov8 c", one.on(EADR), true, "{a=1 b=2} {a=1 b=2 c=4}"},
	{"eADR: the elements of a string in any order",
		"rep8 ax2", one.on(EADR), true, "{} {a+8=1} {a=1} {a=1 a+8=1}"},
	{"eADR: a store after the string comes after all of it",
		"rep8 ax2; mov8 c", one.on(EADR), true, "{a=1 a+8=1} {a=1 a+8=1 c=2}"},
	{"a store that waits in one CPU's buffer, in the line of another's",
		"mov8 a; 1:mov8 a+8", one.buffered(), false, "{} {a+8=2} {a=1} {a=1 a+8=2}"},
	{"eADR: store buffers are lost",
		"mov8 a; 1:mov8 b", one.on(EADR).buffered(), false, "{} {b=2} {a=1} {a=1 b=2}"},
	{"another CPU's flush finds a store or not, as it waits",
		"mov8 a; 1:clwb a; 1:sfence; 1:mov8 b; 1:clwb b; 1:sfence", one.buffered(), false, "{b=4} {a=1 b=4}"},
	{"a write-combining buffer drains after another CPU's store to its bytes",
		"movnti8 a; 1:mov8 a; 1:clwb a; 1:sfence", one, false, "{a=2} {a=1}"},
	{"a vector store is torn at 8 bytes",
		"movups16 a", one, false, "{} {a+8=1} {a=1} {a=1 a+8=1}"},
	{"or not, if it is aligned and the CPU has AVX",
		"movups16 a", one.vectors(16), false, "{} {a=1}"},
	{"but still if it is not aligned",
		"movups16 a+8", one.vectors(16), false, "{} {a+16=1} {a+8=1} {a+8=1 a+16=1}"},
	{"AMD: CLFLUSH is not ordered with stores",
		"mov8 a; clflush a; mov8 b", one.with(AMD), false, "{} {b=3} {a=1} {a=1 b=3}"},
	{"AMD: nor by SFENCE",
		"mov8 a; clflush a; sfence; mov8 b", one.with(AMD), false, "{} {b=4} {a=1} {a=1 b=4}"},
	{"AMD: nor after the stores that wait when it looks",
		"mov8 a; clflush a; mfence", one.with(AMD), false, "{} {a=1}"},
	{"AMD: MFENCE on both sides",
		"mov8 a; mfence; clflush a; mfence", one.with(AMD), false, "{a=1}"},
	{"what was undecided when a trace begins depends on the platform: ADR",
		"mov8 a; mov8 b", one, false, "{} {b=2} {a=1} {a=1 b=2}"},
	{"and eADR",
		"mov8 a; mov8 b", one.on(EADR), false, "{a=1 b=2}"},
	{"an aligned CMPXCHG8B without LOCK is one store of 8 bytes",
		"mov8 a", one, true, "{} {a=1}"},
	{"an uncached store needs no flush",
		"uc8 a", one, false, "{a=1}"},
	{"CLFLUSH is ordered with non-temporal stores too",
		"movnti8 a; clflush a; mov8 b; clflush b; mov8 c", one, false, "{a=1 b=3} {a=1 b=3 c=5}"},
	{"a locked instruction that faults is no fence",
		"mov8 a; clwb a; exception", one, false, "{} {a=1}"},
	{"a WRMSR that does not serialize is none",
		"mov8 a; clwb a; nop", one, false, "{} {a=1}"},
	{"WBINVD writes back the caches of its own CPU only",
		"mov8 a; 1:wbinvd; 1:mov8 b; 1:clwb b; 1:sfence", one, false, "{b=3} {a=1 b=3}"},
	{"those, however, it does",
		"mov8 a; wbinvd; mov8 b", one, false, "{a=1} {a=1 b=3}"},
	{"a locked store of 16 bytes is never torn, whatever came before it",
		"mov8 a; mov8 a+8; lock16 a", one, false, "{} {a=1} {a=1 a+8=2} {a=3 a+8=3}"},

	{"MOVNTDQ is torn at 8 bytes even so",
		"movntdq16 a", one.vectors(16), false, "{} {a+8=1} {a=1} {a=1 a+8=1}"},
	{"an unaligned vector store is torn at each 8 bytes, even so",
		"movups16 a+7", one.vectors(16), false,
		"{} {a+16=1} {a+8=1} {a+8=1 a+16=1} {a+7=1} {a+7=1 a+16=1} {a+7=1 a+8=1} {a+7=1 a+8=1 a+16=1}"},
	{"a store over part of another never survives without it",
		"mov8 a; movnti4 a", one, false, "{} {a=1 a+4=1} {a=2 a+4=1}"},
	{"nor a cached one over a non-temporal one",
		"movnti8 a; mov4 a", one, false, "{} {a=1 a+4=1} {a=2 a+4=1}"},
	{"nor one over a device's",
		"dma8 a; mov4 a", one, false, "{} {a=1 a+4=1} {a=2 a+4=1}"},
	{"and then what came before that in the line survives too",
		"mov8 a; mov8 a+8; movntdq16 a", one, false, "{} {a=1} {a=1 a+8=2} {a=1 a+8=3} {a=3} {a=3 a+8=2} {a=3 a+8=3}"},
	{"eADR, within a store across 8 bytes: its pieces in any order",
		"mov8 a+5", one.on(EADR), true, "{} {a+8=1} {a+5=1} {a+5=1 a+8=1}"},
	{"two CPUs' write-combining buffers drain in any order",
		"movnti4 a; 1:movnti8 a; sfence; 1:sfence", one, false, "{a=1 a+4=2} {a=2 a+4=2}"},
	{"what was visible before an uncached store is not over a non-temporal one that came after that",
		"movnti8 a; 1:mov4 a+4; 1:uc4 a", one, false, "{a=1 a+4=1} {a=3} {a=3 a+4=1} {a=3 a+4=2}"},
	{"what a device stored is not in the caches that WBINVD writes back",
		"dma8 a; wbinvd", one, false, "{} {a=1}"},
	{"a line to which another CPU stored last is not, whoever stored to it before",
		"mov8 a; 1:mov8 a+8; wbinvd", one, false, "{} {a=1} {a=1 a+8=2}"},

	// What completes what.
	{"a serializing instruction completes no CLWB",
		"mov8 a; clwb a; cpuid", one, false, "{} {a=1}"},
	{"nor does port I/O",
		"mov8 a; clwb a; out", one, false, "{} {a=1}"},
	{"nor an interrupt",
		"mov8 a; clwb a; interrupt", one, false, "{} {a=1}"},
	{"an interrupt empties the write-combining buffers",
		"movnti8 a; interrupt", one, false, "{a=1}"},
	{"an exception does not",
		"movnti8 a; exception", one, false, "{} {a=1}"},
	{"an exception drains the store buffer",
		"mov8 a; exception", one.on(EADR).buffered(), false, "{a=1}"},
	{"LFENCE completes nothing",
		"movnti8 a; lfence", one, false, "{} {a=1}"},
	{"a load from uncached memory empties the write-combining buffers",
		"movnti8 a; ucread", one, false, "{a=1}"},
	{"a store across two lines, one after the other",
		"mov8 a+60", one, false, "{} {b=1} {a+60=1} {a+60=1 b=1}"},
	{"what a fault stopped a string at",
		"rep8 ax2; exception; rep8 a+16x1", one.on(EADR), true, "{a=1 a+8=1} {a=1 a+8=1 a+16=3}"},
	{"flushed and fenced is not on the medium where the controller's queue is lost",
		"mov8 a; clwb a; sfence", one.on(Hints), false, "{} {a=1}"},
	{"a hint puts it there",
		"mov8 a; clwb a; sfence; hint a", one.on(Hints), false, "{a=1}"},
	{"once it is fenced, by the other reading",
		"mov8 a; clwb a; sfence; hint a", one.on(Hints).posted(), false, "{} {a=1}"},
	{"once it is fenced",
		"mov8 a; clwb a; sfence; hint a; sfence", one.on(Hints).posted(), false, "{a=1}"},
	{"a hint of another DIMM does nothing",
		"mov8 a; clwb a; sfence; hint c", one.on(Hints), false, "{} {a=1}"},
	{"a hint is a store to uncached memory",
		"movnti8 a; hint a", one.on(Hints), false, "{a=1}"},
	{"what a device stored is flushed like any other",
		"dma8 a; clwb a; sfence", one, false, "{a=1}"},
	{"but is in no order with the stores to its line",
		"mov8 a; dma8 a+8", one, false, "{} {a+8=2} {a=1} {a=1 a+8=2}"},
}

func sortWords(text string) string {
	words := strings.Split(text, "} {")
	for i := range words {
		words[i] = strings.Trim(words[i], "{}")
	}
	slices.Sort(words)
	return "{" + strings.Join(words, "} {") + "}"
}

func TestLitmus(t *testing.T) {
	for _, test := range litmus {
		p, err := Parse(test.program)
		if err != nil {
			t.Fatal(err)
		}
		if p.String() != test.program {
			t.Errorf("Parse(%q) reads %q", test.program, p)
		}
		at := Point{len(p), false}
		if test.within {
			at = Point{len(p) - 1, true}
		}
		want := sortWords(test.legal)
		if got := sortWords(Show(p, test.rules, p.Axioms(test.rules, at))); got != want {
			t.Errorf("%s: %v, %v, %v: the axioms allow %s, want %s", test.why, test.rules, p, at, got, want)
		}
		if got := sortWords(Show(p, test.rules, p.Machine(test.rules).At(at))); got != want {
			t.Errorf("%s: %v, %v, %v: the machine leaves %s, want %s", test.why, test.rules, p, at, got, want)
		}
	}
}

// image returns the content of p's cells in which those of the operations in kept are on the medium.
func image(p Program, r Rules, kept func(op, cell int) bool) Image {
	cells := p.Cells(r)
	image := make([]byte, len(cells))
	for i, op := range p {
		for c, cell := range cells {
			if op.Addr <= cell && cell < op.Addr+op.Size*op.Count && kept(i, c) {
				image[c] = byte(i + 1)
			}
		}
	}
	return Image(image)
}

// TestManyLines: whatever lines were dirty before, a mark may survive without the entry that it marks, and any line alone.
func TestManyLines(t *testing.T) {
	var p Program
	const lines = 24
	for i := range lines {
		p = append(p, Op{Kind: Store, Addr: i * LineSize, Size: 8, Count: 1})
	}
	end := Point{len(p), false}
	for i := range lines {
		if !p.Allows(one, end, image(p, one, func(op, _ int) bool { return op == i })) {
			t.Errorf("of %d dirty lines the axioms do not allow line %d alone", lines, i)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100 {
		some := rng.Uint64()
		if !p.Allows(one, end, image(p, one, func(op, _ int) bool { return some>>op&1 != 0 })) {
			t.Errorf("of %d dirty lines the axioms do not allow those of %#x", lines, some)
		}
	}
}

// TestManyElements: any of the elements of a string, and any of many non-temporal stores to one line, survive without the others.
func TestManyElements(t *testing.T) {
	bytes := Program{{Kind: String, Size: 1, Count: LineSize}}
	var words Program
	for i := range LineSize / 4 {
		words = append(words, Op{Kind: NT, Addr: 4 * i, Size: 4, Count: 1})
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, p := range []Program{bytes, words} {
		end := Point{len(p), false}
		for i := range len(p.Cells(one)) {
			if !p.Allows(one, end, image(p, one, func(_, cell int) bool { return cell == i })) {
				t.Errorf("%v: the axioms do not allow cell %d alone", p, i)
			}
		}
		for range 100 {
			some := rng.Uint64()
			if !p.Allows(one, end, image(p, one, func(_, cell int) bool { return some>>cell&1 != 0 })) {
				t.Errorf("%v: the axioms do not allow the cells of %#x", p, some)
			}
		}
	}
	// Plain stores, on the other hand, survive in order.
	var plain Program
	for i := range 16 {
		plain = append(plain, Op{Kind: Store, Addr: 4 * i, Size: 4, Count: 1})
	}
	for n := range 17 {
		if !plain.Allows(one, Point{16, false}, image(plain, one, func(op, _ int) bool { return op < n })) {
			t.Errorf("the axioms do not allow the first %d of 16 stores to one line", n)
		}
	}
	if plain.Allows(one, Point{16, false}, image(plain, one, func(op, _ int) bool { return op != 3 })) {
		t.Error("the axioms allow 15 of 16 stores to one line without the fourth")
	}
}
