package vmm

import (
	"context"
	"fmt"
)

// A Debugger is asked before the processors of a machine run on.
type Debugger interface {
	// Between is called between two instructions, on the goroutine of
	// Machine.Run. It returns when the machine may run; an error ends Run.
	Between(ctx context.Context, m *Machine) error
}

// Debugged are Processors that a Debugger can stop and look at, between Runs.
// What it does changes nothing for the guest, but for SetRegisters. Processors
// are numbered from 0; none of this is part of what Saver saves.
type Debugged interface {
	Processors
	// Break has Run end before a processor executes an instruction at one of
	// these virtual addresses, in whichever address space. They replace those of
	// the last call.
	Break(at []uint64)
	// Step has Run end after the next instruction of a processor. -1 is none.
	Step(cpu int)
	// Broke says why Run ended, and for which processor; what it said it does
	// not say again.
	Broke() (cpu int, why Broke)
	// Turn is the processor that executes next, unless it sleeps.
	Turn() int
	Registers(cpu int) Registers
	// SetRegisters sets general registers, RIP, arithmetic flags, and the bases
	// of FS and GS. An address that is not canonical is an error.
	SetRegisters(cpu int, r *Registers) error
}

// Broke is why a Debugged ended its Run.
type Broke int

const (
	NotBroken  Broke = iota // for other reasons
	Breakpoint              // at an address of Break
	Stepped                 // as Step asked for
)

// Registers are those of a processor, for a debugger to read.
type Registers struct {
	R            [16]uint64 // RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15
	RIP, RFLAGS  uint64
	Segment      [6]uint16 // selectors of ES, CS, SS, DS, FS, GS
	FSBase       uint64
	GSBase       uint64
	KernelGSBase uint64 // what SWAPGS changes GSBase for

	CR0, CR2, CR3, CR4, EFER uint64

	XMM   [16][16]byte
	MXCSR uint32
	X87   struct {
		ST       [8][10]byte // from the top of the stack on
		CW, SW   uint16
		Tag      uint16 // two bits a register, by physical number
		FOP      uint16
		FIP, FDP uint64
		FCS, FDS uint16
	}

	Halted bool
}

// CPUs is how many processors the machine has.
func (m *Machine) CPUs() int { return m.cpus }

// Debugged are the machine's processors for a debugger.
func (m *Machine) Debugged() (Debugged, error) { return debugged(m.procs, m.engine) }

func debugged(p Processors, e Engine) (Debugged, error) {
	d, ok := p.(Debugged)
	if !ok {
		return nil, fmt.Errorf("the %s engine's processors cannot be debugged: want the software engine", e.Name())
	}
	return d, nil
}

// debug lets the debugger, if there is one, look at a machine that runs.
func (m *Machine) debug(ctx context.Context) error {
	if m.debugger == nil || m.State() != Running {
		return nil
	}
	return m.debugger.Between(ctx, m)
}
