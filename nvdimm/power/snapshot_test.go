package power

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nvlab/internal/held"
	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/label"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// A player is a machine that does random things, and what it needs to go on
// from a snapshot: its own backends, and the guest's view of its memory, as an
// engine has it.
type player struct {
	*machine
	config   nvdimm.Config
	spare    *backend.Backend // for hot plug
	on       bool
	memory   map[uint64]nvdimm.Piece
	log      bytes.Buffer
	opened   []*backend.Backend
	attached int
}

const playerSlots = 5

func newPlayer(t *testing.T, c nvdimm.Config) *player {
	root, err := nvdimm.NewRoot(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{machine: &machine{t: t, root: root}, config: c, memory: map[uint64]nvdimm.Piece{}}
	p.tracker = New(root, p.machine)
	p.mailbox = root.Mailbox(&p.page, mailboxAt)
	return p
}

func (p *player) open(b *backend.Backend, err error) *backend.Backend {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	p.opened = append(p.opened, b)
	return b
}

// furnish plugs DIMMs of all kinds: on files and memory, shared and private,
// two on one part of one file, two interleaved.
func (p *player) furnish(dir string, interleaved bool) {
	const size = 2*backend.PageSize + label.MinSize
	file := func(name string, share bool) *backend.Backend {
		return p.open(backend.OpenFile(backend.FileConfig{Path: filepath.Join(dir, name), Size: size, Share: share}))
	}
	ram := func() *backend.Backend {
		return p.open(backend.NewRAM(backend.RAMConfig{Size: size, Align: backend.PageSize}))
	}
	list := []*backend.Backend{file("a", true), file("b", false), ram(), file("a", true)}
	if interleaved {
		list = []*backend.Backend{file("a", true), file("b", true), ram(), file("c", false)}
	}
	var dimms []*nvdimm.DIMM
	for _, b := range list {
		d, err := p.root.Plug(nvdimm.PlugConfig{Backend: b, LabelSize: label.MinSize})
		if err != nil {
			p.t.Fatal(err)
		}
		dimms = append(dimms, d)
	}
	if interleaved {
		if err := p.root.Interleave(dimms[1:3], backend.PageSize); err != nil {
			p.t.Fatal(err)
		}
	}
	p.spare = file("spare", true)
}

func (p *player) attach(observe.Observer) error {
	p.attached++
	return nil
}

// show is what a machine does with a DIMM's memory.
func (p *player) show(d *nvdimm.DIMM) {
	mem, err := d.Map()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, piece := range d.Pieces(mem) {
		p.memory[piece.Addr] = piece
	}
}

func (p *player) powerOn() {
	p.tracker.PowerOn(p.attach)
	if _, err := p.root.Tables(mailboxAt); err != nil {
		p.t.Fatal(err)
	}
	for _, d := range p.root.DIMMs() {
		if err := p.tracker.Add(d); err != nil {
			p.t.Fatal(err)
		}
		p.show(d)
	}
	p.on = true
}

func (p *player) powerOff() {
	p.machine.powerOff()
	p.on = false
	clear(p.memory)
}

// do is n things that a machine and its scenario do.
func (p *player) do(r *rand.Rand, n int) {
	for range n {
		d := p.root.DIMMs()[r.IntN(len(p.root.DIMMs()))]
		what, a, b := r.IntN(24), r.Uint64(), r.Uint64()
		switch {
		case !p.on && what < 12:
			p.powerOn()
		case !p.on:
			if _, err := d.Backend().WriteAt([]byte{byte(a)}, int64(b%uint64(2*backend.PageSize))); err != nil {
				p.t.Fatal(err)
			}
		case p.tracker.Failed():
			fmt.Fprintln(&p.log, "the power failed")
			p.powerOff()
		case what < 9: // a store, as an engine makes one: to memory that it was shown
			mem, _ := d.Map()
			pieces := d.Pieces(mem)
			piece := p.memory[pieces[a%uint64(len(pieces))].Addr]
			at := b % uint64(len(piece.Mem)) &^ 7
			if a%3 > 0 {
				at %= 256 // few lines, many stores
			}
			p.seq++
			p.tracker.Store(&observe.Store{At: observe.At{Seq: p.seq, VCPU: uint8(a % 2)}, Base: piece.Addr, Offset: at, Size: 1, Value: b >> 56, Group: p.seq})
			if piece.Dirty != nil {
				piece.Dirty.Add(at / backend.PageSize)
			}
			piece.Mem[at] = byte(b >> 56)
		case what < 12:
			p.tracker.Flush(&observe.Flush{At: observe.At{VCPU: uint8(a % 2)}, Base: d.Addr(), Offset: b % 256 &^ 63, Op: observe.CLWB})
		case what < 14:
			p.tracker.Fence(&observe.Fence{At: observe.At{VCPU: uint8(a % 2)}, Order: observe.SFENCE})
		case what < 17:
			fmt.Fprintln(&p.log, "label write", p.writeLabel(d, uint32(b%9*8), fmt.Sprintf("%020d", a)))
		case what == 17:
			p.hint(d)
			fmt.Fprintln(&p.log, "hints", d.FlushHintWrites())
		case what == 18:
			fmt.Fprintf(&p.log, "fit %d %x\n", p.call(nvdimm.FITHandle, nvdimm.FuncReadFIT, make([]byte, 4)), p.page[8:64])
		case what == 19 && a%4 == 0:
			events := []Event{Store, Flush, Fence, LabelWrite, FlushHint}
			p.tracker.Arm(Cut{Event: events[b%5], Nth: 1 + int(a>>8%20), Keep: persist.Keep(a >> 16 % 3), Slot: Any})
		case what == 20 && a%4 == 0:
			p.tracker.Inject(Fault{Slot: d.Slot(), Function: nvdimm.FuncSetLabel, Status: 3, Nth: 1 + int(a>>8%3), Times: 1, Tears: b%2 == 0, Torn: 8})
		case what == 21 && len(p.root.DIMMs()) < playerSlots:
			d, err := p.root.Plug(nvdimm.PlugConfig{Backend: p.spare, Nodes: 1})
			if err != nil {
				p.t.Fatal(err)
			}
			if err := p.tracker.Add(d); err != nil {
				p.t.Fatal(err)
			}
			p.show(d)
		case what == 22 && a%6 == 0:
			p.tracker.Fail(persist.Keep(a>>8%3), a>>16&1 == 1)
			p.powerOff()
		case what == 23 && a%6 == 0:
			p.powerOff()
		}
	}
}

// holds is all that can be seen of a player.
func (p *player) holds() string {
	var b strings.Builder
	fmt.Fprintln(&b, p.on, p.log.String())
	for _, d := range p.root.DIMMs() {
		all := make([]byte, d.Backend().Size())
		if _, err := d.Backend().ReadAt(all, 0); err != nil {
			p.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s at %#x: %x\n", d.ID(), d.Addr(), all[:2*backend.PageSize+64])
	}
	for at, piece := range p.memory { // what the engine was shown is what is there
		d, _, ok := p.root.Locate(at)
		if !ok {
			p.t.Fatalf("memory at %#x is no DIMM's", at)
		}
		mem, _ := d.Map()
		if !slices.ContainsFunc(d.Pieces(mem), func(o nvdimm.Piece) bool { return o.Addr == at && &o.Mem[0] == &piece.Mem[0] && o.Dirty == piece.Dirty }) {
			p.t.Fatalf("the guest is shown other memory at %#x than the DIMM has", at)
		}
	}
	return b.String()
}

func (p *player) close() {
	for _, d := range p.root.DIMMs() {
		d.Unmap()
	}
	for _, b := range p.opened {
		if err := b.Close(); err != nil {
			p.t.Fatal(err)
		}
	}
}

// moment is a snapshot and what else a player was.
type moment struct {
	*Snapshot
	seq      uint64
	log      string
	holds    string
	backends map[int]*backend.Backend
}

func (p *player) freeze() *moment {
	s, err := p.tracker.Freeze()
	if err != nil {
		p.t.Fatal(err)
	}
	m := &moment{Snapshot: s, seq: p.seq, log: p.log.String(), holds: p.holds(), backends: map[int]*backend.Backend{}}
	for _, d := range p.root.DIMMs() {
		m.backends[d.Slot()] = d.Backend()
	}
	return m
}

// become has a player be what one was.
func (p *player) become(m *moment, backends map[int]*backend.Backend) {
	done, err := p.tracker.Restore(m.Snapshot, backends, p.attach)
	if err != nil {
		p.t.Fatal(err)
	}
	p.on, p.seq = m.On(), m.seq
	p.log.Reset()
	p.log.WriteString(m.log)
	was := p.memory
	p.memory = map[uint64]nvdimm.Piece{}
	if p.on {
		for _, d := range p.root.DIMMs() {
			mem, _ := d.Map()
			for _, piece := range d.Pieces(mem) {
				o, ok := was[piece.Addr]
				if ok && !done[d.Slot()].Moved {
					p.memory[piece.Addr] = o // an engine that is not told goes on with it
				} else {
					p.memory[piece.Addr] = piece
				}
			}
		}
	}
}

// twin is a machine that did what its seed says.
func twin(t *testing.T, c nvdimm.Config, seed uint64) *player {
	p := newPlayer(t, c)
	p.furnish(t.TempDir(), seed%3 == 0)
	r := rand.New(rand.NewPCG(seed, 1))
	p.do(r, r.IntN(60))
	for p.tracker.Failed() {
		p.do(r, 1)
	}
	return p
}

func hashOf(t *testing.T, s *Snapshot) [32]byte {
	t.Helper()
	h, err := s.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestSnapshots: machines that are restored or forked are what they were, to the
// last byte, and go on as they did, wherever they were: off, with stores
// undecided, cuts armed, DIMMs plugged since.
func TestSnapshots(t *testing.T) {
	before := held.Now(t)
	for seed := range uint64(24) {
		c := nvdimm.Config{Enabled: true, Memory: 1 << 28, Slots: playerSlots, MaxMem: 1 << 32, Base: 1 << 32, FlushHints: 1, HintBase: 1 << 31, Cap: ptr(int64(seed % 4))}
		p := twin(t, c, seed)
		r, dir := rand.New(rand.NewPCG(seed, 9)), filepath.Dir(p.spare.Path())
		m := p.freeze()
		if got := p.holds(); got != m.holds {
			t.Fatalf("seed %d: a snapshot changed its machine", seed)
		}
		hash := hashOf(t, m.Snapshot)
		again := twin(t, c, seed)
		if got := again.freeze(); hashOf(t, got.Snapshot) != hash {
			t.Errorf("seed %d: a machine that did the same elsewhere has another hash", seed)
		} else {
			got.Close()
		}
		again.close()
		rest := r.Uint64()
		follow := func(p *player) string {
			p.do(rand.New(rand.NewPCG(rest, 2)), 60)
			return p.holds()
		}
		// In a fork the spare for hot plug is a file of its own.
		fork := func(name string) *player {
			backends, err := m.Fork()
			if err != nil {
				t.Fatal(err)
			}
			f := newPlayer(t, c)
			for _, b := range backends {
				f.opened = append(f.opened, b)
			}
			f.spare = backends[playerSlots-1]
			if f.spare == nil {
				f.spare = f.open(backend.OpenFile(backend.FileConfig{Path: filepath.Join(dir, name), Size: p.spare.Size(), Share: true}))
			}
			f.become(m, backends)
			return f
		}
		early := fork("early")
		if s := early.freeze(); hashOf(t, s.Snapshot) != hash {
			t.Errorf("seed %d: a fork has another hash than what it was forked from", seed)
		} else {
			s.Close()
		}
		if got := early.holds(); got != m.holds {
			t.Fatalf("seed %d: a fork is not what was frozen:\n%.2000s\nwant\n%.2000s", seed, got, m.holds)
		}
		want := follow(p)
		if s, err := p.tracker.Freeze(); err == nil && p.holds() != m.holds {
			if hashOf(t, s) == hash {
				t.Errorf("seed %d: a machine that went on has the same hash", seed)
			}
			s.Close()
		}
		early.do(rand.New(rand.NewPCG(rest, 3)), 40) // what none must see
		late := fork("late")
		if got := follow(late); got != want {
			t.Fatalf("seed %d: a fork does not go on as its machine did", seed)
		}
		files := map[string][]byte{}
		for _, name := range []string{"a", "b"} {
			files[name], _ = os.ReadFile(filepath.Join(dir, name))
		}
		p.spareAgain(m)
		for round := range 4 {
			for _, o := range []*player{p, early} {
				backends := m.backends
				if o != p {
					backends = map[int]*backend.Backend{}
					for _, d := range o.root.DIMMs() {
						backends[d.Slot()] = d.Backend()
					}
				}
				o.spareAgain(m)
				o.become(m, backends)
				if got := o.holds(); got != m.holds {
					t.Fatalf("seed %d, round %d: a machine that is restored is not what was frozen", seed, round)
				}
				if round%2 == 0 {
					if got := follow(o); got != want {
						t.Fatalf("seed %d, round %d: a machine that is restored does not go on as it did", seed, round)
					}
				} else {
					o.do(r, 30)
				}
			}
		}
		for name, file := range files {
			if now, _ := os.ReadFile(filepath.Join(dir, name)); !bytes.Equal(now, file) {
				t.Errorf("seed %d: file %s changed after its machine was restored", seed, name)
			}
		}
		for _, o := range []*player{p, early, late} {
			o.close()
		}
		m.Close()
	}
	before.NoMore(t, "snapshots, forks and restores")
}

// spareAgain makes the backend for hot plug what it was: no DIMM of the
// snapshot has it.
func (p *player) spareAgain(m *moment) {
	for i := range m.Root.DIMMs {
		if m.Root.DIMMs[i].Slot == playerSlots-1 {
			return
		}
	}
	for _, d := range p.root.DIMMs() {
		if d.Backend() == p.spare {
			for at, piece := range p.memory {
				if o, _, _ := p.root.Locate(at); o == d {
					clear(piece.Mem)
					delete(p.memory, at)
				}
			}
			d.Unmap()
		}
	}
	if _, err := p.spare.WriteAt(make([]byte, p.spare.Size()), 0); err != nil {
		p.t.Fatal(err)
	}
}

// TestSnapshotRefuses: a machine stays what it is if a snapshot does not fit, or
// another machine maps its file.
func TestSnapshotRefuses(t *testing.T) {
	a, b := newMachine(t, nvdimm.Config{}), newMachine(t, nvdimm.Config{})
	d := a.plugNew()
	a.powerOn()
	a.store(d, 0, 1)
	s, err := a.tracker.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	own := map[int]*backend.Backend{0: d.Backend()}
	other := b.plug(backend.FileConfig{Path: d.Backend().Path(), Size: d.Backend().Size()}, 0)
	b.powerOn()
	var inUse *backend.InUseError
	if _, err := a.tracker.Freeze(); !errors.As(err, &inUse) {
		t.Errorf("Freeze while another machine maps the file = %v", err)
	}
	if _, err := a.tracker.Restore(s, own, a.attach); !errors.As(err, &inUse) {
		t.Errorf("Restore while another machine maps the file = %v", err)
	}
	b.powerOff()
	if _, err := b.tracker.Restore(s, map[int]*backend.Backend{}, b.attach); err == nil || !strings.Contains(err.Error(), "no backend") {
		t.Errorf("Restore without backends = %v", err)
	}
	stranger := a.plugNew()
	if _, err := a.tracker.Restore(s, map[int]*backend.Backend{0: stranger.Backend()}, a.attach); err == nil || !strings.Contains(err.Error(), "of another backend") {
		t.Errorf("Restore on another backend = %v", err)
	}
	if len(b.root.DIMMs()) != 1 || b.root.DIMMs()[0] != other || len(a.root.DIMMs()) != 2 || !a.tracker.On() {
		t.Error("a snapshot that is refused changed a machine")
	}
	a.tracker.Fail(persist.KeepNone, false)
	a.powerOff()
	if got := contents(t, d)[0]; got != 0 {
		t.Errorf("after snapshots that were refused and a power failure the file has %d, want 0", got)
	}
}

func BenchmarkRestore(b *testing.B) {
	dir := b.TempDir()
	root, err := nvdimm.NewRoot(nvdimm.Config{Enabled: true, Memory: 1 << 28, Slots: 1, MaxMem: 1 << 32, Base: 1 << 32})
	if err != nil {
		b.Fatal(err)
	}
	m := &machine{t: b, root: root}
	m.tracker = New(root, m)
	o, err := backend.OpenFile(backend.FileConfig{Path: filepath.Join(dir, "f"), Size: 64 << 20, Share: true})
	if err != nil {
		b.Fatal(err)
	}
	d, err := root.Plug(nvdimm.PlugConfig{Backend: o})
	if err != nil {
		b.Fatal(err)
	}
	m.powerOn()
	for line := range uint64(200) { // undecided
		m.store(d, line*4096, 1)
	}
	s, err := m.tracker.Freeze()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	backends := map[int]*backend.Backend{0: o}
	for b.Loop() {
		for line := range uint64(64) {
			m.store(d, line*4096+64, 2)
			d.Dirty(line*4096, 64)
		}
		if _, err := m.tracker.Restore(s, backends, m.attach); err != nil {
			b.Fatal(err)
		}
	}
}
