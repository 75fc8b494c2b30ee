package soft

import (
	"errors"
	"sync"
)

// Translations keep blocks and compiled code for machines that share them, one
// machine at a time: a fork finds what was made of its code by those that ran
// before, and a machine that does not run needs none of it. Blocks are found by
// the bytes that they were made of, so any machine's fit any other. Of machines
// that run at the same time, each has its own.
//
// What they keep goes when the last machine is closed. The zero value is ready.
// Several goroutines may use it at a time.
type Translations struct {
	mu       sync.Mutex
	idle     []*blockCache // the latest used comes last
	machines int
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
	k := -1
	for i, b := range t.idle {
		if b.compiles == p.compiles && (k < 0 || t.idle[k].user != p) {
			k = i
		}
	}
	if k < 0 {
		b := &blockCache{compiles: p.compiles}
		b.init()
		return b
	}
	b := t.idle[k]
	t.idle = append(t.idle[:k], t.idle[k+1:]...)
	return b
}

func (t *Translations) give(b *blockCache) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle = append(t.idle, b)
}

// leave says that a machine is closed.
func (t *Translations) leave(p *processors) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.idle {
		if b.user == p {
			b.user = nil
		}
	}
	if t.machines--; t.machines > 0 {
		return nil
	}
	var errs []error
	for _, b := range t.idle {
		errs = append(errs, b.close())
	}
	t.idle = nil
	return errors.Join(errs...)
}

// takeCache begins a Run. What the processors know of a cache that another machine
// has used since, or of one that they had, is no longer so.
func (p *processors) takeCache() {
	p.cache = p.translations.take(p)
	p.running = true
	if p.cache.user != p {
		p.cache.user = p
		if n := p.cache.native; n != nil {
			n.unfollow()
		}
		for _, c := range p.cpus {
			c.jcs = [2][jcSize]jumpEntry{}
		}
		p.forgetCode()
	}
	for _, c := range p.cpus {
		for i := genLower; i <= genUpper; i++ {
			if c.gens[i] == noGen {
				c.newGen(i)
			}
		}
	}
}

// giveCache ends a Run. After one that failed nothing is believed.
func (p *processors) giveCache() {
	if p.dead != nil {
		p.cache.reset()
	}
	p.running = false
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
