package nvdimm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"nvlab/internal/units"
)

// Memory is RAM in a slot (-device pc-dimm): it shares slots, names, addresses
// and maxmem with the NVDIMMs, and nothing else.
type Memory struct {
	ID         string
	Slot       int
	Addr       uint64 // guest-physical
	Size       uint64 // bytes
	Node       int    // proximity domain
	HotPlugged bool   // since the latest power-on
}

// MemoryConfig is -device pc-dimm, or device_add of one.
type MemoryConfig struct {
	Size uint64  // bytes, a multiple of 2 MiB
	ID   string  // "" for a name of the slot
	Slot *int    // nil for the lowest free one
	Node int     // proximity domain
	Addr *uint64 // guest-physical; nil or 0 for the lowest that is free

	Nodes int // as PlugConfig's
}

const (
	memoryAlign = 2 << 20 // of RAM, in QEMU

	// memoryBlock is what Linux adds memory in multiples of, at a multiple of it
	// (arch/x86/mm/init_64.c, memory_block_size_bytes, of up to 64 GiB).
	memoryBlock = 128 << 20
)

// PlugMemory adds RAM. What is refused leaves no trace.
func (r *Root) PlugMemory(c MemoryConfig) (Memory, error) {
	switch down := units.Down(c.Size, memoryAlign); {
	case c.Size == 0:
		return Memory{}, errors.New("property 'size' of memory-backend-ram doesn't take value '0'")
	case c.Size%memoryAlign != 0:
		return Memory{}, fmt.Errorf("backend memory size must be multiple of %#x: size is %d, the nearest are %s and %s", memoryAlign, c.Size, units.Size(down), units.Size(down+memoryAlign))
	}
	slot, err := r.chooseSlot(c.Slot)
	if err != nil {
		return Memory{}, err
	}
	id, err := r.chooseID("dimm", c.ID, slot)
	if err != nil {
		return Memory{}, err
	}
	if err := checkNode(c.Node, c.Nodes); err != nil {
		return Memory{}, err
	}
	addr, err := r.place(c.Size, memoryAlign, memoryBlock, c.Addr)
	if err != nil {
		return Memory{}, err
	}
	m := Memory{ID: id, Slot: slot, Addr: addr, Size: c.Size, Node: c.Node, HotPlugged: c.Nodes > 0}
	r.memory = append(r.memory, m)
	slices.SortFunc(r.memory, func(a, b Memory) int { return cmp.Compare(a.Slot, b.Slot) })
	return m, nil
}

// WithdrawMemory takes the RAM in a slot out.
func (r *Root) WithdrawMemory(slot int) {
	r.memory = slices.DeleteFunc(r.memory, func(m Memory) bool { return m.Slot == slot })
}

// Memory lists the RAM in slots, in their order.
func (r *Root) Memory() []Memory { return slices.Clone(r.memory) }
