package soft

import (
	"nvlab/vmm/observe"
)

var _ observe.LoadStopper = (*processors)(nil)

// Run ends before a load as it does for a page that is absent: the address is translated,
// and nothing has changed but accessed bits, which the load sets as well.

// excStop stands for that where an exception would be raised. Vectors of exceptions end
// at 31.
const excStop = 0xff

// A loadStop is before which loads Run ends.
type loadStop struct {
	before *observe.Watch
	stands bool // Run ended for that
	passed bool // a load was made nonetheless
}

// StopBefore has Run end before loads from these lines.
func (p *processors) StopBefore(w *observe.Watch) {
	old := p.stop.before
	p.stop = loadStop{before: w}
	p.forgetUnreadable(old, w)
}

// StoppedBefore says that the processors stand before such a load.
func (p *processors) StoppedBefore() (stands, passed bool) { return p.stop.stands, p.stop.passed }

// stops says that Run is to end before the load from pa.
func (c *cpu) stops(pa uint64) bool {
	s := &c.p.stop
	if s.before == nil || !s.before.Has(pa) {
		return false
	}
	if c.begun {
		s.pass()
		return false
	}
	c.exc = exception{vec: excStop}
	return true
}

// stopHere ends Run before the instruction at c.rip, which was counted.
func (c *cpu) stopHere() {
	c.now--
	c.p.stop.stands, c.p.stopping, c.attn = true, true, true
}

// pass lets all loads be made.
func (s *loadStop) pass() { s.before, s.passed = nil, true }

// passedBy is for n bytes that no processor reads.
func (s *loadStop) passedBy(addr, n uint64) {
	if s.before == nil || n == 0 {
		return
	}
	for at := addr &^ 63; at < addr+n; at += 64 {
		if s.before.Has(at) {
			s.passed = true
			return
		}
	}
}
