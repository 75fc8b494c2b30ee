// Package soft is a software x86-64 processor: an exact executor that holds
// every rule of the architecture, and a fast interpreter of pre-decoded
// blocks that hands whatever is unusual to it, and on amd64 hosts a compiler of
// hot blocks that hands whatever is unusual to the interpreter.
//
// Time is the count of retired instructions, one nanosecond each; when all
// processors halt, it jumps to the next timer. Several processors take turns of
// equal length; see rounds. The same inputs give the same run.
//
// References are to the Intel 64 and IA-32 Architectures Software Developer's
// Manual ("SDM") unless they say otherwise.
package soft

import (
	"fmt"
	"sync"

	"nvlab/vmm"
	"nvlab/vmm/soft/ir"
	"nvlab/vmm/soft/jit"
)

// maxCPUs is how many processors one host thread is shared by, at most.
const maxCPUs = 64

// Engine makes software processors. Its zero value is ready.
type Engine struct {
	// Interpreter says not to compile hot blocks to host code, where that can
	// be done: see Compiles. The guest cannot tell.
	Interpreter bool

	// Translations are what machines of this engine share of the code that they
	// run. If it is nil, each machine has its own. The guest cannot tell.
	Translations *Translations
}

// Compiles returns nil where hot blocks of guest code are compiled, on
// linux/amd64, or why they are interpreted.
func Compiles() error { return compiles() }

var compiles = sync.OnceValue(func() error {
	c, err := jit.New(&ir.Arena{}, codeLayout)
	if err != nil {
		return err
	}
	return c.Close()
})

// Name returns "soft".
func (Engine) Name() string { return "soft" }

// StartsByMailbox says that processors beyond the first start by the mailbox of
// vmm.Parking: there is no real mode.
func (Engine) StartsByMailbox() bool { return true }

// New returns processors that are off, with no memory.
func (e Engine) New(spec vmm.ProcessorSpec, bus vmm.Bus) (vmm.Processors, error) {
	if spec.Count < 1 || spec.Count > maxCPUs {
		return nil, fmt.Errorf("%w: the software engine runs 1 to %d processors, not %d", vmm.ErrNoEngine, maxCPUs, spec.Count)
	}
	if bus == nil {
		return nil, fmt.Errorf("%w: the software engine needs a bus", vmm.ErrNoEngine)
	}
	addressable := uint64(1) << spec.PhysicalBits()
	p := &processors{
		bus: bus, seed: spec.Seed, parking: spec.Parking, tables: make([]pageTable, 1),
		cpuid:        vmm.CPUIDModel().WithCores(spec.PackageCores()).WithPhysBits(spec.PhysicalBits()),
		reserved:     1<<vmm.MaxPhysBits - addressable,
		mem:          memory{limit: addressable},
		translations: e.Translations,
		compiles:     !e.Interpreter,

		machineChecks: spec.MachineCheck,
	}
	if spec.MachineCheck {
		p.cpuid = p.cpuid.WithMachineCheck()
	}
	if p.translations == nil {
		p.translations = &Translations{kept: &caches{}}
		p.cache = p.translations.take(p)
		p.translations.give(p.cache)
	}
	p.translations.join()
	for i := range spec.Count {
		p.cpus = append(p.cpus, newCPU(p, uint8(i)))
	}
	p.cpu = p.cpus[0]
	return p, nil
}
