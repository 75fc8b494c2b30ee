package soft

import (
	"nvlab/vmm/observe"
	"nvlab/vmm/soft/abi"
	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/x86"
)

// segment is a segment register with its hidden part. The bases of FS and GS
// live in x86.SlotFS and x86.SlotGS instead.
type segment struct {
	sel   uint16
	attr  uint16 // descriptor bits 40..47 and 52..55, as LAR shows them >> 8
	limit uint32
	base  uint64
}

// table is GDTR or IDTR.
type table struct {
	base  uint64
	limit uint16
}

// exception is what an instruction raised.
type exception struct {
	vec    uint8
	hasErr bool
	soft   bool // by INT n, INT3, INTO: the gate's DPL counts
	err    uint32
	cr2    uint64 // of #PF; of #MC the physical address

	external bool // an interrupt
}

// cpuState is what a processor is between two instructions, but for its local
// APIC: what a snapshot holds of it, and nothing that is derived of that or of
// memory. It is copied to save it.
type cpuState struct {
	// The six arithmetic flags: ZF is fz == 0; SF is bit 63 of fs, PF the
	// parity of its low byte; CF is bit 63 of fc, OF its bit 63 xor bit 62,
	// AF its bit 3.
	fz, fs, fc uint64
	flags      uint64 // the rest of RFLAGS

	r [256]uint64 // by slot; from ir.SlotTmp on, scratch

	rip       uint64
	now       uint64 // clock in ns
	idle      uint64 // of which were jumped over
	delivered uint64 // exceptions and interrupts, so far
	debug     uint64 // bits of DR6 for the trap that is to follow

	cr0, cr2, cr3, cr4 uint64
	efer               uint64
	dr                 [8]uint64
	msr                msrs
	tscOffset          uint64
	rng                uint64

	seg  [6]segment
	ldtr segment
	tr   segment
	gdt  table
	idt  table
	fpu  fpuState

	// With an observer, the latest piece of a repeated string store: its clock,
	// its instruction and its group.
	stringNext, stringPC, stringGroup uint64

	cpl       uint8
	shadow    bool // no interrupt before the next instruction (STI, MOV SS)
	movSS     bool // MOV SS inhibits the trap before the next instruction
	halted    bool
	parked    bool // halted until the mailbox wakes it
	long      bool // CS is 64-bit code
	nmi       bool // pending
	nmiMasked bool // until IRET
}

// cpu is one processor.
type cpu struct {
	cpuState
	cpuWork
	cpuCaches
}

// cpuWork is what a processor works with: what is derived of its state, and what
// is of use within one instruction only.
type cpuWork struct {
	p   *processors
	id  uint8                             // its number, and its APIC's id at the start
	tlb *[abi.TLBSize]abi.TLBEntry        // of the current privilege
	jc  *[abi.JumpCacheSize]abi.JumpEntry // of the current privilege

	gens  [ir.GenCount]uint32               // see ir.Op.Gen
	pages [ir.GenCount - ir.GenPages]uint64 // that gens has the generations of, from ir.GenPages on
	at    uintptr                           // offset of an op over a call: see genfast

	next     uint64 // of the instruction after the one that executes
	attn     bool   // the run loop must look at events
	implicit bool   // the access at hand is the processor's own: see loadSys
	begun    bool   // the instruction took something from the one before: see stops
	mode     uint8  // what blocks depend on: see ir.ModeUser
	others   uint64 // instructions that all others have retired

	exc exception

	// With an observer: what the instruction at hand stores, and what orders
	// it that was not told yet.
	observing bool
	kind      observe.Kind
	ordered   observe.Order
	group     uint64
	lockDue   bool  // the LOCK of the instruction at hand is to be told before its first store
	memType   uint8 // of the page that was translated last for a store
	events    events

	// With an observer of values.
	values values
	effect effect

	native abi.Crossing

	apic apic.APIC

	step x86.Inst // of stepOne, to spare an allocation
	buf  [16]byte
}

// cpuCaches is what is derived of memory: some 1.4 MB, of which a reset forgets
// what is filled, and leaves the rest.
type cpuCaches struct {
	fetched [2]fetched // by half of the address space
	globals [8]uint64  // entries of the top table that global translations are below

	tlbs [2]tlbSet
	jcs  [2][abi.JumpCacheSize]abi.JumpEntry

	landings [2]abi.Landings // by privilege
}

func newCPU(p *processors, id uint8) *cpu {
	c := &cpu{cpuWork: cpuWork{p: p, id: id}}
	c.apic.Assemble((*interrupts)(c), id)
	c.gens[ir.GenNone] = ir.NoGen
	c.tlbs[0].init()
	c.tlbs[1].init()
	c.setMode()
	return c
}

// setMode brings what is derived from CPL, CR0 and CR4 up to date.
func (c *cpu) setMode() {
	var m uint8
	set := 0
	if c.cpl == 3 {
		m |= ir.ModeUser
		set = 1
	}
	if c.cr0&(x86.CR0TS|x86.CR0EM) == 0 && c.cr4&x86.CR4OSFXSR != 0 {
		m |= ir.ModeSSE
	}
	if c.fpu.mxcsr&x86.MXCSRMasks == x86.MXCSRMasks {
		m |= ir.ModeMasked
	}
	if c.observing {
		m |= ir.ModeWatched
	}
	if len(c.p.cpus) > 1 {
		m |= ir.ModeSeveral
	}
	c.tlb = &c.tlbs[set].fast
	c.jc = &c.jcs[set]
	if (m^c.mode)&^ir.ModeUser != 0 {
		c.forgetJumps()
	}
	c.mode = m
	c.attn = true
}

func (c *cpu) setCPL(cpl uint8) {
	if c.cpl != cpl {
		c.cpl = cpl
		c.setMode()
	}
}

// The raise functions record an exception and return false, which is what an
// instruction that did not complete returns.

func (c *cpu) raise(vec uint8) bool {
	c.exc = exception{vec: vec}
	return false
}

func (c *cpu) raiseErr(vec uint8, err uint32) bool {
	c.exc = exception{vec: vec, hasErr: true, err: err}
	return false
}

func (c *cpu) ud() bool           { return c.raise(excUD) }
func (c *cpu) gp(err uint32) bool { return c.raiseErr(excGP, err) }

// segFault is #SS(0) for the stack segment, else #GP(0).
func (c *cpu) segFault(seg uint8) bool {
	if seg == x86.SegSS {
		return c.raiseErr(excSS, 0)
	}
	return c.gp(0)
}
