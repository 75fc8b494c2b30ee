package backend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"nvlab/internal/cow"
	"nvlab/internal/held"
)

const savedPages = 6

// A savedVM is the backends of a VM, and copies of all that they have to hold:
// two on one part of one file, a private one, and RAM.
type savedVM struct {
	t        testing.TB
	backends []*Backend
	mappings []*Mapping // nil while off
	want     wanted
}

// wanted is what backends hold, and what a guest sees of the private one.
type wanted struct {
	below   [4][]byte
	overlay []byte // nil while off
}

// Indexes of savedVM.
const (
	aShared  = iota
	aPrivate // of another file
	aRAM
	aTwin // of aShared
)

func (w *wanted) clone() (n wanted) {
	for i := range w.below {
		n.below[i] = slices.Clone(w.below[i])
	}
	n.below[aTwin] = n.below[aShared]
	n.overlay = slices.Clone(w.overlay)
	return n
}

// visible is what a guest sees, or the host while there is none.
func (w *wanted) visible(i int) []byte {
	if i == aPrivate && w.overlay != nil {
		return w.overlay
	}
	return w.below[i]
}

func newSavedVM(t testing.TB, dir string) *savedVM {
	t.Helper()
	v := &savedVM{t: t}
	file := bytes.Repeat([]byte("a file "), (savedPages+2)*PageSize)[:(savedPages+2)*PageSize]
	clear(file[3*PageSize : 5*PageSize])
	for _, name := range []string{"shared", "private"} {
		if err := os.WriteFile(filepath.Join(dir, name), file, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := func(name string, share bool) *Backend {
		b, err := OpenFile(FileConfig{Path: filepath.Join(dir, name), Offset: PageSize, Size: savedPages * PageSize, Share: share, Partial: true})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ram, err := NewRAM(RAMConfig{Size: savedPages * PageSize, Align: PageSize})
	if err != nil {
		t.Fatal(err)
	}
	v.backends = []*Backend{open("shared", true), open("private", false), ram, open("shared", true)}
	part := file[PageSize : (savedPages+1)*PageSize]
	v.want = wanted{below: [4][]byte{slices.Clone(part), slices.Clone(part), make([]byte, len(part))}}
	v.want.below[aTwin] = v.want.below[aShared]
	return v
}

func (v *savedVM) on() bool { return v.mappings != nil }

func (v *savedVM) powerOn() {
	for i, b := range v.backends {
		m, err := b.Map()
		if err != nil {
			v.t.Fatal(err)
		}
		v.mappings = append(v.mappings, m)
		if i == aPrivate && v.want.overlay == nil {
			v.want.overlay = slices.Clone(v.want.below[i])
		}
	}
}

func (v *savedVM) powerOff() {
	for _, m := range v.mappings {
		if err := m.Close(); err != nil {
			v.t.Fatal(err)
		}
	}
	v.mappings, v.want.overlay = nil, nil
	clear(v.want.below[aRAM])
}

func (v *savedVM) used() (list []Used) {
	for i, b := range v.backends {
		u := Used{Backend: b}
		if v.on() {
			u.Mapping = v.mappings[i]
		}
		list = append(list, u)
	}
	return list
}

// write has the guest store, its firmware put, or the host write.
func (v *savedVM) write(r *rand.Rand) {
	i := r.IntN(len(v.backends))
	p := bytes.Repeat([]byte{byte(r.IntN(3))}, 1+r.IntN(3000))
	at := r.IntN(savedPages*PageSize - len(p))
	switch {
	case v.on() && r.IntN(3) > 0:
		if dirty := v.mappings[i].Dirty(); dirty != nil {
			dirty.AddRange(uint64(at), uint64(len(p)))
		}
		copy(v.mappings[i].Bytes()[at:], p)
	case v.on():
		if err := v.backends[i].Put(p, int64(at)); err != nil {
			v.t.Fatal(err)
		}
	default:
		if _, err := v.backends[i].WriteAt(p, int64(at)); err != nil {
			v.t.Fatal(err)
		}
	}
	copy(v.want.visible(i)[at:], p)
}

func (v *savedVM) check(what string) {
	v.t.Helper()
	for i, b := range v.backends {
		got := make([]byte, savedPages*PageSize)
		if _, err := b.ReadAt(got, 0); err != nil {
			v.t.Fatal(err)
		}
		if !bytes.Equal(got, v.want.visible(i)) {
			v.t.Fatalf("%s: backend %d holds other bytes than it has to", what, i)
		}
		if sum, err := b.SHA256(context.Background(), 0, b.Size()); err != nil || sum != sha256.Sum256(got) {
			v.t.Fatalf("%s: the hash of backend %d is another (%v)", what, i, err)
		}
		if v.on() && !bytes.Equal(v.mappings[i].Bytes(), got) {
			v.t.Fatalf("%s: the guest sees other bytes of backend %d than the host", what, i)
		}
	}
}

func (v *savedVM) close() {
	v.powerOff()
	for _, b := range v.backends {
		if err := b.Close(); err != nil {
			v.t.Fatal(err)
		}
	}
}

// aSave is what was saved, and what it has to hold.
type aSave struct {
	*Saved
	want wanted
	hash [32]byte
}

// TestSavedBackends saves, forks and restores VMs in any order, on and off, and
// wants each to hold what it has to after every step. Files are as the VM left
// them that was not restored.
func TestSavedBackends(t *testing.T) {
	before := held.Now(t)
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		vms := []*savedVM{newSavedVM(t, dir)}
		var saves []*aSave
		var file []byte // of the first VM's shared part when it became a copy
		for step := range 150 {
			v := vms[r.IntN(len(vms))]
			what := fmt.Sprintf("seed %d, step %d", seed, step)
			switch n := r.IntN(12); {
			case n < 6:
				v.write(r)
			case n == 6 && v.on():
				v.powerOff()
			case n == 6:
				v.powerOn()
			case n == 7:
				s, err := Save(v.used())
				if err != nil {
					t.Fatal(err)
				}
				o := &aSave{Saved: s, want: v.want.clone()}
				if o.hash, err = s.Hash(); err != nil {
					t.Fatal(err)
				}
				saves = append(saves, o)
			case n == 8 && len(saves) > 0 && len(vms) < 6:
				s := saves[r.IntN(len(saves))]
				list, err := s.Fork()
				if err != nil {
					t.Fatal(err)
				}
				f := &savedVM{t: t, backends: list, want: s.want.clone()}
				if f.want.overlay != nil {
					f.powerOn()
				}
				vms = append(vms, f)
				v = f
				for i, b := range list {
					o := vms[0].backends[i]
					if b.Path() != o.Path() || b.Size() != o.Size() || b.Align() != o.Align() || b.Share() != o.Share() || b.Copied() != (i != aRAM) || b.Durability() != Volatile || b.Revocable() {
						t.Errorf("%s: a fork of %s is %s of %#x bytes, copied %v, %v", what, o, b, b.Size(), b.Copied(), b.Durability())
					}
				}
			case n == 9 && len(saves) > 0:
				s := saves[r.IntN(len(saves))]
				if v == vms[0] && file == nil {
					file = slices.Clone(v.want.below[aShared])
				}
				if v.on() && s.want.overlay == nil {
					v.powerOff()
				}
				addresses := make([]uintptr, 4)
				was := v.want.clone()
				for i := range v.mappings {
					addresses[i] = addressOf(v.mappings[i].Bytes())
				}
				changed, err := s.Changed(v.used())
				if err != nil {
					t.Fatal(err)
				}
				for i, list := range changed {
					seen := slices.Clone(s.want.visible(i))
					for _, n := range list {
						copy(seen[n*PageSize:(n+1)*PageSize], was.visible(i)[n*PageSize:])
					}
					if !bytes.Equal(seen, was.visible(i)) {
						t.Fatalf("%s: Changed of backend %d does not tell of all pages that changed", what, i)
					}
				}
				done, err := s.Restore(v.used())
				if err != nil {
					t.Fatal(err)
				}
				v.want = s.want.clone()
				for i, m := range v.mappings {
					if moved := addressOf(m.Bytes()) != addresses[i]; moved && !done[i].Moved {
						t.Fatalf("%s: the memory of backend %d moved, and Restore does not say so", what, i)
					}
					if done[i].Moved {
						continue
					}
					seen := slices.Clone(was.visible(i))
					for _, c := range done[i].Changed {
						copy(seen[c.Offset:c.Offset+c.Size], v.want.visible(i)[c.Offset:])
					}
					if !bytes.Equal(seen, v.want.visible(i)) {
						t.Fatalf("%s: Restore of backend %d does not tell of all pages that changed", what, i)
					}
				}
				if !v.on() && v.want.overlay != nil {
					v.powerOn()
				}
			case n == 10 && len(vms) > 1 && v != vms[0]:
				v.close()
				vms = slices.DeleteFunc(vms, func(o *savedVM) bool { return o == v })
				continue
			case n == 11 && len(saves) > 3:
				if err := saves[0].Close(); err != nil {
					t.Fatal(err)
				}
				saves = saves[1:]
			}
			for _, v := range vms {
				v.check(what)
			}
		}
		for i, s := range saves {
			if i%2 == 0 { // by way of what another process would have of it
				s.Saved = elsewhere(t, s.Saved, vms[0].backends)
			}
			list, err := s.Fork()
			if err != nil {
				t.Fatal(err)
			}
			f := &savedVM{t: t, backends: list, want: s.want.clone()}
			if f.want.overlay != nil {
				f.powerOn()
			}
			f.check(fmt.Sprintf("seed %d, save %d at the end", seed, i))
			again, err := Save(f.used())
			if err != nil {
				t.Fatal(err)
			}
			if hash, err := again.Hash(); err != nil || hash != s.hash {
				t.Errorf("seed %d: a fork that was saved has another hash (%v)", seed, err)
			}
			again.Close()
			f.close()
			s.Close()
			s.Close()
		}
		if file == nil {
			file = vms[0].want.below[aShared]
		}
		for _, v := range vms {
			v.close()
		}
		now, err := os.ReadFile(filepath.Join(dir, "shared"))
		if err != nil || !bytes.Equal(now[PageSize:PageSize+len(file)], file) {
			t.Errorf("seed %d: the file has other bytes than the VM left that was not restored (%v)", seed, err)
		}
	}
	before.NoMore(t, "VMs were saved, forked and restored")
}

// elsewhere is what was saved, of copies of its images.
func elsewhere(t *testing.T, s *Saved, like []*Backend) *Saved {
	t.Helper()
	entries := s.Entries()
	for i := range entries {
		for _, image := range []**cow.Image{&entries[i].Contents, &entries[i].Overlay} {
			if *image == nil {
				continue
			}
			n, err := cow.Copy(*image, (*image).Size(), (*image).Touched())
			if err != nil {
				t.Fatal(err)
			}
			*image = n
		}
	}
	n, err := NewSaved(like, entries)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	return n
}

// TestNewSavedRefuses: entries that are damaged make nothing.
func TestNewSavedRefuses(t *testing.T) {
	small, err := cow.Copy(bytes.NewReader(make([]byte, PageSize)), PageSize, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	one, two := newRAM(t, PageSize), newRAM(t, 2*PageSize)
	for what, c := range map[string]struct {
		backends []*Backend
		entries  []Entry
	}{
		"too few":               {[]*Backend{one}, nil},
		"with one after it":     {[]*Backend{one}, []Entry{{With: 1}}},
		"with none":             {[]*Backend{one}, []Entry{{With: -1}}},
		"no contents":           {[]*Backend{one}, []Entry{{}}},
		"two contents":          {[]*Backend{one, one}, []Entry{{Contents: small}, {Contents: small}}},
		"with another size":     {[]*Backend{one, two}, []Entry{{Contents: small}, {}}},
		"of another size":       {[]*Backend{two}, []Entry{{Contents: small}}},
		"an overlay of memory":  {[]*Backend{one}, []Entry{{Contents: small, Overlay: small}}},
		"with one that is with": {[]*Backend{one, one, one}, []Entry{{Contents: small}, {With: 0}, {With: 1}}},
	} {
		if _, err := NewSaved(c.backends, c.entries); err == nil {
			t.Errorf("%s: NewSaved takes it", what)
		}
	}
}

// TestSaveOfAFileInUse: another VM's mapping of a file refuses a snapshot if what
// either stores is seen by the other.
func TestSaveOfAFileInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	open := func(offset uint64, share, readOnly bool) *Backend {
		return openFile(t, FileConfig{Path: path, Size: PageSize, Offset: offset, Share: share, ReadOnly: readOnly, Partial: true})
	}
	if err := os.WriteFile(path, make([]byte, 2*PageSize), 0o644); err != nil {
		t.Fatal(err)
	}
	same := open(0, true, false)
	for _, c := range []struct {
		name        string
		mine, other *Backend
		refused     bool
	}{
		{"one backend", same, same, true},
		{"both shared", open(0, true, false), open(0, true, false), true},
		{"the other private", open(0, true, false), open(0, false, false), true},
		{"mine private", open(0, false, false), open(0, true, false), true},
		{"both private", open(0, false, false), open(0, false, false), false},
		{"both read-only", open(0, true, true), open(0, true, true), false},
		{"another part", open(0, true, false), open(PageSize, true, false), false},
	} {
		for _, on := range []bool{false, true} {
			u := Used{Backend: c.mine}
			if on {
				u.Mapping = mapped(t, c.mine)
			}
			s, err := Save([]Used{u})
			if err != nil {
				t.Errorf("%s: Save while nobody else maps the file: %v", c.name, err)
				continue
			}
			m := mapped(t, c.other)
			_, err = Save([]Used{u})
			var inUse *InUseError
			if errors.As(err, &inUse) != c.refused || err != nil && !strings.Contains(err.Error(), path+": another running VM maps this file too") {
				t.Errorf("%s, on %v: Save while another VM maps the file = %v, want an error: %v", c.name, on, err, c.refused)
			}
			if _, err := s.Restore([]Used{u}); err != nil != c.refused {
				t.Errorf("%s, on %v: Restore while another VM maps the file = %v, want an error: %v", c.name, on, err, c.refused)
			}
			m.Close()
			if on {
				u.Mapping.Close()
			}
			s.Close()
			if !c.refused {
				break // restored: it is no longer on the file
			}
		}
	}
}

func TestSaveRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, make([]byte, 3*PageSize), 0o644); err != nil {
		t.Fatal(err)
	}
	first := openFile(t, FileConfig{Path: path, Size: 2 * PageSize, Share: true, Partial: true})
	second := openFile(t, FileConfig{Path: path, Size: 2 * PageSize, Offset: PageSize, Share: true, Partial: true})
	if _, err := Save([]Used{{Backend: first}, {Backend: second}}); err == nil || !strings.Contains(err.Error(), "give both the same offset and size") {
		t.Errorf("Save of overlapping parts of a file = %v", err)
	}
	private := openFile(t, FileConfig{Path: filepath.Join(dir, "g"), Size: PageSize})
	off, err := Save([]Used{{Backend: private}})
	if err != nil {
		t.Fatal(err)
	}
	defer off.Close()
	m := mapped(t, private)
	if _, err := off.Restore([]Used{{private, m}}); err == nil || !strings.Contains(err.Error(), "unmap it first") {
		t.Errorf("Restore of a VM that is on to when it was off = %v", err)
	}
	if _, err := off.Restore([]Used{{Backend: first}}); err == nil || !strings.Contains(err.Error(), "is of another backend") {
		t.Errorf("Restore of another backend = %v", err)
	}
	if _, err := off.Restore(nil); err == nil {
		t.Error("Restore of no backend succeeds")
	}
	gone := openFile(t, FileConfig{Path: filepath.Join(dir, "h"), Size: PageSize, Share: true})
	if err := os.Truncate(gone.Path(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Save([]Used{{Backend: gone}}); !errors.Is(err, ErrTruncated) {
		t.Errorf("Save of a file that was truncated = %v, want ErrTruncated", err)
	}
}

// TestSaveThatFails: what was dirty is dirty after it, as engines that are not
// told take it for that.
func TestSaveThatFails(t *testing.T) {
	ram := newRAM(t, 4*PageSize)
	m := mapped(t, ram)
	first, err := Save([]Used{{ram, m}})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	m.Dirty().Add(2)
	m.Bytes()[2*PageSize] = 1
	gone := openFile(t, FileConfig{Path: filepath.Join(t.TempDir(), "f"), Size: PageSize, Share: true})
	if err := os.Truncate(gone.Path(), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Save([]Used{{ram, m}, {Backend: gone}}); err == nil {
		t.Fatal("Save of a file that was truncated succeeds")
	}
	m.Bytes()[2*PageSize] = 2
	if _, err := first.Restore([]Used{{ram, m}}); err != nil || m.Bytes()[2*PageSize] != 0 {
		t.Errorf("after a Save that failed, Restore leaves %d (%v), want what was saved before, 0", m.Bytes()[2*PageSize], err)
	}
}

// TestForksAreNotLost: forks and restores leave no descriptor and no
// mapping.
func TestForksAreNotLost(t *testing.T) {
	v := newSavedVM(t, t.TempDir())
	v.powerOn()
	s, err := Save(v.used())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var before held.Count
	for i := range 1000 {
		if i == 10 {
			before = held.Now(t) // images make a view of theirs when it is wanted
		}
		list, err := s.Fork()
		if err != nil {
			t.Fatal(err)
		}
		f := &savedVM{t: t, backends: list, want: v.want.clone()}
		if i%10 > 0 { // else the overlay that was saved is never mapped
			f.powerOn()
			f.write(r)
			if _, err := s.Restore(f.used()); err != nil {
				t.Fatal(err)
			}
		}
		f.close()
	}
	before.NoMore(t, "990 forks and 891 restores")
	s.Close()
	v.close()
}

const (
	benchSize = 64 << 20
	benchData = 8 << 20
)

// benchBackend is a DIMM's backend with data that is spread over it.
func benchBackend(b *testing.B, share bool) Used {
	path := filepath.Join(b.TempDir(), "f")
	o := openFile(b, FileConfig{Path: path, Size: benchSize, Share: share})
	for at := int64(0); at < benchSize; at += 8 * (1 << 20) {
		if _, err := o.WriteAt(bytes.Repeat([]byte{1}, benchData/8), at); err != nil {
			b.Fatal(err)
		}
	}
	return Used{o, mapped(b, o)}
}

func save(b *testing.B, u Used) *Saved {
	s, err := Save([]Used{u})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

func fork(b *testing.B, s *Saved) Used {
	list, err := s.Fork()
	if err != nil {
		b.Fatal(err)
	}
	m, err := list[0].Map()
	if err != nil {
		b.Fatal(err)
	}
	return Used{list[0], m}
}

// BenchmarkSaved is of 64 MiB of which 8 are data: a file's first save, a fork,
// a fork's save and its restore after stores to 16 pages.
func BenchmarkSaved(b *testing.B) {
	for _, share := range []bool{true, false} {
		u := benchBackend(b, share)
		name := map[bool]string{true: "shared", false: "private"}[share]
		b.Run(name+"/save", func(b *testing.B) {
			for b.Loop() {
				s, err := Save([]Used{u})
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
		s := save(b, u)
		b.Run(name+"/fork", func(b *testing.B) {
			for b.Loop() {
				f := fork(b, s)
				f.Mapping.Close()
				f.Backend.Close()
			}
		})
		f := fork(b, s)
		touch := func(v byte) {
			for page := range uint64(16) {
				f.Mapping.Dirty().Add(page * 300)
				f.Mapping.Bytes()[page*300*PageSize] = v
			}
		}
		b.Run(name+"/restore", func(b *testing.B) {
			for b.Loop() {
				touch(2)
				if done, err := s.Restore([]Used{f}); err != nil || done[0].Moved || len(done[0].Changed) != 16 {
					b.Fatal(done, err)
				}
			}
		})
		b.Run(name+"/save-fork", func(b *testing.B) {
			v := byte(3)
			for b.Loop() {
				touch(v)
				v++
				s, err := Save([]Used{f})
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}
