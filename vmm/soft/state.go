package soft

import (
	"fmt"
	"reflect"
	"strings"

	"nvlab/vmm/soft/apic"
	"nvlab/vmm/soft/fp"
	"nvlab/vmm/soft/x86"
)

// State is a processor as its guest can see it, with its clock. States are
// compared with ==: what two runs of one guest make differ, one of them did
// wrong.
type State struct {
	R                  [16]uint64 // RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15
	RIP, RFLAGS        uint64
	CR0, CR2, CR3, CR4 uint64
	EFER               uint64
	DR                 [8]uint64
	FSBase, GSBase     uint64
	CPL                uint8

	Clock     uint64 // ns since power-on
	Retired   uint64 // instructions
	Delivered uint64 // exceptions and interrupts

	Halted, Parked, Shadow, MOVSS, NMI, NMIMasked bool

	Segment   [6]segment // ES, CS, SS, DS, FS, GS
	LDTR, TR  segment
	GDTR, IDT table
	XMM       [16]fp.Vec
	MXCSR     uint32
	X87       fp.X87
	MSR       msrs
	TSCOffset uint64
	RNG       uint64
	APIC      apic.State
}

// States are those of all processors, by number. It is called between Runs.
func (p *processors) States() []State {
	var list []State
	for _, c := range p.cpus {
		list = append(list, c.state())
	}
	return list
}

func (c *cpu) state() State {
	s := State{
		R: [16]uint64(c.r[:]), RIP: c.rip, RFLAGS: c.rflags(),
		CR0: c.cr0, CR2: c.cr2, CR3: c.cr3, CR4: c.cr4, EFER: c.efer, DR: c.dr,
		FSBase: c.r[x86.SlotFS], GSBase: c.r[x86.SlotGS], CPL: c.cpl,
		Clock: c.now, Retired: c.now - c.idle, Delivered: c.delivered,
		Halted: c.halted, Parked: c.parked, Shadow: c.shadow, MOVSS: c.movSS, NMI: c.nmi, NMIMasked: c.nmiMasked,
		Segment: c.seg, LDTR: c.ldtr, TR: c.tr, GDTR: c.gdt, IDT: c.idt,
		XMM: [16]fp.Vec(c.fpu.xmm[:]), MXCSR: c.fpu.mxcsr, X87: c.fpu.x87,
		MSR: c.msr, TSCOffset: c.tscOffset, RNG: c.rng, APIC: c.apic.State,
	}
	return s
}

// Differ has a line for each field in which two states differ.
func (s State) Differ(o State) string {
	var b strings.Builder
	x, y := reflect.ValueOf(s), reflect.ValueOf(o)
	for i := range x.NumField() {
		if f := x.Type().Field(i); !x.Field(i).Equal(y.Field(i)) {
			fmt.Fprintf(&b, "%s: %+v and %+v\n", f.Name, x.Field(i), y.Field(i))
		}
	}
	return b.String()
}
