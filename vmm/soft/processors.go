package soft

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/x86"
)

// processors implements vmm.Processors. Everything in it but kick is used by
// one goroutine at a time.
type processors struct {
	bus         vmm.Bus
	seed        uint64
	parking     vmm.Parking
	cpuid       vmm.CPUIDTable
	reserved    uint64 // address bits of paging-structure entries that must be 0
	mem         memory
	cpus        []*cpu
	cpu         *cpu // whose turn it is
	rounds      rounds
	cache       *blockCache // within Run
	running     bool        // within Run
	generations generations // those that jump caches hold
	epoch       uint64      // changes when links to blocks go

	translations *Translations // where the cache is from
	compiles     bool          // hot blocks

	tables     []pageTable // marked pages, by mark.table; 0 is none
	freeTables []uint32

	observer observe.Observer       // nil if nobody looks
	streams  observe.StreamObserver // the same, while it may be told of stores late
	watch    *observe.Watch         // whose loads are told to loads; nil if none
	loads    observe.LoadObserver
	copies   observe.CopyObserver  // the same, if it follows copies; then ordinary memory may be watched, too
	values   observe.ValueObserver // the same, if it follows values
	lookups  map[uint64]*lookedUp  // tables that values were followed through, by linear address

	refetched []refetched // see cpu.fetchedBefore

	machineChecks bool           // the processors have them
	poison        *observe.Watch // lines that cannot be read; nil if there are none
	consumed      func(addr uint64, reported bool)
	stop          loadStop

	remapped    bool // changed is due: the memory map is another since the last Run
	tracking    bool // dirty pages are told
	started     bool
	stopping    bool // end Run after this instruction
	tripleFault bool
	dead        error // what every further Run returns
	kick        atomic.Bool
	exact       bool // tests: no fast path

	debugger *debugger // nil if there is none
}

func (p *processors) Map(r vmm.Region) error {
	added, err := p.mem.add(r)
	if err != nil {
		return err
	}
	added.watched = added.observed && p.observer != nil
	if p.tracking {
		added.dirty = added.tracked
	}
	p.remap()
	return nil
}

func (p *processors) Unmap(base uint64) error {
	if _, err := p.mem.remove(base); err != nil {
		return err
	}
	p.remap()
	return nil
}

// remap notes that the memory map is another. Between Runs many pieces of memory
// may come and go, and it is enough to forget once.
func (p *processors) remap() {
	p.remapped = true
	if p.running {
		p.changed()
	}
}

// changed forgets all that was derived from the memory map.
func (p *processors) changed() {
	p.remapped = false
	p.forgetCode()
	p.resetTranslations()
}

// resetTranslations forgets all translations, and what tells of them.
func (p *processors) resetTranslations() {
	for _, c := range p.cpus {
		c.resetTranslations()
	}
	p.resetTables()
}

func (c *cpu) resetTranslations() {
	c.tlbs[0].reset()
	c.tlbs[1].reset()
	c.globals = [8]uint64{}
	c.forgetJumps()
}

// Start resets the first processor to the state of a 64-bit boot, and parks
// the others.
func (p *processors) Start(e vmm.Entry) error {
	if !x86.Canonical(e.RIP) {
		return fmt.Errorf("entry at %#x: not a canonical address", e.RIP)
	}
	for _, c := range p.cpus {
		c.now, c.idle = 0, 0
		c.park()
		c.rng = p.randomSeed(c)
	}
	p.cpu = p.cpus[0]
	p.cpu.enter(e)
	p.rounds = rounds{rng: p.turnSeed(), turn: len(p.cpus)}
	p.changed()
	p.started, p.stopping, p.tripleFault, p.dead = true, false, false, nil
	return nil
}

// enter resets the processor, but for its clock, to long mode with flat
// segments and interrupts off.
func (c *cpu) enter(e vmm.Entry) {
	p := c.p
	c.cpuState = cpuState{now: c.now, idle: c.idle, rng: c.rng}
	c.cpuWork = cpuWork{p: p, id: c.id, others: c.others, gens: c.gens, pages: c.pages, observing: p.observer != nil, events: c.events}
	c.apic.Assemble((*interrupts)(c), c.id)
	c.fpu.reset()
	c.rip = e.RIP
	c.r[x86.RSI], c.r[x86.RSP] = e.RSI, e.RSP
	c.cr0 = x86.CR0PE | x86.CR0ET | x86.CR0NE | x86.CR0WP | x86.CR0PG
	c.cr3 = e.CR3
	c.cr4 = x86.CR4PAE
	c.efer = x86.EFERLME | x86.EFERLMA
	c.gdt = table{base: e.GDT, limit: e.GDTLimit}
	c.seg[x86.SegCS] = segment{sel: 0x10, attr: attrCode64, limit: ^uint32(0)}
	for _, n := range []int{x86.SegES, x86.SegSS, x86.SegDS, x86.SegFS, x86.SegGS} {
		c.seg[n] = segment{sel: 0x18, attr: attrData, limit: ^uint32(0)}
	}
	c.tr.attr = attrTSS
	c.dr[6], c.dr[7] = 0xffff0ff0, 0x400
	c.msr.pat = patReset
	c.msr.mtrrDefType = mtrrDefWB
	for i := range c.msr.mtrrFixed {
		c.msr.mtrrFixed[i] = 0x0606060606060606
	}
	c.msr.miscEnable = 1 // fast strings
	for i := range c.msr.mcBanks {
		c.msr.mcBanks[i].ctl = ^uint64(0)
	}
	c.long = true
	c.setArith(0)
	c.setMode()
	c.resetTranslations()
}

// Run executes until something ends it.
func (p *processors) Run(ctx context.Context, deadline time.Duration) (exit vmm.Exit, err error) {
	switch {
	case p.dead != nil:
		return 0, p.dead
	case !p.started:
		return 0, errors.New("run before start")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil {
			err = p.failure(v)
			p.dead = err
		}
	}()
	if p.remapped {
		p.changed()
	}
	p.stopping = false
	p.takeCache()
	defer p.giveCache()
	p.beginStreams()
	defer func() {
		if !p.held() {
			p.cpu.tellOrder()
		}
	}()
	return p.run(ctx, uint64(max(deadline, 0)))
}

// failure turns what an instruction panicked with into an error. The processor
// may be in the midst of an instruction, so it does not run again.
func (p *processors) failure(v any) error {
	if e, ok := v.(interface{ Addr() uintptr }); ok {
		for _, r := range p.mem.regions {
			if off := uint64(e.Addr()) - hostAddr(r.mem, 0); off < r.size {
				return &vmm.LostMemoryError{Base: r.base, Offset: off}
			}
		}
	}
	stack := debug.Stack()
	if err, ok := v.(runtime.Error); ok {
		v = err.Error()
	}
	return fmt.Errorf("defect in the software engine at rip=%#x, bytes % x: %v\n%s", p.cpu.rip, p.cpu.peek(), v, stack)
}

// Stop ends the Run in progress after the current instruction.
func (p *processors) Stop() {
	p.stopping = true
	p.cpu.attn = true
}

// Kick ends the Run in progress, or the next one, soon.
func (p *processors) Kick() { p.kick.Store(true) }

// Clock is that of the processor that is farthest.
func (p *processors) Clock() time.Duration {
	now := p.cpu.now
	for _, c := range p.cpus {
		now = max(now, c.now)
	}
	return time.Duration(now)
}

func (p *processors) Stats() vmm.Stats {
	return vmm.Stats{Instructions: p.retired()}
}

// retired is the count of instructions of all processors.
func (p *processors) retired() (n uint64) {
	for _, c := range p.cpus {
		n += c.now - c.idle
	}
	return n
}

func (p *processors) Close() error {
	p.mem = memory{}
	p.started = false
	return p.leave()
}

// peek returns the bytes at rip as far as they can be had without effect.
func (c *cpu) peek() (b []byte) {
	defer func() { _ = recover() }()
	saved := c.exc
	defer func() { c.exc = saved }()
	if !x86.Canonical(c.rip) {
		return nil
	}
	pa, ok := c.translate(c.rip, c.privilege(), accessFetch)
	if !ok {
		return nil
	}
	b = make([]byte, min(x86.MaxLength, x86.PageSize-c.rip&x86.PageMask))
	c.readCode(pa, b)
	return b
}
