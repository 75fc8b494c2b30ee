package explore

import (
	"reflect"
	"testing"

	"nvlab/vmm/observe"
)

// A machine with loads drives a Reads by events, as an engine does.
type fakeEngine struct {
	watch *observe.Watch
	to    observe.LoadObserver
}

func (f *fakeEngine) WatchLoads(w *observe.Watch, o observe.LoadObserver) error {
	f.watch, f.to = w, o
	return nil
}

// load tells of what is watched of an access, and stops where it is told to.
func (f *fakeEngine) load(base, offset uint64, size int) {
	for size > 0 {
		n := min(size, int(LineSize-offset%LineSize))
		if f.watch.Has(base + offset) {
			if f.to.Load(&observe.Load{Base: base, Offset: offset, Size: uint8(n)}) {
				f.watch.Drop(base + offset)
			}
		}
		offset, size = offset+uint64(n), size-n
	}
}

var _ observe.LoadWatcher = (*fakeEngine)(nil)

// TestReads: what is read before it is overwritten, byte by byte.
func TestReads(t *testing.T) {
	const base = 0x10000
	type access struct {
		store  bool
		offset uint64
		size   int
	}
	load := func(offset uint64, size int) access { return access{false, offset, size} }
	store := func(offset uint64, size int) access { return access{true, offset, size} }
	for _, tt := range []struct {
		name string
		what []access
		want []Read
	}{
		{"nothing", nil, nil},
		{"a byte", []access{load(3, 1)}, []Read{{Line: 0, Bytes: 8}}},
		{"a whole line", []access{load(64, 64)}, []Read{{Line: 1, Bytes: AllBytes}}},
		{"two lines", []access{load(60, 8)}, []Read{{Line: 0, Bytes: 0xf << 60}, {Line: 1, Bytes: 0xf}}},
		{"the same bytes twice", []access{load(0, 8), load(0, 8)}, []Read{{Line: 0, Bytes: 0xff}}},
		{"more bytes later", []access{load(0, 4), load(2, 4)}, []Read{{Line: 0, Bytes: 0xf}, {Line: 0, Bytes: 0x30}}},
		{"in the order of the first reads", []access{load(64, 1), load(0, 1), load(65, 1)}, []Read{{Line: 1, Bytes: 1}, {Line: 0, Bytes: 1}, {Line: 1, Bytes: 2}}},
		{"what was overwritten", []access{store(0, 8), load(0, 8)}, nil},
		{"the rest of what was overwritten", []access{store(0, 8), load(0, 16)}, []Read{{Line: 0, Bytes: 0xff00}}},
		{"a byte beside one that was overwritten", []access{store(1, 1), load(0, 2)}, []Read{{Line: 0, Bytes: 1}}},
		{"before it was overwritten", []access{load(0, 8), store(0, 8), load(0, 8)}, []Read{{Line: 0, Bytes: 0xff}}},
		{"a line that was overwritten piece by piece", []access{store(0, 8), store(8, 8), store(16, 8), store(24, 8), store(32, 8), store(40, 8), store(48, 8), store(56, 8), load(0, 64)}, nil},
		{"a line of which a byte is left", []access{store(0, 8), store(8, 8), store(16, 8), store(24, 7), store(32, 8), store(40, 8), store(48, 8), store(56, 8), load(0, 64)}, []Read{{Line: 0, Bytes: 1 << 31}}},
		{"a line that no state decides", []access{load(3*64, 8)}, nil},
	} {
		r := NewReads(func(at, offset uint64) (int, bool) {
			n := int(offset / LineSize)
			return n, at == base && n < 2
		})
		f := &fakeEngine{}
		w := &observe.Watch{}
		for n := range uint64(2) {
			w.Add(base + n*LineSize)
		}
		if err := f.WatchLoads(w, r); err != nil {
			t.Fatal(err)
		}
		for _, a := range tt.what {
			if a.store {
				r.Store(&observe.Store{Base: base, Offset: a.offset, Size: uint8(a.size)})
			} else {
				f.load(base, a.offset, a.size)
			}
		}
		if got := r.List(); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: reads %x, want %x", tt.name, got, tt.want)
		}
	}
}

// TestReadsAreDone: a line of which all was read or overwritten needs no more
// watching, and a page without such lines none at all.
func TestReadsAreDone(t *testing.T) {
	r := NewReads(func(_, offset uint64) (int, bool) { return int(offset / LineSize), true })
	f, w := &fakeEngine{}, &observe.Watch{}
	w.Add(0x1000)
	w.Add(0x1fc0)
	if err := f.WatchLoads(w, r); err != nil {
		t.Fatal(err)
	}
	f.load(0, 0x1000, 60)
	if !w.Has(0x1030) || w.Page(0x1234) != 1|1<<63 {
		t.Errorf("a line of which 4 bytes are left is not watched: page %#x", w.Page(0x1000))
	}
	r.Store(&observe.Store{Offset: 0x103c, Size: 4})
	f.load(0, 0x1000, 1)
	if w.Has(0x1000) || !w.Has(0x1fff) || w.Has(0x2000) {
		t.Errorf("page %#x, want the last line only", w.Page(0x1000))
	}
	if f.load(0, 0x1fc0, 64); w.Page(0x1000) != 0 || !w.Drop(0x1000) {
		t.Errorf("page %#x, want none", w.Page(0x1000))
	}
}

// TestCopies: a copy reads nothing, what is loaded from it reads what it is of, and
// what is stored over is no copy.
func TestCopies(t *testing.T) {
	const ram = 0x100000
	type step func(r *Reads) uint64
	load := func(at, n uint64) step {
		return func(r *Reads) uint64 {
			r.Load(&observe.Load{Offset: at, Size: uint8(n)})
			return r.page(ram)
		}
	}
	store := func(at, n uint64) step {
		return func(r *Reads) uint64 {
			r.Store(&observe.Store{Offset: at, Size: uint8(n)})
			return r.page(ram)
		}
	}
	move := func(from, to, n uint64) step {
		return func(r *Reads) uint64 { return r.Copy(&observe.Copy{Offset: from, To: ram + to, Size: n}) }
	}
	over := func(at, n uint64) step { return func(r *Reads) uint64 { return r.Overwritten(ram+at, n) } }
	all := func(r *Reads) uint64 { r.ReadCopies(); return r.page(ram) }
	for _, tt := range []struct {
		name  string
		steps []step
		want  []Read
		lines uint64 // with copies, at the end
	}{
		{"a copy", []step{move(0, 0, 128)}, nil, 3},
		{"a byte of a copy", []step{move(0, 0, 128), load(ram+65, 1)}, []Read{{Line: 1, Bytes: 2}}, 3},
		{"all of a copied line", []step{move(0, 0, 128), load(ram, 64)}, []Read{{Line: 0, Bytes: AllBytes}}, 2},
		{"a byte twice, here and there", []step{move(0, 0, 64), load(3, 1), load(ram+3, 1)}, []Read{{Line: 0, Bytes: 8}}, 1},
		{"a copy to another place of a line", []step{move(0, 60, 8), load(ram+60, 4), load(ram+64, 1)}, []Read{{Line: 0, Bytes: 0xf}, {Line: 0, Bytes: 0x10}}, 2},
		{"a copy across two lines", []step{move(62, 0, 4), load(ram, 4)}, []Read{{Line: 0, Bytes: 3 << 62}, {Line: 1, Bytes: 3}}, 0},
		{"a copy of a copy", []step{move(0, 0, 64), move(ram, 128, 64), over(0, 64), load(ram+130, 1)}, []Read{{Line: 0, Bytes: 4}}, 4},
		{"what was stored over a copy", []step{move(0, 0, 64), over(8, 8), load(ram+8, 8), load(ram+7, 1)}, []Read{{Line: 0, Bytes: 0x80}}, 1},
		{"a copy over a copy", []step{move(0, 0, 64), move(64, 0, 64), load(ram, 1)}, []Read{{Line: 1, Bytes: 1}}, 1},
		{"a copy of anything else over a copy", []step{move(0, 0, 64), move(0x200000, 0, 64), load(ram, 8)}, nil, 0},
		{"a copy of what was overwritten before", []step{store(0, 8), move(0, 0, 16), load(ram, 16)}, []Read{{Line: 0, Bytes: 0xff00}}, 0},
		{"a copy of what was overwritten since", []step{move(0, 0, 16), store(0, 16), load(ram, 1), load(0, 16)}, []Read{{Line: 0, Bytes: 1}}, 1},
		{"a copy of what was read before", []step{load(0, 64), move(0, 0, 64)}, []Read{{Line: 0, Bytes: AllBytes}}, 0},
		{"whoever may look at all", []step{move(64, 64, 64), move(0, 0, 8), all}, []Read{{Line: 0, Bytes: 0xff}, {Line: 1, Bytes: AllBytes}}, 0},
	} {
		r := NewReads(func(base, offset uint64) (int, bool) { return int(offset / LineSize), base+offset < 4*LineSize })
		lines := uint64(0)
		for _, s := range tt.steps {
			lines = s(r)
		}
		if !reflect.DeepEqual(r.List(), tt.want) || lines != tt.lines {
			t.Errorf("%s: reads %v, and copies are in the lines %#b; want %v and %#b", tt.name, r.List(), lines, tt.want, tt.lines)
		}
	}
}
