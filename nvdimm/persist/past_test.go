package persist

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"nvlab/vmm/observe"
)

// pastMachine is a machine whose memory is small, and its past.
type pastMachine struct {
	model *Model
	mem   Bytes
	past  *Past
}

func newPastMachine() *pastMachine {
	m := &pastMachine{model: NewModel(Config{}), mem: make(Bytes, 16*LineSize), past: &Past{}}
	m.model.Map(1<<32, NewMedium("d", ADR, m.mem), 0)
	return m
}

// do does n random things.
func (m *pastMachine) do(r *rand.Rand, n int) {
	for range n {
		at := observe.At{VCPU: uint8(r.IntN(2))}
		offset := r.Uint64N(uint64(len(m.mem))/8) * 8
		switch r.IntN(8) {
		default:
			e := observe.Store{At: at, Base: 1 << 32, Offset: offset, Size: 8, Value: r.Uint64(), Group: r.Uint64()}
			if r.IntN(2) == 0 {
				e.Kind = observe.NonTemporal
			}
			m.past.Store(m.model, &e)
			m.model.Store(&e)
			apply(&e, (*[LineSize]byte)(m.mem.Line(offset/LineSize)))
		case 0:
			e := observe.Flush{At: at, Base: 1 << 32, Offset: offset &^ (LineSize - 1), Op: observe.CLWB}
			m.past.Flush(m.model, &e)
			m.model.Flush(&e)
		case 1:
			e := observe.Fence{At: at, Order: observe.SFENCE}
			m.past.Fence(&e)
			m.model.Fence(&e)
		}
	}
}

func (m *pastMachine) state(t *testing.T, platform Platform) []byte {
	t.Helper()
	b, err := m.past.Model(m.model, []*Medium{NewMedium("d", platform, m.mem)}).Save().MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPastIsAModel holds that the model which is made of a past is the one that
// followed it.
func TestPastIsAModel(t *testing.T) {
	for seed := range uint64(200) {
		m, r := newPastMachine(), rand.New(rand.NewPCG(seed, 0))
		m.do(r, r.IntN(200))
		want, err := m.model.Save().MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(m.mem)
		if got := m.state(t, ADR); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: the model of the past is another than the one that followed it", seed)
		}
		if !bytes.Equal(m.mem, before) {
			t.Fatalf("seed %d: to make a model changes the memory", seed)
		}
	}
}

// TestPastForgets holds that what a past keeps depends on the events alone, and
// not on when it was saved, loaded or asked.
func TestPastForgets(t *testing.T) {
	t.Parallel()
	one, other := newPastMachine(), newPastMachine()
	a, b, when := rand.New(rand.NewPCG(1, 0)), rand.New(rand.NewPCG(1, 0)), rand.New(rand.NewPCG(2, 0))
	for range 40 {
		one.do(a, 1000)
		for left := 1000; left > 0; {
			n := min(left, 1+when.IntN(700))
			other.do(b, n)
			left -= n
			other.state(t, Hints)
			text, err := other.past.Clone().MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			other.past = &Past{}
			if err := other.past.UnmarshalBinary(text); err != nil {
				t.Fatal(err)
			}
		}
		if x, y := one.state(t, Hints), other.state(t, Hints); !bytes.Equal(x, y) || one.past.Forgotten() != other.past.Forgotten() {
			t.Fatalf("a past that was saved forgot %d stores, one that was not %d, and they come to the same: %v", other.past.Forgotten(), one.past.Forgotten(), bytes.Equal(x, y))
		}
	}
	if n := one.past.Forgotten(); n == 0 || one.past.older.n != pastPart || one.past.newer.n > pastPart {
		t.Errorf("after 40,000 events %d stores are forgotten, and %d and %d stores and flushes kept, want %d and no more", n, one.past.older.n, one.past.newer.n, pastPart)
	}
}

// TestPastSum holds that the sum of a past is that of its bytes, whenever it was
// asked before, and of clones that went on apart.
func TestPastSum(t *testing.T) {
	t.Parallel()
	m, r := newPastMachine(), rand.New(rand.NewPCG(4, 0))
	of := map[[32]byte]string{}
	check := func(p *Past) {
		t.Helper()
		text, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		fresh := &Past{}
		if err := fresh.UnmarshalBinary(text); err != nil {
			t.Fatal(err)
		}
		sum := p.Sum()
		if again := fresh.Sum(); sum != again {
			t.Fatalf("the sum of a past that went on is %x, of its bytes alone %x", sum, again)
		}
		if had, ok := of[sum]; ok && had != string(text) {
			t.Fatalf("two pasts have the sum %x", sum)
		}
		of[sum] = string(text)
	}
	for range 60 {
		m.do(r, 1+r.IntN(900))
		if r.IntN(2) == 0 {
			check(m.past)
		}
		its := m.past
		m.past = its.Clone()
		m.do(r, r.IntN(20))
		check(m.past)
		m.past = its
	}
	check(m.past)
	if len(of) < 70 || m.past.Forgotten() == 0 {
		t.Errorf("%d pasts were seen, and %d stores forgotten", len(of), m.past.Forgotten())
	}
}

// TestPastOfFences: fences alone do not make a past forget, nor grow without end.
func TestPastOfFences(t *testing.T) {
	m, r := newPastMachine(), rand.New(rand.NewPCG(6, 0))
	m.do(r, 100)
	stores := len(m.past.newer.stores)
	for i := range 10 * pastPart {
		m.past.Fence(&observe.Fence{At: observe.At{VCPU: uint8(i % 8)}, Order: []observe.Order{observe.SFENCE, observe.Lock, observe.Exception}[i%3]})
	}
	m.do(r, 100)
	if len(m.past.newer.stores) <= stores || m.past.Forgotten() != 0 || len(m.past.older.events) != 0 {
		t.Errorf("of a past of %d stores, many fences and some more stores %d stores are left, and %d forgotten", stores, len(m.past.newer.stores), m.past.Forgotten())
	}
	if n := len(m.past.newer.events); n > 1000 {
		t.Errorf("a past of some 200 events and many fences keeps %d events", n)
	}
}

// FuzzPast reads pasts from bytes: what is read can be followed.
func FuzzPast(f *testing.F) {
	m := newPastMachine()
	m.do(rand.New(rand.NewPCG(3, 0)), 50)
	text, err := m.past.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(pastMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Past
		if p.UnmarshalBinary(b) != nil || !p.Fits(16) {
			return
		}
		m := newPastMachine()
		m.past = &p
		m.state(t, Hints)
		again, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var q Past
		if err := q.UnmarshalBinary(again); err != nil {
			t.Fatalf("what was read and written again is not read: %v", err)
		}
	})
}

// BenchmarkPast is what it costs to note a store.
func BenchmarkPast(b *testing.B) {
	m := newPastMachine()
	e := observe.Store{Base: 1 << 32, Size: 8, Kind: observe.NonTemporal}
	for i := range b.N {
		e.Offset, e.Group = uint64(i*8)%uint64(len(m.mem)), uint64(i)
		m.past.Store(m.model, &e)
	}
}

// TestPastsAreAlike: that fences in a row are told as one, or that some have nothing
// before them, is no difference; that a CPU fences elsewhere, or a store is another
// one, is.
func TestPastsAreAlike(t *testing.T) {
	type step struct {
		fence  observe.Order
		cpu    uint8
		offset uint64
	}
	of := func(steps ...step) *Past {
		m := newPastMachine()
		for i, s := range steps {
			at := observe.At{VCPU: s.cpu, Seq: uint64(i)}
			if s.fence != 0 {
				m.past.Fence(&observe.Fence{At: at, Order: s.fence})
				continue
			}
			at.Seq = s.offset
			m.past.Store(m.model, &observe.Store{At: at, Base: 1 << 32, Offset: s.offset, Size: 8, Value: 1, Group: s.offset})
		}
		return m.past
	}
	const lock, sfence, interrupt = observe.Lock, observe.SFENCE, observe.Interrupt | observe.Uncached | observe.Exception
	want := of(step{}, step{offset: 8}, step{fence: lock}, step{fence: sfence}, step{offset: 16}, step{fence: lock, cpu: 1}, step{fence: lock})
	for _, c := range []struct {
		what  string
		past  *Past
		alike bool
	}{
		{"fences in a row told as one", of(step{}, step{offset: 8}, step{fence: lock | sfence}, step{offset: 16}, step{fence: lock}, step{fence: lock, cpu: 1}), true},
		{"a fence before all stores", of(step{fence: sfence}, step{}, step{offset: 8}, step{fence: sfence}, step{fence: lock}, step{offset: 16}, step{fence: lock}, step{fence: lock, cpu: 1}), true},
		{"an interrupt before LOCK", of(step{}, step{offset: 8}, step{fence: interrupt | lock | sfence}, step{offset: 16}, step{fence: lock}, step{fence: interrupt, cpu: 1}, step{fence: lock, cpu: 1}), true},
		{"an interrupt in place of LOCK", of(step{}, step{offset: 8}, step{fence: lock | sfence}, step{offset: 16}, step{fence: lock}, step{fence: interrupt, cpu: 1}), false},
		{"a fence less", of(step{}, step{offset: 8}, step{fence: lock}, step{offset: 16}, step{fence: lock}, step{fence: lock, cpu: 1}), false},
		{"a fence between stores of a run", of(step{}, step{fence: lock}, step{offset: 8}, step{fence: lock | sfence}, step{offset: 16}, step{fence: lock}, step{fence: lock, cpu: 1}), false},
		{"a fence of another CPU", of(step{}, step{offset: 8}, step{fence: lock | sfence, cpu: 1}, step{offset: 16}, step{fence: lock}, step{fence: lock, cpu: 1}), false},
		{"no fence at the end", of(step{}, step{offset: 8}, step{fence: lock | sfence}, step{offset: 16}), false},
		{"another store", of(step{}, step{offset: 24}, step{fence: lock | sfence}, step{offset: 16}, step{fence: lock}, step{fence: lock, cpu: 1}), false},
	} {
		if got := c.past.Alike(want); got != c.alike {
			t.Errorf("with %s, pasts are alike: %v, want %v", c.what, got, c.alike)
		}
	}
}
