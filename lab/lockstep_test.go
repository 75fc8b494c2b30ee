package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nvlab/internal/pages"
	"nvlab/internal/programs"
	"nvlab/internal/require"
	"nvlab/vmm"
	"nvlab/vmm/observe"
	"nvlab/vmm/soft"
)

const (
	// lockstep is after how many nanoseconds of guest time, that is,
	// instructions at most, the sides compare themselves.
	lockstep = 10_000
	// sweep is how often they compare all memory.
	sweep = 50 * time.Millisecond
)

// A side is one of several machines that do the same, in lockstep: its engine
// stops every so often to be compared.
type side struct {
	soft.Engine
	name string
	// stores, if not nil, has every store of the guest, to RAM and to DIMMs,
	// since the last comparison. All memory is observed then, so that no store
	// takes the way that it takes on the other sides.
	stores *stores
	// reloads has the processors saved and loaded at every lockstep, each
	// thousandth time into others that are new, and what they store to checked
	// against what they say is dirty.
	reloads bool
	// freezes, if not 0, is after how many locksteps the whole machine is
	// frozen and restored, each tenth time by way of another that is made of
	// what was frozen, and frozen in turn.
	freezes int
	vm      *VM

	at      chan moment
	goOn    chan bool // false: it is over
	procs   vmm.Processors
	spec    vmm.ProcessorSpec
	bus     vmm.Bus
	regions []vmm.Region
	clean   [][]byte // what they held when their sets of dirty pages were empty
	steps   int
	failed  error
}

// moment is where a side stands.
type moment int

const (
	stepped moment = iota
	closing        // the machine is off, its memory is still there
	gone           // the side is through
)

func (s *side) New(spec vmm.ProcessorSpec, bus vmm.Bus) (vmm.Processors, error) {
	p, err := s.Engine.New(spec, bus)
	if err != nil {
		return nil, err
	}
	if s.stores != nil {
		p.(vmm.Observable).Observe(s.stores)
	}
	s.procs, s.regions, s.clean, s.steps = p, nil, nil, 0
	s.spec, s.bus = spec, bus
	return &stepping{p, s}, nil
}

// stepping are processors that stop every lockstep.
type stepping struct {
	vmm.Processors
	side *side
}

func (p *stepping) Map(r vmm.Region) error {
	r.Observed = r.Observed || p.side.stores != nil
	if p.side.reloads {
		r.Dirty = pages.NewSet(uint64(len(r.Mem)))
		p.side.clean = append(p.side.clean, nil)
	}
	p.side.regions = append(p.side.regions, r)
	return p.Processors.Map(r)
}

// Reseed has the processors that come after these have that seed, too.
func (p *stepping) Reseed(seed uint64) {
	p.side.spec.Seed = seed
	p.Processors.Reseed(seed)
}

// Wrote passes on what a machine looks for in processors.
func (p *stepping) Wrote(base, size uint64) {
	for _, r := range p.side.regions {
		if r.Dirty != nil && base-r.Base < uint64(len(r.Mem)) {
			r.Dirty.AddRange(base-r.Base, size)
		}
	}
	p.Processors.(interface{ Wrote(base, size uint64) }).Wrote(base, size)
}

// Save, Load and Cleaned pass on what a machine's snapshot needs.
func (p *stepping) Save() ([]byte, error) { return p.Processors.(vmm.Saver).Save() }
func (p *stepping) Load(b []byte) error   { return p.Processors.(vmm.Saver).Load(b) }
func (p *stepping) Cleaned()              { p.Processors.(vmm.Saver).Cleaned() }

// freeze freezes the machine and makes it that again. The NVDIMMs, which have
// owners of their own, stay as they are.
func (s *side) freeze() error {
	m := s.vm.m
	frozen, err := m.Freeze()
	if err != nil {
		return err
	}
	defer frozen.Close()
	from := frozen
	if s.steps%(10*s.freezes) == 0 {
		config := s.vm.config()
		config.Engine, config.Console, config.Seed = soft.Engine{}, io.Discard, frozen.Saved.Seed
		other, err := frozen.Machine(config)
		if err != nil {
			return err
		}
		defer other.Close()
		for _, r := range s.vm.regions() {
			if err := other.AddMemory(r); err != nil {
				return err
			}
		}
		if from, err = other.Freeze(); err != nil {
			return err
		}
		defer from.Close()
		was, err := frozen.Hash()
		if err != nil {
			return err
		}
		if is, err := from.Hash(); err != nil || is != was {
			return fmt.Errorf("at %v a machine that was made of a snapshot is another (%v)", m.Clock(), err)
		}
	}
	return m.Restore(from)
}

// reload saves the processors and loads what they were.
func (p *stepping) reload() error {
	s := p.side
	state, err := p.Processors.(vmm.Saver).Save()
	if err != nil {
		return err
	}
	if s.steps++; s.steps%1000 == 0 {
		if err := s.checkDirty(); err != nil {
			return err
		}
		fresh, err := s.Engine.New(s.spec, s.bus)
		if err != nil {
			return err
		}
		for _, r := range s.regions {
			if err := fresh.Map(r); err != nil {
				return err
			}
		}
		if err := p.Processors.Close(); err != nil {
			return err
		}
		p.Processors, s.procs = fresh, fresh
	}
	if err := p.Processors.(vmm.Saver).Load(state); err != nil {
		return err
	}
	if again, err := p.Processors.(vmm.Saver).Save(); err != nil || !bytes.Equal(again, state) {
		return fmt.Errorf("at %v a state that was loaded is saved as another (%v)", p.Clock(), err)
	}
	if s.steps%1000 == 0 {
		p.Processors.(vmm.Saver).Cleaned()
	}
	return nil
}

// checkDirty says which page changed and is not dirty.
func (s *side) checkDirty() error {
	for i, r := range s.regions {
		first := s.clean[i] == nil
		if first {
			s.clean[i] = make([]byte, len(r.Mem))
		}
		for page := range pagesHeld(i, s).All() {
			was, is := s.clean[i][page*pages.Size:][:pages.Size], r.Mem[page*pages.Size:][:pages.Size]
			switch {
			case first, r.Dirty.Has(page):
				copy(was, is)
			case !bytes.Equal(was, is):
				return fmt.Errorf("at %v the page at %#x has changed and is not dirty", s.procs.Clock(), r.Base+page*pages.Size)
			}
		}
		r.Dirty.Clear()
	}
	return nil
}

func (p *stepping) Run(ctx context.Context, deadline time.Duration) (vmm.Exit, error) {
	for {
		next := (p.Clock()/lockstep + 1) * lockstep
		exit, err := p.Processors.Run(ctx, min(deadline, next))
		if err != nil || exit != vmm.ExitDeadline || p.Clock() >= deadline {
			return exit, err
		}
		if !p.side.meet(stepped) {
			return 0, context.Canceled
		}
		if p.side.reloads {
			if err := p.reload(); err != nil {
				return 0, err
			}
		}
		if p.side.freezes != 0 {
			if p.side.steps++; p.side.steps%p.side.freezes == 0 {
				if err := p.side.freeze(); err != nil {
					return 0, err
				}
			}
		}
	}
}

func (p *stepping) Close() error {
	p.side.meet(closing)
	return p.Processors.Close()
}

func (s *side) meet(m moment) bool {
	s.at <- m
	return <-s.goOn
}

func (s *side) states() []soft.State {
	return s.procs.(interface{ States() []soft.State }).States()
}

// stores collects the lines of 64 bytes that a guest has stored to.
type stores struct {
	seen  []bool   // by line of guest-physical address space
	lines []uint64 // guest-physical, of each that was seen
	count uint64
}

// newStores has room for what a machine of these tests has: little RAM, and a
// DIMM at 4 GiB. Of the memory it takes, the host gives what is touched.
func newStores() *stores { return &stores{seen: make([]bool, (4<<30+256<<20)/64)} }

func (s *stores) Store(e *observe.Store) {
	s.count++
	if i := (e.Base + e.Offset) / 64; !s.seen[i] {
		s.seen[i] = true
		s.lines = append(s.lines, i*64)
	}
}

func (*stores) Flush(*observe.Flush) {}
func (*stores) Fence(*observe.Fence) {}

func (s *stores) forget() {
	for _, line := range s.lines {
		s.seen[line/64] = false
	}
	s.lines = s.lines[:0]
}

// together lets each side do the same and compares them: their processors
// every lockstep, with every line of memory that the guest has stored to; all
// their memory every sweep, and at the end. A store that one of them does not
// do, or does elsewhere, or of another value, is found so, unless it is
// undone by another before the next comparison.
func together(t *testing.T, sides []*side, do func(*side) error) {
	t.Helper()
	for _, s := range sides {
		s.at, s.goOn = make(chan moment), make(chan bool)
		go func() {
			s.failed = do(s)
			s.at <- gone
		}()
	}
	var compared, lines int
	var swept, clock time.Duration
	for {
		var moments []moment
		for _, s := range sides {
			moments = append(moments, <-s.at)
		}
		first := sides[0]
		differ := ""
		for i, s := range sides[1:] {
			if moments[i+1] != moments[0] {
				differ = fmt.Sprintf("%s is at %d, %s at %d", first.name, moments[0], s.name, moments[i+1])
			}
		}
		if differ == "" && moments[0] == gone {
			for _, s := range sides {
				if s.failed != nil {
					t.Errorf("%s: %v", s.name, s.failed)
				}
			}
			t.Logf("%d comparisons; %d lines of %d stores, of %d instructions in %v of guest time",
				compared, lines, first.stores.count, first.procs.Stats().Instructions, clock)
			return
		}
		if differ == "" {
			whole := moments[0] == closing || first.procs.Clock()-swept >= sweep
			if whole {
				swept = first.procs.Clock()
			}
			clock = first.procs.Clock()
			compared++
			lines += len(first.stores.lines)
			for _, s := range sides[1:] {
				if differ = first.differs(s); differ != "" {
					differ = fmt.Sprintf("%s and %s differ at %v:\n%s", first.name, s.name, clock, differ)
					break
				}
			}
			if differ == "" && whole {
				if differ = differInMemory(first, sides[1:]); differ != "" {
					differ = fmt.Sprintf("at %v %s", clock, differ)
				}
			}
			first.stores.forget()
		}
		if differ != "" {
			t.Error(differ)
			for i, s := range sides {
				for m := moments[i]; m != gone; m = <-s.at {
					s.goOn <- false
				}
				if s.failed != nil && !errors.Is(s.failed, context.Canceled) {
					t.Errorf("%s: %v", s.name, s.failed)
				}
			}
			return
		}
		for _, s := range sides {
			s.goOn <- true
		}
	}
}

// differs says in what two sides differ, but for memory that the guest did not store to.
func (s *side) differs(o *side) string {
	a, b := s.states(), o.states()
	for i := range a {
		if a[i] != b[i] {
			return fmt.Sprintf("CPU %d: %s", i, a[i].Differ(b[i]))
		}
	}
	for _, line := range s.stores.lines {
		x, y := s.memory(line), o.memory(line)
		if !bytes.Equal(x, y) {
			return fmt.Sprintf("memory at %#x, stored to since the last comparison: % x and % x", line, x, y)
		}
	}
	return ""
}

// pagesHeld are the pages of region i of which one of the sides holds something, and maybe others:
// to look at all of RAM would have the host find memory for it.
func pagesHeld(i int, sides ...*side) *pages.Set {
	set := pages.NewSet(uint64(len(sides[0].regions[i].Mem)))
	for _, s := range sides {
		r := s.regions[i]
		if r.Base >= s.vm.opts.Memory {
			set.AddRange(0, uint64(len(r.Mem)))
			continue
		}
		for _, t := range s.vm.m.Memory().Touched() {
			if from, to := max(t.Base, r.Base), min(t.End(), r.Base+uint64(len(r.Mem))); from < to {
				set.AddRange(from-r.Base, to-from)
			}
		}
	}
	return set
}

// differInMemory says where a side's memory is not that of others.
func differInMemory(s *side, others []*side) string {
	for i, r := range s.regions {
		for _, o := range others {
			if len(o.regions) != len(s.regions) || len(o.regions[i].Mem) != len(r.Mem) {
				return fmt.Sprintf("%s and %s do not have the same memory", s.name, o.name)
			}
		}
		for page := range pagesHeld(i, append([]*side{s}, others...)...).All() {
			at := int(page * pages.Size)
			have := r.Mem[at:][:pages.Size]
			for _, o := range others {
				other := o.regions[i].Mem[at:][:len(have)]
				if bytes.Equal(have, other) {
					continue
				}
				j := 0
				for have[j] == other[j] {
					j++
				}
				return fmt.Sprintf("%s and %s differ in memory at %#x: %#x and %#x", s.name, o.name, r.Base+uint64(at+j), have[j], other[j])
			}
		}
	}
	return ""
}

// memory is the line of 64 bytes at a guest-physical address.
func (s *side) memory(line uint64) []byte {
	for _, r := range s.regions {
		if line-r.Base < uint64(len(r.Mem)) {
			return r.Mem[line-r.Base:][:64]
		}
	}
	return nil
}

// TestLockstep boots five machines, makes a namespace and runs programs that
// gcc and Go compiled, and powers off: on the interpreter with every store
// seen, on the interpreter, compiled, with processors that are saved and loaded
// all the time, and with the whole machine frozen and restored. They agree all
// the while, and the programs print what they print on the host.
//
// NVLAB_LOCKSTEP=1 has two CPUs as well, and ten times the programs' rounds; the
// machine is frozen at every lockstep then, not at each thousandth.
func TestLockstep(t *testing.T) {
	t.Parallel()
	bootExperiment(t) // builds the guest, or skips
	if err := soft.Compiles(); err != nil {
		require.Missing(t, "JIT", "there is nothing to compare the interpreter with: %v", err)
	}
	freezes := 1000
	if os.Getenv("NVLAB_LOCKSTEP") == "1" {
		freezes = 1
	}
	paths := map[string]string{}
	for _, p := range programs.All {
		paths[p.Name] = p.Build(t)
	}
	for _, c := range []struct {
		name string
		cpus int
		more string // zeros after the number of rounds
		long bool
	}{
		{name: "1 CPU", cpus: 1},
		{name: "2 CPUs", cpus: 2, long: true},
		{name: "1 CPU for long", cpus: 1, more: "0", long: true},
	} {
		if c.long && os.Getenv("NVLAB_LOCKSTEP") != "1" {
			continue
		}
		want := map[string]string{}
		for _, p := range programs.All {
			want[p.Name] = programs.Native(t, paths[p.Name], p.Few+c.more)
		}
		t.Run(c.name, func(t *testing.T) {
			sides := []*side{
				{name: "the interpreter that sees all stores", Engine: soft.Engine{Interpreter: true}, stores: newStores()},
				{name: "the interpreter", Engine: soft.Engine{Interpreter: true}},
				{name: "the compiler", Engine: soft.Engine{}},
				{name: "the compiler, saved and loaded", Engine: soft.Engine{}, reloads: true},
				{name: "the compiler, frozen and restored", Engine: soft.Engine{}, freezes: freezes},
			}
			machines := map[*side]*VM{}
			for _, s := range sides {
				x := bootExperiment(t)
				b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 18 << 20, Share: true}) // makeNamespace's, and no more to compare
				if err != nil {
					t.Fatal(err)
				}
				v := pluggedVM(t, x, b, 128<<10)
				v.engine, v.opts.CPUs, v.opts.Memory = s, c.cpus, 128<<20
				machines[s], s.vm = v, v
			}
			together(t, sides, func(s *side) error {
				v, ctx := machines[s], t.Context()
				if err := v.Boot(ctx, DefaultTimeout); err != nil {
					return err
				}
				do := func(command string) (string, error) {
					r, err := v.Run(ctx, Command{Shell: command, Timeout: 10 * time.Minute, Check: true})
					if err != nil {
						return "", err
					}
					return string(r.Stdout), nil
				}
				if _, err := do(makeNamespace); err != nil {
					return err
				}
				for _, p := range programs.All {
					text, err := os.ReadFile(paths[p.Name])
					if err != nil {
						return err
					}
					name := "/tmp/" + filepath.Base(paths[p.Name])
					if err := v.WriteFile(ctx, name, text); err != nil {
						return err
					}
					got, err := do("chmod +x " + name + " && " + name + " " + p.Few + c.more + " && rm " + name)
					if err != nil {
						return err
					}
					if got != want[p.Name] {
						return fmt.Errorf("%s %s prints %q, natively %q", p.Name, p.Few+c.more, got, want[p.Name])
					}
				}
				return v.PowerOff(ctx)
			})
			consoles := map[string]string{}
			for _, s := range sides {
				consoles[machines[s].Console()] = s.name
			}
			if len(consoles) != 1 {
				t.Errorf("there are %d different consoles, want 1", len(consoles))
			}
			if up := strings.Contains(machines[sides[0]].Console(), "2 CPUs"); up != (c.cpus == 2) {
				t.Errorf("on %d CPUs the kernel says that it has 2: %v", c.cpus, up)
			}
		})
	}
}
