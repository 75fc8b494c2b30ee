// Package vmm is a small modern PC: memory, one I/O APIC, a serial console,
// virtio-mmio devices and hardware-reduced ACPI, around the processors of an
// [Engine]. It boots a stock Linux kernel without firmware and knows nothing
// of what is plugged into it: a DIMM reaches it as memory, an I/O port, AML
// and an event.
//
// What is not there answers like an empty bus: reads are all ones.
package vmm

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"nvlab/vmm/observe"
)

// Config describes the hardware of a machine.
type Config struct {
	Memory uint64 // bytes of RAM: a multiple of 1 MiB, at least 32 MiB
	CPUs   int    // 0 means 1
	Engine Engine
	Seed   uint64 // of every random number the guest gets

	// Date is the wall clock at power-on. The zero time means the first of
	// January 2025, so that two runs have the same.
	Date time.Time

	Events []Event // what Notify can raise, at most 30

	// Slots is how many slots for RAM there are, 0 to 256, see PlugRAM.
	Slots int

	// PMEM is where virtio-pmem devices have their memory, which their owner
	// adds, at most 8 of them. FlushPMEM has what was stored to that of one be
	// durable, and says whether it is; it runs within Run, and may call Attention
	// only.
	PMEM      []Range
	FlushPMEM func(i int) bool

	// PlugPMEM gives the machine a way to have more of them while it runs.
	PlugPMEM bool

	// Cores is how many CPUs are in a package: all if it is 0, else a power of two.
	Cores int

	// PhysBits is how many bits a physical address has, 36 to 52; 0 means 40.
	PhysBits int

	// PCI gives the machine a PCI Express root complex, for guests that do some
	// things only if there is one. Looking through it costs boot time.
	PCI bool

	// MachineCheck has the processors report what Poison says they cannot read.
	MachineCheck bool

	// Console takes what the guest writes to its serial port, a line or less
	// at a time. It must not call the machine.
	Console io.Writer

	// Debugger, if not nil, is asked before processors run, which have to be
	// Debugged.
	Debugger Debugger
}

// An Event is an ACPI notification: what the guest's kernel is told when
// Notify raises it.
type Event struct {
	Path  string // of the device in the ACPI namespace, such as `\_SB.NVDR`
	Value uint8  // of Notify

	// Method makes Path a method without arguments, which the guest evaluates
	// to find out whom to notify.
	Method bool
}

// A Machine is one power-on of a computer: [Assemble] makes it, memory and
// devices of others are added, [Machine.Boot] gives it something to execute,
// and [Machine.Run] lets it. One goroutine at a time uses it; a PortDevice or
// MMIODevice, which runs within Run, may call Memory, Notify, Attention and Later.
type Machine struct {
	layout Layout
	cpus   int
	seed   uint64
	mail   bool // CPUs beyond the first start by a mailbox
	engine Engine
	procs  Processors
	events []Event
	pmem   []Range

	plugPMEM  bool
	flushPMEM func(i int) bool

	tables [][]byte
	ram    *RAM

	debugger Debugger // nil if there is none

	final struct { // kept by Close
		clock time.Duration
		stats Stats
	}

	// mu guards all that follows, and the devices. The Bus takes it around
	// the machine's own devices, so that an engine may run several CPUs.
	mu      sync.Mutex
	ports   space[PortDevice]
	mmio    space[MMIODevice]
	memory  regions
	devices devices
	console console
	state   State
	later   []func() error // to be done between two Runs of the processors

	// As Observe, WatchLoads and Poison said last, for what devices do.
	observer observe.Observer
	watch    *observe.Watch
	loads    observe.LoadObserver
	poison   *observe.Watch
	consumed func(addr uint64, reported bool)

	highest  uint64  // address where there was nothing: see Highest
	expected []Range // memory of others, to be there before the next Run
	failed   error   // what every further Run returns
}

// maxCPUs leaves an APIC ID of 8 bits for the I/O APIC and one for all.
const maxCPUs = 254

// TSCKHz is the frequency of the time-stamp counter of the software engine.
const TSCKHz = 1_000_000

// TSCFrequency is that of an engine's machines in kHz: an engine that takes the
// host's says so by a method TSCKHz.
func TSCFrequency(e Engine) uint64 {
	if e, ok := e.(interface{ TSCKHz() uint64 }); ok {
		if khz := e.TSCKHz(); khz != 0 {
			return khz
		}
	}
	return TSCKHz
}

// Assemble makes a machine that is off: its memory is zeros, and its processors
// have nothing to execute.
func Assemble(cfg Config) (*Machine, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ram, err := newRAM(NewLayout(cfg.Memory, cfg.PhysBits).ram())
	if err != nil {
		return nil, err
	}
	return assemble(cfg, ram)
}

// check refuses what is no machine.
func (cfg *Config) check() error {
	if err := CheckMemory(cfg.Memory, cfg.PhysBits); err != nil {
		return err
	}
	if cfg.Engine == nil {
		return errors.New("a machine needs an engine")
	}
	if cfg.CPUs < 0 || cfg.CPUs > maxCPUs {
		return fmt.Errorf("%d CPUs: want 1 to %d", cfg.CPUs, maxCPUs)
	}
	if cfg.Cores < 0 || cfg.Cores&(cfg.Cores-1) != 0 {
		return fmt.Errorf("packages of %d CPUs: want a power of two, or 0 for one package", cfg.Cores)
	}
	if len(cfg.PMEM) > MaxPMEM || (len(cfg.PMEM) > 0 || cfg.PlugPMEM) && cfg.FlushPMEM == nil {
		return fmt.Errorf("%d virtio-pmem devices: at most %d, and what flushes them", len(cfg.PMEM), MaxPMEM)
	}
	if cfg.Slots < 0 || cfg.Slots > MaxSlots {
		return fmt.Errorf("%d memory slots: want 0 to %d", cfg.Slots, MaxSlots)
	}
	if len(cfg.Events) > maxEvents {
		return fmt.Errorf("%d ACPI events: at most %d", len(cfg.Events), maxEvents)
	}
	return nil
}

// assemble makes a machine of memory, which it owns from now on.
func assemble(cfg Config, ram *RAM) (_ *Machine, err error) {
	if cfg.Date.IsZero() {
		cfg.Date = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)
	}
	m := &Machine{
		layout:  NewLayout(cfg.Memory, cfg.PhysBits),
		cpus:    max(cfg.CPUs, 1),
		seed:    cfg.Seed,
		engine:  cfg.Engine,
		events:  cfg.Events,
		mail:    cfg.CPUs > 1 && startsByMailbox(cfg.Engine),
		ram:     ram,
		console: console{w: cfg.Console},

		debugger: cfg.Debugger,
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	m.addDevices(cfg)
	spec := ProcessorSpec{Count: m.cpus, Cores: cfg.Cores, Seed: processorSeed(cfg.Seed), Date: cfg.Date, Parking: m.parking(), PhysBits: cfg.PhysBits, MachineCheck: cfg.MachineCheck}
	if m.procs, err = cfg.Engine.New(spec, bus{m}); err != nil {
		return nil, err
	}
	if cfg.Debugger != nil {
		if _, err := debugged(m.procs, cfg.Engine); err != nil {
			return nil, err
		}
	}
	if w, ok := m.procs.(interface{ Wrote(base, size uint64) }); ok {
		m.ram.wrote = w.Wrote
	}
	if r, ok := m.procs.(interface{ ReadByHost(base, size uint64) }); ok {
		m.ram.reads = r.ReadByHost
	}
	for _, p := range ram.parts {
		if err := m.AddMemory(Region{Base: p.base, Mem: p.mem.Bytes(), Dirty: p.mem.Dirty(), DirtyLater: !p.mem.Frozen()}); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Close gives back the machine's memory. The Regions of others stay theirs.
// Clock, Stats, State and Tables still answer; all else must not be called.
func (m *Machine) Close() error {
	var err error
	if m.procs != nil {
		m.final.clock, m.final.stats = m.procs.Clock(), m.procs.Stats()
		err = m.procs.Close()
		m.procs = nil
	}
	if m.ram != nil {
		m.ram.wrote, m.ram.reads = nil, nil // the processors, of whom somebody may still hold the memory
		err = errors.Join(err, m.ram.close())
	}
	return err
}

// Layout is the machine's address map.
func (m *Machine) Layout() Layout { return m.layout }

// Engine is the name of the engine.
func (m *Machine) Engine() string { return m.engine.Name() }

// Memory is the machine's RAM, for devices.
func (m *Machine) Memory() *RAM { return m.ram }

// Clock is the guest's time since power-on.
func (m *Machine) Clock() time.Duration {
	if m.procs == nil {
		return m.final.clock
	}
	return m.procs.Clock()
}

// Stats counts what the processors did.
func (m *Machine) Stats() Stats {
	if m.procs == nil {
		return m.final.stats
	}
	return m.procs.Stats()
}

// Tables are the ACPI tables as the guest finds them, each with its header;
// none before Boot.
func (m *Machine) Tables() [][]byte { return m.tables }

// State is the power state.
func (m *Machine) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Notify raises the event of that index in Config.Events.
func (m *Machine) Notify(event int) error {
	if event < 0 || event >= len(m.events) {
		return fmt.Errorf("no ACPI event %d: the machine has %d", event, len(m.events))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.devices.ged.Raise(event)
	return nil
}
