package kvm

import (
	"fmt"
	"math/bits"
)

// dirtyLogging is how a machine learns which pages KVM's processors store to.
type dirtyLogging struct {
	// all says that Regions with DirtyLater are logged as well. Before that
	// they have KVM's large pages, which a log takes apart.
	all bool
	// clears says that KVM keeps pages in its log until it is told to clear
	// them (Linux 5.1). Else each look at the log clears it, and the guest's
	// next store to each page faults.
	clears bool
}

// log returns a bit for each page of a slot that was written since it was
// cleared, nil of a slot that is not logged.
func (m *virtualMachine) logOf(n int) ([]uint64, error) {
	s := m.slots[n]
	if s.Mem == nil || s.flags&memLogDirty == 0 {
		return nil, nil
	}
	bitmap := make([]uint64, (len(s.Mem)/4096+63)/64)
	if err := m.dirty(uint32(n), bitmap); err != nil {
		return nil, fmt.Errorf("KVM_GET_DIRTY_LOG: %w", err)
	}
	return bitmap, nil
}

// tellDirty puts the pages that were stored to into the sets of those who ask
// for them.
func (m *virtualMachine) tellDirty() error {
	for n, s := range m.slots {
		log, err := m.logOf(n)
		if err != nil {
			return err
		}
		for i, w := range log {
			for ; w != 0; w &= w - 1 {
				s.Dirty.Add(uint64(i*64 + bits.TrailingZeros64(w)))
			}
		}
	}
	return nil
}

// clearDirty begins all logs anew.
func (m *virtualMachine) clearDirty() error {
	m.log.all = true
	for n, s := range m.slots {
		if s.Mem == nil {
			continue
		}
		if flags := m.flags(s.Region); flags != s.flags {
			s.flags = flags
			if err := m.set(n, s); err != nil {
				return fmt.Errorf("KVM logs no stores to a slot: %w", err)
			}
			m.slots[n] = s
		}
		log, err := m.logOf(n)
		if err != nil {
			return err
		}
		if log == nil || !m.log.clears {
			continue
		}
		if err := m.clear(uint32(n), len(s.Mem)/4096, log); err != nil {
			return fmt.Errorf("KVM_CLEAR_DIRTY_LOG: %w", err)
		}
	}
	return nil
}
