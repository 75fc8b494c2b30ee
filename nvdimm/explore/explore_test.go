package explore

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"nvlab/vmm/observe"
)

// randomSpace is a small space whose lines often have the same contents at
// several points, and contents that differ in some bytes only.
func randomSpace(r *rand.Rand) *Space {
	return spaceOf(r, 1+r.IntN(4), 1+r.IntN(4), func() (list []Content) {
		for range 1 + r.IntN(4) {
			var c Content
			c[r.IntN(2)] = byte(r.IntN(3))
			c[8+r.IntN(2)*40] = byte(r.IntN(2))
			if !slices.Contains(list, c) || r.IntN(4) == 0 {
				list = append(list, c)
			}
		}
		return list
	})
}

// spaceOf is a space of so many lines and points, at half of which a line stays as it is.
func spaceOf(r *rand.Rand, lines, points int, contents func() []Content) *Space {
	s := &Space{}
	for range lines {
		s.Line()
	}
	for p := range points {
		for n := range lines {
			if p == 0 || r.IntN(2) > 0 {
				s.Set(n, contents(), uint64(r.IntN(2)))
			}
		}
		s.Point()
	}
	return s
}

// recovery is a program that decides by what it read what it does next.
type recovery struct {
	seed    uint64
	answers uint64
	steps   int
}

func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>31
}

// run runs it on a memory of lines, and tells what it did of it. It has ordinary
// memory besides, to which it copies, and which it copies, stores over and reads.
func (p recovery) run(lines int, content func(int) Content) Execution {
	const ram, ramLines = 1 << 20, 3
	mem := make([]byte, lines*LineSize)
	for i := range lines {
		c := content(i)
		copy(mem[i*LineSize:], c[:])
	}
	ordinary := make([]byte, ramLines*LineSize)
	reads := NewReads(func(base, offset uint64) (int, bool) { return int(offset / LineSize), base == 0 })
	h := p.seed
	for range p.steps {
		h = mix(h, 1)
		line, from := int(h>>8%uint64(lines)), int(h>>16%3)*24
		if h>>40%3 == 0 {
			from = 0
		}
		n := 1 + int(h>>24%16)
		at, to := line*LineSize+from, int(h>>44%uint64(len(ordinary)-16))
		switch h >> 32 % 8 {
		case 0:
			reads.Store(&observe.Store{Offset: uint64(at), Size: uint8(n)})
			for i := range n {
				mem[at+i] = byte(h >> 48)
			}
		case 1:
			if h>>52%8 == 0 {
				return Execution{fmt.Sprint(mix(h, 7) % p.answers), reads.List()}
			}
			fallthrough
		case 2, 3:
			reads.Load(&observe.Load{Offset: uint64(at), Size: uint8(n)})
			for _, b := range mem[at : at+n] {
				h = mix(h, uint64(b))
			}
		case 4, 5:
			reads.Copy(&observe.Copy{Offset: uint64(at), To: ram + uint64(to), Size: uint64(n)})
			copy(ordinary[to:to+n], mem[at:])
		case 6:
			if further := int(h >> 50 % uint64(len(ordinary)-16)); h>>62 == 0 {
				reads.Overwritten(ram+uint64(to), uint64(n))
				clear(ordinary[to : to+n])
			} else if further/LineSize > (to+n)/LineSize || (further+n)/LineSize < to/LineSize {
				reads.Copy(&observe.Copy{Base: ram, Offset: uint64(further), To: ram + uint64(to), Size: uint64(n)})
				copy(ordinary[to:to+n], ordinary[further:further+n])
			}
		default:
			for i := range n { // an engine tells of a line at a time
				reads.Load(&observe.Load{Base: ram, Offset: uint64(to + i), Size: 1})
				h = mix(h, uint64(ordinary[to+i]))
			}
		}
	}
	return Execution{fmt.Sprint(mix(h, 7) % p.answers), reads.List()}
}

func (p recovery) runner(s *Space) Runner {
	return func(_ context.Context, x *State) (Execution, error) {
		return p.run(s.Lines(), func(i int) Content { return *x.Content(i) }), nil
	}
}

// each visits all states of a space, by brute force, with how many lines
// differ from the nearer extreme, and how many of these are torn, of each
// extreme.
func each(s *Space, visit func(p int, contents []Content, lines, torn [2]int)) {
	for p := range s.points {
		lists := make([][]Content, s.Lines())
		for n := range lists {
			for _, v := range s.lines[n].at(p).legal {
				lists[n] = append(lists[n], s.lines[n].versions[v])
			}
		}
		chosen := make([]int, len(lists))
		for {
			contents := make([]Content, len(lists))
			var lines, torn [2]int
			for n, k := range chosen {
				contents[n] = lists[n][k]
				last := len(lists[n]) - 1
				for b, own := range []int{0, last} {
					if k != own {
						lines[b]++
						if k != 0 && k != last {
							torn[b]++
						}
					}
				}
			}
			visit(p, contents, lines, torn)
			n := 0
			for n < len(chosen) {
				if chosen[n]++; chosen[n] < len(lists[n]) {
					break
				}
				chosen[n] = 0
				n++
			}
			if n == len(chosen) {
				break
			}
		}
	}
}

// TestAgainstEveryState holds an exploration against running the recovery on
// every state: the answers and the numbers of their states are the same, no
// two executions are of one leaf, and no state within the depth is missing.
func TestAgainstEveryState(t *testing.T) {
	fewer, all := 0, 0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := randomSpace(r)
		p := recovery{r.Uint64(), 1 + r.Uint64N(4), 1 + r.IntN(14)}
		o := Options{Depth: r.IntN(5) - 1, Torn: r.IntN(4) - 1, Workers: 1 + r.IntN(3)}
		got, err := Explore(context.Background(), s, p.runner(s), o)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		// The leaf of a state, by what its execution reads and finds.
		leaves := map[string]bool{}
		states := map[string]int64{}
		within := map[string]bool{}
		legal := int64(0)
		tree := replay(t, s, p, got)
		each(s, func(point int, contents []Content, lines, torn [2]int) {
			legal++
			x := p.run(s.Lines(), func(i int) Content { return contents[i] })
			key := leafKey(x, func(i int) Content { return contents[i] })
			near := false
			for b := range lines {
				near = near || (o.Depth < 0 || lines[b] <= o.Depth) && (o.Torn < 0 || torn[b] <= o.Torn)
			}
			within[key] = within[key] || near
			known := tree[key]
			if near && known == "" {
				t.Fatalf("seed %d: a state of point %d with %v lines changed, %v torn, is not spoken for", seed, point, lines, torn)
			}
			if known != "" {
				if known != "answer "+x.Answer {
					t.Fatalf("seed %d: a state of point %d gives answer %s, the result says %s", seed, point, x.Answer, known)
				}
				leaves[key] = true
				states[x.Answer]++
			}
		})
		if got.Legal.Cmp(big.NewInt(legal)) != 0 {
			t.Fatalf("seed %d: %v legal states, want %d", seed, got.Legal, legal)
		}
		if len(leaves) != len(got.Leaves) {
			t.Fatalf("seed %d: %d executions of %d leaves", seed, len(got.Leaves), len(leaves))
		}
		sum := int64(0)
		for _, a := range got.Answers() {
			if a.States.Cmp(big.NewInt(states[a.Text])) != 0 {
				t.Fatalf("seed %d: answer %s speaks for %v states, want %d", seed, a.Text, a.States, states[a.Text])
			}
			sum += states[a.Text]
		}
		if got.States.Cmp(big.NewInt(sum)) != 0 || !got.Complete {
			t.Fatalf("seed %d: the result speaks for %v states, want %d; complete: %v", seed, got.States, sum, got.Complete)
		}
		for key, near := range within {
			if !near && leaves[key] {
				t.Fatalf("seed %d: an execution was run that no state within the depth needs", seed)
			}
		}
		if got.All() != (sum == legal) || got.All() && !strings.HasSuffix(got.Coverage(), "; that is all") {
			t.Fatalf("seed %d: %d of %d states: %s", seed, sum, legal, got.Coverage())
		}
		if o.Depth < 0 && o.Torn < 0 {
			all += int(legal)
			fewer += len(got.Leaves)
		}
	}
	if fewer == 0 || all < 2*fewer {
		t.Errorf("%d executions for %d states: nothing was left out", fewer, all)
	}
}

// leafKey tells executions apart that differ in a read or a value.
func leafKey(x Execution, content func(int) Content) string {
	var b strings.Builder
	for _, r := range x.Reads {
		c := content(r.Line)
		m := masked(&c, r.Bytes)
		fmt.Fprintf(&b, "%d %x %x;", r.Line, r.Bytes, m)
	}
	return b.String()
}

// replay runs the leaves of a result again, and gives their answers.
func replay(t *testing.T, s *Space, p recovery, r *Result) map[string]string {
	m := map[string]string{}
	for _, l := range r.Leaves {
		x, err := s.State(l.Point, l.All, l.Changes...)
		if err != nil || x.ID() != l.ID {
			t.Fatalf("the state of leaf %s is %v (%v)", l.ID, x, err)
		}
		content := func(i int) Content { return *x.Content(i) }
		m[leafKey(p.run(s.Lines(), content), content)] = "answer " + l.Answer
	}
	return m
}

// TestNoPrune: without pruning every distinct image within the depth is run
// once, and the answers are the same.
func TestNoPrune(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := randomSpace(r)
		p := recovery{r.Uint64(), 1 + r.Uint64N(4), 1 + r.IntN(8)}
		o := Options{Depth: 2, Torn: 1}
		pruned, err := Explore(context.Background(), s, p.runner(s), o)
		if err != nil {
			t.Fatal(err)
		}
		o.NoPrune = true
		every, err := Explore(context.Background(), s, p.runner(s), o)
		if err != nil {
			t.Fatal(err)
		}
		images := map[string]bool{}
		each(s, func(_ int, contents []Content, lines, torn [2]int) {
			for b := range lines {
				if lines[b] <= 2 && torn[b] <= 1 {
					images[fmt.Sprint(contents)] = true
				}
			}
		})
		if len(every.Leaves) != len(images) {
			t.Fatalf("seed %d: %d executions of %d images", seed, len(every.Leaves), len(images))
		}
		// Pruning may find more, as lines that are not read cost nothing.
		found := map[string]bool{}
		for _, a := range pruned.Answers() {
			found[a.Text] = true
		}
		for _, a := range every.Answers() {
			if !found[a.Text] {
				t.Fatalf("seed %d: pruning lost answer %s of state %s", seed, a.Text, a.Plainest.ID)
			}
		}
	}
}

// TestShards: the union of the shards is what one process finds, once each,
// whatever their number and that of workers; less is refused.
func TestShards(t *testing.T) {
	shared := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := randomSpace(r)
		p := recovery{r.Uint64(), 1 + r.Uint64N(4), 1 + r.IntN(8)}
		o := Options{Depth: r.IntN(4), Torn: r.IntN(3), Alike: r.IntN(3)}
		whole, err := Explore(context.Background(), s, p.runner(s), o)
		if err != nil {
			t.Fatal(err)
		}
		n := 1 + r.IntN(4)
		var parts []*Result
		busy := 0
		for i := range n {
			o.Shard, o.Workers = Shard{i + 1, n}, 1+r.IntN(3)
			part, err := Explore(context.Background(), s, p.runner(s), o)
			if err != nil {
				t.Fatal(err)
			}
			if len(part.Leaves) > 0 {
				busy++
			}
			parts = append(parts, part)
		}
		if busy > 1 {
			shared++
		}
		r.Shuffle(n, func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
		merged, err := Merge(parts)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got, want := text(merged), text(whole); got != want {
			t.Fatalf("seed %d: %d shards found\n%s\none process found\n%s", seed, n, got, want)
		}
	}
	if shared < 100 {
		t.Errorf("only %d of 300 explorations were shared out", shared)
	}
	if _, err := Merge(nil); !errors.Is(err, ErrMerge) {
		t.Errorf("Merge of nothing: %v", err)
	}
	for _, s := range []Shard{{0, 2}, {3, 2}, {-1, 2}, {1, 0}} {
		if _, err := Explore(context.Background(), &Space{}, nil, Options{Shard: s}); err == nil {
			t.Errorf("shard %v: no error", s)
		}
	}
}

// TestAlike: representatives are some of the executions that there would be
// otherwise, what is missing is said, and with enough of each shape nothing is.
func TestAlike(t *testing.T) {
	fewer := 0
	for seed := range uint64(800) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := randomSpace(r)
		p := recovery{r.Uint64(), 1 + r.Uint64N(4), 1 + r.IntN(8)}
		o := Options{Depth: 1 + r.IntN(3), Torn: -1}
		whole, err := Explore(context.Background(), s, p.runner(s), o)
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for _, l := range whole.Leaves {
			ids[l.ID] = true
		}
		for o.Alike = 1; ; o.Alike *= 2 {
			some, err := Explore(context.Background(), s, p.runner(s), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range some.Leaves {
				if !ids[l.ID] {
					t.Fatalf("seed %d: a representative %s that is no execution of all", seed, l.ID)
				}
			}
			missing := len(whole.Leaves) - len(some.Leaves)
			if !some.Represented || some.Pending > missing || (some.Pending == 0) != (missing == 0) || some.Complete != (missing == 0) {
				t.Fatalf("seed %d: %d of %d executions, %d said to be missing, represented: %v, complete: %v", seed, len(some.Leaves), len(whole.Leaves), some.Pending, some.Represented, some.Complete)
			}
			if missing == 0 {
				if some.States.Cmp(whole.States) != 0 {
					t.Fatalf("seed %d: all executions speak for %v states, want %v", seed, some.States, whole.States)
				}
				break
			}
			if o.Alike > 1<<10 {
				t.Fatalf("seed %d: with %d of each shape %d are missing", seed, o.Alike, missing)
			}
			fewer++
		}
	}
	if fewer < 50 {
		t.Errorf("only %d explorations left something out", fewer)
	}
}

// text is all that a result tells.
func text(r *Result) string {
	var b strings.Builder
	fmt.Fprintln(&b, r.Coverage())
	for _, l := range r.Leaves {
		fmt.Fprintln(&b, l.ID, l.Answer, l.States, l.Lines, l.Torn)
	}
	return b.String()
}

// TestOrder: nothing more and everything come first, then one line lost or
// alone, then pairs and torn lines, and so on.
func TestOrder(t *testing.T) {
	s := &Space{}
	for i := range 4 {
		s.Line()
		s.Set(i, []Content{{}, {1}, {2}}, uint64(i/2)) // lines 0 and 1 have one shape, 2 and 3 another
	}
	s.Point()
	var order []string
	run := func(_ context.Context, x *State) (Execution, error) {
		order = append(order, x.ID())
		var e Execution
		for i := range 4 {
			e.Reads = append(e.Reads, Read{Line: i, Bytes: AllBytes})
		}
		return e, nil
	}
	if _, err := Explore(context.Background(), s, run, Options{Depth: 2, Torn: 1, Workers: 1}); err != nil {
		t.Fatal(err)
	}
	// Of each shape one line lost, one alone, before the others; those that one
	// execution shows to be missing come with those that others do.
	if got, want := strings.Join(order[:5], " "), "0.n 0.e 0.e2 0.n1 0.n2"; got != want {
		t.Errorf("the first states were %s, want %s", got, want)
	}
	level := func(id string) int { return strings.Count(id, "+") + strings.Count(id, "t") }
	if !slices.IsSortedFunc(order[2:], func(x, y string) int { return level(x) - level(y) }) {
		t.Errorf("the plainest states are not the first: %s", order)
	}
	if want := 2 + 8 + 6 + 8 + 4*3*2; len(order) != want {
		t.Errorf("%d states were run, want %d: %s", len(order), want, order)
	}
}

// TestStops: a limit and a cancellation leave what was found, which does not
// depend on the number of workers, and say what is missing.
func TestStops(t *testing.T) {
	s, run := chainSpace(12)
	var first string
	for _, workers := range []int{1, 2, 7} {
		r, err := Explore(context.Background(), s, run, Options{Depth: 3, Limit: 40, Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Leaves) != 40 || r.Complete || r.Exhaustive() || r.Pending == 0 || !strings.Contains(r.Coverage(), " missing; of ") {
			t.Errorf("limit 40: %d executions, complete %v, pending %d: %s", len(r.Leaves), r.Complete, r.Pending, r.Coverage())
		}
		if first == "" {
			first = text(r)
		} else if got := text(r); got != first {
			t.Errorf("%d workers found\n%s\none found\n%s", workers, got, first)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	r, err := Explore(ctx, s, func(ctx context.Context, x *State) (Execution, error) {
		if n++; n == 50 {
			cancel()
			return Execution{}, ctx.Err()
		}
		return run(ctx, x)
	}, Options{Depth: 3, Workers: 1})
	if err != nil || len(r.Leaves) != 49 || r.Complete {
		t.Errorf("cancelled after 49 executions: %d (%v), complete %v", len(r.Leaves), err, r.Complete)
	}
	failed := errors.New("no memory")
	if _, err := Explore(context.Background(), s, func(context.Context, *State) (Execution, error) { return Execution{}, failed }, Options{}); !errors.Is(err, failed) || !strings.Contains(err.Error(), "0.n") {
		t.Errorf("an execution that failed: %v", err)
	}
}

// chainSpace is n lines of which a recovery reads all.
func chainSpace(n int) (*Space, Runner) {
	s := &Space{}
	for i := range n {
		s.Line()
		s.Set(i, []Content{{}, {1}}, 0)
	}
	s.Point()
	return s, func(_ context.Context, x *State) (Execution, error) {
		var e Execution
		sum := 0
		for i := range n {
			e.Reads = append(e.Reads, Read{Line: i, Bytes: 1})
			sum += int(x.Content(i)[0])
		}
		e.Answer = fmt.Sprint(sum)
		return e, nil
	}
}

// TestNotDeterministic: a recovery that reads something else, fewer lines, or
// lines that there are not, is found out.
func TestNotDeterministic(t *testing.T) {
	for name, change := range map[string]func(*Execution){
		"another line":        func(e *Execution) { e.Reads[0] = Read{Line: 2, Bytes: 1} },
		"other bytes":         func(e *Execution) { e.Reads[0].Bytes = 3 },
		"fewer lines":         func(e *Execution) { e.Reads = nil },
		"an order of its own": func(e *Execution) { slices.Reverse(e.Reads) },
	} {
		s, run := chainSpace(3)
		n := 0
		_, err := Explore(context.Background(), s, func(ctx context.Context, x *State) (Execution, error) {
			e, err := run(ctx, x)
			if n++; n > 2 {
				change(&e)
			}
			return e, err
		}, Options{Depth: 2, Workers: 1})
		if !errors.Is(err, ErrNotDeterministic) {
			t.Errorf("%s: %v, want %v", name, err, ErrNotDeterministic)
		}
	}
	s, _ := chainSpace(3)
	if _, err := Explore(context.Background(), s, func(context.Context, *State) (Execution, error) {
		return Execution{Reads: []Read{{Line: 3, Bytes: 1}}}, nil
	}, Options{}); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("a read of a line that is not there: %v", err)
	}
}

// TestMany: a space of far more states than there are atoms is decided by
// what a recovery reads of it.
func TestMany(t *testing.T) {
	s := &Space{}
	const lines, points = 600, 40
	for range lines {
		s.Line()
	}
	for p := range points {
		for i := range lines {
			if p == 0 || i%points == p {
				s.Set(i, []Content{{}, {1}, {1, 1}, {1, 1, byte(p)}}[:3+min(p, 1)], uint64(i%7))
			}
		}
		s.Point()
	}
	run := func(_ context.Context, x *State) (Execution, error) {
		e := Execution{Reads: []Read{{Line: 5, Bytes: 1}}, Answer: "old"}
		if x.Content(5)[0] != 0 {
			e.Answer = "new"
			for i := range 20 {
				e.Reads = append(e.Reads, Read{Line: 100 + i, Bytes: 6})
			}
		}
		return e, nil
	}
	r, err := Explore(context.Background(), s, run, Options{Depth: -1, Torn: -1, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	a := r.Answers()
	if len(a) != 2 || !strings.Contains(r.Coverage(), "legal states") || len(r.Legal.String()) < 280 {
		t.Errorf("answers %v: %s", a, r.Coverage())
	}
	// Line 5 is old in one of its contents.
	want := new(big.Int)
	for p, n := range s.points {
		want.Add(want, new(big.Int).Div(n, big.NewInt(int64(len(s.lines[5].at(p).legal)))))
	}
	if a[0].Text != "old" || a[0].States.Cmp(want) != 0 {
		t.Errorf("the old answer speaks for %v states, want %v", a[0].States, want)
	}
}
