package vmm

import (
	"errors"
	"fmt"
	"slices"
	"time"

	vconsole "nvlab/vmm/device/console"
	"nvlab/vmm/device/entropy"
	"nvlab/vmm/device/ged"
	"nvlab/vmm/device/ioapic"
	"nvlab/vmm/device/memhp"
	"nvlab/vmm/device/pci"
	"nvlab/vmm/device/rtc"
	"nvlab/vmm/device/serial"
	"nvlab/vmm/device/virtio"
)

// Saved is all that a machine is at one moment, but for its memory: plain
// data. What of a machine is in it and what is not, and why, says
// docs/snapshots.md.
type Saved struct {
	// As the machine was assembled.
	Engine string
	Memory uint64
	CPUs   int
	Limit  uint64 // the end of what addresses reach
	Seed   uint64
	Events []Event

	Clock  time.Duration
	Power  State
	Tables [][]byte
	Others []Range // memory of others, by address

	Processors []byte // of Saver.Save
	Console    []byte // the part of a line that nobody was given yet
	IOAPIC     ioapic.State
	Serial     serial.State
	GED        ged.State
	RTC        rtc.State
	Channel    vconsole.State
	Entropy    entropy.State
	Transports [virtioDevices]virtio.State // of channel and entropy
	PCI        *pci.State                  // nil of a machine without a PCI bus
	PMEM       []Range                     // of virtio-pmem devices
	Requests   []virtio.State              // their transports
	Slots      memhp.State                 // none of a machine without memory slots
}

// save copies what the machine is. Its processors come from elsewhere.
func (m *Machine) save() (*Saved, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := &m.devices
	random, err := d.entropy.Save()
	if err != nil {
		return nil, err
	}
	s := &Saved{
		Engine:  m.engine.Name(),
		Memory:  m.layout.memory(),
		CPUs:    m.cpus,
		Limit:   m.layout.AddressLimit,
		Seed:    m.seed,
		Events:  append([]Event(nil), m.events...),
		Clock:   m.procs.Clock(),
		Power:   m.state,
		Tables:  m.tables,
		Others:  m.others(),
		Console: append([]byte(nil), m.console.line...),
		IOAPIC:  d.ioapic.State,
		Serial:  d.serial.State.Clone(),
		GED:     d.ged.State,
		RTC:     d.rtc.State,
		Channel: d.channel.State.Clone(),
		Entropy: random,
	}
	for i, t := range d.transports {
		s.Transports[i] = t.State.Clone()
	}
	s.PMEM = m.pmem
	for _, t := range d.pmem {
		s.Requests = append(s.Requests, t.State.Clone())
	}
	if d.slots != nil {
		s.Slots = d.slots.State.Clone()
	}
	if d.pci != nil {
		state := d.pci.State.Clone()
		s.PCI = &state
	}
	return s, nil
}

// load makes the machine what another was. Memory and processors come from
// elsewhere. No line of an interrupt moves: the I/O APIC knows their levels.
func (m *Machine) load(s *Saved) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := &m.devices
	for i, t := range d.transports {
		if got, want := len(s.Transports[i].Queues), len(t.Queues); got != want {
			return fmt.Errorf("virtio device %d with %d queues: want %d", i, got, want)
		}
	}
	for i, t := range d.pmem {
		if len(s.Requests) != len(d.pmem) || len(s.Requests[i].Queues) != len(t.Queues) {
			return errors.New("a snapshot with other virtio-pmem devices")
		}
	}
	if (s.PCI != nil) != (d.pci != nil) || d.pci != nil && len(s.PCI.Spaces) != len(d.pci.Spaces) {
		return errors.New("a snapshot of a machine with another PCI bus, or without one")
	}
	if err := d.entropy.Load(s.Entropy); err != nil {
		return fmt.Errorf("random stream: %w", err)
	}
	m.seed = s.Seed
	m.state = s.Power
	m.tables = s.Tables
	m.expected = s.Others
	m.console.line = append(m.console.line[:0], s.Console...)
	d.ioapic.State = s.IOAPIC
	d.serial.State = s.Serial.Clone()
	d.ged.State = s.GED
	d.rtc.State = s.RTC
	d.channel.State = s.Channel.Clone()
	for i, t := range d.transports {
		t.State = s.Transports[i].Clone()
	}
	if d.pci != nil {
		d.pci.State = s.PCI.Clone()
	}
	for i, t := range d.pmem {
		t.State = s.Requests[i].Clone()
	}
	if d.slots != nil {
		d.slots.State = s.Slots.Clone()
	}
	return nil
}

// of says why a machine cannot be what was saved: it is another machine.
func (s *Saved) of(engine string, memory uint64, cpus, slots int, layout Layout, events []Event) error {
	switch {
	case s.Engine != engine:
		return fmt.Errorf("a snapshot of the %s engine: this machine has the %s engine", s.Engine, engine)
	case s.Memory != memory:
		return fmt.Errorf("a snapshot of a machine with %d MiB of memory: this one has %d MiB", s.Memory>>20, memory>>20)
	case s.CPUs != cpus:
		return fmt.Errorf("a snapshot of a machine with %d CPUs: this one has %d", s.CPUs, cpus)
	case len(s.Slots.Slots) != slots:
		return fmt.Errorf("a snapshot of a machine with %d memory slots: this one has %d", len(s.Slots.Slots), slots)
	case s.Limit != layout.AddressLimit:
		return fmt.Errorf("a snapshot of a machine whose addresses end at %#x: this one's end at %#x", s.Limit, layout.AddressLimit)
	case !slices.Equal(s.Events, events):
		return fmt.Errorf("a snapshot of a machine with %d ACPI events, %v: this one has %d, %v", len(s.Events), s.Events, len(events), events)
	}
	return nil
}

// others is the memory that is not RAM, by address.
func (m *Machine) others() []Range {
	var list []Range
	for _, region := range m.memory {
		r := region.at()
		if mem, _ := m.ram.slice(r.Base, r.Size); mem == nil {
			list = append(list, r)
		}
	}
	return list
}

// complete says what memory of others is missing that was there when the
// machine's state was saved.
func (m *Machine) complete() error {
	for _, r := range m.expected {
		if i := m.memory.starting(r.Base); i < 0 || m.memory[i].at() != r {
			return fmt.Errorf("the snapshot is of a machine with other memory at %v: add it before the machine runs", r)
		}
	}
	m.expected = nil
	return nil
}
