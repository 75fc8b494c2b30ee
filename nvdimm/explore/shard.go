package explore

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/big"

	"nvlab/internal/units"
)

// A Shard is a part of an exploration, from 1 to Of. The zero Shard is all of
// it.
//
// States that differ from nothing or everything in no line that is read are
// run by every shard, as what they read says what there is to share out. Of
// the values that make the first difference each belongs to one shard, by the
// id of the plainest state that has it, and with it all that is found behind
// it.
type Shard struct{ Index, Of int }

func (s Shard) check() error {
	if s == (Shard{}) || s.Index >= 1 && s.Index <= s.Of {
		return nil
	}
	return fmt.Errorf("shard %d of %d: want one from 1 to the number of shards", s.Index, s.Of)
}

// owns says that the state of an id is the shard's.
func (s Shard) owns(id string) bool {
	if s.Of <= 1 {
		return true
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	v := h.Sum64() // whose low bits alone know little of the first letters
	v ^= v >> 32
	return int(v%uint64(s.Of)) == s.Index-1
}

// ErrMerge says that results are not those of all shards of one exploration.
var ErrMerge = errors.New("these are not the shards of one exploration")

// Merge joins the results of all shards of an exploration. It equals what one
// process would have found, if all are complete.
func Merge(shards []*Result) (*Result, error) {
	if len(shards) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrMerge)
	}
	for i, r := range shards {
		if err := r.sound(); err != nil {
			return nil, fmt.Errorf("%w: number %d %w", ErrMerge, i+1, err)
		}
	}
	first := shards[0]
	m := &Result{Legal: first.Legal, AtLeast: first.AtLeast, Depth: first.Depth, Torn: first.Torn, Alike: first.Alike, Complete: true, Represented: true, States: new(big.Int)}
	seen := map[string]bool{}
	for i, r := range shards {
		if r.Legal.Cmp(m.Legal) != 0 || r.AtLeast != m.AtLeast || r.Depth != m.Depth || r.Torn != m.Torn || r.Alike != m.Alike {
			return nil, fmt.Errorf("%w: the first explores %s %s, number %d %s %s", ErrMerge, units.Large(m.Legal), m.bounds(), i+1, units.Large(r.Legal), r.bounds())
		}
		for _, l := range r.Leaves {
			if seen[l.ID] {
				return nil, fmt.Errorf("%w: two ran state %s", ErrMerge, l.ID)
			}
			seen[l.ID] = true
			m.add(l)
		}
		m.LowerBound = m.LowerBound || r.LowerBound
		m.Complete, m.Represented = m.Complete && r.Complete, m.Represented && r.Represented
		m.Pending += r.Pending
	}
	if m.States.Cmp(m.Legal) > 0 {
		return nil, fmt.Errorf("%w: together they speak for more states than there are", ErrMerge)
	}
	m.finish()
	return m, nil
}

// sound checks what came from somewhere else.
func (r *Result) sound() error {
	if r.Legal == nil || r.States == nil || r.Legal.Sign() < 0 || r.States.Sign() < 0 {
		return errors.New("says nothing of how many states there are")
	}
	for i := range r.Leaves {
		if l := &r.Leaves[i]; l.States == nil || l.States.Sign() < 0 || l.Lines < 0 || l.Torn < 0 {
			return fmt.Errorf("has an execution of state %q that speaks for no number of states", l.ID)
		}
	}
	return nil
}
