package power

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// A deed is something that a program does to a line.
type deed struct {
	what byte // 's' store, 'w' CLWB, 'f' SFENCE, 'h' flush hint
	line uint64
	v    byte
}

const deedLines = 3

func (p deeds) run(m *machine, d *nvdimm.DIMM) {
	for _, x := range p {
		switch x.what {
		case 's':
			m.store(d, x.line*persist.LineSize, x.v)
		case 'w':
			m.tracker.Flush(&observe.Flush{Base: d.Addr(), Offset: x.line * persist.LineSize, Op: observe.CLWB})
		case 'f':
			m.tracker.Fence(&observe.Fence{Order: observe.SFENCE})
		case 'h':
			m.tracker.Fence(&observe.Fence{Order: observe.Uncached}) // as an engine tells of the access
			m.hint(d)
		}
	}
}

type deeds []deed

func (p deeds) String() (s string) {
	for _, x := range p {
		s += string(x.what)
		if x.what == 's' || x.what == 'w' {
			s += fmt.Sprint(x.line)
		}
		s += " "
	}
	return s
}

// sure says of a line which of its stores, in order, is the last that is on
// the medium for certain: the one that a CLWB, a fence, a hint and a fence came
// after. It knows nothing of the model.
func (p deeds) sure(line uint64) (at int) {
	n := 0
	seen := []struct{ stores, stage int }{}
	for _, x := range p {
		switch {
		case x.what == 's' && x.line == line:
			n++
		case x.what == 'w' && x.line == line:
			seen = append(seen, struct{ stores, stage int }{n, 1})
		default:
			for i := range seen {
				switch s := &seen[i]; {
				case x.what == 'f' && (s.stage == 1 || s.stage == 3), x.what == 'h' && s.stage == 2:
					s.stage++
				}
			}
		}
	}
	for _, s := range seen {
		if s.stage == 4 {
			at = max(at, s.stores)
		}
	}
	return at
}

// legal lists what may be left of the program's lines if the platform does not
// save what it promised: of each line any of its contents from the last that is
// sure.
func (p deeds) legal() map[string]bool {
	all := []string{""}
	for line := range uint64(deedLines) {
		contents := []byte{0}
		for _, x := range p {
			if x.what == 's' && x.line == line {
				contents = append(contents, x.v)
			}
		}
		var next []string
		for _, rest := range all {
			for _, v := range contents[p.sure(line):] {
				next = append(next, rest+string(rune(v)))
			}
		}
		all = next
	}
	set := map[string]bool{}
	for _, s := range all {
		set[s] = true
	}
	return set
}

// TestUnsaved: what a platform leaves that does not save what it promised is
// what a search of all legal contents says: keeping nothing leaves the least,
// keeping all what was visible, and random states are all of them and no other.
// ADR and eADR are alike in this.
func TestUnsaved(t *testing.T) {
	machines := map[int64]*machine{}
	for _, capability := range []int64{2, 3} {
		m := newMachine(t, nvdimm.Config{FlushHints: 1, HintBase: 1 << 31, Cap: &capability})
		m.plugNew()
		machines[capability] = m
	}
	for n := range uint64(60) {
		r := rand.New(rand.NewPCG(n, 9))
		var p deeds
		for i := range 4 + r.IntN(14) {
			x := deed{what: "ssswwffh"[r.IntN(8)], line: uint64(r.IntN(deedLines)), v: byte(i + 1)}
			p = append(p, x)
		}
		legal := p.legal()
		if len(legal) > 12 {
			continue
		}
		for capability, m := range machines {
			left := func(keep persist.Keep, seed uint64) string {
				m.seed = seed
				d := m.root.DIMMs()[0]
				m.powerOn()
				mem, err := d.Map()
				if err != nil {
					t.Fatal(err)
				}
				clear(mem)
				p.run(m, d)
				m.tracker.Fail(keep, true)
				if !d.Management().Unsafe {
					t.Fatal("the DIMM does not know that the platform failed to save")
				}
				m.tracker.PowerOff()
				s := ""
				for line := range deedLines {
					s += string(rune(mem[line*persist.LineSize]))
				}
				d.Management().Unsafe = false
				return s
			}
			least, most := "", ""
			for line := range uint64(deedLines) {
				values := []byte{0}
				for _, x := range p {
					if x.what == 's' && x.line == line {
						values = append(values, x.v)
					}
				}
				least += string(rune(values[p.sure(line)]))
				most += string(rune(values[len(values)-1]))
			}
			if got := left(persist.KeepNone, 1); got != least {
				t.Errorf("cap %d: %v: keeping nothing leaves %q, want %q", capability, p, got, least)
			}
			if got := left(persist.KeepAll, 1); got != most {
				t.Errorf("cap %d: %v: keeping all leaves %q, want %q", capability, p, got, most)
			}
			got := map[string]bool{}
			for seed := range uint64(40 * len(legal)) {
				got[left(persist.KeepRandom, seed)] = true
			}
			if !maps.Equal(got, legal) {
				t.Errorf("cap %d: %v: random states are %q, want %q", capability, p, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(legal)))
			}
		}
	}
}

// TestUnsavedIsHints: of random programs on two CPUs a platform that does not
// save leaves what one leaves that promises hints only. What that is, package
// persist compares with a search of its own.
func TestUnsavedIsHints(t *testing.T) {
	type kind struct {
		capability int64
		shared     bool
	}
	machines := map[kind]*machine{}
	for _, capability := range []int64{0, 2, 3} {
		for _, shared := range []bool{false, true} {
			machines[kind{capability, shared}] = twoDIMMs(t, nvdimm.Config{FlushHints: 1, HintBase: 1 << 31, Cap: &capability}, shared)
		}
	}
	for n := range uint64(30) {
		r := rand.New(rand.NewPCG(n, 4))
		keep, shared, program := persist.Keep(r.IntN(3)), r.IntN(2) == 0, r.Uint64()
		left := func(capability int64, unsaved bool) (all []byte) {
			m := machines[kind{capability, shared}]
			m.seed, m.seq = n, 0
			m.powerOn()
			for _, d := range m.root.DIMMs() {
				mem, err := d.Map()
				if err != nil {
					t.Fatal(err)
				}
				clear(mem)
			}
			do(m, rand.New(rand.NewPCG(program, 1)), 50)
			m.tracker.Fail(keep, unsaved)
			m.tracker.PowerOff()
			for _, d := range m.root.DIMMs() {
				mem, err := d.Map()
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, mem...)
			}
			return all
		}
		want := left(0, false)
		for _, capability := range []int64{2, 3} {
			if got := left(capability, true); !bytes.Equal(got, want) {
				t.Errorf("program %d, keep %d: cap %d that does not save leaves other bytes than hints only", n, keep, capability)
			}
		}
		if got := left(0, true); !bytes.Equal(got, want) {
			t.Errorf("program %d, keep %d: a platform of hints only, which promised nothing else, loses more if it does not save", n, keep)
		}
	}
}

// TestUnsavedIsBounded: of a guest that stores to all of a DIMM and has no
// hints, the latest stores alone are taken to be on their way.
func TestUnsavedIsBounded(t *testing.T) {
	m := newMachine(t, nvdimm.Config{Cap: ptr[int64](2)})
	d := m.plug(backend.FileConfig{Path: filepath.Join(t.TempDir(), "f"), Size: 1 << 20}, 0)
	m.powerOn()
	for offset := uint64(0); offset < 1<<20; offset += persist.LineSize {
		m.store(d, offset, 1)
		m.tracker.Flush(&observe.Flush{Base: d.Addr(), Offset: offset, Op: observe.CLWB})
		m.tracker.Fence(&observe.Fence{Order: observe.SFENCE})
	}
	drained := m.tracker.Drained()
	m.tracker.Fail(persist.KeepNone, true)
	m.powerOff()
	file, there := contents(t, d), 0
	for offset := 0; offset < 1<<20; offset += persist.LineSize {
		there += int(file[offset])
	}
	if there != drained || there == 0 || (1<<20)-there*persist.LineSize > 2*Drain {
		t.Errorf("%d lines of %d are left, and %d stores count as on the medium", there, 1<<20/persist.LineSize, drained)
	}
}
