package nvdimm

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/label"
)

// TestSavedRootGoesOn: a root that was loaded, by way of bytes, answers all that
// a guest asks and all that its machine asks as the root that was saved,
// wherever the guest was.
func TestSavedRootGoesOn(t *testing.T) {
	for n := range uint64(15) {
		r := rand.New(rand.NewPCG(n, 1))
		c := Config{Slots: 40, FlushHints: 2, HintBase: gib}
		a, b := newGuest(t, newRoot(t, c)), newGuest(t, newRoot(t, c))
		slots := r.Perm(40)[:30]
		for i, slot := range slots { // so many that a FIT is read in several calls
			p := PlugConfig{Backend: newRAM(t, 16*mib), Slot: &slot, Node: i % 2, Unarmed: i%5 == 4}
			if i < 3 {
				p.Identity = Identity{Serial: ptr(uint32(i)), Vendor: ptr[uint16](0), Handle: ptr(uint32(0x1000 + i))}
				p.ID, p.LabelSize, p.UUID = fmt.Sprintf("id-%d", i), label.MinSize, "66f0d379-b4f3-4074-ac43-0d3318b78cdb"
				p.Backend = newRAM(t, 16*mib+label.MinSize)
			}
			if i == 3 {
				p.Regions = 4
			}
			d := plug(t, a.Root, p)
			d.SetState(State{SaveFail: i%3 == 0, MapFail: i%7 == 6})
		}
		pair := []*DIMM{bySlot(a.Root, slots[11]), bySlot(a.Root, slots[9])} // on one node
		if err := a.Interleave(pair, 64*kib); err != nil {
			t.Fatal(err)
		}
		// use has a guest and its machine do things, and returns what they saw.
		use := func(g *guest, r *rand.Rand, n int) string {
			var saw strings.Builder
			for range n {
				switch r.IntN(9) {
				case 0:
					if _, err := g.Tables(testPage); err != nil {
						t.Fatal(err)
					}
				case 1:
					g.Hints().Write(uint64(r.IntN(40))*backend.PageSize, 8, 0)
				case 2:
					if r.IntN(4) == 0 {
						g.ReplaceFIT([][]byte{nil, {}, []byte("foreign")}[r.IntN(3)])
					}
				case 3:
					bySlot(g.Root, slots[r.IntN(30)]).SetState(State{NotArmed: r.IntN(2) == 0, FlushFail: true})
				case 4, 5, 6:
					off := []uint32{0, 4088, 8176}[r.IntN(3)]
					s, p := g.send(t, FITHandle, 1, FuncReadFIT, binary.LittleEndian.AppendUint32(nil, off))
					fmt.Fprintf(&saw, "%d %x\n", s, p)
				default:
					p := binary.LittleEndian.AppendUint32(nil, uint32(r.IntN(64)))
					s, p := g.send(t, uint32(0x1000+r.IntN(3)), 1, uint32(r.IntN(6)), append(p, 16, 0, 0, 0))
					fmt.Fprintf(&saw, "%d %x\n", s, p)
				}
			}
			return saw.String()
		}
		use(a, r, r.IntN(30))
		saved := throughGob(t, a.Save())
		backends := map[int]*backend.Backend{}
		for _, d := range a.DIMMs() {
			backends[d.Slot()] = newRAM(t, d.Backend().Size())
		}
		if err := b.Load(saved, backends); err != nil {
			t.Fatal(err)
		}
		if again := b.Save(); !reflect.DeepEqual(again, saved) {
			t.Fatalf("program %d: the state that was loaded is saved as another:\n%+v\n%+v", n, again, saved)
		}
		seed := r.Uint64()
		if x, y := use(a, rand.New(rand.NewPCG(seed, 1)), 40), use(b, rand.New(rand.NewPCG(seed, 1)), 40); x != y {
			t.Errorf("program %d: the guest of the root that was loaded sees\n%s, the other's\n%s", n, y, x)
		}
		tables, err := a.Tables(testPage)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := b.Tables(testPage); err != nil || !reflect.DeepEqual(other, tables) {
			t.Errorf("program %d: the tables of the root that was loaded are others (%v)", n, err)
		}
		mem := make([]byte, 16*mib)
		for i, d := range a.DIMMs() {
			o := b.DIMMs()[i]
			if o.Backend() != backends[d.Slot()] || o.FlushHintWrites() != d.FlushHintWrites() || o.UUID() != d.UUID() || !reflect.DeepEqual(addresses(o, mem), addresses(d, mem)) {
				t.Errorf("program %d: DIMM %s is loaded as another", n, d.ID())
			}
		}
	}
}

// throughGob encodes and decodes a state.
func throughGob[T any](t testing.TB, s *T) *T {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(s); err != nil {
		t.Fatal(err)
	}
	n := new(T)
	if err := gob.NewDecoder(&b).Decode(n); err != nil {
		t.Fatal(err)
	}
	return n
}

// addresses are where a DIMM's memory is.
func addresses(d *DIMM, mem []byte) (list []uint64) {
	for _, p := range d.Pieces(mem) {
		list = append(list, p.Addr, uint64(len(p.Mem)))
	}
	return list
}

func bySlot(r *Root, slot int) *DIMM {
	for _, d := range r.DIMMs() {
		if d.Slot() == slot {
			return d
		}
	}
	return nil
}

// TestLoadInPlace: DIMMs that are there before and after stay what they are, and
// mapped; one that came later is gone.
func TestLoadInPlace(t *testing.T) {
	r := newRoot(t, Config{})
	first := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
	mapped(t, first)
	s := r.Save()
	later := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib)})
	if err := r.Load(s, map[int]*backend.Backend{0: first.Backend()}); err != nil {
		t.Fatal(err)
	}
	if list := r.DIMMs(); len(list) != 1 || list[0] != first || first.mapped == nil {
		t.Errorf("after Load the root has %v, want the DIMM that was there, mapped", list)
	}
	if d := plug(t, r, PlugConfig{Backend: later.Backend()}); d.Slot() != 1 || d.Addr() != later.Addr() {
		t.Errorf("the next DIMM is in slot %d at %#x, want where one was before Load: 1 at %#x", d.Slot(), d.Addr(), later.Addr())
	}
}

func TestLoadRefuses(t *testing.T) {
	r := newRoot(t, Config{})
	kept := plug(t, r, PlugConfig{Backend: newRAM(t, 4*mib), ID: "kept"})
	ok := DIMMState{ID: "d", Slot: 1, Size: 4 * mib}
	b := newRAM(t, 4*mib)
	for _, c := range []struct {
		state    RootState
		backends map[int]*backend.Backend
		want     string
	}{
		{RootState{DIMMs: []DIMMState{ok}}, nil, "a state with DIMM d in slot 1: there is no backend for it"},
		{RootState{DIMMs: []DIMMState{{Slot: 4}}}, nil, "a state with a DIMM in slot 4: the machine has 4 slots"},
		{RootState{DIMMs: []DIMMState{{ID: "d", Slot: 1, Size: 4 * mib, LabelSize: label.MinSize}}}, map[int]*backend.Backend{1: b}, "a state with DIMM d of 0x400000 and 0x20000 bytes: its backend memory-backend-ram has 0x400000"},
		{RootState{DIMMs: []DIMMState{ok}, Sets: []SetState{{Slots: []int{1, 2}}}}, map[int]*backend.Backend{1: b}, "a state with an interleave set of DIMMs that are not there, or in another"},
	} {
		if err := r.Load(&c.state, c.backends); err == nil || err.Error() != c.want {
			t.Errorf("Load = %v, want %s", err, c.want)
		}
		if list := r.DIMMs(); len(list) != 1 || list[0] != kept || kept.ID() != "kept" {
			t.Errorf("a state that is refused changed the root: it has %v", list)
		}
	}
}
