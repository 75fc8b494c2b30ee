package vmm

import (
	"fmt"

	"nvlab/vmm/observe"
)

// Observable are Processors that see each store, flush and fence of the
// guest. Observe is called between Runs; nil ends it. A processor that is
// observed gives up none of its other duties.
type Observable interface {
	Processors
	Observe(observe.Observer)
}

// Observe has an observer told of what the guest does to Regions with
// Observed set. The error says that the engine cannot see that.
func (m *Machine) Observe(o observe.Observer) error {
	p, ok := m.procs.(Observable)
	if !ok {
		return fmt.Errorf("the %s engine runs the guest's instructions on the host's processor, which does not show single stores, flushes and fences", m.Engine())
	}
	p.Observe(o)
	m.observer = o
	return nil
}

// Poison says which lines of memory processors and devices cannot read, and
// report: see observe.Poisoner. The error says that the engine cannot.
func (m *Machine) Poison(w *observe.Watch, consumed func(addr uint64, reported bool)) error {
	p, ok := m.procs.(observe.Poisoner)
	if !ok {
		return fmt.Errorf("the %s engine cannot raise a machine check right at the load", m.Engine())
	}
	m.poison, m.consumed = w, consumed
	return p.Poison(w, consumed)
}

// WatchLoads has an observer told of loads from lines of Regions with Observed
// set. The error says that the engine cannot see them.
func (m *Machine) WatchLoads(w *observe.Watch, o observe.LoadObserver) error {
	p, ok := m.procs.(observe.LoadWatcher)
	if !ok {
		return fmt.Errorf("the %s engine runs the guest's instructions on the host's processor, which does not show single loads", m.Engine())
	}
	m.watch, m.loads = w, o
	return p.WatchLoads(w, o)
}

// StopBefore has Run end before loads from these lines: see observe.LoadStopper. Run comes
// to its conditions then. The error says that the engine cannot.
func (m *Machine) StopBefore(w *observe.Watch) error {
	p, ok := m.procs.(observe.LoadStopper)
	if !ok {
		return fmt.Errorf("the %s engine cannot stop right before a load", m.Engine())
	}
	p.StopBefore(w)
	return nil
}

// StoppedBefore says that the machine stands before such a load, and that one was made
// nonetheless since StopBefore.
func (m *Machine) StoppedBefore() (stands, passed bool) {
	if p, ok := m.procs.(observe.LoadStopper); ok {
		return p.StoppedBefore()
	}
	return false, false
}
