package vmm_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/internal/held"
	"nvlab/internal/pages"
	"nvlab/vmm"
	"nvlab/vmm/boot"
)

// A randomMachine has processors that do random things, and a host that does.
type randomMachine struct {
	*vmm.Machine
	cfg     vmm.Config
	console bytes.Buffer
	sent    []byte     // what came through the channel
	dimm    []byte     // memory that is not RAM
	dirty   *pages.Set // of dimm
	step    int
}

func randomConfig() vmm.Config {
	return vmm.Config{Memory: 32 << 20, Engine: randomEngine{}, Seed: 7, PCI: true, Slots: 3,
		PMEM: []vmm.Range{{Base: 16 << 30, Size: 1 << 16}}, FlushPMEM: func(int) bool { return true }, Events: []vmm.Event{{Path: `\_SB.A`, Value: 0x80}}}
}

func newRandomMachine(t testing.TB) *randomMachine {
	m := &randomMachine{cfg: randomConfig(), dimm: make([]byte, 1<<16)}
	m.cfg.Console = &m.console
	k, err := boot.Load("testdata/guest.elf")
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if m.Machine, err = vmm.Assemble(m.cfg); err != nil {
		t.Fatal(err)
	}
	m.own(t)
	if err := m.Boot(vmm.Payload{Kernel: k}); err != nil {
		t.Fatal(err)
	}
	return m
}

// own adds what a machine's owner adds.
func (m *randomMachine) own(t testing.TB) {
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	m.dirty = pages.NewSet(uint64(len(m.dimm)))
	if err := m.AddMemory(vmm.Region{Base: 4 << 30, Mem: m.dimm, Dirty: m.dirty}); err != nil {
		t.Fatal(err)
	}
}

// run lets it run for a while, and does what a host does.
func (m *randomMachine) run(t testing.TB) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(m.step), 2))
	m.step++
	switch r.IntN(6) {
	case 4: // into a slot that is free
		slot := r.IntN(3)
		m.PlugRAM(vmm.DIMM{Slot: slot, Range: vmm.Range{Base: uint64(slot+5) << 30, Size: uint64(1+r.IntN(2)) << 16}, Node: slot})
	case 5:
		m.AskRemoval(r.IntN(3))
	case 0:
		m.ConsoleInput([]byte("typed"))
	case 1:
		m.Channel().Send(bytes.Repeat([]byte{byte(m.step)}, r.IntN(300)))
	case 2:
		m.sent = append(m.sent, m.Channel().Receive()...)
	case 3:
		if err := m.Notify(0); err != nil {
			t.Fatal(err)
		}
	}
	var done func() bool // nil, or until something asks for attention: a line may be half-way then
	if looks := 0; r.IntN(3) == 0 {
		done = func() bool { looks++; return looks > 1 }
	}
	if _, err := m.Run(context.Background(), m.Clock()+time.Duration(r.IntN(60)), done); err != nil {
		t.Fatal(err)
	}
}

// A moment is what a machine is, and its owner.
type moment struct {
	*vmm.Snapshot
	console string
	sent    string
	dimm    []byte
	step    int
}

func (m *randomMachine) freeze(t testing.TB) moment {
	t.Helper()
	s, err := m.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return moment{s, m.console.String(), string(m.sent), bytes.Clone(m.dimm), m.step}
}

// was has the owner's part be as it was.
func (m *randomMachine) was(at moment) {
	m.console.Reset()
	m.console.WriteString(at.console)
	m.sent, m.step = []byte(at.sent), at.step
	copy(m.dimm, at.dimm)
}

func (at moment) fork(t testing.TB) *randomMachine {
	t.Helper()
	m := &randomMachine{cfg: randomConfig(), dimm: bytes.Clone(at.dimm)}
	m.cfg.Console = &m.console
	var err error
	if m.Machine, err = at.Machine(m.cfg); err != nil {
		t.Fatal(err)
	}
	m.own(t)
	m.was(at)
	return m
}

// differs says in what two machines differ.
func (at moment) differs(t testing.TB, o moment) string {
	t.Helper()
	if a, b := *at.Saved, *o.Saved; !reflect.DeepEqual(a, b) {
		x, y := reflect.ValueOf(a), reflect.ValueOf(b)
		for i := range x.NumField() {
			if v, w := x.Field(i).Interface(), y.Field(i).Interface(); !reflect.DeepEqual(v, w) {
				return fmt.Sprintf("%s: %.300s, want %.300s", x.Type().Field(i).Name, fmt.Sprint(v), fmt.Sprint(w))
			}
		}
	}
	h, err := at.Hash()
	if err != nil {
		t.Fatal(err)
	}
	switch g, err := o.Hash(); {
	case err != nil:
		t.Fatal(err)
	case g != h:
		return "memory differs"
	case at.console != o.console:
		return fmt.Sprintf("console: %q, want %q", at.console, o.console)
	case at.sent != o.sent:
		return fmt.Sprintf("channel: %q, want %q", at.sent, o.sent)
	case !bytes.Equal(at.dimm, o.dimm):
		return "memory that is not RAM differs"
	}
	return ""
}

// again returns the moment as it comes from a file.
func (at moment) again(t testing.TB) moment {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(at.Saved); err != nil {
		t.Fatal(err)
	}
	s := &vmm.Saved{}
	if err := gob.NewDecoder(&b).Decode(s); err != nil {
		t.Fatal(err)
	}
	o := at
	o.Snapshot = &vmm.Snapshot{Saved: s, RAM: at.RAM}
	return o
}

// TestSnapshotOfAnything: whatever devices and memory are in the midst of, a
// machine that is restored, forked, or read from a file goes on as the one that
// was left alone.
func TestSnapshotOfAnything(t *testing.T) {
	const steps = 320
	plain := newRandomMachine(t)
	var want []moment
	for k := range steps {
		if k%40 == 39 {
			want = append(want, plain.freeze(t))
		}
		plain.run(t)
	}
	lines := uint32(0)
	for _, s := range want {
		lines |= s.Saved.IOAPIC.Lines
	}
	if s := want[len(want)-1]; len(s.console) < 80 || len(s.sent) < 100 || lines == 0 {
		t.Errorf("the guest wrote %d bytes to the console and %d to the channel, with lines %#x high: it does too little", len(s.console), len(s.sent), lines)
	}

	m := newRandomMachine(t)
	old := m.freeze(t)
	r := rand.New(rand.NewPCG(3, 3))
	for k := range steps {
		if k%40 == 39 {
			if differ := m.freeze(t).differs(t, want[k/40]); differ != "" {
				t.Fatalf("step %d: %s", k, differ)
			}
		}
		now := m.freeze(t)
		if k == 0 {
			old = now
		}
		switch r.IntN(5) {
		case 0: // it goes on, and comes back, and again
			for range 1 + r.IntN(3) {
				for range r.IntN(4) {
					m.run(t)
				}
				m.was(now)
				if err := m.Restore(now.Snapshot); err != nil {
					t.Fatal(err)
				}
			}
		case 1: // it comes back over a moment long past
			if err := m.Restore(old.Snapshot); err != nil {
				t.Fatal(err)
			}
			m.was(old)
			m.run(t)
			m.was(now)
			if err := m.Restore(now.Snapshot); err != nil {
				t.Fatal(err)
			}
		case 2: // another machine goes on, and this one goes elsewhere
			f := now.fork(t)
			m.run(t)
			m = f
		case 3:
			m = now.again(t).fork(t)
		}
		if r.IntN(2) == 0 {
			if differ := m.freeze(t).differs(t, now); differ != "" {
				t.Fatalf("step %d: at once: %s", k, differ)
			}
		}
		m.run(t)
	}
}

// TestSnapshotHash: equal states have one name, from a file too, and others
// TestDiffering: a machine tells of each page in which it holds something else than a
// snapshot of it, or that it was made of, and of what both hold.
func TestDiffering(t *testing.T) {
	m := newRandomMachine(t)
	told := 0
	for range 60 {
		m.run(t)
		at := m.freeze(t)
		fork := at.fork(t)
		for range 3 {
			m.run(t)
			fork.run(t)
		}
		for name, m := range map[string]*randomMachine{"it": m, "its fork": fork} {
			differ := map[uint64]bool{}
			err := m.Differing(at.Snapshot, func(addr uint64, have, had []byte) {
				if !bytes.Equal(have, had) {
					differ[addr] = true
				}
			})
			if err != nil {
				continue // RAM was plugged since, or let go
			}
			told += len(differ)
			now := m.freeze(t)
			for i, r := range vmm.PartsOf(at.Saved, m.Layout()) {
				was, is := make([]byte, r.Size), make([]byte, r.Size)
				if _, err := at.RAM[i].ReadAt(was, 0); err != nil {
					t.Fatal(err)
				}
				k := slices.Index(vmm.PartsOf(now.Saved, m.Layout()), r)
				if _, err := now.RAM[k].ReadAt(is, 0); err != nil {
					t.Fatal(err)
				}
				for p := uint64(0); p < r.Size; p += pages.Size {
					if got, want := differ[r.Base+p], !bytes.Equal(was[p:p+pages.Size], is[p:p+pages.Size]); got != want {
						t.Fatalf("%s tells of another page at %#x: %v, want %v", name, r.Base+p, got, want)
					}
				}
			}
		}
	}
	if told < 20 {
		t.Errorf("%d pages differed: too few to tell", told)
	}
}

// another.
func TestSnapshotHash(t *testing.T) {
	a, b := newRandomMachine(t), newRandomMachine(t)
	seen := map[[32]byte]int{}
	for k := range 50 {
		x, y := a.freeze(t), b.freeze(t)
		h, err := x.Hash()
		if err != nil {
			t.Fatal(err)
		}
		if g, _ := y.Hash(); g != h {
			t.Fatalf("step %d: two machines that did the same are %x and %x", k, h, g)
		}
		if g, _ := x.again(t).Hash(); g != h {
			t.Fatalf("step %d: a snapshot is %x, and %x when it comes from a file", k, h, g)
		}
		if before, ok := seen[h]; ok {
			t.Fatalf("steps %d and %d have one hash", before, k)
		}
		seen[h] = k
		for x := a.Clock(); a.Clock() == x; {
			a.run(t)
			b.run(t)
		}
	}
}

// TestForkSeed: with another seed a fork draws other numbers, and with its own
// the same.
func TestForkSeed(t *testing.T) {
	at := newRandomMachine(t).freeze(t)
	after := func(seed uint64) moment {
		m := &randomMachine{cfg: randomConfig(), dimm: bytes.Clone(at.dimm)}
		m.cfg.Console, m.cfg.Seed = &m.console, seed
		var err error
		if m.Machine, err = at.Machine(m.cfg); err != nil {
			t.Fatal(err)
		}
		m.own(t)
		m.was(at)
		m.run(t)
		return m.freeze(t)
	}
	same, other := after(7), after(8)
	if differ := same.differs(t, after(7)); differ != "" {
		t.Error(differ)
	}
	if bytes.Equal(same.Saved.Entropy.Source, other.Saved.Entropy.Source) || bytes.Equal(same.Saved.Processors, other.Saved.Processors) {
		t.Error("another seed gives the same numbers")
	}
	if other.Saved.Seed != 8 {
		t.Errorf("the seed of the fork's snapshot is %d, want 8", other.Saved.Seed)
	}
	cfg := randomConfig()
	cfg.Seed = 8
	f, err := at.Machine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Restore(at.Snapshot); err != nil {
		t.Fatal(err)
	}
	back, err := f.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if back.Saved.Seed != 7 || !bytes.Equal(back.Saved.Entropy.Source, at.Saved.Entropy.Source) {
		t.Error("a fork with another seed that is restored keeps its seed")
	}
}

// TestForksShareNothing: what one machine of a snapshot is given is not
// another's, whatever has room behind it.
func TestForksShareNothing(t *testing.T) {
	m := newRandomMachine(t)
	m.Channel().Send([]byte("12345"))
	m.ConsoleInput([]byte("12345"))
	at := m.freeze(t)
	a, b := at.fork(t), at.fork(t)
	for name, f := range map[string]*randomMachine{"a": a, "b": b} {
		f.Channel().Send([]byte(name))
		f.ConsoleInput([]byte(name))
	}
	for name, f := range map[string]*randomMachine{"a": a, "b": b} {
		s := f.freeze(t).Saved
		if got, want := string(s.Channel.ToGuest)+" "+string(s.Serial.Received), "12345"+name+" 12345"+name; got != want {
			t.Errorf("for the guest of fork %s wait %q, want %q", name, got, want)
		}
	}
}

// unsaved are processors that cannot be saved.
type unsaved struct{ vmm.Processors }

type unsavedEngine struct{ randomEngine }

func (e unsavedEngine) New(spec vmm.ProcessorSpec, bus vmm.Bus) (vmm.Processors, error) {
	p, err := e.randomEngine.New(spec, bus)
	return unsaved{p}, err
}

var errBroken = errors.New("cannot be loaded")

// failingEngine makes processors that cannot be loaded while fail is set.
type failingEngine struct {
	randomEngine
	fail bool
}

type failingProcessors struct {
	*randomProcessors
	e *failingEngine
}

func (p failingProcessors) Load(b []byte) error {
	if p.e.fail {
		return errBroken
	}
	return p.randomProcessors.Load(b)
}

func (e *failingEngine) New(spec vmm.ProcessorSpec, bus vmm.Bus) (vmm.Processors, error) {
	p, err := e.randomEngine.New(spec, bus)
	return failingProcessors{p.(*randomProcessors), e}, err
}

func TestSnapshotErrors(t *testing.T) {
	m, stranger := newRandomMachine(t), newRandomMachine(t)
	at, other := m.freeze(t), stranger.freeze(t)
	fork := func(change func(*vmm.Config)) error {
		cfg := randomConfig()
		change(&cfg)
		f, err := at.Machine(cfg)
		if err == nil {
			f.Close()
		}
		return err
	}
	off, err := vmm.Assemble(randomConfig())
	if err != nil {
		t.Fatal(err)
	}
	_, assembled := off.Freeze()
	off.Close()
	_, closed := off.Freeze()
	short := *at.Saved
	short.Transports[0].Queues = short.Transports[0].Queues[:1]
	_, queues := (&vmm.Snapshot{Saved: &short, RAM: at.RAM}).Machine(randomConfig())
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"restore of a stranger's", m.Restore(other.Snapshot), "restore: a snapshot of a stranger: it is not of this machine's memory, nor of a fork of it"},
		{"snapshot before boot", assembled, "snapshot: the machine has not booted"},
		{"snapshot of a closed machine", closed, "snapshot: the machine is closed"},
		{"fork with other memory", fork(func(c *vmm.Config) { c.Memory = 64 << 20 }), "fork: a snapshot of a machine with 32 MiB of memory: this one has 64 MiB"},
		{"fork with other CPUs", fork(func(c *vmm.Config) { c.CPUs = 2 }), "fork: a snapshot of a machine with 1 CPUs: this one has 2"},
		{"fork with other slots", fork(func(c *vmm.Config) { c.Slots = 2 }), "fork: a snapshot of a machine with 3 memory slots: this one has 2"},
		{"fork with other address bits", fork(func(c *vmm.Config) { c.PhysBits = 46 }), "fork: a snapshot of a machine whose addresses end at 0x10000000000: this one's end at 0x400000000000"},
		{"fork without the PCI bus", fork(func(c *vmm.Config) { c.PCI = false }), "fork: a snapshot of a machine with another PCI bus, or without one"},
		{"fork with other events", fork(func(c *vmm.Config) { c.Events = nil }), "ACPI events"},
		{"fork on another engine", fork(func(c *vmm.Config) { c.Engine = randomEngine{"other"} }), "fork: a snapshot of the random engine: this machine has the other engine"},
		{"fork without an engine", fork(func(c *vmm.Config) { c.Engine = nil }), "fork: a machine needs an engine"},
		{"fork on processors that cannot be loaded", fork(func(c *vmm.Config) { c.Engine = unsavedEngine{} }), "fork: the random engine cannot save and load its processors"},
		{"fork with a failure", fork(func(c *vmm.Config) { c.Engine = &failingEngine{fail: true} }), "fork: processors: cannot be loaded"},
		{"a file with too few queues", queues, "fork: virtio device 0 with 1 queues: want 6"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error = %v, want one with %q", c.name, c.err, c.want)
		}
	}
	if differ := m.freeze(t).differs(t, at); differ != "" {
		t.Errorf("what could not be done changed the machine: %s", differ)
	}

	cfg := randomConfig()
	f, err := at.Machine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Run(context.Background(), f.Clock()+1, nil); err == nil || !strings.Contains(err.Error(), "other memory at 0x100000000-0x10000ffff") {
		t.Errorf("a fork runs without the memory that was there: %v", err)
	}
	at.Close()
	if err := m.Restore(at.Snapshot); err == nil || !strings.Contains(err.Error(), "the image is closed") {
		t.Errorf("restore of a closed snapshot: %v", err)
	}
}

// TestFailedRestore: a machine that is half of one thing and half of another
// does not run.
func TestFailedRestore(t *testing.T) {
	at := newRandomMachine(t).freeze(t)
	// A fork whose processors fail later than at once.
	cfg := randomConfig()
	e := &failingEngine{}
	cfg.Engine = e
	m, err := at.Machine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	e.fail = true
	if err := m.Restore(at.Snapshot); !errors.Is(err, errBroken) {
		t.Errorf("Restore = %v, want %v", err, errBroken)
	}
	if _, err := m.Run(context.Background(), m.Clock()+1, nil); !errors.Is(err, errBroken) {
		t.Errorf("Run after a Restore that failed half-way: %v, want %v", err, errBroken)
	}
}

// TestForksLeaveNothing makes and restores 2,000 machines.
func TestForksLeaveNothing(t *testing.T) {
	before := held.Now(t)
	t.Run("forks", func(t *testing.T) {
		root := newRandomMachine(t)
		at := root.freeze(t)
		for range 2000 {
			f, err := at.Machine(randomConfig())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Memory().WriteAt([]byte("x"), 0x5000); err != nil {
				t.Fatal(err)
			}
			s, err := f.Freeze()
			if err != nil {
				t.Fatal(err)
			}
			err = errors.Join(f.Restore(at.Snapshot), s.Close(), f.Close(), root.Restore(at.Snapshot))
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	before.NoMore(t, "2,000 forks")
}
