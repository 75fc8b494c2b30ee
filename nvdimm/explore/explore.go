// Package explore runs a recovery on the crash states of a trace, on few of
// them, and says of how many it knows the outcome.
//
// # States
//
// A [Space] is points, the moments at which power may fail, and lines of 64
// bytes. At each point every line has a list of contents that it may be left
// with: the first is what is guaranteed ("nothing more survived"), the last
// what was visible ("everything survived"), and those between are torn. Lines
// survive independently of each other, so that the legal states of a point are
// all combinations; a state is a point and a content for each line. What has
// to survive together, or in an order, is in the lists.
//
// # Why few executions are enough
//
// A recovery is deterministic: it begins with the same machine, and what it
// does next depends on nothing but what it has read so far. A [Runner] reports
// what an execution read of the lines, in the order of the first reads, and
// leaves out bytes that it overwrote before. Take two states s and t, and let
// them agree on the bytes that the execution from s read. By induction over
// its steps both executions do the same: they begin alike, and each step
// depends on earlier steps, on bytes that the recovery wrote itself, or on
// bytes of a line that it reads for the first time, on which s and t agree. So
// they read the same bytes, and give the same answer. This holds for states of
// different points too, as a point is nothing that a recovery can read.
//
// Executions therefore form a decision tree. An inner node is a read (a line
// and which of its bytes), its children are the values that were found there,
// and a leaf is an answer. Each state has one path in the tree of all
// executions; what is known of that tree decides a state if the state's path
// ends in a known leaf. An execution of a state that is not decided leaves the
// known tree at a read of which its value is not known, and adds one leaf.
// Leaves are disjoint sets of states, so that the numbers of their states add
// up; within a point a leaf allows of each line those contents that agree with
// the reads, independently, so that its number is a product.
//
// If two executions contradict each other, in that they read the same values
// and then something else, the recovery is not deterministic, or a read was
// not reported. That ends an exploration with ErrNotDeterministic.
//
// # Decisions
//
// All that a recovery learns of the lines of a record by their check sum is whether
// it is right. So what an execution reports may also be a [Decision]: that a value which is computed
// of bytes of lines is zero, or is not. Let s and t agree on these, too. The induction goes
// on: the machines of both executions differ in nothing but values that are followed, in registers
// and in memory, and each of these is one function of the lines in both. A step computes
// another such value, decides by one, as both do alike, or uses one in any other way, and then
// the bytes that it is computed of are read.
//
// An inner node of the tree is then a decision, and its children are its two outcomes. As it depends on
// several lines at once, neither the number of the states of a leaf behind it nor the plainest of
// them is found line by line. Values are affine over GF(2), as shifts, exclusive or and the tables of
// a CRC are, so that each line adds a number of its own to a value; what is missing behind an execution is
// found by trying the combinations of lines within Options.Depth. So all states up to a cost are
// decided as before. Where these are too many, or any number of lines may differ, and where a value
// depends on one or two lines only, a decision counts as a read of its bytes. Of the states that a leaf behind
// decisions speaks for, those are counted whose lines that were decided by differ from an extreme
// within the depth, or in one line: Result.States is a lower bound then.
//
// # What is run
//
// The cost of a state is the number of its lines that differ from "nothing
// more survived", or from "everything survived", whichever is less. The cost of
// a leaf is that of its plainest state: lines that the recovery does not read
// cost nothing. An exploration finds all leaves up to a cost, in the order of
// cost, and so decides all states up to that cost, and many more. Of one cost,
// the first lines of each shape come first.
//
// Where a recovery reads all lines of a block, each of them makes a leaf, and each two of
// them another, though it may do the same with all: but that it does is known only of
// those that were run. With Options.Alike
// representatives are run: of the values that are missing behind one execution,
// so many for each shape that their plainest states have. The shape of a state
// is which instructions wrote the lines that differ, what kind of structure they
// are of and whether they are torn. The result then speaks for what was run, as
// before, and says how many executions it is short of.
//
// The set of leaves does not depend on the order in which they were found, nor
// does the plainest state of a leaf, which is the state that is run. So the
// union of what shards find is what one process finds.
//
// # What an engine must tell
//
// The proof stands on the reads. A read is whatever may bring bytes of a line to
// where the recovery, or who asks for its answer, can tell them from others:
// operands of instructions, instruction fetches, page walks, reads by devices,
// firmware calls that return a label area, and a host that looks at the backend
// (see observe.LoadWatcher, and Reads for what is overwritten before). A string
// instruction that copies bytes to ordinary memory brings them nowhere: what it
// does is the same whatever they are, and the induction goes on with a machine that
// holds undecided bytes in its memory, too. They are read when anything else loads
// them from there, a device takes them, or the machine is saved or reset. An engine may also follow
// what instructions compute of them (see observe.ValueObserver), and has to know for that all that these
// use and write, and to tell of every store over what is followed. To report
// too much costs executions; to report too little makes the result wrong. So
// Check runs some of the states that were not run. Only lines that have several
// contents tell states apart. A machine that several executions go on from must have
// read none either that is in no state as it finds it (see Trace.Watched).
package explore

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"sync"
)

// A Read is bytes of a line that an execution read and had neither read nor
// overwritten before.
type Read struct {
	Line  int
	Bytes uint64 // a bit for each byte of the line
	// Decision, if not nil, is what the execution learnt instead, of several lines.
	Decision *Decision
}

func (r Read) String() string {
	if r.Decision != nil {
		return "a decision on several lines"
	}
	return fmt.Sprintf("bytes %#x of line %d", r.Bytes, r.Line)
}

// AllBytes are the bytes of a line.
const AllBytes = ^uint64(0)

// An Execution is what a recovery did.
type Execution struct {
	Answer string
	Reads  []Read // in their order
}

// A Runner runs the recovery on a state. It is called from several goroutines
// at once. An error ends the exploration: that a recovery failed is an answer.
type Runner func(context.Context, *State) (Execution, error)

// Options are what is explored.
type Options struct {
	Depth   int  // lines that differ from either extreme, at most; less than 0 for any number
	Torn    int  // of these, how many may be torn; less than 0 for all
	NoPrune bool // take each execution for one that read all lines
	Alike   int  // of what is missing behind an execution, how many of one shape are run; 0 for all
	Limit   int  // executions, 0 for no limit
	Workers int  // executions at once, 0 for as many as the host has processors
	Shard   Shard

	// Ran is called with the id and the answer of each leaf of the result, in the order in
	// which they were found, and Progress after each execution. Both are called
	// from the goroutine of Explore; nil if nobody wants to know.
	Ran      func(id, answer string)
	Progress func(Progress)
}

// Progress is how far an exploration is.
type Progress struct {
	States     *big.Int // that are spoken for, without those of the executions that are not looked at yet
	Executions int
	Pending    int // executions that are known to be missing
}

// ErrNotDeterministic says that two executions that read the same went on
// differently.
var ErrNotDeterministic = errors.New("the recovery is not deterministic")

// batch is how many executions are begun before the first of them is looked
// at. It does not depend on the number of workers, so that what a limit cuts
// off does not.
const batch = 32

// Explore runs the recovery on states of the space until it knows the outcome
// of all that the options ask for. With an error, or when ctx is done, the
// result holds what was found until then.
func Explore(ctx context.Context, space *Space, run Runner, o Options) (*Result, error) {
	if err := o.Shard.check(); err != nil {
		return nil, err
	}
	x := &exploration{
		space: space, run: run, o: o,
		result: &Result{Legal: space.Legal(), AtLeast: space.AtLeast, Depth: o.Depth, Torn: o.Torn, Alike: o.Alike, States: new(big.Int), tree: newTree(space, o.Depth, o.Torn)},
		shapes: map[shapeKey]int{}, alike: map[alikeKey]int{},
	}
	x.tree = x.result.tree
	err := x.explore(ctx)
	x.result.finish()
	return x.result, err
}

type exploration struct {
	space    *Space
	run      Runner
	o        Options
	tree     *tree
	result   *Result
	frontier frontier
	more     bool // the frontier had no room: there are chains that were not scanned
	above    int  // the next level on which something is missing, -1 for none
	shapes   map[shapeKey]int
	alike    map[alikeKey]int // that were run or are to be
	seq      int
	done     int // executions
}

// explore goes through the levels. On each all is run that is known to be
// missing, and what that shows to be missing.
func (x *exploration) explore(ctx context.Context) error {
	if len(x.space.points) == 0 && x.space.AtLeast { // nobody came so far as to list them
		x.result.Pending = 1
		return nil
	}
	for level := 0; level >= 0 && len(x.space.points) > 0; level = x.above {
		for more := true; more; more = x.more {
			x.more, x.above = false, -1
			x.scanAll(ctx, level)
			for x.frontier.Len() > 0 {
				if stopped, err := x.step(ctx, level); stopped || err != nil {
					return err
				}
			}
			if ctx.Err() != nil { // which may have ended a scan
				x.result.Pending = 1
				return nil
			}
		}
	}
	if x.o.Alike > 0 {
		x.result.Represented, x.result.Pending = true, x.leftOut(ctx)
	}
	x.result.Complete = x.result.Pending == 0 && ctx.Err() == nil
	return nil
}

// leftOut is how many values are missing within what is asked for.
func (x *exploration) leftOut(ctx context.Context) (n int) {
	for _, c := range x.tree.chains {
		path := x.tree.pathTo(c)
		for i := path.from; i < len(c.steps) && ctx.Err() == nil && x.tree.within(path.least); i++ {
			for _, missing := range path.missing(c, i) {
				if x.tree.within(missing.cost) && x.mine(path.least, missing.cost, func() *State { return path.state(missing, c.steps[i].by) }) {
					n++
				}
			}
			path.follow(c.steps[i])
		}
	}
	return n
}

// mine says that the shard is to run a state which leaves a path that costs so
// much. Others run all that makes no first difference.
func (x *exploration) mine(path, own cost, state func() *State) bool {
	return path > 0 || own == 0 || x.o.Shard.Of <= 1 || x.o.Shard.owns(state().ID())
}

// step runs the first of the frontier.
func (x *exploration) step(ctx context.Context, level int) (stopped bool, err error) {
	n := min(batch, x.frontier.Len())
	if x.o.Limit > 0 {
		n = min(n, x.o.Limit-x.done)
	}
	if n <= 0 || ctx.Err() != nil {
		x.result.Pending = x.frontier.Len()
		return true, nil
	}
	edges := make([]*edge, n)
	for i := range edges {
		edges[i] = heap.Pop(&x.frontier).(*edge)
	}
	ran := x.runAll(ctx, edges)
	for i, r := range ran {
		switch {
		case r.err == nil:
			if err = x.commit(ctx, edges[i], r, level); err == nil {
				continue
			}
		case ctx.Err() == nil:
			err = fmt.Errorf("state %s: %w", r.state.ID(), r.err)
		}
		// What ran beyond the one that failed is left out, so that what is
		// reported does not depend on chance.
		x.result.Pending = x.frontier.Len() + len(ran) - i
		return true, err
	}
	return false, nil
}

// ran is what came of running a state.
type ran struct {
	state *State
	Execution
	err error
}

func (x *exploration) runAll(ctx context.Context, edges []*edge) []ran {
	list := make([]ran, len(edges))
	workers := x.o.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	next, ended := make(chan int, len(edges)), make(chan struct{}, len(edges))
	for i, e := range edges {
		list[i].state = e.state
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	for range min(workers, len(edges)) {
		wg.Go(func() {
			for i := range next {
				r := &list[i]
				if r.err = ctx.Err(); r.err == nil {
					r.Execution, r.err = x.run(ctx, r.state)
				}
				ended <- struct{}{}
			}
		})
	}
	for n := range edges {
		<-ended
		if x.o.Progress != nil {
			x.o.Progress(Progress{x.result.States, x.done + n + 1, x.frontier.Len() + len(edges) - n - 1})
		}
	}
	wg.Wait()
	return list
}

// commit adds an execution to the tree.
func (x *exploration) commit(ctx context.Context, e *edge, r ran, level int) error {
	reads, err := x.tree.telling(r.state, r.Reads)
	if err != nil {
		return fmt.Errorf("state %s: %w", r.state.ID(), err)
	}
	if x.o.NoPrune {
		reads = x.tree.everything()
	}
	c, err := x.tree.add(e, r.state, reads, r.Answer)
	if err != nil {
		return err
	}
	x.done++
	if e.cost > 0 || x.o.Shard.owns(r.state.ID()) {
		x.result.LowerBound = x.result.LowerBound || c.isDecided()
		x.result.add(Leaf{
			ID: r.state.ID(), Answer: r.Answer, States: x.tree.states(c),
			Lines: e.cost.lines(), Torn: e.cost.torn(), Point: r.state.Point, All: r.state.All, Changes: r.state.changes,
		})
		if x.o.Ran != nil {
			x.o.Ran(r.state.ID(), r.Answer)
		}
	}
	x.scan(ctx, c, level)
	return nil
}

// scanAll looks for what is missing on a level, in all that is known.
func (x *exploration) scanAll(ctx context.Context, level int) {
	if x.tree.root == nil {
		x.push(&edge{state: x.space.state(0, false, nil)})
		return
	}
	for _, c := range x.tree.chains {
		x.scan(ctx, c, level)
	}
}

// maxFrontier bounds the states that wait to be run, but for those behind one
// execution. Others are looked for when these are done.
const maxFrontier = 1 << 18

// scan looks for values that reads of a new chain may have and of which
// nothing is known, until ctx is done. What an earlier scan of the chain looked at
// is run, left out or another shard's.
func (x *exploration) scan(ctx context.Context, c *chain, level int) {
	if x.frontier.Len() >= maxFrontier {
		x.more = true
		return
	}
	path := x.tree.pathTo(c)
	for i := path.from; i < len(c.steps) && ctx.Err() == nil; i++ {
		if !x.tree.within(path.least) {
			break
		}
		for _, missing := range path.missing(c, i) {
			if !x.tree.within(missing.cost) {
				continue
			}
			l := missing.cost.level()
			if l > level {
				if x.above < 0 || l < x.above {
					x.above = l
				}
				continue
			}
			if l < c.scanned {
				continue
			}
			e := &edge{chain: c, at: i, class: missing.class, cost: missing.cost}
			e.state = path.state(missing, c.steps[i].by)
			if x.represented(e) || !x.mine(path.least, e.cost, func() *State { return e.state }) {
				continue
			}
			x.push(e)
		}
		path.follow(c.steps[i])
	}
	c.scanned = level + 1
}

// alikeKey is what is alike behind an execution.
type alikeKey struct {
	behind *chain
	shape  shapeKey
}

// represented says that enough of an edge's shape is run behind its chain. All
// shards find the same, as it does not depend on what is theirs.
func (x *exploration) represented(e *edge) bool {
	if x.o.Alike <= 0 || e.cost == 0 {
		return false
	}
	k := alikeKey{e.chain, e.state.shape()}
	if x.alike[k] >= x.o.Alike {
		return true
	}
	x.alike[k]++
	return false
}

func (x *exploration) push(e *edge) {
	k := e.state.shape()
	e.rank = x.shapes[k]
	x.shapes[k]++
	e.seq = x.seq
	x.seq++
	heap.Push(&x.frontier, e)
}

// edge is a value of a read, after which nothing is known.
type edge struct {
	chain *chain // nil if nothing at all is known
	at    int    // the step of the chain that has another value
	class int32
	cost  cost
	state *State // the plainest that has the value
	rank  int    // how many of its shape came before it
	seq   int
}

func (e *edge) compare(o *edge) int {
	return cmp.Or(
		cmp.Compare(e.cost.level(), o.cost.level()),
		cmp.Compare(e.rank, o.rank),
		cmp.Compare(e.state.order(), o.state.order()),
		cmp.Compare(e.state.Point, o.state.Point),
		slices.CompareFunc(e.state.changes, o.state.changes, Change.compare),
		cmp.Compare(e.seq, o.seq))
}

// frontier is a heap of what to run next.
type frontier []*edge

func (f frontier) Len() int           { return len(f) }
func (f frontier) Less(i, k int) bool { return f[i].compare(f[k]) < 0 }
func (f frontier) Swap(i, k int)      { f[i], f[k] = f[k], f[i] }
func (f *frontier) Push(e any)        { *f = append(*f, e.(*edge)) }
func (f *frontier) Pop() any {
	last := len(*f) - 1
	e := (*f)[last]
	(*f)[last] = nil
	*f = (*f)[:last]
	return e
}
