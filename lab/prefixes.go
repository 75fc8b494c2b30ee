package lab

import (
	"context"
	"sync"

	"nvlab/internal/states"
)

// prefixes has each prefix be computed by one boot at a time, so that others find it.
type prefixes struct {
	mu sync.Mutex
	by map[states.Sum]*turns
}

// turns are those of the boots that come to one prefix.
type turns struct {
	turn   chan struct{} // has a value while nobody has the turn
	staged bool          // nobody needs one any more: all go on from what is kept
}

// A prefixTurn is that of a boot.
type prefixTurn struct {
	of     *prefixes
	turns  *turns
	staged bool // set where the boot leaves all that others may go on from
	held   bool
}

// begin is for a boot that comes to a prefix, and waits for its turn, if it may.
func (p *prefixes) begin(ctx context.Context, sum states.Sum, wait bool) (*prefixTurn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.by[sum]
	if t == nil {
		t = &turns{turn: make(chan struct{}, 1)}
		t.turn <- struct{}{}
		if p.by == nil {
			p.by = map[states.Sum]*turns{}
		}
		p.by[sum] = t
	}
	turn := &prefixTurn{of: p, turns: t}
	if !wait || t.staged {
		return turn, nil
	}
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-t.turn:
		turn.held = true
		return turn, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// end is the end of a boot's turn.
func (t *prefixTurn) end() {
	t.of.mu.Lock()
	t.turns.staged = t.turns.staged || t.staged
	t.of.mu.Unlock()
	if t.held {
		t.turns.turn <- struct{}{}
	}
}
