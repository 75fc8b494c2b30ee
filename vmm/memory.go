package vmm

import "fmt"

// AddMemory maps memory of others, which stays theirs, at an address that
// holds none.
func (m *Machine) AddMemory(r Region) error {
	at := Range{r.Base, uint64(len(r.Mem))}
	if at.Size == 0 || at.Base%4096 != 0 || at.Size%4096 != 0 || at.End() < at.Base {
		return fmt.Errorf("memory of %d bytes at %#x: want whole pages of 4096 bytes", at.Size, at.Base)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.memory {
		if o := r.at(); at.Base < o.End() && o.Base < at.End() {
			return fmt.Errorf("memory at %v: %v is taken", at, o)
		}
	}
	if err := m.procs.Map(r); err != nil {
		return fmt.Errorf("memory at %v: %w", at, err)
	}
	m.memory[at.Base] = r
	return nil
}

// HasMemory says that memory of others starts at base.
func (m *Machine) HasMemory(base uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.memory[base]
	return ok
}

// Wrote says that somebody wrote memory that is not RAM, behind the back of the
// processors, between Runs.
func (m *Machine) Wrote(base, size uint64) { m.ram.tell(base, size) }

// RemoveMemory unmaps the memory that starts at base.
func (m *Machine) RemoveMemory(base uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.memory[base]; !ok {
		return fmt.Errorf("no memory starts at %#x", base)
	}
	if err := m.procs.Unmap(base); err != nil {
		return fmt.Errorf("memory at %#x: %w", base, err)
	}
	delete(m.memory, base)
	return nil
}
