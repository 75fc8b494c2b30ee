package vmm

import (
	"fmt"
	"slices"
	"sort"
)

// regions is memory, by address.
type regions []Region

// after is the number of the first that ends behind an address.
func (l regions) after(addr uint64) int {
	return sort.Search(len(l), func(i int) bool { return l[i].at().End() > addr })
}

// starting is the number of the one that starts at an address, or -1.
func (l regions) starting(base uint64) int {
	if i := l.after(base); i < len(l) && l[i].Base == base {
		return i
	}
	return -1
}

// AddMemory maps memory of others, which stays theirs, at an address that
// holds none.
func (m *Machine) AddMemory(r Region) error {
	at := Range{r.Base, uint64(len(r.Mem))}
	if at.Size == 0 || at.Base%4096 != 0 || at.Size%4096 != 0 || at.End() < at.Base {
		return fmt.Errorf("memory of %d bytes at %#x: want whole pages of 4096 bytes", at.Size, at.Base)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.memory.after(at.Base)
	if i < len(m.memory) && m.memory[i].Base < at.End() {
		return fmt.Errorf("memory at %v: %v is taken", at, m.memory[i].at())
	}
	if err := m.procs.Map(r); err != nil {
		return fmt.Errorf("memory at %v: %w", at, err)
	}
	m.memory = slices.Insert(m.memory, i, r)
	return nil
}

// HasMemory says that memory of others starts at base.
func (m *Machine) HasMemory(base uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.memory.starting(base) >= 0
}

// Wrote says that somebody wrote memory that is not RAM, behind the back of the
// processors, between Runs.
func (m *Machine) Wrote(base, size uint64) { m.ram.tell(base, size) }

// RemoveMemory unmaps the memory that starts at base.
func (m *Machine) RemoveMemory(base uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.memory.starting(base)
	if i < 0 {
		return fmt.Errorf("no memory starts at %#x", base)
	}
	if err := m.procs.Unmap(base); err != nil {
		return fmt.Errorf("memory at %#x: %w", base, err)
	}
	m.memory = slices.Delete(m.memory, i, i+1)
	return nil
}
