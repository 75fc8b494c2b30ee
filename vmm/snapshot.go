package vmm

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"nvlab/internal/cow"
	"nvlab/internal/pages"
)

// A Snapshot is all that a machine was at one moment, the memory and devices
// of others apart. It does not change; several goroutines may use it at a time.
type Snapshot struct {
	Saved *Saved
	RAM   []*cow.Image // below 4 GiB, above, and of each slot that has some
}

// Freeze returns what the machine is, between Runs; the machine goes on. It
// clears the sets of dirty pages of RAM. What it costs depends on what was
// stored to since they were last cleared, but for the first time.
//
// The owners of other memory clear their sets before, so that the processors
// learn of all at once.
func (m *Machine) Freeze() (_ *Snapshot, err error) {
	s := &Snapshot{}
	if s.Saved, err = m.Save(); err != nil {
		return nil, err
	}
	defer m.procs.(Saver).Cleaned()
	for _, r := range s.Saved.ram(m.layout) {
		part := m.ram.part(r.Base)
		i, err := part.mem.Freeze()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("snapshot: memory at %#x: %w", part.base, err), s.Close())
		}
		s.RAM = append(s.RAM, i)
	}
	return s, nil
}

// Save returns what the machine is, but for its memory, between Runs.
func (m *Machine) Save() (*Saved, error) {
	p, err := m.saver()
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	s, err := m.save()
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if s.Processors, err = p.Save(); err != nil {
		return nil, fmt.Errorf("snapshot: processors: %w", err)
	}
	return s, nil
}

// saver are the machine's processors, if the machine can be saved now.
func (m *Machine) saver() (Saver, error) {
	p, ok := m.procs.(Saver)
	switch {
	case m.procs == nil:
		return nil, errors.New("the machine is closed")
	case !ok:
		return nil, fmt.Errorf("the %s engine cannot save and load its processors", m.engine.Name())
	case m.failed != nil:
		return nil, m.failed
	case m.State() == Assembled:
		return nil, errors.New("the machine has not booted")
	}
	return p, nil
}

// Restore makes the machine what it was, or what the machine was that it was
// forked from, between Runs. What that costs depends on what was stored to
// since, not on the size of memory. An error that leaves it as it is says why
// it cannot be; after any other it does not run again.
//
// Others restore their memory and devices before, and clear their sets of
// dirty pages; memory of theirs that was added or removed since is theirs to
// put right before the machine runs.
func (m *Machine) Restore(s *Snapshot) error {
	p, err := m.saver()
	if err == nil {
		err = m.fits(s)
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := m.become(p, s); err != nil {
		m.failed = fmt.Errorf("restore: %w", err)
		return m.failed
	}
	return nil
}

// Differing calls f for each page of RAM in which the machine may hold something else than
// a snapshot, of it or that it was made of, in the order of addresses: with what it holds,
// and what the snapshot does. Both are only to be read, and before f returns.
func (m *Machine) Differing(s *Snapshot, f func(addr uint64, have, had []byte)) error {
	parts := s.Saved.ram(m.layout)
	if len(parts) != len(s.RAM) {
		return fmt.Errorf("a snapshot with %d parts of memory: want %d", len(s.RAM), len(parts))
	}
	var had [pages.Size]byte
	for i, at := range parts {
		part := m.ram.part(at.Base)
		if part == nil {
			return fmt.Errorf("there is no memory at %v", at)
		}
		list, err := part.mem.Differing(s.RAM[i])
		if err != nil {
			return fmt.Errorf("memory at %#x: %w", at.Base, err)
		}
		for _, n := range list {
			off := n * pages.Size
			if _, err := s.RAM[i].ReadAt(had[:], int64(off)); err != nil {
				return fmt.Errorf("memory at %#x: %w", at.Base+off, err)
			}
			f(at.Base+off, part.mem.Bytes()[off:][:pages.Size], had[:])
		}
	}
	return nil
}

// CanFreeze says why the machine cannot be frozen now.
func (m *Machine) CanFreeze() error {
	if _, err := m.saver(); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// CanRestore says why the machine cannot become what it was at a snapshot in
// place.
func (m *Machine) CanRestore(s *Snapshot) error {
	if _, err := m.saver(); err != nil {
		return err
	}
	return m.fits(s)
}

// fits says why a snapshot cannot be restored.
func (m *Machine) fits(s *Snapshot) error {
	if err := s.of(m.engine.Name(), m.layout.memory(), m.cpus, m.slots(), m.layout, m.events); err != nil {
		return err
	}
	if !slices.Equal(s.Saved.PMEM, m.pmem) {
		return fmt.Errorf("a snapshot of a machine with virtio-pmem at %v: this one has %v", s.Saved.PMEM, m.pmem)
	}
	for i, r := range m.layout.ram() {
		if err := m.ram.part(r.Base).mem.CanRestore(s.RAM[i]); err != nil {
			return fmt.Errorf("a snapshot of a stranger: %w", err)
		}
	}
	return nil
}

// of says why a machine cannot be what the snapshot is of: it is another
// machine.
func (s *Snapshot) of(engine string, memory uint64, cpus, slots int, layout Layout, events []Event) error {
	if err := s.Saved.of(engine, memory, cpus, slots, layout, events); err != nil {
		return err
	}
	want := s.Saved.ram(layout)
	if len(s.RAM) != len(want) {
		return fmt.Errorf("a snapshot with %d parts of memory: want %d", len(s.RAM), len(want))
	}
	for i, r := range want {
		if size := s.RAM[i].Size(); size != r.Size {
			return fmt.Errorf("a snapshot with %d MiB of memory at %#x: want %d MiB", size>>20, r.Base, r.Size>>20)
		}
	}
	return nil
}

// become copies back what differs.
func (m *Machine) become(p Saver, s *Snapshot) error {
	want := s.Saved.ram(m.layout)
	if err := m.keepRAM(want, s.RAM); err != nil {
		return err
	}
	for i, at := range want {
		part := m.ram.part(at.Base)
		if part == nil {
			mem, err := s.RAM[i].Fork()
			if err == nil {
				err = m.addRAM(at.Base, mem)
			}
			if err != nil {
				return fmt.Errorf("memory at %v: %w", at, err)
			}
			continue
		}
		changed, err := part.mem.Restore(s.RAM[i])
		if err != nil {
			return fmt.Errorf("memory at %#x: %w", part.base, err)
		}
		for _, r := range changed {
			m.ram.tell(part.base+r.Offset, r.Size)
		}
	}
	return m.resume(p, s.Saved)
}

// keepRAM takes the RAM out of the slots that is not what was there when the
// images were made: it came since, or instead of what was.
func (m *Machine) keepRAM(want []Range, images []*cow.Image) error {
	for _, part := range slices.Clone(m.ram.parts) {
		i := slices.IndexFunc(want, func(r Range) bool { return r.Base == part.base })
		if i >= 0 && part.mem.CanRestore(images[i]) == nil {
			continue
		}
		if err := m.removeRAM(part.base); err != nil {
			return err
		}
	}
	return nil
}

// ram is where a machine that was saved had RAM: as its layout says, then in
// slots.
func (s *Saved) ram(l Layout) []Range {
	list := l.ram()
	for _, d := range dimmsOf(s.Slots.Slots) {
		list = append(list, d.Range)
	}
	return list
}

// resume loads processors and devices; memory is in place.
func (m *Machine) resume(p Saver, s *Saved) error {
	if err := m.load(s); err != nil {
		return err
	}
	if err := p.Load(s.Processors); err != nil {
		return fmt.Errorf("processors: %w", err)
	}
	p.Cleaned()
	return nil
}

// Machine returns another machine, which is what the first was when it was
// frozen. Its owner adds memory and devices of others, as after Assemble,
// before it runs.
//
// The Config is the first machine's, but for Console and Engine, which is of
// the same kind. With another Seed, random numbers are other ones from here on.
func (s *Snapshot) Machine(cfg Config) (*Machine, error) {
	m, err := s.machine(cfg)
	if err != nil {
		return nil, fmt.Errorf("fork: %w", err)
	}
	return m, nil
}

func (s *Snapshot) machine(cfg Config) (_ *Machine, err error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if err := s.of(cfg.Engine.Name(), cfg.Memory, max(cfg.CPUs, 1), cfg.Slots, NewLayout(cfg.Memory, cfg.PhysBits), cfg.Events); err != nil {
		return nil, err
	}
	seed := cfg.Seed
	cfg.PMEM = s.Saved.PMEM
	cfg.Seed, cfg.Date = s.Saved.Seed, s.Saved.RTC.Date
	ram, err := s.fork()
	if err != nil {
		return nil, err
	}
	m, err := assemble(cfg, ram)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	p, ok := m.procs.(Saver)
	if !ok {
		return nil, fmt.Errorf("the %s engine cannot save and load its processors", m.engine.Name())
	}
	if err := m.resume(p, s.Saved); err != nil {
		return nil, err
	}
	if seed != m.seed {
		m.Reseed(seed)
	}
	return m, nil
}

// fork returns other RAM that holds what the first did.
func (s *Snapshot) fork() (*RAM, error) {
	ram := &RAM{}
	for i, r := range s.Saved.ram(NewLayout(s.Saved.Memory, 0)) {
		mem, err := s.RAM[i].Fork()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("memory at %v: %w", r, err), ram.close())
		}
		ram.parts = append(ram.parts, ramPart{r.Base, mem})
	}
	return ram, nil
}

// Reseed makes the random numbers to come those of another seed, between Runs.
func (m *Machine) Reseed(seed uint64) {
	m.seed = seed
	m.devices.entropy.Seed([32]byte(derive(seed, "entropy")))
	m.procs.Reseed(processorSeed(seed))
}

// Hash names what the machine was: equal states have equal hashes, whichever
// run and machine they come from.
func (s *Snapshot) Hash() ([32]byte, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(s.Saved); err != nil {
		return [32]byte{}, fmt.Errorf("snapshot: %w", err)
	}
	for _, i := range s.RAM {
		sum, err := i.Hash()
		if err != nil {
			return sum, fmt.Errorf("snapshot: %w", err)
		}
		h.Write(sum[:])
	}
	return [32]byte(h.Sum(nil)), nil
}

// Close gives back the memory that the snapshot alone keeps. Machines of it
// stay.
func (s *Snapshot) Close() error { return cow.CloseAll(s.RAM) }
