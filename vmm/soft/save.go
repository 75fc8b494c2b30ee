package soft

import (
	"errors"
	"fmt"

	"nvlab/vmm"
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/x86"
)

var _ vmm.Saver = (*processors)(nil)

// savedProcessors is what the processors of a machine are together.
type savedProcessors struct {
	rounds  rounds
	turn    uint64 // number of the processor whose turn it is
	started bool
	triple  bool // a triple fault ended the latest Run
}

// savedProcessor is what one of them is.
type savedProcessor struct {
	cpuState
	apic.State
}

// saved is a processor in the one form that all equal ones have: whatever tier
// ran last left its own scratch.
func (c *cpu) saved() *savedProcessor {
	s := &savedProcessor{c.cpuState, c.apic.State}
	clear(s.r[x86.SlotZero:])
	s.r[x86.SlotFS], s.r[x86.SlotGS] = c.r[x86.SlotFS], c.r[x86.SlotGS]
	clear(s.fpu.xmm[16:])
	s.setArith(c.arith())
	if s.stringNext+1 < s.now { // no later piece is of the same group
		s.stringNext, s.stringPC, s.stringGroup = 0, 0, 0
	}
	return s
}

// Save returns the state of all processors.
func (p *processors) Save() ([]byte, error) {
	p.revealAll()
	if p.dead != nil {
		return nil, fmt.Errorf("processors that failed cannot be saved: %w", p.dead)
	}
	n := plainSaved.size() + len(p.cpus)*plainProcessor.size()
	s := savedProcessors{rounds: p.rounds, turn: uint64(p.cpu.id), started: p.started, triple: p.tripleFault}
	b := s.appendTo(make([]byte, 0, n))
	for _, c := range p.cpus {
		b = c.saved().appendTo(b)
	}
	return b, nil
}

// Load makes the processors what Save saw. What is derived of memory stays, since
// memory that changed was told to Wrote; what is derived of registers stays where
// they are the same.
func (p *processors) Load(b []byte) error {
	if want := plainSaved.size() + len(p.cpus)*plainProcessor.size(); len(b) != want {
		return fmt.Errorf("a saved state of %d bytes: %d processors of this build have %d", len(b), len(p.cpus), want)
	}
	var s savedProcessors
	b = s.take(b)
	if s.turn >= uint64(len(p.cpus)) {
		return errors.New("a saved state in which it is nobody's turn")
	}
	if p.dead != nil || p.watch != nil { // nothing is believed; what is fetched again is told again
		p.changed()
	}
	p.rounds, p.cpu, p.started, p.tripleFault = s.rounds, p.cpus[s.turn], s.started, s.triple
	p.stopping, p.dead = false, nil
	p.kick.Store(false)
	p.forgetBreak()
	for _, c := range p.cpus {
		var s savedProcessor
		b = s.take(b)
		c.become(&s)
	}
	p.cpu.others = p.retired() - (p.cpu.now - p.cpu.idle)
	return nil
}

// become makes one processor what was saved.
func (c *cpu) become(s *savedProcessor) {
	paging, cr3 := c.paging(), c.cr3
	c.cpuState, c.apic.State = s.cpuState, s.State
	c.exc, c.ordered, c.values = exception{}, 0, values{}
	c.setMode()
	switch {
	case c.paging() != paging:
		c.flushTLB(false)
	case c.cr3 != cr3:
		c.flushTLB(c.sameGlobals(cr3&pteAddr, c.cr3&pteAddr))
	}
	c.setAC(c.flags&x86.FlagAC != 0)
}

// paging is what translations depend on, but for memory and CR3.
type paging struct {
	cr0, cr4, efer, apic uint64
	pat, mtrrType        uint64
	mtrrVar              [16]uint64
	mtrrFixed            [11]uint64
}

func (c *cpu) paging() paging {
	m := &c.msr
	return paging{c.cr0 & (x86.CR0PG | x86.CR0WP), c.cr4, c.efer, c.apic.Base, m.pat, m.mtrrDefType, m.mtrrVar, m.mtrrFixed}
}

// Cleaned has the first store to each page told to its region's set of dirty
// pages, from now on.
func (p *processors) Cleaned() {
	p.tracking = true
	for _, r := range p.mem.regions {
		r.dirty = r.tracked
	}
	for _, c := range p.cpus {
		for s := range c.tlbs {
			c.tlbs[s].protect(&p.mem)
		}
	}
}

// protect has the next store to each page whose region tells of it walk again.
func (s *tlbSet) protect(mem *memory) {
	for _, i := range s.filled {
		if m := &s.meta[i]; m.pa&tlbWritable != 0 {
			if r := mem.find(m.pa); r != nil && r.dirty != nil {
				m.pa &^= tlbWritable
				s.fast[i].WTag = abi.NoTag
			}
		}
	}
}

// Reseed makes the numbers to come, of RDRAND and of turns, those of another
// seed.
func (p *processors) Reseed(seed uint64) {
	p.seed = seed
	p.rounds.rng = p.turnSeed()
	for _, c := range p.cpus {
		c.rng = p.randomSeed(c)
	}
}

// turnSeed and randomSeed are where streams of random numbers start.
func (p *processors) turnSeed() uint64         { return p.seed ^ 0x9fb21c651e98df25 }
func (p *processors) randomSeed(c *cpu) uint64 { return p.seed + uint64(c.id)*0xd1342543de82ef95 }
