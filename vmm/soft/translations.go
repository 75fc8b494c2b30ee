package soft

import (
	"errors"
	"runtime"
	"slices"
	"sync"

	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/ir"
)

// Translations keep blocks and compiled code for machines that share them, one
// machine at a time: a fork finds what was made of its code by those that ran
// before, and a machine that does not run needs none of it. Blocks are found by
// the bytes that they were made of, so any machine's fit any other. Of machines
// that run at the same time, each has its own.
//
// Several goroutines may use them at a time.
type Translations struct {
	mu       sync.Mutex
	kept     *caches
	machines int
	stay     int // caches that stay when no machine is left
}

// caches are what is in nobody's use. The latest used comes last.
type caches struct{ idle []*blockCache }

// NewTranslations returns some for machines that come and go: what the last one
// leaves is there for the next, until nobody holds the Translations any more.
func NewTranslations() *Translations {
	t := &Translations{kept: &caches{}, stay: 1}
	runtime.AddCleanup(t, func(c *caches) { _ = c.close(0) }, t.kept)
	return t
}

// close gives back all but the latest n.
func (c *caches) close(n int) error {
	var errs []error
	for len(c.idle) > n {
		errs = append(errs, c.idle[0].close())
		c.idle = slices.Delete(c.idle, 0, 1)
	}
	return errors.Join(errs...)
}

func (t *Translations) join() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.machines++
}

// take returns a cache that nobody uses until give: p's latest one, if it can.
func (t *Translations) take(p *processors) *blockCache {
	t.mu.Lock()
	defer t.mu.Unlock()
	idle := t.kept.idle
	k := -1
	for i, b := range idle {
		if b.compiles == p.compiles && (k < 0 || idle[k].user != p) {
			k = i
		}
	}
	if k < 0 {
		b := &blockCache{compiles: p.compiles}
		b.init()
		return b
	}
	b := idle[k]
	t.kept.idle = slices.Delete(idle, k, k+1)
	return b
}

func (t *Translations) give(b *blockCache) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept.idle = append(t.kept.idle, b)
}

// leave says that a machine is closed.
func (t *Translations) leave(p *processors) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.kept.idle {
		if b.user == p {
			b.user = nil
		}
	}
	if t.machines--; t.machines > 0 {
		return nil
	}
	return t.kept.close(t.stay)
}

// takeCache begins a Run. What the processors know of a cache that another machine
// has used since, or of one that they had, is no longer so.
func (p *processors) takeCache() {
	p.cache = p.translations.take(p)
	p.running = true
	if n := p.cache.native; n != nil {
		n.Settle()
	}
	if p.cache.user != p {
		p.cache.user = p
		p.cache.unlinked = 0
		if g := p.generations; g.cache != nil && g != (generations{p.cache, p.cache.era}) {
			for _, c := range p.cpus {
				c.jcs = [2][abi.JumpCacheSize]abi.JumpEntry{}
			}
		}
		p.forgetCode()
	}
	for _, c := range p.cpus {
		for i := ir.GenLower; i <= ir.GenUpper; i++ {
			if c.gens[i] == ir.NoGen {
				c.newGen(i)
			}
		}
	}
}

// generations are numbers of a cache between two times that it began to count
// anew: among them each is one processor's, and was no other's.
type generations struct {
	cache *blockCache
	era   uint64
}

// giveCache ends a Run. After one that failed nothing is believed.
func (p *processors) giveCache() {
	if p.dead != nil {
		p.cache.reset()
	}
	p.running = false
	p.generations = generations{p.cache, p.cache.era}
	p.translations.give(p.cache)
}

// leave gives up what the machine shares.
func (p *processors) leave() error {
	if p.translations == nil {
		return nil
	}
	t := p.translations
	p.translations = nil
	return t.leave(p)
}
