package cow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"nvlab/internal/held"
	"nvlab/internal/pages"
)

// stores are the ways to keep a root.
var stores = []struct {
	name string
	make func(uint64) (store, error)
}{
	{"host", newStore},
	{"heap", newHeap},
	{"used before", newUsed},
	{"used and frozen before", newUsedFrozen},
}

// newUsed is a store that a memory full of ones has used.
func newUsed(size uint64) (store, error) { return used(size, false) }

func newUsedFrozen(size uint64) (store, error) { return used(size, true) }

func used(size uint64, freeze bool) (store, error) {
	s, err := newStore(size)
	if err != nil {
		return nil, err
	}
	mem, err := s.first()
	if err != nil {
		return nil, err
	}
	ones := bytes.Repeat([]byte{0xff}, len(mem))
	copy(mem, ones)
	if freeze {
		if err := s.freeze(mem); err != nil {
			return nil, err
		}
		err = s.unmap(mem)
	} else {
		err = s.retire(mem)
	}
	if err != nil || s.reset([]Range{{0, size}}) {
		return s, err
	}
	if err := s.close(); err != nil { // of a host that cannot reset it
		return nil, err
	}
	return newStore(size)
}

// A model holds memories and images, and copies of all that each has to hold.
type model struct {
	t    testing.TB
	make func(uint64) (store, error)
	mem  []*modelMemory
	imgs []*modelImage
}

type modelMemory struct {
	*Memory
	want   []byte
	family int
}

type modelImage struct {
	*Image
	want   []byte
	family int // of memories and images of one root
}

const modelPages = 24

func (m *model) new(family int) *modelMemory {
	s, err := m.make(modelPages * pages.Size)
	if err != nil {
		m.t.Fatal(err)
	}
	mem, err := newMemory(s, modelPages*pages.Size)
	if err != nil {
		m.t.Fatal(err)
	}
	o := &modelMemory{mem, make([]byte, modelPages*pages.Size), family}
	m.mem = append(m.mem, o)
	return o
}

// store writes bytes as a guest does, with the promise that an engine gives.
func (o *modelMemory) store(off uint64, p []byte) {
	o.Dirty().AddRange(off, uint64(len(p)))
	copy(o.Bytes()[off:], p)
	copy(o.want[off:], p)
}

func (m *model) freeze(o *modelMemory) {
	i, err := o.Freeze()
	if err != nil {
		m.t.Fatal(err)
	}
	m.imgs = append(m.imgs, &modelImage{i, bytes.Clone(o.want), o.family})
}

// restore holds the answer to what changed.
func (m *model) restore(o *modelMemory, i *modelImage) {
	at := &o.Bytes()[0]
	ranges, err := o.Restore(i.Image)
	if o.family != i.family || !o.Frozen() {
		if err == nil {
			m.t.Fatal("a stranger's image was restored")
		}
		return
	}
	if err != nil {
		m.t.Fatal(err)
	}
	var want []Range
	for n := range uint64(modelPages) {
		if !bytes.Equal(pageOf(o.want, n), pageOf(i.want, n)) {
			want = appendPage(want, n)
		}
	}
	if fmt.Sprint(ranges) != fmt.Sprint(want) {
		m.t.Fatalf("Restore changed %v, want %v", ranges, want)
	}
	if &o.Bytes()[0] != at {
		m.t.Fatal("Restore moved the memory")
	}
	copy(o.want, i.want)
}

func (m *model) fork(i *modelImage) {
	mem, err := i.Fork()
	if err != nil {
		m.t.Fatal(err)
	}
	if len(m.mem) < 12 {
		m.mem = append(m.mem, &modelMemory{mem, bytes.Clone(i.want), i.family})
	} else if err := mem.Close(); err != nil {
		m.t.Fatal(err)
	}
}

// check compares all that there is.
func (m *model) check(after string) {
	m.t.Helper()
	hashes := map[[32]byte][]byte{}
	for k, o := range m.mem {
		if !bytes.Equal(o.Bytes(), o.want) {
			m.t.Fatalf("after %s memory %d differs from its model", after, k)
		}
		covers(m.t, after, o.Touched(), o.want)
	}
	got := make([]byte, modelPages*pages.Size)
	for k, i := range m.imgs {
		if n, err := i.ReadAt(got, 0); err != nil || n != len(got) || !bytes.Equal(got, i.want) {
			m.t.Fatalf("after %s image %d differs from its model (%d bytes, %v)", after, k, n, err)
		}
		covers(m.t, after, i.Touched(), i.want)
		h, err := i.Hash()
		if err != nil {
			m.t.Fatal(err)
		}
		if other, ok := hashes[h]; ok && !bytes.Equal(other, i.want) {
			m.t.Fatalf("after %s two images that differ have one hash", after)
		}
		hashes[h] = i.want
	}
	for h, want := range hashes {
		for o, other := range hashes {
			if h != o && bytes.Equal(want, other) {
				m.t.Fatalf("after %s two images of equal bytes have two hashes", after)
			}
		}
	}
}

// covers holds that ranges ascend and have all that is not zero.
func covers(t testing.TB, after string, list []Range, want []byte) {
	t.Helper()
	at := uint64(0)
	for _, r := range append(list, Range{uint64(len(want)), 0}) {
		if r.Offset < at {
			t.Fatalf("after %s the touched ranges are %v: they do not ascend", after, list)
		}
		if len(bytes.Trim(want[at:r.Offset], "\x00")) > 0 {
			t.Fatalf("after %s the touched ranges %v miss some of %#x-%#x", after, list, at, r.Offset)
		}
		at = r.Offset + r.Size
	}
}

// run does what a program of two bytes a step says.
func (m *model) run(program []byte) {
	m.new(0)
	families := 1
	for ; len(program) >= 2; program = program[2:] {
		op, arg := program[0], uint64(program[1])
		if len(m.mem) == 0 {
			m.new(families)
			families++
		}
		o := m.mem[arg%uint64(len(m.mem))]
		var i *modelImage
		if len(m.imgs) > 0 {
			i = m.imgs[(arg>>3+uint64(op)>>4)%uint64(len(m.imgs))]
		}
		var what string
		switch op % 16 {
		case 0, 1, 2, 3:
			what = "a store"
			off := arg * 383 % (modelPages*pages.Size - 16)
			o.store(off, bytes.Repeat([]byte{op}, 1+int(op>>4)))
		case 4:
			what = "a store of zeros"
			n := arg % modelPages
			o.store(n*pages.Size, zeros[:])
		case 5:
			what = "a store of many pages"
			n := arg % modelPages
			o.store(n*pages.Size, bytes.Repeat([]byte{op}, int(modelPages-n)*pages.Size))
		case 6:
			what = "a page that is dirty and the same"
			o.Dirty().Add(arg % modelPages)
		case 7, 8:
			what = "Freeze"
			m.freeze(o)
		case 9, 10, 11:
			what = "Restore"
			if i != nil {
				m.restore(o, i)
			}
		case 12:
			what = "Fork"
			if i != nil {
				m.fork(i)
			}
		case 13:
			what = "closing a memory"
			if op>>4 < 4 {
				k := arg % uint64(len(m.mem))
				m.close(m.mem[k])
				m.mem = append(m.mem[:k], m.mem[k+1:]...)
			}
		case 14:
			what = "closing an image"
			if i != nil {
				k := (arg>>3 + uint64(op)>>4) % uint64(len(m.imgs))
				m.close(m.imgs[k])
				m.imgs = append(m.imgs[:k], m.imgs[k+1:]...)
			}
		case 15:
			what = "a new memory"
			if len(m.mem) < 12 {
				m.new(families)
				families++
			}
		}
		m.check(what)
	}
	for _, o := range m.mem {
		m.close(o)
	}
	for _, i := range m.imgs {
		m.close(i)
	}
}

func (m *model) close(c io.Closer) {
	for range 2 {
		if err := c.Close(); err != nil {
			m.t.Fatal(err)
		}
	}
}

// TestModel compares memories and images with copies, whatever is done to them.
func TestModel(t *testing.T) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			before := held.Now(t)
			for seed := range uint64(25) {
				r := rand.New(rand.NewPCG(seed, 0))
				program := make([]byte, 200)
				for k := range program {
					program[k] = byte(r.Uint32())
				}
				(&model{t: t, make: s.make}).run(program)
			}
			before.NoMore(t, "25 programs")
		})
	}
}

func FuzzModel(f *testing.F) {
	f.Add([]byte{0, 0, 7, 0, 0, 9, 7, 0, 12, 8, 0, 1, 9, 8})
	f.Fuzz(func(t *testing.T, program []byte) {
		for _, s := range stores {
			(&model{t: t, make: s.make}).run(program[:min(len(program), 400)])
		}
	})
}

// sparse is a file with data in some pages; it minds reads elsewhere.
type sparse struct {
	data []byte
	list []Range
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	for _, r := range s.list {
		if uint64(off) >= r.Offset && uint64(off)+uint64(len(p)) <= r.Offset+r.Size {
			return copy(p, s.data[off:]), nil
		}
	}
	return 0, fmt.Errorf("a read of a hole at %#x", off)
}

func TestCopy(t *testing.T) {
	for _, s := range stores {
		data := make([]byte, 6*chunk)
		list := []Range{{pages.Size, 2 * pages.Size}, {chunk - pages.Size, 3 * chunk}}
		for k := list[0].Offset; k < 2*pages.Size; k++ {
			data[k] = byte(k) | 1
		}
		for k := uint64(2 * chunk); k < 2*chunk+10*pages.Size; k += 2 * pages.Size {
			data[k] = 7
		}
		fresh := func() store {
			st, err := s.make(uint64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		i, err := copyTo(fresh(), sparse{data, list}, uint64(len(data)), list)
		if err != nil {
			t.Fatalf("%s: Copy: %v", s.name, err)
		}
		if size := sum(i.Touched()); s.name == "host" && size > 12*pages.Size {
			t.Errorf("%s: the image of 6 pages that are not zero has %d pages", s.name, size/pages.Size)
		}
		m, err := i.Fork()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Bytes(), data) {
			t.Errorf("%s: a fork of Copy differs from the file", s.name)
		}
		whole, err := copyTo(fresh(), bytes.NewReader(data), uint64(len(data)), nil)
		if err != nil {
			t.Fatalf("%s: Copy of all: %v", s.name, err)
		}
		a, _ := i.Hash()
		if b, err := whole.Hash(); a != b || err != nil {
			t.Errorf("%s: Copy of all is %x (%v), of the data ranges %x", s.name, b, err, a)
		}
		if _, err := copyTo(fresh(), bytes.NewReader(data[:chunk+1]), uint64(len(data)), nil); err == nil || !strings.Contains(err.Error(), "EOF") {
			t.Errorf("%s: Copy of a file that is too short: %v, want EOF", s.name, err)
		}
		if _, err := copyTo(fresh(), bytes.NewReader(data), uint64(len(data)), []Range{{pages.Size, uint64(len(data))}}); err == nil {
			t.Errorf("%s: Copy of data that lies behind the end has no error", s.name)
		}
		for _, c := range []io.Closer{i, m, whole} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestDiffering compares images with and without a root in common page by page, and
// finds no memory for what is not there.
func TestDiffering(t *testing.T) {
	const size = 2*chunk + 40*pages.Size
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var images []*Image
			for range 3 {
				st, err := s.make(size)
				if err != nil {
					t.Fatal(err)
				}
				m, err := newMemory(st, size)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { m.Close() })
				for range 2 {
					for range 60 {
						n := r.Uint64N(size / pages.Size / 4)
						m.Dirty().Add(4 * n)
						m.Bytes()[4*n*pages.Size+n] = byte(r.IntN(3))
					}
					i, err := m.Freeze()
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { i.Close() })
					images = append(images, i)
				}
			}
			x, y := make([]byte, size), make([]byte, size)
			for a, i := range images {
				for b, j := range images {
					i.ReadAt(x, 0)
					j.ReadAt(y, 0)
					var want []uint64
					for n := range uint64(size / pages.Size) {
						if !bytes.Equal(pageOf(x, n), pageOf(y, n)) {
							want = append(want, n)
						}
					}
					var got []uint64
					err := i.Differing(j, func(p Page) error {
						got = append(got, p.Number)
						if !bytes.Equal(p.Bytes, pageOf(x, p.Number)) {
							t.Fatalf("page %d of image %d, which differs from %d's, holds something else than ReadAt says", p.Number, a, b)
						}
						return nil
					})
					if err != nil || !slices.Equal(got, want) {
						t.Fatalf("image %d differs from %d in pages %v (%v), want %v", a, b, got, err, want)
					}
					calls := 0
					err = i.Differing(j, func(Page) error { calls++; return io.ErrShortWrite })
					if n := min(1, len(want)); calls != n || errors.Is(err, io.ErrShortWrite) != (n == 1) {
						t.Errorf("image %d and %d, which differ in %d pages: %d calls of what fails at the first, which end with %v", a, b, len(want), calls, err)
					}
				}
			}
			for a, i := range images {
				c := i.contents.Load()
				if before, now := sum(c.root.touched()), sum(c.root.store.touched()); now != before {
					t.Errorf("image %d has %d pages of its root after it was compared, %d before", a, now/pages.Size, before/pages.Size)
				}
			}
		})
	}
}

func sum(list []Range) (n uint64) {
	for _, r := range list {
		n += r.Size
	}
	return n
}

func TestReadAt(t *testing.T) {
	m := &model{t: t, make: newStore}
	o := m.new(0)
	o.store(0, bytes.Repeat([]byte{1}, len(o.want)))
	m.freeze(o)
	for n := uint64(1); n < modelPages; n += 3 {
		o.store(n*pages.Size, bytes.Repeat([]byte{byte(n)}, pages.Size+1))
	}
	m.freeze(o)
	i := m.imgs[1]
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		off := r.IntN(len(o.want))
		p := make([]byte, r.IntN(3*pages.Size))
		n, err := i.ReadAt(p, int64(off))
		if want := o.want[off:min(off+len(p), len(o.want))]; !bytes.Equal(p[:n], want) || (n < len(p)) != (err == io.EOF) {
			t.Fatalf("ReadAt(%d bytes, %#x) = %d, %v: other bytes than were stored", len(p), off, n, err)
		}
	}
	if _, err := i.ReadAt(nil, -1); err == nil {
		t.Error("ReadAt(-1) has no error")
	}
}

// TestMisuse asks for what cannot be.
func TestMisuse(t *testing.T) {
	for _, size := range []uint64{0, 1, pages.Size + 1, 1 << 63} {
		if _, err := New(size); err == nil {
			t.Errorf("New(%d) has no error", size)
		}
	}
	a, _ := New(pages.Size)
	b, _ := New(pages.Size)
	i, err := a.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Restore(i); err == nil || !strings.Contains(err.Error(), "not of this machine's memory") {
		t.Errorf("Restore of a stranger's image: %v", err)
	}
	a.Close()
	if _, err := a.Freeze(); err != errClosed {
		t.Errorf("Freeze of a closed memory: %v, want %v", err, errClosed)
	}
	if _, err := a.Restore(i); err != errClosed {
		t.Errorf("Restore of a closed memory: %v, want %v", err, errClosed)
	}
	f, err := i.Fork()
	if err != nil {
		t.Fatalf("Fork after the memory was closed: %v", err)
	}
	i.Close()
	if _, err := i.Fork(); err == nil {
		t.Error("Fork of a closed image has no error")
	}
	if _, err := i.ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("ReadAt of a closed image has no error")
	}
	if j, err := f.Freeze(); err != nil {
		t.Errorf("Freeze of a fork whose image is closed: %v", err)
	} else {
		j.Close()
	}
	f.Close()
	b.Close()
}

// TestNothingIsLeft: 2,000 forks and what comes of them leave nothing behind,
// and neither do chains of a fork of a fork.
func TestNothingIsLeft(t *testing.T) {
	before := held.Now(t)
	m := &model{t: t, make: newStore}
	o := m.new(0)
	o.store(5*pages.Size, []byte("root"))
	m.freeze(o)
	image := m.imgs[0].Image
	for n := range uint64(2000) {
		f, err := image.Fork()
		if err != nil {
			t.Fatal(err)
		}
		f.Dirty().Add(n % modelPages)
		f.Bytes()[n%modelPages*pages.Size+9] = byte(n) | 1
		i, err := f.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		if n%100 == 99 { // the image goes on as the next's parent
			image = i
		} else {
			m.close(i)
		}
		m.close(f)
		if n%100 == 99 {
			m.imgs = append(m.imgs, &modelImage{Image: i})
		}
	}
	m.close(o)
	for _, i := range m.imgs {
		m.close(i)
	}
	before.NoMore(t, "2,000 forks")
}

// TestClosedKeepsNothing: who keeps a memory that is closed, and its closed images,
// as a report keeps the VMs of a test, keeps no page of them.
func TestClosedKeepsNothing(t *testing.T) {
	m := &model{t: t, make: newStore}
	mem := m.new(0)
	var images []*Image
	var left []weak.Pointer[contents]
	for n := range uint64(3) {
		mem.mem[n*pages.Size]++
		mem.dirty.Add(n)
		i, err := mem.Freeze()
		if err != nil {
			t.Fatal(err)
		}
		images, left = append(images, i), append(left, weak.Make(i.contents.Load()))
	}
	if err := errors.Join(mem.Close(), CloseAll(images)); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	for n, c := range left {
		if c.Value() != nil {
			t.Errorf("what a memory held at Freeze %d is there still, though it and all images are closed", n+1)
		}
	}
	runtime.KeepAlive(mem)
	runtime.KeepAlive(images)
}
