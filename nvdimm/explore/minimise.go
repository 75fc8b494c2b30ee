package explore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Minimise looks for a state of the same point that differs from everything, or
// from nothing, in as few lines as possible, and whose answer is still bad: no
// line of it can be left out alone. It runs what is not known yet, and says how
// many executions that were.
//
// It is delta debugging (Zeller and Hildebrandt, "Simplifying and isolating
// failure-inducing input", 2002). Every subset of the changes is a legal state.
func (r *Result) Minimise(ctx context.Context, run Runner, s *State, all bool, bad func(answer string) bool) (*State, int, error) {
	m := &minimiser{ctx: ctx, tree: r.tree, run: run, bad: bad, point: s.Point, all: all}
	changes := m.changes(s)
	if is, err := m.isBad(changes); err != nil || !is {
		if err == nil {
			err = fmt.Errorf("state %s: its answer is not bad", s.ID())
		}
		return nil, m.ran, err
	}
	changes, err := m.reduce(changes)
	if err != nil {
		return nil, m.ran, err
	}
	// A line that is wholly lost, or alone, says more than one that is torn.
	for i, c := range changes {
		other := 0
		if !all {
			other = len(m.tree.lines[c.Line].at(s.Point).legal) - 1
		}
		whole := slices.Clone(changes)
		whole[i].Content = other
		is, err := m.isBad(whole)
		if err != nil {
			return nil, m.ran, err
		}
		if is {
			changes = whole
		}
	}
	return m.tree.space.state(s.Point, all, changes), m.ran, nil
}

type minimiser struct {
	ctx   context.Context
	tree  *tree
	run   Runner
	bad   func(string) bool
	point int
	all   bool
	ran   int
}

// changes are the lines in which a state differs from the extreme, but for
// those that its execution does not read.
func (m *minimiser) changes(s *State) []Change {
	var list []Change
	read := map[int]bool{}
	c, _ := m.tree.find(s)
	if c != nil {
		for _, step := range c.path(len(c.steps)) {
			if step.by.on == nil {
				read[step.by.Line] = true
				continue
			}
			for _, a := range step.by.on.lines {
				read[a.line] = true
			}
		}
	}
	for n := range m.tree.lines {
		if c != nil && !read[n] {
			continue
		}
		at := m.tree.lines[n].at(s.Point)
		if v := s.version(n); v != at.extreme(m.all) {
			list = append(list, Change{n, slices.Index(at.legal, v)})
		}
	}
	return list
}

// isBad runs a state, unless its answer is known.
func (m *minimiser) isBad(changes []Change) (bool, error) {
	s := m.tree.space.state(m.point, m.all, slices.Clone(changes))
	c, e := m.tree.find(s)
	if c == nil {
		x, err := m.run(m.ctx, s)
		if err != nil {
			return false, fmt.Errorf("state %s: %w", s.ID(), err)
		}
		m.ran++
		reads, err := m.tree.telling(s, x.Reads)
		if err != nil {
			return false, fmt.Errorf("state %s: %w", s.ID(), err)
		}
		if c, err = m.tree.add(e, s, reads, x.Answer); err != nil {
			return false, err
		}
	}
	return m.bad(c.answer), nil
}

// reduce leaves changes out, ever smaller parts of them, while the answer stays
// bad.
func (m *minimiser) reduce(changes []Change) ([]Change, error) {
	for parts := 1; len(changes) > 0; {
		left := []Change(nil)
		for i := range parts {
			from, to := i*len(changes)/parts, (i+1)*len(changes)/parts
			rest := slices.Concat(changes[:from], changes[to:])
			is, err := m.isBad(rest)
			if err != nil {
				return nil, err
			}
			if is {
				left = rest
				if left == nil {
					left = []Change{}
				}
				break
			}
		}
		switch {
		case left != nil:
			changes, parts = left, min(max(parts-1, 1), max(len(left), 1))
		case parts == len(changes):
			return changes, nil
		default:
			parts = min(2*parts, len(changes))
		}
	}
	return changes, nil
}

// Check runs states that the result speaks for and that were not run, each any
// of an execution's, and says whether one of them did anything else: then the
// recovery is not deterministic, or a read was not reported. It returns how many
// it ran: n, or fewer if it finds no more, or if ctx is done.
func (r *Result) Check(ctx context.Context, run Runner, n int, seed uint64) (checked int, err error) {
	random := rand.New(rand.NewPCG(seed, 0))
	ran := map[string]bool{}
	for i := range r.Leaves {
		ran[r.Leaves[i].ID] = true
	}
	const tries = 16 // to find a state that was not run
	for missed := 0; checked < n && missed < tries; {
		if len(r.tree.chains) == 0 || ctx.Err() != nil {
			return checked, nil
		}
		c := r.tree.chains[random.IntN(len(r.tree.chains))]
		s := r.tree.any(c, random)
		if ran[s.ID()] {
			missed++
			continue
		}
		missed, ran[s.ID()] = 0, true
		if err := r.check(ctx, run, c, s); err != nil {
			if ctx.Err() != nil {
				err = nil // it did not run to its end
			}
			return checked, err
		}
		checked++
	}
	return checked, nil
}

// check runs a state that an execution speaks for.
func (r *Result) check(ctx context.Context, run Runner, c *chain, s *State) error {
	x, err := run(ctx, s)
	if err != nil {
		return fmt.Errorf("state %s: %w", s.ID(), err)
	}
	reads, err := r.tree.telling(s, x.Reads)
	if err != nil {
		return fmt.Errorf("state %s: %w", s.ID(), err)
	}
	path := c.path(len(c.steps))
	if err := follows(s, reads, path); err != nil {
		return err
	}
	if len(reads) > len(path) {
		return fmt.Errorf("%w: state %s read all that one before it read, and then %v", ErrNotDeterministic, s.ID(), reads[len(path)])
	}
	if x.Answer != c.answer {
		return fmt.Errorf("%w: state %s read what one before it read, and gave the answer %q, not %q", ErrNotDeterministic, s.ID(), x.Answer, c.answer)
	}
	return nil
}

// any is any state that an execution decides.
func (t *tree) any(c *chain, random *rand.Rand) *State {
	w := t.start()
	for _, s := range c.path(len(c.steps)) {
		w.follow(s)
	}
	var entries []int
	for e, cost := range w.costs {
		if cost != illegal {
			entries = append(entries, e)
		}
	}
	const tries = 16
	for range tries {
		e := entries[random.IntN(len(entries))]
		s := w.any(e/2, e&1 != 0, random, nil)
		if !slices.ContainsFunc(w.on, func(d step) bool { return d.by.classOf(s) != d.class }) {
			return s
		}
	}
	// What something is decided of is as it is in the state that was run.
	decided := map[int]int32{}
	for _, d := range w.on {
		for _, a := range d.by.on.lines {
			decided[a.line] = c.state.version(a.line)
		}
	}
	return w.any(c.state.Point, c.state.All, random, decided)
}

// any is any state of a point whose lines have what was read, or the versions that are
// given.
func (w *walk) any(point int, all bool, random *rand.Rand, given map[int]int32) *State {
	var changes []Change
	for n := range w.tree.lines {
		at := w.tree.lines[n].at(point)
		is, fixed := given[n]
		var fit []int
		for i, v := range at.legal {
			if fixed && v == is || !fixed && agrees(v, w.steps[n]) {
				fit = append(fit, i)
			}
		}
		if i := fit[random.IntN(len(fit))]; at.legal[i] != at.extreme(all) {
			changes = append(changes, Change{n, i})
		}
	}
	return w.tree.space.state(point, all, changes)
}
