package persist

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"nvlab/vmm/observe"
)

// A follower is a model with the memory that it follows.
type follower struct {
	*Model
	mem [2]Bytes
}

const followedLines = 5 // of each medium

func followedBase(medium int) uint64 { return uint64(medium+1) << 32 }

func newFollower(c Config, platforms [2]Platform, most int) *follower {
	f := &follower{Model: NewModel(c)}
	for i := range f.mem {
		f.mem[i] = make(Bytes, followedLines*LineSize)
		d := NewMedium(fmt.Sprintf("nvdimm%d", i), platforms[i], f.mem[i])
		d.most = most
		f.Map(followedBase(i), d, 0)
	}
	return f
}

// fork is a follower that goes on from a state, with a copy of memory.
func (f *follower) fork(s *ModelState) *follower {
	n := &follower{}
	for i := range f.mem {
		n.mem[i] = slices.Clone(f.mem[i])
	}
	n.Model = s.Model(n.mem[0], n.mem[1])
	return n
}

func (f *follower) tell(e any) {
	switch e := e.(type) {
	case observe.Store:
		f.Store(&e)
		p := f.mem[e.Base>>32-1][e.Offset:]
		copy(p[:e.Size], binary.LittleEndian.AppendUint64(nil, e.Value))
	case observe.Flush:
		f.Flush(&e)
	case observe.Fence:
		f.Fence(&e)
	case int:
		f.Hint(f.media[e])
	}
}

// randomEvents are what two CPUs do, in the kernel and in programs.
func randomEvents(r *rand.Rand, first uint64, n int) (list []any) {
	at := func() observe.At {
		return observe.At{Seq: first + uint64(len(list)), PC: r.Uint64N(9), CR3: r.Uint64N(3), VCPU: uint8(r.IntN(2)), CPL: uint8(r.IntN(2) * 3)}
	}
	for group := first; len(list) < n; group++ {
		e := observe.Store{At: at(), Base: followedBase(r.IntN(2)), Group: group, Size: 8}
		e.Offset = uint64(r.IntN(followedLines*LineSize/8-8)) * 8
		switch r.IntN(12) {
		case 0, 1:
			e.Size = 1 << r.IntN(4)
			e.Offset += uint64(r.IntN(9 - int(e.Size)))
			e.Value = r.Uint64() >> (64 - 8*e.Size)
			list = append(list, e)
		case 2:
			e.Kind, e.Value = observe.NonTemporal, r.Uint64()
			list = append(list, e)
		case 3:
			e.Kind = []observe.Kind{observe.Device, observe.ToUncached, observe.ToWriteThrough}[r.IntN(3)]
			e.Value = r.Uint64()
			list = append(list, e)
		case 4, 5: // an instruction of several stores
			e.Kind = []observe.Kind{observe.Locked, observe.Vector, observe.Vector | observe.NonTemporal, observe.String}[r.IntN(4)]
			if e.Kind != observe.String {
				e.Offset &^= 15
			}
			parts := 2
			if e.Kind == observe.String {
				parts = 1 + r.IntN(8)
			}
			for range parts {
				e.Value = r.Uint64()
				list = append(list, e)
				e.Offset += 8
			}
		case 6, 7, 8:
			list = append(list, observe.Flush{At: e.At, Base: e.Base, Offset: e.Offset &^ (LineSize - 1), Op: observe.FlushOp(r.IntN(3))})
		case 9:
			list = append(list, r.IntN(2))
		default:
			orders := []observe.Order{observe.SFENCE, observe.MFENCE, observe.Lock, observe.Serializing, observe.Uncached, observe.Interrupt, observe.WBINVD}
			list = append(list, observe.Fence{At: e.At, Order: orders[r.IntN(len(orders))]})
		}
	}
	return list
}

// left is what power cuts leave of a follower, as text, and what it says of
// itself.
func left(t *testing.T, f *follower) string {
	t.Helper()
	var b strings.Builder
	saved, err := f.Save().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "state %x\n", saved)
	j, err := f.fork(f.Save()).Record(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Save().media[0].ops)+len(f.Save().media[1].ops) < 25 {
		search := Search{At: AtEnd, Limit: 20}
		for s := range search.States(j) {
			fmt.Fprintln(&b, "crash state", s.ID)
		}
	}
	for keep := KeepNone; keep <= KeepRandom; keep++ {
		for seed := range uint64(2) {
			f := f.fork(f.Save())
			c := f.Cut(keep, seed)
			for _, ops := range [][]Op{c.Kept, c.Lost} {
				for _, o := range ops {
					i := slices.Index(f.media, o.Medium)
					o.Medium = nil
					fmt.Fprintf(&b, "%d %+v\n", i, o)
				}
			}
			c.Apply(f.Model)
			fmt.Fprintf(&b, "keep %d: %x %x\n", keep, f.mem[0], f.mem[1])
		}
	}
	return b.String()
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%s\nwant\n%s", a[i], b[i])
		}
	}
	return "one has more lines than the other"
}

// TestSavedModelGoesOn: a model that goes on from a state, also from its bytes,
// and the one that was saved are as one that was not, whatever comes; and
// neither sees what the other is told.
func TestSavedModelGoesOn(t *testing.T) {
	t.Parallel()
	for n := range uint64(80) {
		r := rand.New(rand.NewPCG(n, 2))
		c := Config{Explicit: r.IntN(2) == 0, Atomic16: r.IntN(2) == 0, IntelCLFLUSH: r.IntN(2) == 0}
		platforms := [2]Platform{Platform(r.IntN(4)), Platform(r.IntN(4))}
		most := []int{maxUndecided, 60}[r.IntN(2)] // many, or so few that the oldest are written back
		before, after, other := randomEvents(r, 1, r.IntN(60)), randomEvents(r, 1000, 40), randomEvents(r, 2000, 40)
		if r.IntN(4) == 0 {
			before = randomEvents(r, 1, 600) // more than a line holds
		}
		never, saved := newFollower(c, platforms, most), newFollower(c, platforms, most)
		for _, e := range before {
			never.tell(e)
			saved.tell(e)
		}
		state := saved.Save()
		as, err := state.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var read ModelState
		if err := read.UnmarshalBinary(as); err != nil {
			t.Fatalf("program %d: %v", n, err)
		}
		if !reflect.DeepEqual(&read, state) {
			t.Fatalf("program %d: a state read from its bytes is another", n)
		}
		copied, elsewhere, again := saved.fork(&read), saved.fork(state), saved.fork(state)
		for _, e := range other {
			elsewhere.tell(e)
		}
		for _, e := range after {
			saved.tell(e)
		}
		for _, e := range after {
			copied.tell(e)
			never.tell(e)
		}
		want := left(t, never)
		for _, f := range []struct {
			what string
			*follower
		}{{"was saved", saved}, {"goes on from the state", copied}} {
			if got := left(t, f.follower); got != want {
				t.Fatalf("program %d: a model that %s leaves another:\n%s", n, f.what, firstDifference(got, want))
			}
		}
		for _, e := range other {
			again.tell(e)
		}
		if left(t, elsewhere) != left(t, again) {
			t.Fatalf("program %d: of two models that go on from one state, the one that ran first and with others is not as the second", n)
		}
		if now, _ := state.MarshalBinary(); !bytes.Equal(now, as) {
			t.Fatalf("program %d: a state changed while models went on from it", n)
		}
	}
}

// FuzzModelState reads states that may be damaged, and goes on from them.
func FuzzModelState(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 3))
	for _, p := range []Platform{ADR, EADR, Hints} {
		m := newFollower(Config{IntelCLFLUSH: true}, [2]Platform{p, p}, maxUndecided)
		for _, e := range randomEvents(r, 1, 30) {
			m.tell(e)
		}
		saved, err := m.Save().MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(saved)
	}
	f.Add([]byte(stateMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s ModelState
		if s.UnmarshalBinary(b) != nil {
			return
		}
		m := s.Model()
		for _, e := range randomEvents(rand.New(rand.NewPCG(1, 4)), 1<<20, 20) {
			switch e := e.(type) {
			case observe.Fence:
				m.Fence(&e)
			case observe.Flush:
				m.Flush(&e)
			}
		}
		m.Cut(KeepRandom, 1)
		if _, err := m.Save().MarshalBinary(); err != nil {
			t.Error(err)
		}
	})
}

// TestEveryFieldIsEncoded fills a state, sets one field to another value at a
// time, and wants other bytes.
func TestEveryFieldIsEncoded(t *testing.T) {
	s := &ModelState{
		media: []mediumState{{lines: []lineState{{ops: 1}}, ops: []op{{}}}},
		maps:  []mapState{{}},
		cpus:  []cpuState{{wb: []flushState{{}}, clf: []flushState{{}}, nt: []runState{{}}, parts: []partState{{}}, hinted: []int{0}}},
	}
	bytesOf := func() string {
		b, err := s.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	plain := bytesOf()
	n := 0
	var visit func(path string, v reflect.Value)
	visit = func(path string, v reflect.Value) {
		v = reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem() // so that it can be set
		changed := func(to any) {
			old := reflect.New(v.Type()).Elem()
			old.Set(v)
			v.Set(reflect.ValueOf(to).Convert(v.Type()))
			if n++; bytesOf() == plain {
				t.Errorf("two states that differ in %s have the same bytes", path)
			}
			v.Set(old)
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				visit(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				visit(path, v.Index(i))
			}
		case reflect.Bool:
			changed(true)
		case reflect.String:
			changed("x")
		default:
			changed(3)
		}
	}
	visit("ModelState", reflect.ValueOf(s).Elem())
	if n < 90 {
		t.Errorf("%d fields were set: is a list empty?", n)
	}
}

// ext4 is a model as mkfs, mount and a few files leave it: the last seconds'
// stores, most of them non-temporal and flushed.
func ext4(t testing.TB) *follower {
	const size = 64 << 20
	f := &follower{Model: NewModel(Config{})}
	f.mem[0] = make(Bytes, size)
	f.Map(followedBase(0), NewMedium("nvdimm0", ADR, f.mem[0]), 0)
	r := rand.New(rand.NewPCG(1, 5))
	for k := range uint64(1500) {
		off := uint64(r.IntN(size/LineSize)) * LineSize
		for i := range uint64(8) {
			f.tell(observe.Store{Base: followedBase(0), Offset: off + 8*i, Size: 8, Value: k, Group: 8*k + i})
		}
	}
	return f
}

func BenchmarkSave(b *testing.B) {
	f := ext4(b)
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			f.Save()
		}
	})
	s := f.Save()
	b.Run("model", func(b *testing.B) {
		for b.Loop() {
			s.Model(f.mem[0])
		}
	})
	b.Run("bytes", func(b *testing.B) {
		n := 0
		for b.Loop() {
			p, _ := s.MarshalBinary()
			n = len(p)
		}
		b.ReportMetric(float64(n), "bytes")
	})
}

// TestStateOn: a state goes onto other media as long as neither it nor they tell of what was
// stored or ordered.
func TestStateOn(t *testing.T) {
	mapped := func(names ...string) *Model {
		m := NewModel(Config{})
		for i, name := range names {
			m.Map(uint64(i+1)<<32, NewMedium(name, ADR, make(Bytes, LineSize)), 0)
		}
		return m
	}
	fence := &observe.Fence{At: observe.At{Seq: 7, VCPU: 1}, Order: observe.SFENCE}
	ordered := mapped("one")
	ordered.Fence(fence)
	stored := mapped("one")
	stored.Store(&observe.Store{At: observe.At{Seq: 7}, Base: 1 << 32, Value: 1, Size: 8})

	want := mapped("two", "three")
	want.Fence(fence)
	got, ok := ordered.Save().On(mapped("two", "three").Save())
	if !ok || !reflect.DeepEqual(got, want.Save()) {
		t.Errorf("after a fence, on two media: %+v, %v, want %+v", got, ok, want.Save())
	}
	if _, ok := stored.Save().On(mapped("two").Save()); ok {
		t.Error("a state with an undecided store goes onto other media")
	}
	if _, ok := mapped("one").Save().On(stored.Save()); ok {
		t.Error("a state goes onto media that were stored to")
	}
	if _, ok := mapped("one").Save().On(ordered.Save()); ok {
		t.Error("a state goes onto the media of one whose processors were told of")
	}
}
