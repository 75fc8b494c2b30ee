package vmm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"nvlab/internal/pages"
)

// An Engine makes the processors of one machine. It knows memory, ports and
// interrupts, and no device.
type Engine interface {
	// Name is "soft" or "kvm".
	Name() string
	// New returns processors that are off, with no memory.
	New(spec ProcessorSpec, bus Bus) (Processors, error)
}

// ProcessorSpec is what a machine asks of an engine.
type ProcessorSpec struct {
	Count   int       // virtual CPUs, at least 1
	Cores   int       // in a package; 0 is all
	Seed    uint64    // of RDRAND and of the interleaving of CPUs
	Date    time.Time // of the wall clock at power-on, for engines that tell guests
	Parking Parking   // of the CPUs beyond the first, if they start by a mailbox

	PhysBits int // physical address bits; 0 is DefaultPhysBits

	// MachineCheck has the CPUs report loads of what a Poisoner is told cannot
	// be read. An engine that is no Poisoner refuses it.
	MachineCheck bool
}

// PhysicalBits is how many bits a physical address has.
func (s ProcessorSpec) PhysicalBits() int { return cmp.Or(s.PhysBits, DefaultPhysBits) }

// PackageCores is how many CPUs are in a package.
func (s ProcessorSpec) PackageCores() int { return cmp.Or(s.Cores, s.Count) }

// Parking is how CPUs beyond the first wait for their start, as firmware with
// ACPI's multiprocessor wakeup structure has them: halted, until the mailbox
// holds a command to wake and their APIC id; then in the state of Entry, at the
// wakeup vector (ACPI 6.5, 5.2.12.19).
type Parking struct {
	Mailbox  uint64 // guest-physical, of a page
	CR3      uint64 // identity map of the low 4 GiB
	GDT      uint64 // selectors 0x10 code, 0x18 data
	GDTLimit uint16
}

// Processors are the CPUs of one machine, with their local APICs and clock.
//
// All methods but Kick are called from one goroutine at a time, and none but
// Interrupt, Stop and Clock from within a call to the Bus.
type Processors interface {
	// Map puts memory at a guest-physical range that holds none.
	Map(Region) error
	// Unmap takes away the memory that starts at base.
	Unmap(base uint64) error
	// Start resets every CPU and the clock, puts the first at entry and parks
	// the others.
	Start(Entry) error
	// Run executes until something ends it, which Exit names. The guest's
	// clock never passes deadline. The error is ctx's, a *LostMemoryError,
	// or a defect of the engine.
	Run(ctx context.Context, deadline time.Duration) (Exit, error)
	// Reseed makes the random numbers and the interleaving to come those of
	// another seed.
	Reseed(seed uint64)
	// Interrupt delivers a message to the local APICs.
	Interrupt(Interrupt)
	// Stop ends the Run in progress after the current instruction.
	Stop()
	// Kick ends the Run in progress soon. Any goroutine may call it.
	Kick()
	// Clock is the guest time since Start. It stands still outside Run.
	Clock() time.Duration
	// Stats counts since Start.
	Stats() Stats
	Close() error
}

// Saver are Processors that can be saved and loaded, between Runs.
type Saver interface {
	Processors
	// Save returns all that the processors are. What differs only in what was
	// derived of it, such as caches, gives the same bytes.
	Save() ([]byte, error)
	// Load makes them what others were when those were saved: of the same
	// build, with the same ProcessorSpec, and memory that is the same already.
	Load([]byte) error
	// Cleaned says that sets of dirty pages were emptied: the next store to
	// each page is told again.
	Cleaned()
}

// Bus is where accesses go that reach no memory. Sizes are 1, 2, 4 or 8
// bytes; a value's unused high bits are zero. Reads of nothing are all ones.
type Bus interface {
	PortIn(port uint16, size int) uint32
	PortOut(port uint16, size int, value uint32)
	MMIORead(addr uint64, size int) uint64
	MMIOWrite(addr uint64, size int, value uint64)
	// EndOfInterrupt says that a local APIC ended a level-triggered vector.
	EndOfInterrupt(vector uint8)
}

// Region is host memory at a guest-physical address.
type Region struct {
	Base      uint64 // guest-physical, a multiple of 4 KiB
	Mem       []byte // mmap'ed; length a multiple of 4 KiB
	ReadOnly  bool   // stores are dropped
	Observed  bool   // engines hold no direct pointer for stores
	Revocable bool   // someone may truncate the file below: access can fault

	// Dirty, if not nil, is told which pages of Mem are stored to: before the
	// guest stores to a page, or before Run returns, the engine puts it into
	// the set.
	Dirty *pages.Set
	// DirtyLater says that nobody asks for Dirty before Saver.Cleaned was
	// called for the first time.
	DirtyLater bool
}

// at is where the memory is.
func (r *Region) at() Range { return Range{r.Base, uint64(len(r.Mem))} }

// Entry is the state of the first CPU at a 64-bit boot: long mode, flat
// segments, interrupts off (Linux, Documentation/arch/x86/boot.rst, "64-bit
// Boot Protocol").
type Entry struct {
	RIP, RSI, RSP uint64
	CR3           uint64 // identity map of the low 4 GiB
	GDT           uint64 // selectors 0x10 code, 0x18 data
	GDTLimit      uint16
}

// Interrupt is a message to local APICs (Intel SDM 3A, 11.11.1, 11.11.2).
type Interrupt struct {
	Dest    uint8 // APIC id, or a logical destination
	Logical bool
	Lowest  bool // lowest priority; else fixed
	Level   bool // level-triggered: its end is reported to the Bus
	Vector  uint8
}

// Exit is why Run returned without an error.
type Exit int

const (
	ExitStopped     Exit = iota // Stop or Kick
	ExitDeadline                // the clock stands at the deadline
	ExitDead                    // every CPU halts with interrupts off
	ExitTripleFault             // a fault in delivering a double fault
)

func (e Exit) String() string {
	switch e {
	case ExitStopped:
		return "stopped"
	case ExitDeadline:
		return "deadline"
	case ExitDead:
		return "halted with interrupts off"
	case ExitTripleFault:
		return "triple fault"
	}
	return fmt.Sprintf("Exit(%d)", int(e))
}

// Stats counts what processors did since Start.
type Stats struct {
	Instructions uint64 // retired, all CPUs; 0 where the engine cannot count
}

// LostMemoryError says that memory below a Region went away while the guest
// used it: someone truncated the file, or its file system has no room for a
// page that the guest wrote.
type LostMemoryError struct {
	Base   uint64 // of the Region
	Offset uint64 // of the access within it
}

func (e *LostMemoryError) Error() string {
	return fmt.Sprintf("guest memory at %#x lost its backing at offset %#x", e.Base, e.Offset)
}

// ErrNoEngine says that an engine cannot run on this host; errors that wrap
// it say why.
var ErrNoEngine = errors.New("engine not available")
