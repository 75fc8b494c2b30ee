package persist

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"nvlab/vmm/observe"
)

// side is a model and its memory, and whether it may note stores.
type side struct {
	model   *Model
	journal *Journal // nil for none
	mem     [2]Bytes
	notes   bool
}

func newSide(c Config, p Platform, most int, notes bool) *side {
	s := &side{model: NewModel(c), notes: notes}
	for i := range s.mem {
		s.mem[i] = make(Bytes, 32*LineSize)
		d := NewMedium("d", p, s.mem[i])
		d.most = most
		s.model.MapPart(1<<32, uint64(i)*16*LineSize, uint64(i+1)*16*LineSize, d, uint64(8*i)*LineSize)
	}
	return s
}

// store tells of a store as all models did that note nothing, if s may not.
func (s *side) store(e *observe.Store) {
	if s.journal != nil {
		s.journal.Store(e)
	}
	if s.notes {
		s.model.Store(e)
	} else {
		d, n := s.model.find(e.Base, e.Offset)
		s.model.store(d, n, e)
	}
	s.apply(e)
}

func (s *side) apply(e *observe.Store) {
	if d, n := s.model.find(e.Base, e.Offset); d != nil {
		apply(e, (*[LineSize]byte)(d.mem.Line(n)))
	}
}

// stream tells of stores after they were made, if s may note some.
func (s *side) stream(l []observe.Store) {
	if !s.notes {
		for i := range l {
			s.store(&l[i])
		}
		return
	}
	t := observe.Stream{At: l[0].At, Base: l[0].Base, Kind: l[0].Kind}
	for i := range l {
		e := &l[i]
		o := observe.Streamed{Seq: e.Seq, PC: e.PC, Offset: e.Offset, Value: e.Value, Group: e.Group}
		if d, n := s.model.find(e.Base, e.Offset); d != nil {
			o.Old = uint64At(d.mem.Line(n)[e.Offset%LineSize:])
		}
		t.Stores = append(t.Stores, o)
		s.apply(e)
	}
	if s.journal != nil {
		s.journal.Stream(&t)
	}
	s.model.Stream(&t)
}

// do does one random thing.
func (s *side) do(r *rand.Rand, seq *uint64) {
	*seq++
	at := observe.At{Seq: *seq, PC: r.Uint64N(5), CR3: r.Uint64N(2), VCPU: uint8(r.IntN(5) / 4), CPL: uint8(r.IntN(5)/4) * 3}
	offset := r.Uint64N(33*LineSize/8) * 8
	m := s.model
	switch r.IntN(12) {
	default: // upwards, mostly
		n, step := 1+r.IntN(30), 8+r.Uint64N(3)/2*64
		kind := observe.NonTemporal
		if r.IntN(4) == 0 {
			kind |= observe.Vector
		}
		late := r.IntN(2) == 0
		var list []observe.Store
		for i := range n {
			*seq += 1 + r.Uint64N(30)/29
			e := observe.Store{At: at, Base: 1 << 32, Offset: offset, Size: 8, Kind: kind, Value: r.Uint64(), Group: *seq}
			e.Seq, e.PC = *seq, at.PC+uint64(i%loopStores*7)
			if !late && r.IntN(20) == 0 {
				e.Size, e.Value = 4, e.Value>>32
			}
			list = append(list, e)
			if offset += step; r.IntN(20) == 0 {
				offset -= 2 * step
			}
			if offset >= 33*LineSize {
				break
			}
		}
		if late {
			s.stream(list)
			return
		}
		for i := range list {
			s.store(&list[i])
		}
	case 0:
		e := observe.Store{At: at, Base: 1 << 32, Offset: offset, Size: uint8(1 + r.IntN(8)), Value: r.Uint64() >> 56, Group: *seq}
		e.Kind = []observe.Kind{0, 0, 0, observe.Locked, observe.String, observe.Device, observe.ToUncached, observe.ToWriteThrough}[r.IntN(8)]
		s.store(&e)
	case 1:
		m.Flush(&observe.Flush{At: at, Base: 1 << 32, Offset: offset &^ (LineSize - 1), Op: observe.FlushOp(r.IntN(3))})
	case 2, 3, 4, 5:
		m.Fence(&observe.Fence{At: at, Order: 1 << r.IntN(9)})
	case 6:
		switch d := m.media[r.IntN(2)]; r.IntN(20) {
		case 0:
			m.Reset()
		case 1:
			m.Clean()
		case 2:
			d.Settle(r.Uint64N(16), 3)
		default:
			m.Hint(d)
		}
	}
}

// TestNotedStoresAreFollowed holds that a model which notes stores is at any
// moment the one that followed each at once, and so is what power failures leave.
func TestNotedStoresAreFollowed(t *testing.T) {
	t.Parallel()
	noted := 0
	for seed := range uint64(800) {
		r := rand.New(rand.NewPCG(seed, 0))
		c := Config{Explicit: r.IntN(2) == 0, Atomic16: r.IntN(2) == 0, IntelCLFLUSH: r.IntN(2) == 0}
		p := []Platform{ADR, ADR, ADR, EADR, EADR, Hints, Nothing, Requests}[r.IntN(8)]
		most := []int{maxUndecided, 400}[r.IntN(2)]
		one, other := newSide(c, p, most, true), newSide(c, p, most, false)
		a, b := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 1))
		var i, j uint64
		for range 40 {
			one.do(a, &i)
			other.do(b, &j)
			noted += len(one.model.noted.olds)
			if r.IntN(6) > 0 {
				continue
			}
			x, err := one.model.Save().MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			y, err := other.model.Save().MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(x, y) {
				t.Fatalf("seed %d: a model that notes stores of %v is another than one that follows them", seed, p)
			}
			for d := range one.mem {
				if !bytes.Equal(one.mem[d], other.mem[d]) {
					t.Fatalf("seed %d: to follow what was noted changes memory", seed)
				}
			}
		}
		one.model.Cut(KeepRandom, seed).Apply(one.model)
		other.model.Cut(KeepRandom, seed).Apply(other.model)
		for d := range one.mem {
			if !bytes.Equal(one.mem[d], other.mem[d]) {
				t.Fatalf("seed %d: a power failure leaves other bytes where stores were noted", seed)
			}
		}
	}
	if noted < 3000 {
		t.Errorf("%d stores were noted, which is too few to say anything", noted)
	}
}

func uint64At(b []byte) (v uint64) {
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

// TestStreamIsRecorded holds that a journal that was told of stores late is the
// one that was told of each in time.
func TestStreamIsRecorded(t *testing.T) {
	loops := 0
	for seed := range uint64(400) {
		one, other := newSide(Config{}, ADR, maxUndecided, true), newSide(Config{}, ADR, maxUndecided, false)
		for _, s := range []*side{one, other} {
			r, seq := rand.New(rand.NewPCG(seed, 2)), uint64(0)
			for n := range 30 {
				if n == 5 {
					j, err := s.model.Record(nil)
					if err != nil {
						t.Fatal(err)
					}
					s.journal = j
				}
				s.do(r, &seq)
			}
		}
		late, soon := one.journal, other.journal
		loops += soon.events.bytes - late.events.bytes
		var got, want event
		a, b := late.events.read(), soon.events.read()
		for i := range soon.Events() {
			if !a.next(&got) || !b.next(&want) || got != want {
				t.Fatalf("seed %d: event %d of a journal that was told of stores late is %+v, want %+v", seed, i, got, want)
			}
		}
		if a.next(&got) || late.Stores != soon.Stores || late.kinds != soon.kinds || late.cpus != soon.cpus {
			t.Fatalf("seed %d: a journal that was told of stores late has other events", seed)
		}
		if !bytes.Equal(late.originals(), soon.originals()) {
			t.Fatalf("seed %d: a journal that was told of stores late holds other lines", seed)
		}
	}
	if loops < 10_000 {
		t.Errorf("loops of stores made logs shorter by %d bytes, which is too few to say anything", loops)
	}
}

// originals are the lines that a journal keeps.
func (j *Journal) originals() (all []byte) {
	for _, o := range j.base {
		o.all(func(l *original) { all = append(all, l.bytes[:]...) })
	}
	return all
}
