package lab

import (
	"context"
	"sync"

	"nvlab/internal/states"
)

// prefixes has each prefix be computed by one boot at a time, so that others find it.
type prefixes struct {
	mu sync.Mutex
	by map[states.Sum]chan struct{} // closed once it was computed, kept or not
}

// begin is for a boot that comes to a prefix, and waits while another one computes it, if it
// may. The boot ends with end.
func (p *prefixes) begin(ctx context.Context, sum states.Sum, wait bool) (end func(), err error) {
	p.mu.Lock()
	done := p.by[sum]
	if done == nil {
		done = make(chan struct{})
		if p.by == nil {
			p.by = map[states.Sum]chan struct{}{}
		}
		p.by[sum] = done
		p.mu.Unlock()
		return sync.OnceFunc(func() { close(done) }), nil
	}
	p.mu.Unlock()
	if wait {
		select {
		case <-done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return func() {}, nil
}
