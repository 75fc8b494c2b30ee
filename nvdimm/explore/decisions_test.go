package explore

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"nvlab/vmm/observe"
)

// sums is a program that computes values of lines, decides by them what it does next, and has
// registers and ordinary memory for that.
type sums struct {
	seed    uint64
	answers uint64
	steps   int
}

// A register holds a number, and what the observer calls it.
type register struct {
	n uint64
	v observe.Value
}

const sumsRAM = 1 << 20

func (p sums) run(lines int, content func(int) Content) Execution {
	mem := make([]byte, lines*LineSize)
	for i := range lines {
		c := content(i)
		copy(mem[i*LineSize:], c[:])
	}
	ram := make([]byte, 4*LineSize)
	var crc [256]uint64
	for i := range crc {
		c := uint64(i)
		for range 8 {
			c = c>>1 ^ c&1*0x82f63b78
		}
		crc[i] = c
	}
	reads := NewReads(func(base, offset uint64) (int, bool) { return int(offset / LineSize), base == 0 })
	reads.Follow()
	load := func(base uint64, of []byte, at, n int) register {
		held := uint64(0)
		for i := range n {
			held |= uint64(of[at+i]) << (8 * i)
		}
		v := reads.Take(base, uint64(at), uint8(n), held, false)
		if v == 0 {
			for i := range n {
				reads.Load(&observe.Load{Base: base, Offset: uint64(at + i), Size: 1})
			}
		}
		return register{held, v}
	}
	compute := func(op observe.ValueOp, a, b register, k, n uint64) register {
		if a.v == 0 {
			a, b = b, a
		}
		switch {
		case a.v == 0:
			return register{n, 0}
		case op == observe.ValueXor && b.v == 0:
			k = b.n
		case op == observe.ValueXor && a.v == b.v:
			return register{n, 0}
		}
		return register{n, reads.Compute(op, a.v, b.v, k)}
	}
	reveal := func(r *register) uint64 {
		reads.Reveal(r.v)
		r.v = 0
		return r.n
	}
	step := func(sum, x register) register { // a byte of a CRC
		at := compute(observe.ValueAnd, compute(observe.ValueXor, sum, x, 0, sum.n^x.n), register{}, 0xff, (sum.n^x.n)&0xff)
		entry := register{crc[at.n], 0}
		if at.v != 0 {
			if entry.v = reads.Look(at.v, reads.Table(crc[:])); entry.v == 0 {
				reveal(&at)
			}
		}
		rest := compute(observe.ValueRight, sum, register{}, 8, sum.n>>8)
		return compute(observe.ValueXor, entry, rest, 0, entry.n^rest.n)
	}
	decide := func(v register, bits uint64) bool {
		some := compute(observe.ValueAnd, v, register{}, bits, v.n&bits)
		if some.v != 0 {
			reads.Decide(some.v)
		}
		return some.n == 0
	}
	var r [3]register
	h := p.seed
	for range p.steps {
		h = mix(h, 1)
		a, b := &r[h>>8%3], &r[h>>12%3]
		line, n := int(h>>16%uint64(lines)), 1<<(h>>24%4)
		at, to := line*LineSize+int(h>>28%2)*8, int(h>>32%uint64(len(ram)-8))
		k := h >> 40 % 16
		switch h >> 52 % 20 {
		case 0, 1, 2: // the sum of several lines
			*a = register{n: k}
			for i := range lines {
				if h>>i&3 == 3 {
					continue
				}
				for _, at := range []int{0, 1, 8} {
					*a = step(*a, load(0, mem, i*LineSize+at, 1))
				}
			}
			if k&3 != 0 && decide(*a, 1<<(k&7)|k>>3) {
				h = mix(h, 6)
			}
		case 3:
			*a = load(0, mem, at, n)
		case 4:
			*a = load(sumsRAM, ram, to&^15, n)
		case 5:
			*a = compute(observe.ValueXor, *a, *b, 0, a.n^b.n)
		case 6:
			*a = compute(observe.ValueAnd, *a, register{}, k|1, a.n&(k|1))
		case 7:
			*a = compute(observe.ValueRight, *a, register{}, k, a.n>>k)
		case 8:
			*a = compute(observe.ValueLeft, *a, register{}, k, a.n<<k)
		case 9: // often where it is loaded from
			to &^= 15
			reads.Overwritten(sumsRAM+uint64(to), 8)
			for i := range 8 {
				ram[to+i] = byte(a.n >> (8 * i))
			}
			if a.v != 0 {
				reads.Put(sumsRAM+uint64(to), 8, a.v)
			}
		case 10:
			reads.Store(&observe.Store{Offset: uint64(at), Size: uint8(n)})
			for i := range n {
				mem[at+i] = byte(h >> 48)
			}
		case 11:
			reads.Copy(&observe.Copy{Offset: uint64(at), To: sumsRAM + uint64(to), Size: 8})
			copy(ram[to:to+8], mem[at:])
		case 12:
			h = mix(h, reveal(a))
		case 13, 14: // by what does not follow
			for i := range n {
				reads.Load(&observe.Load{Base: sumsRAM, Offset: uint64(to + i), Size: 1})
				h = mix(h, uint64(ram[to+i]))
			}
		case 15: // from the first half to the second
			from, to := to%(2*LineSize-8), 2*LineSize+to%(2*LineSize-8)
			reads.Copy(&observe.Copy{Base: sumsRAM, Offset: uint64(from), To: sumsRAM + uint64(to), Size: 8})
			copy(ram[to:to+8], ram[from:])
		default: // some bits of a value
			if decide(*a, 3<<(k&7)) {
				h = mix(h, 5)
			}
		}
	}
	return Execution{fmt.Sprint(mix(h, 7) % p.answers), reads.List()}
}

func (p sums) runner(s *Space) Runner {
	return func(_ context.Context, x *State) (Execution, error) {
		return p.run(s.Lines(), func(i int) Content { return *x.Content(i) }), nil
	}
}

// sumSpace has more lines than randomSpace, and fewer contents, of which some may be there
// twice.
func sumSpace(r *rand.Rand, twice bool) *Space {
	return spaceOf(r, 3+r.IntN(4), 1+r.IntN(3), func() (list []Content) {
		for range 1 + r.IntN(3) {
			var c Content
			c[r.IntN(2)] = byte(r.IntN(3))
			c[8] = byte(r.IntN(4))
			if twice || !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
		return list
	})
}

// states visits all states of a space.
func (s *Space) states(t *testing.T, visit func(x *State)) {
	for p := range s.points {
		chosen := make([]int, len(s.lines))
		for {
			var changes []Change
			for n, k := range chosen {
				if k > 0 {
					changes = append(changes, Change{n, k})
				}
			}
			x, err := s.State(p, false, changes...)
			if err != nil {
				t.Fatal(err)
			}
			visit(x)
			n := 0
			for ; n < len(chosen); n++ {
				if chosen[n]++; chosen[n] < len(s.lines[n].at(p).legal) {
					break
				}
				chosen[n] = 0
			}
			if n == len(chosen) {
				break
			}
		}
	}
}

// near says that a state differs from an extreme in what the options ask for.
func (x *State) near(o Options) bool {
	for _, c := range x.costs() {
		if (o.Depth < 0 || c.lines() <= o.Depth) && (o.Torn < 0 || c.torn() <= o.Torn) {
			return true
		}
	}
	return false
}

// TestDecisionsAgainstEveryState holds explorations of programs that decide by sums over lines
// against running them on every state: each within the depth is spoken for, each that is spoken
// for has the answer that is said, and no more are counted than these. Shards find together
// what one process finds, and what is run besides does as was said.
func TestDecisionsAgainstEveryState(t *testing.T) {
	decided, fewer, executions := 0, 0, 0
	programs := uint64(600)
	if testing.Short() {
		programs = 200
	}
	for seed := range programs {
		r := rand.New(rand.NewPCG(seed, 11))
		twice := seed%2 != 0 // then some states that are equal count as one
		s := sumSpace(r, twice)
		p := sums{r.Uint64(), 1 + r.Uint64N(4), 1 + r.IntN(14)}
		o := Options{Depth: r.IntN(4) - 1, Torn: -1, Workers: 1 + r.IntN(3)}
		got, err := Explore(context.Background(), s, p.runner(s), o)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		executions += len(got.Leaves)
		decisions := false
		for _, c := range got.tree.chains {
			for _, step := range c.steps {
				if step.by.on != nil {
					decisions = true
				}
			}
		}
		if decisions {
			decided++
		}
		known, near := int64(0), int64(0)
		leaves := map[*chain]bool{}
		s.states(t, func(x *State) {
			c, _ := got.tree.find(x)
			within := x.near(o)
			if c == nil {
				if within {
					t.Fatalf("seed %d: state %s, within depth %d, torn %d, is not spoken for", seed, x.ID(), o.Depth, o.Torn)
				}
				return
			}
			known++
			if within {
				near++
				leaves[c] = true
			}
			if e, _ := p.runner(s)(context.Background(), x); e.Answer != c.answer {
				t.Fatalf("seed %d: state %s gives answer %s, the execution of %s says %s", seed, x.ID(), e.Answer, c.state.ID(), c.answer)
			}
		})
		if len(leaves) != len(got.Leaves) {
			t.Fatalf("seed %d: %d executions of which %d speak for states within the depth", seed, len(got.Leaves), len(leaves))
		}
		if got.States.Cmp(big.NewInt(known)) > 0 || !twice && got.States.Cmp(big.NewInt(near)) < 0 || !decisions && got.States.Cmp(big.NewInt(known)) != 0 || !got.Complete {
			t.Fatalf("seed %d: the result speaks for %v states of %d that it knows, %d of them within the depth; decisions: %v, complete: %v", seed, got.States, known, near, decisions, got.Complete)
		}
		if got.LowerBound != decisions {
			t.Fatalf("seed %d: the numbers of states are lower bounds: %v, want %v", seed, got.LowerBound, decisions)
		}
		for i := range got.Leaves {
			l := &got.Leaves[i]
			x, err := s.State(l.Point, l.All, l.Changes...)
			if err != nil {
				t.Fatal(err)
			}
			c, _ := got.tree.find(x)
			s.states(t, func(y *State) {
				if other, _ := got.tree.find(y); other == c && y.cost() < x.cost() {
					t.Fatalf("seed %d: %s was run, of cost %#x, and %s is plainer, of cost %#x", seed, x.ID(), x.cost(), y.ID(), y.cost())
				}
			})
		}
		if n, err := got.Check(context.Background(), p.runner(s), 10, seed); err != nil {
			t.Fatalf("seed %d: after %d states: %v", seed, n, err)
		}
		var shards []*Result
		for i := range 3 {
			o.Shard = Shard{i + 1, 3}
			part, err := Explore(context.Background(), s, p.runner(s), o)
			if err != nil {
				t.Fatal(err)
			}
			shards = append(shards, part)
		}
		merged, err := Merge(shards)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if text(merged) != text(got) {
			t.Fatalf("seed %d: three shards find\n%s\nand one process\n%s", seed, text(merged), text(got))
		}
		o.Shard = Shard{}
		pure := func(ctx context.Context, x *State) (Execution, error) {
			e, err := p.runner(s)(ctx, x)
			var list []Read
			for _, r := range e.Reads {
				if r.Decision == nil {
					list = append(list, r)
					continue
				}
				for _, l := range r.Decision.lines {
					list = append(list, Read{Line: l.line, Bytes: l.bytes})
				}
			}
			e.Reads = list
			return e, err
		}
		if without, err := Explore(context.Background(), s, pure, o); err != nil {
			t.Fatal(err)
		} else if len(without.Leaves) > len(got.Leaves) {
			fewer++
		}
	}
	if decided < int(programs)/15 || fewer < int(programs)/20 {
		t.Errorf("of %d programs %d decide by several lines, and %d take fewer executions for that: the test has hardly any", programs, decided, fewer)
	}
	t.Logf("%d programs decide by several lines, %d take fewer executions; %d executions", decided, fewer, executions)
}

// cost is that of a state, from the nearer extreme.
func (x *State) cost() cost { return slices.Min(x.costs()) }

// costs are those of a state from "nothing more survived", and from "everything did".
func (x *State) costs() (list []cost) {
	for _, all := range []bool{false, true} {
		c := cost(0)
		for n := range x.space.lines {
			at := x.space.lines[n].at(x.Point)
			least := illegal
			for i, v := range at.legal {
				if v == x.version(n) {
					least = min(least, at.price(i, all))
				}
			}
			c += least
		}
		list = append(list, c)
	}
	return list
}
