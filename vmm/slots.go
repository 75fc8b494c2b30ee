package vmm

import (
	"errors"
	"fmt"

	"nvlab/internal/cow"
	"nvlab/vmm/device/memhp"
)

// MaxSlots is how many memory slots a machine has at most, as QEMU's
// (ACPI_MAX_RAM_SLOTS).
const MaxSlots = 256

// A DIMM is RAM in a slot.
type DIMM struct {
	Slot int
	Range
	Node int // proximity domain
}

// PlugRAM puts RAM, of zeros, into an empty slot. The guest finds it at boot,
// or is told at once. It is for a machine that was assembled and between Runs.
func (m *Machine) PlugRAM(d DIMM) error {
	m.mu.Lock()
	running, slots := m.state != Assembled, m.devices.slots
	m.mu.Unlock()
	switch {
	case slots == nil || d.Slot < 0 || d.Slot >= len(slots.Slots):
		return fmt.Errorf("no memory slot %d", d.Slot)
	case slots.Slots[d.Slot].Size != 0:
		return fmt.Errorf("memory slot %d is taken", d.Slot)
	}
	mem, err := cow.New(d.Size)
	if err != nil {
		return err
	}
	if err := m.addRAM(d.Base, mem); err != nil {
		return errors.Join(err, mem.Close())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	slots.Slots[d.Slot] = memhp.Slot{Addr: d.Base, Size: d.Size, Node: uint32(d.Node), Insert: running}
	if running {
		m.devices.ged.Raise(m.slotsEvent())
	}
	return nil
}

// addRAM maps memory as RAM, which devices reach too.
func (m *Machine) addRAM(base uint64, mem *cow.Memory) error {
	if err := m.AddMemory(Region{Base: base, Mem: mem.Bytes(), Dirty: mem.Dirty()}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ram.parts = append(m.ram.parts, ramPart{base, mem})
	return nil
}

// removeRAM takes away what addRAM added.
func (m *Machine) removeRAM(base uint64) error {
	if err := m.RemoveMemory(base); err != nil {
		return err
	}
	m.mu.Lock()
	mem := m.ram.cut(base)
	m.mu.Unlock()
	return mem.Close()
}

// AskRemoval asks the guest to let the RAM in a slot go: an eject request (ACPI
// 6.5, 5.6.6, table 5.170, notification 3). What it answers is in Removal.
func (m *Machine) AskRemoval(slot int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.slot(slot)
	if s == nil || !s.Enabled() {
		return fmt.Errorf("no RAM in memory slot %d", slot)
	}
	s.Remove, s.Told, s.Event, s.Status = true, 0, 0, 0
	m.devices.ged.Raise(m.slotsEvent())
	return nil
}

// Removal says how far the guest is with letting the RAM in a slot go.
type Removal struct {
	Gone    bool   // it is out of the machine
	Refused bool   // the guest keeps it
	Status  uint32 // of the guest's _OST (ACPI 6.5, table 6.16)
}

// Statuses of _OST that are no refusal: that it worked, and that it is at it.
const (
	ostSuccess       = 0x00
	ostEjectProgress = 0x84
)

// Removal tells of the latest AskRemoval.
func (m *Machine) Removal(slot int) Removal {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.slot(slot)
	if s == nil || s.Size == 0 {
		return Removal{Gone: true}
	}
	return Removal{Refused: s.Told > 0 && s.Status != ostSuccess && s.Status != ostEjectProgress, Status: s.Status}
}

func (m *Machine) slot(n int) *memhp.Slot {
	if c := m.devices.slots; c != nil && n >= 0 && n < len(c.Slots) {
		return &c.Slots[n]
	}
	return nil
}

// DIMMs lists the RAM in slots.
func (m *Machine) DIMMs() (list []DIMM) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.devices.slots == nil {
		return nil
	}
	return dimmsOf(m.devices.slots.Slots)
}

func dimmsOf(slots []memhp.Slot) (list []DIMM) {
	for i, s := range slots {
		if s.Size > 0 {
			list = append(list, DIMM{i, Range{s.Addr, s.Size}, int(s.Node)})
		}
	}
	return list
}

// slots is the number of slots.
func (m *Machine) slots() int {
	if m.devices.slots == nil {
		return 0
	}
	return len(m.devices.slots.Slots)
}

// takeOut takes what the guest let go out of the machine, between two Runs of
// the processors.
func (m *Machine) takeOut() error {
	for i, base := range m.ejected() {
		if err := m.removeRAM(base); err != nil {
			return fmt.Errorf("memory slot %d: %w", i, err)
		}
		m.mu.Lock()
		*m.slot(i) = memhp.Slot{}
		m.mu.Unlock()
	}
	return nil
}

// ejected is the RAM that the guest let go, by slot.
func (m *Machine) ejected() map[int]uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list map[int]uint64
	for i := range m.slots() {
		if s := m.slot(i); s.Ejected {
			if list == nil {
				list = map[int]uint64{}
			}
			list[i] = s.Addr
		}
	}
	return list
}

// slotsEvent is the GED's event that says that a slot changed: behind those of
// others.
func (m *Machine) slotsEvent() int { return len(m.events) }
