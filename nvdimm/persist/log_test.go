package persist

import (
	"math/rand/v2"
	"testing"

	"nvlab/vmm/observe"
)

// randomEvent is like those of a guest, with what is rare now and then.
func randomEvent(r *rand.Rand, last event) event {
	e := event{what: What(r.IntN(int(AtEnd)))}
	e.At = last.At
	e.Seq += uint64(r.IntN(100))
	e.PC += uint64(r.IntN(64)) - 32
	if r.IntN(16) == 0 {
		e.At = observe.At{Seq: last.Seq, PC: r.Uint64(), CR3: r.Uint64(), VCPU: uint8(r.IntN(8)), CPL: uint8(r.IntN(2) * 3)}
	}
	e.process = uint32(r.IntN(16) / 15)
	switch e.what {
	case AtStore:
		e.Offset, e.Size = r.Uint64()>>r.IntN(64)&^7, uint8(1+r.IntN(8))
		e.Offset += uint64(r.IntN(9 - int(e.Size)))
		e.Base, e.Group = uint64(r.IntN(2))<<32, last.Group+uint64(r.IntN(3)/2)
		e.Kind = observe.Kind(r.IntN(32))
		e.Value = r.Uint64() & (1<<(8*e.Size-1)<<1 - 1)
	case AtFlush:
		e.Offset, e.Size, e.flush = r.Uint64()>>r.IntN(64)&^63, LineSize, observe.FlushOp(r.IntN(3))
		e.Base = uint64(r.IntN(2)) << 32
	case AtHint, AtLabel:
		e.Offset, e.number = r.Uint64()>>r.IntN(64), int32(r.IntN(1000))
	case AtFence, AtOrder:
		e.order = observe.Order(r.IntN(256))
	}
	return e
}

// randomLoop adds stores of a loop to a log, by the CPU of the event before or another.
func randomLoop(r *rand.Rand, l *log, last event) (list []event) {
	s := observe.Stream{At: last.At, Base: uint64(r.IntN(2)) << 32, Kind: observe.NonTemporal}
	s.VCPU += uint8(r.IntN(4) / 3)
	s.Seq += uint64(r.IntN(100))
	offset, group := r.Uint64()>>r.IntN(64)&^7, r.Uint64()>>r.IntN(64)
	pc := [loopStores]uint64{r.Uint64(), s.PC, s.PC + 5, s.PC - 10}
	process := uint32(r.IntN(16) / 15)
	for i := range minLoop + r.IntN(600) {
		o := observe.Streamed{Seq: s.Seq + uint64(i+i/loopStores*3), PC: pc[i%loopStores], Offset: offset + uint64(8*i), Value: r.Uint64()}
		o.Group = group + o.Seq
		s.Stores = append(s.Stores, o)
		e := event{what: AtStore, Store: s.Store(i), process: process}
		list = append(list, e)
	}
	if n := loopOf(s.Stores); n != len(s.Stores) {
		panic("these stores are a loop")
	}
	l.loop(&s, s.Stores, process)
	return list
}

// TestLog: events come back as they were put in, and an order that was added
// to the last.
func TestLog(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var l log
	var list []event
	var last event
	for range 200_000 {
		e := randomEvent(r, last)
		l.add(&e)
		if e.what == AtOrder && r.IntN(2) == 0 {
			l.orders(observe.WBINVD)
			e.order |= observe.WBINVD
		}
		if e.what == AtStore {
			last.Group = e.Group
		}
		last.At = e.At
		list = append(list, e)
		if r.IntN(50) == 0 {
			list = append(list, randomLoop(r, &l, e)...)
			last = list[len(list)-1]
		}
	}
	if len(l.pieces) < 2 {
		t.Errorf("%d events fill %d pieces, want several", l.n, len(l.pieces))
	}
	var got event
	c := l.read()
	for i, want := range list {
		if !c.next(&got) || got != want {
			t.Fatalf("event %d is %+v, want %+v", i, got, want)
		}
	}
	if c.next(&got) || c.bad {
		t.Error("the log does not end where it ends")
	}
}

// FuzzLoad reads journals that may be damaged, and looks at their states.
func FuzzLoad(f *testing.F) {
	mem := make(Bytes, 4096)
	m := NewModel(Config{})
	m.Map(1<<32, NewMedium("nvdimm1", ADR, mem), 0)
	j, err := m.Record([]*Labels{{Name: "nvdimm1", Read: func() ([]byte, error) { return make([]byte, 256), nil }}})
	if err != nil {
		f.Fatal(err)
	}
	j.Store(&observe.Store{Base: 1 << 32, Offset: 8, Value: 7, Size: 8, Group: 1})
	stream := observe.Stream{Base: 1 << 32, Kind: observe.NonTemporal}
	for i := range uint64(2 * minLoop) {
		stream.Stores = append(stream.Stores, observe.Streamed{Seq: i, PC: i % loopStores, Offset: 512 + 8*i, Value: i, Group: i})
	}
	j.Stream(&stream)
	j.Flush(&observe.Flush{Base: 1 << 32, Op: observe.CLWB})
	j.Fence(&observe.Fence{Order: observe.SFENCE})
	j.Label(0, 16, []byte("0123456789abcdef"), observe.At{})
	j.Hint(m.media[0], observe.At{})
	saved, err := j.Save()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(saved)
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := Load(b)
		if err != nil {
			return
		}
		s := Search{At: AtFence, Limit: 50}
		for state := range s.States(j) {
			if _, err := j.Find(state.ID); err != nil {
				t.Errorf("Find(%s): %v", state.ID, err)
			}
			state.Image()
		}
		j.Missing()
		j.Entries(10)
	})
}

// TestJournalOutlivesItsMachine: what is plugged or forgotten after a journal
// was recorded does not change it.
func TestJournalOutlivesItsMachine(t *testing.T) {
	m := NewModel(Config{})
	d := NewMedium("nvdimm1", Hints, make(Bytes, 4096))
	m.Map(1<<32, d, 0)
	j, err := m.Record(nil)
	if err != nil {
		t.Fatal(err)
	}
	j.Store(&observe.Store{Base: 1 << 32, Offset: 8, Value: 7, Size: 8, Group: 1})
	j.Hint(d, observe.At{})
	want := j.Entries(0)
	m.UnmapAll()
	late := NewMedium("nvdimm2", ADR, make(Bytes, 4096))
	m.Map(2<<32, late, 0)
	m.Map(1<<32, d, 0)
	j.Store(&observe.Store{Base: 2 << 32, Offset: 8, Value: 7, Size: 8, Group: 2}) // of no medium that it knows
	j.Hint(late, observe.At{})
	s := Search{At: AtEnd}
	n := 0
	for state := range s.States(j) {
		lines, _ := state.Image()
		if len(lines) != 1 || lines[0].Medium != d {
			t.Errorf("state %s has %d lines, want one of the first medium", state.ID, len(lines))
		}
		n++
	}
	got := j.Entries(0)
	if n != 2 || len(want) != 2 || len(got) < 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%d states, events %v, want 2 and %v", n, got, want)
	}
}

// TestJournalIsBounded: what does not fit is counted, and the journal stays
// one.
func TestJournalIsBounded(t *testing.T) {
	m := NewModel(Config{})
	m.Map(0, NewMedium("nvdimm1", ADR, make(Bytes, 4096)), 0)
	j, err := m.Record(nil)
	if err != nil {
		t.Fatal(err)
	}
	j.Store(&observe.Store{Value: 7, Size: 8, Group: 1})
	j.events.bytes = maxBytes
	j.Store(&observe.Store{Value: 8, Size: 8, Group: 2})
	j.Flush(&observe.Flush{Op: observe.CLWB})
	if j.Dropped != 2 || j.Stores != 1 || j.Flushes != 0 || len(j.Entries(0)) != 1 {
		t.Errorf("a full journal dropped %d events and has %d stores, %d flushes, %d entries; want 2, 1, 0, 1", j.Dropped, j.Stores, j.Flushes, len(j.Entries(0)))
	}
}
