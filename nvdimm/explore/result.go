package explore

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"nvlab/internal/units"
)

// A Leaf is an execution, and the states that it speaks for.
type Leaf struct {
	ID     string   // of the state that was run, the plainest of them
	Answer string   // what the recovery came to
	States *big.Int // how many they are
	Lines  int      // in which the state differs from an extreme
	Torn   int      // of these

	Point   int
	All     bool
	Changes []Change
}

// compare orders leaves from the plainest on.
func (l *Leaf) compare(o *Leaf) int {
	return cmp.Or(
		cmp.Compare(l.Lines+l.Torn, o.Lines+o.Torn), cmp.Compare(l.Lines, o.Lines),
		cmp.Compare(l.Point, o.Point), cmp.Compare(Base(o.All), Base(l.All)),
		slices.CompareFunc(l.Changes, o.Changes, Change.compare), cmp.Compare(l.ID, o.ID))
}

// A Result is what was found.
type Result struct {
	Legal   *big.Int // all states
	AtLeast bool     // there are more
	Depth   int      // that was asked for, as Torn
	Torn    int
	Alike   int

	Leaves []Leaf   // the plainest first
	States *big.Int // that these speak for
	// LowerBound says that they may speak for more: what a leaf of which something was decided
	// speaks for is known of the states within Depth only.
	LowerBound bool
	Complete   bool // they speak for all states of the space within Depth and Torn
	Pending    int  // executions that are known to be missing, if not

	Represented bool // nothing is missing but what Alike leaves out

	tree *tree
}

// Told is the result for who tells of it, without the space that it is of: many
// of them can be kept.
func (r *Result) Told() *Result {
	t := *r
	t.tree = nil
	return &t
}

func (r *Result) add(l Leaf) {
	r.Leaves = append(r.Leaves, l)
	r.States.Add(r.States, l.States)
}

func (r *Result) finish() {
	slices.SortFunc(r.Leaves, func(x, y Leaf) int { return x.compare(&y) })
}

// All says that the result speaks for all legal states.
func (r *Result) All() bool { return !r.AtLeast && r.States.Cmp(r.Legal) == 0 }

// Exhaustive says that the result speaks for all legal states, or for all
// within the depth that was asked for.
func (r *Result) Exhaustive() bool { return r.Complete && !r.AtLeast || r.All() }

// An Answer is one that some executions gave.
type Answer struct {
	Text       string
	Executions int
	States     *big.Int
	Plainest   *Leaf
}

// Answers lists the answers, by their plainest states.
func (r *Result) Answers() []Answer {
	index := map[string]int{}
	var list []Answer
	for i := range r.Leaves {
		l := &r.Leaves[i]
		n, ok := index[l.Answer]
		if !ok {
			n = len(list)
			index[l.Answer] = n
			list = append(list, Answer{Text: l.Answer, States: new(big.Int), Plainest: l})
		}
		list[n].Executions++
		list[n].States.Add(list[n].States, l.States)
	}
	return list
}

// Coverage says of what the result speaks, and of what not.
func (r *Result) Coverage() string {
	var b strings.Builder
	least := ""
	if r.AtLeast {
		least = "at least "
	}
	speak := "speak for"
	if len(r.Leaves) == 1 {
		speak = "speaks for"
	}
	if r.LowerBound {
		speak += " at least"
	}
	fmt.Fprintf(&b, "%s %s %s of %s%s legal states", units.Count(len(r.Leaves), "execution"), speak, units.Large(r.States), least, units.Large(r.Legal))
	switch {
	case r.All():
		b.WriteString("; that is all")
		return b.String()
	case r.Complete && r.AtLeast:
		fmt.Fprintf(&b, "; of those that are listed that is all %s, and more are legal", r.bounds())
	case r.Complete:
		fmt.Fprintf(&b, "; that is all %s", r.bounds())
	case r.Represented:
		fmt.Fprintf(&b, "; not all %s, but behind each execution %d of each shape: at least %s missing", r.bounds(), r.Alike, units.Count(r.Pending, "execution"))
	default:
		fmt.Fprintf(&b, "; not all %s: at least %s missing", r.bounds(), units.Count(r.Pending, "execution"))
	}
	if left := new(big.Int).Sub(r.Legal, r.States); left.Sign() > 0 {
		most := ""
		if r.LowerBound {
			most = "at most "
		}
		fmt.Fprintf(&b, "; of %s%s states nothing is known", most, units.Large(left))
	}
	return b.String()
}

// bounds are the states that were asked for.
func (r *Result) bounds() string {
	of := "that differ from nothing or everything"
	if r.Depth >= 0 {
		of += fmt.Sprintf(" in up to %s", units.Count(r.Depth, "line"))
	}
	switch {
	case r.Torn == 0:
		of += ", none of them torn"
	case r.Torn > 0 && (r.Depth < 0 || r.Torn < r.Depth):
		of += fmt.Sprintf(", of them up to %d torn", r.Torn)
	}
	return of
}
