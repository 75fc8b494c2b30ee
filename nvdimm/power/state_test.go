package power

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/label"
	"nvlab/nvdimm/persist"
	"nvlab/vmm/observe"
)

// twoDIMMs is a machine of two DIMMs on new files, that show a page in common if
// they are shared.
func twoDIMMs(t *testing.T, c nvdimm.Config, shared bool) *machine {
	m := newMachine(t, c)
	if !shared {
		m.plugNew()
		m.plugNew()
		return m
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 3*backend.PageSize+label.MinSize), 0o644); err != nil {
		t.Fatal(err)
	}
	m.plug(backend.FileConfig{Path: path, Size: 2 * backend.PageSize}, 0)
	m.plug(backend.FileConfig{Path: path, Offset: backend.PageSize, Size: 2*backend.PageSize + label.MinSize}, label.MinSize)
	return m
}

// do has a machine do n things, which r chooses, and returns what it answered.
func do(m *machine, r *rand.Rand, n int) string {
	var answers strings.Builder
	for range n {
		d := m.root.DIMMs()[r.IntN(2)]
		at := uint64(r.IntN(16)) * 64
		at += uint64(r.IntN(2)) * backend.PageSize
		at %= d.Size()
		vcpu := uint8(r.IntN(2))
		m.seq++
		switch r.IntN(8) {
		case 0, 1, 2:
			v := byte(r.IntN(255) + 1)
			if m.tracker.Failed() {
				continue // the machine stopped
			}
			m.store(d, at+uint64(r.IntN(3)), v)
		case 3, 4:
			m.tracker.Flush(&observe.Flush{At: observe.At{VCPU: vcpu}, Base: d.Addr(), Offset: at, Op: observe.CLWB})
		case 5:
			m.tracker.Fence(&observe.Fence{At: observe.At{VCPU: vcpu}, Order: observe.SFENCE})
		case 6:
			m.hint(d)
		default:
			if d.LabelSize() > 0 {
				fmt.Fprint(&answers, m.writeLabel(d, uint32(r.IntN(9)*8), fmt.Sprintf("%016d", r.IntN(1<<30))))
			}
		}
	}
	return answers.String()
}

func images(t *testing.T, m *machine) (all []byte) {
	for _, d := range m.root.DIMMs() {
		all = append(all, contents(t, d)...)
	}
	return all
}

// TestSavedPowerGoesOn: a machine whose power's state was loaded, with DIMMs of
// its own, does what the machine does that it was saved of: the same cut
// strikes, the same calls fail, the same bytes survive. Neither sees the other.
func TestSavedPowerGoesOn(t *testing.T) {
	struck := 0
	for n := range uint64(60) {
		r := rand.New(rand.NewPCG(n, 1))
		c := nvdimm.Config{Cap: ptr(int64(r.IntN(4)))}
		shared, blind := r.IntN(2) == 0, r.IntN(6) == 0
		if r.IntN(2) == 0 || blind {
			c.FlushHints, c.HintBase = 1, 1<<31
		}
		a, b := twoDIMMs(t, c, shared), twoDIMMs(t, c, shared)
		if blind {
			a.blind, b.blind = errBlind, errBlind
		}
		for _, f := range []Fault{
			{Slot: 0, Function: nvdimm.FuncSetLabel, Status: 3, Nth: 1 + r.IntN(9), Times: 2},
			{Slot: 1, Function: nvdimm.FuncSetLabel, Status: 4, Nth: 1 + r.IntN(9), Times: 1, Tears: true, Torn: 8},
		} {
			a.tracker.Inject(f)
		}
		events := []Event{Store, Flush, Fence, FlushHint, LabelWrite}
		cut := Cut{Event: events[r.IntN(5)], Slot: Any, Nth: 1 + r.IntN(40), Keep: persist.Keep(r.IntN(3))}
		if r.IntN(2) == 0 && cut.Event != Fence {
			cut.Slot = r.IntN(2)
		}
		a.powerOn()
		a.tracker.Arm(cut)
		before := r.Uint64()
		do(a, rand.New(rand.NewPCG(before, 1)), r.IntN(80))
		if a.tracker.Failed() {
			if _, err := a.tracker.Save(); err == nil {
				t.Fatalf("program %d: a tracker is saved whose power failed", n)
			}
			continue
		}
		saved, err := a.tracker.Save()
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		s := &State{}
		if err := errors.Join(gob.NewEncoder(&file).Encode(saved), gob.NewDecoder(&file).Decode(s)); err != nil {
			t.Fatal(err)
		}
		load := func() {
			for i, d := range b.root.DIMMs() {
				to, err := d.Map()
				if err != nil {
					t.Fatal(err)
				}
				from, _ := a.root.DIMMs()[i].Map()
				copy(to, from)
				area := make([]byte, d.LabelSize())
				o := a.root.DIMMs()[i]
				if _, err := o.Backend().ReadAt(area, int64(labelAt(o))); err != nil {
					t.Fatal(err)
				}
				if err := d.Backend().Put(area, int64(labelAt(d))); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.tracker.Load(s, b.attach); err != nil {
				t.Fatal(err)
			}
		}
		load()
		b.seq = a.seq
		do(b, rand.New(rand.NewPCG(before, 2)), 40) // what a must not see
		load()
		b.seq = a.seq
		again, err := b.tracker.Save()
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("program %d: the state that was loaded is another when it is saved again (%v)\n%+v\n%+v", n, err, again, s)
		}
		after := r.Uint64()
		answers := do(a, rand.New(rand.NewPCG(after, 3)), 120)
		if got := do(b, rand.New(rand.NewPCG(after, 3)), 120); got != answers {
			t.Errorf("program %d: the label writes of the machine that was loaded end in %s, those of the other in %s", n, got, answers)
		}
		if a.tracker.Failed() != b.tracker.Failed() {
			t.Errorf("program %d: %v struck: %v, in the machine that was loaded: %v", n, &cut, a.tracker.Failed(), b.tracker.Failed())
		}
		if a.tracker.Failed() {
			struck++
		} else {
			a.tracker.Fail(persist.KeepRandom, false)
			b.tracker.Fail(persist.KeepRandom, false)
		}
		a.powerOff()
		b.powerOff()
		if x, y := images(t, a), images(t, b); !bytes.Equal(x, y) {
			t.Errorf("program %d: after the power failed the two machines' files differ", n)
		}
	}
	if struck < 10 {
		t.Errorf("the armed cut struck in %d programs: too few to tell", struck)
	}
}

// TestSaveOfAMachineThatIsOff: what is armed before power-on is saved.
func TestSaveOfAMachineThatIsOff(t *testing.T) {
	a, b := newMachine(t, nvdimm.Config{}), newMachine(t, nvdimm.Config{})
	a.plugNew()
	d := b.plugNew()
	a.tracker.Arm(Cut{Event: Store, Slot: Any, Nth: 1, Keep: persist.KeepNone})
	s, err := a.tracker.Save()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.tracker.Load(s, func(observe.Observer) error { return errors.New("attached to a machine that is off") }); err != nil {
		t.Fatal(err)
	}
	b.powerOn()
	b.store(d, 0, 1)
	if !b.tracker.Failed() || b.tracker.Blind() != nil {
		t.Errorf("a cut that was armed before power-on struck: %v, blind: %v", b.tracker.Failed(), b.tracker.Blind())
	}
}

// TestSaveWhileRecording: a journal is not saved.
func TestSaveWhileRecording(t *testing.T) {
	m := newMachine(t, nvdimm.Config{})
	m.plugNew()
	m.powerOn()
	r, err := m.tracker.Record()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.tracker.Save(); !errors.Is(err, ErrRecording) {
		t.Errorf("Save while a journal is recorded = %v, want ErrRecording", err)
	}
	r.End()
	if _, err := m.tracker.Save(); err != nil {
		t.Errorf("Save after the recording ended = %v", err)
	}
}

// TestLoadOfAnotherMachine: a state is for a machine with the same DIMMs.
func TestLoadOfAnotherMachine(t *testing.T) {
	a, b := newMachine(t, nvdimm.Config{}), newMachine(t, nvdimm.Config{})
	a.plugNew()
	a.powerOn()
	s, err := a.tracker.Save()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.tracker.Load(s, b.attach); err == nil || b.tracker.On() {
		t.Errorf("loading the state of a machine with other DIMMs = %v, and the machine is on: %v", err, b.tracker.On())
	}
}
