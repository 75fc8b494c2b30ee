package states

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nvlab/internal/cow"
	"nvlab/internal/held"
	"nvlab/internal/pages"
)

const imageSize = 64 * pages.Size

// imageOf holds some pages of random bytes, and zeros.
func imageOf(t testing.TB, seed uint64, numbers ...int) *cow.Image {
	t.Helper()
	b := make([]byte, imageSize)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, n := range numbers {
		for i := range pages.Size {
			b[n*pages.Size+i] = byte(r.Uint32()) | 1
		}
	}
	return imageOfBytes(t, b)
}

func imageOfBytes(t testing.TB, b []byte) *cow.Image {
	t.Helper()
	i, err := cow.Copy(bytes.NewReader(b), uint64(len(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i
}

func bytesOf(t testing.TB, i *cow.Image) []byte {
	t.Helper()
	b := make([]byte, i.Size())
	if _, err := i.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func name(family, key, variant byte) Name {
	return Name{Sum{0: family}, Sum{0: key}, Sum{0: variant}}
}

func put(t testing.TB, s *Store, n Name, meta string, images ...*cow.Image) {
	t.Helper()
	if err := s.Put(n, State{Label: "label of " + meta, Meta: []byte(meta), Images: images}); err != nil {
		t.Fatal(err)
	}
}

// get returns what there is under a name, "" if there is nothing that is whole.
func get(t testing.TB, s *Store, n Name) (meta string, images [][]byte) {
	t.Helper()
	for _, f := range s.Find(n) {
		defer f.Close()
		list, err := f.Images(nil)
		if err != nil {
			continue
		}
		for _, i := range list {
			mem, err := i.Fork() // as a machine has it
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(mem.Bytes(), bytesOf(t, i)) {
				t.Errorf("memory of an image of %s holds something else than the image", f.Name())
			}
			images = append(images, bytesOf(t, i))
			mem.Close()
			i.Close()
		}
		return string(f.Meta()), images
	}
	return "", nil
}

// TestPut: what is put is found by family and key, with all its images, and a
// state that has most pages in common with another of its family is a
// difference to it.
func TestPut(t *testing.T) {
	before := held.Now(t)
	s := Open(t.TempDir(), 0)
	numbers := []int{0, 1, 2, 9, 10, 40, 41, 42, 43, 63}
	first := imageOf(t, 1, numbers...)
	b := bytesOf(t, first)
	b[9*pages.Size]++            // changed
	clear(b[40*pages.Size:][:8]) // changed
	clear(b[63*pages.Size:])     // gone
	b[50*pages.Size] = 7         // new
	near, far := imageOfBytes(t, b), imageOf(t, 2, 3, 4, 5)
	put(t, s, name(1, 1, 1), "first", first, far)
	put(t, s, name(1, 2, 1), "near", near, far)
	put(t, s, name(1, 3, 1), "far", far)
	put(t, s, name(2, 1, 1), "other family", near)
	for _, c := range []struct {
		n      Name
		meta   string
		images []*cow.Image
		base   bool
	}{
		{name(1, 1, 1), "first", []*cow.Image{first, far}, false},
		{name(1, 2, 1), "near", []*cow.Image{near, far}, true},
		{name(1, 3, 1), "far", []*cow.Image{far}, false},
		{name(2, 1, 1), "other family", []*cow.Image{near}, false},
		{name(2, 2, 1), "", nil, false},
	} {
		meta, images := get(t, s, c.n)
		if meta != c.meta || len(images) != len(c.images) {
			t.Errorf("under %s there is %q with %d images, want %q with %d", c.n.file(), meta, len(images), c.meta, len(c.images))
			continue
		}
		for i := range images {
			if !bytes.Equal(images[i], bytesOf(t, c.images[i])) {
				t.Errorf("image %d of %q holds something else than was put", i, c.meta)
			}
		}
		for _, info := range s.List() {
			if info.Name == c.n.file() && ((info.Base != "") != c.base || info.Label != "label of "+c.meta || info.Err != nil) {
				t.Errorf("the list has %+v, want a base: %v", info, c.base)
			}
		}
	}
	for _, i := range []*cow.Image{first, near, far} {
		i.Close()
	}
	s.Close()
	before.NoMore(t, "states that were put and got")
}

// TestLargeDifference: a difference of several chunks is one, and where its last
// chunks are too many, nothing of the first is in the state that is kept as a root.
func TestLargeDifference(t *testing.T) {
	const held = 4 * chunkPages // each second page: the others are zeros
	b := make([]byte, 2*held*pages.Size)
	for n := range held {
		for i := range pages.Size {
			b[2*n*pages.Size+i] = byte(n*i) | 1
		}
	}
	s := Open(t.TempDir(), 0)
	defer s.Close()
	put(t, s, name(1, 0, 0), "base", imageOfBytes(t, b))
	for _, c := range []struct {
		changed int // pages
		base    bool
	}{
		{chunkPages + 1, true},
		{held / worthwhile, true},
		{held/worthwhile + 1, false},
		{held, false},
	} {
		other := bytes.Clone(b)
		for n := range c.changed {
			other[2*n*pages.Size]++
		}
		n := name(1, 1, 0)
		image := imageOfBytes(t, other)
		put(t, s, n, "other", image, image)
		meta, images := get(t, s, n)
		if meta != "other" || len(images) != 2 || !bytes.Equal(images[0], other) || !bytes.Equal(images[1], other) {
			t.Errorf("a state that differs in %d of %d pages is %q, or holds something else than was put", c.changed, held, meta)
		}
		for _, info := range s.List() {
			if info.Name == n.file() && (info.Base != "") != c.base {
				t.Errorf("a state that differs in %d of %d pages has base %q, want one: %v", c.changed, held, info.Base, c.base)
			}
		}
		s.Remove(n.file())
	}
}

// TestDamage: whatever byte of a file is another, and wherever it ends, the
// state is not there, and no more is a difference to it.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir, 0)
	first := imageOf(t, 1, 0, 1, 2, 3, 4, 5, 6, 7)
	b := bytesOf(t, first)
	b[5]++
	put(t, s, name(1, 1, 1), "first", first)
	put(t, s, name(1, 2, 1), "second", imageOfBytes(t, b))
	file, dependent := filepath.Join(dir, name(1, 1, 1).file()), filepath.Join(dir, name(1, 2, 1).file())
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(dependent)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		os.Remove(name)
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, damaged []byte) {
		t.Helper()
		write(file, damaged)
		write(dependent, second)
		if meta, _ := get(t, s, name(1, 2, 1)); meta != "" {
			t.Errorf("%s: the difference to it is believed", what)
		}
		write(file, damaged)
		if meta, _ := get(t, s, name(1, 1, 1)); meta != "" {
			t.Errorf("%s: it is believed", what)
		}
		if _, err := os.Stat(file); err == nil {
			t.Errorf("%s: it is still there", what)
		}
	}
	data := func(at int) bool {
		return at >= pages.Size && at < 9*pages.Size || at >= 65*pages.Size || at < headSize
	}
	for at := 0; at < len(good); at += 97 {
		if !data(at) {
			continue // a hole, which nobody reads
		}
		damaged := bytes.Clone(good)
		damaged[at] ^= 4
		check(fmt.Sprintf("byte %d of %d is another", at, len(good)), damaged)
	}
	for _, n := range []int{0, 1, headSize - 1, headSize, pages.Size, 10 * pages.Size, len(good) - 1} {
		check(fmt.Sprintf("%d bytes are left of %d", n, len(good)), good[:n])
	}
	chunks := indexOf(t, second).images[0].chunks
	end := pages.Size + int(chunks[0].size)
	for at := 0; at < len(second); at += 13 {
		if at >= end && at < (end+pages.Size-1)&^(pages.Size-1) || at >= headSize && at < pages.Size {
			continue // up to the next page
		}
		damaged := bytes.Clone(second)
		damaged[at] ^= 4
		write(file, good)
		write(dependent, damaged)
		if meta, _ := get(t, s, name(1, 2, 1)); meta != "" {
			t.Errorf("byte %d of %d of a difference is another: it is believed", at, len(second))
		}
		if _, err := os.Stat(dependent); err == nil {
			t.Errorf("byte %d of %d of a difference is another: it is still there", at, len(second))
		}
	}
	write(file, good)
	write(dependent, second)
	if meta, _ := get(t, s, name(1, 2, 1)); meta != "second" {
		t.Errorf("when all is as it was, there is %q, want %q", meta, "second")
	}
	os.Remove(file)
	if meta, _ := get(t, s, name(1, 2, 1)); meta != "" {
		t.Error("a difference to a state that is gone is believed")
	}
}

// TestOther: a state of another version is not damaged, and is not there.
func TestOther(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir, 0)
	put(t, s, name(1, 1, 1), "first", imageOf(t, 1, 0))
	file := filepath.Join(dir, name(1, 1, 1).file())
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(anyMagic)]--
	os.Remove(file)
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if list := s.List(); len(list) != 1 || !errors.Is(list[0].Err, ErrOther) || errors.Is(list[0].Err, ErrDamaged) {
		t.Errorf("a state of another version is listed as %+v, want one that is so", list)
	}
	if meta, _ := get(t, s, name(1, 1, 1)); meta != "" || len(s.List()) != 0 {
		t.Error("a state of another version is believed, or stays")
	}
}

// TestReplaced: a state that takes the place of another is what was put, though its file may
// have the other's inode; and what was a difference to the other is not there any more.
func TestReplaced(t *testing.T) {
	s := Open(t.TempDir(), 0)
	below := imageOf(t, 1, 0, 1, 2, 3, 4, 5, 6, 7)
	put(t, s, name(1, 1, 1), "below", below)
	for i := range 20 {
		b := bytesOf(t, below)
		b[i*pages.Size/4]++
		image := imageOfBytes(t, b)
		if err := s.Put(name(2, 1, 1), State{Meta: []byte("other family"), Images: []*cow.Image{image}, Else: &Base{Name: name(1, 1, 1).file(), Images: []*cow.Image{below}}}); err != nil {
			t.Fatal(err)
		}
		image.Close()
		if meta, images := get(t, s, name(2, 1, 1)); meta != "other family" || !bytes.Equal(images[0], b) {
			t.Fatalf("after state %d was put in the place of another, there is not what was put", i+1)
		}
	}
	b := bytesOf(t, below)
	b[3]++
	put(t, s, name(1, 2, 1), "above", imageOfBytes(t, b))
	b[9*pages.Size]++
	put(t, s, name(1, 1, 1), "another below", imageOfBytes(t, b))
	if meta, _ := get(t, s, name(1, 2, 1)); meta != "" {
		t.Error("a difference to a state is believed though another has taken that state's place")
	}
}

// TestChain: states may be differences to each other in a row, and one of whose
// base the images are at hand reads no other file.
func TestChain(t *testing.T) {
	b := bytesOf(t, imageOf(t, 1, 0, 1, 2, 3, 4, 5, 6, 7))
	before := held.Now(t)
	dir := t.TempDir()
	s := Open(dir, 0)
	var base *Base
	var images []*cow.Image
	for i := range byte(maxBases + 1) {
		b[int(i)*100]++
		image := imageOfBytes(t, b)
		images = append(images, image)
		if err := s.Put(name(1, i, 0), State{Meta: []byte{i}, Images: images[i:], Base: base}); err != nil {
			t.Fatal(err)
		}
		base = &Base{Name: name(1, i, 0).File(), Images: images[i:]}
	}
	last := name(1, maxBases, 0)
	if meta, got := get(t, s, last); meta != string(rune(maxBases)) || !bytes.Equal(got[0], b) {
		t.Errorf("after %d states in a row there is %q, and another image than was put", maxBases, meta)
	}
	list := s.List()
	if list[len(list)-1].Name == name(1, 0, 0).File() {
		t.Error("the first state of the row counts as not used, while the last was")
	}
	if err := s.Put(name(1, maxBases+1, 0), State{Images: images[:1], Base: base}); err != nil {
		t.Fatal(err)
	}
	if _, got := get(t, s, name(1, maxBases+1, 0)); got != nil {
		t.Errorf("%d states in a row are believed, want at most %d", maxBases+1, maxBases)
	}
	for i := range byte(maxBases - 1) {
		s.Remove(name(1, i, 0).File())
	}
	for _, f := range s.Find(last) {
		known := &Base{Name: name(1, maxBases-1, 0).File(), Images: images[maxBases-1:]}
		got, err := f.Images(known)
		if err != nil || !bytes.Equal(bytesOf(t, got[0]), b) {
			t.Errorf("a state whose base is at hand holds something else: %v", err)
		}
		cow.CloseAll(got)
		f.Close()
	}
	cow.CloseAll(images)
	s.Close()
	before.NoMore(t, "states in a row")
}

func indexOf(t testing.TB, file []byte) index {
	t.Helper()
	_, x, err := decodeHead(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// roomForThree is a store that has room for three images with these pages.
func roomForThree(t *testing.T) (s *Store, all []int) {
	for i := range 64 {
		all = append(all, i)
	}
	return Open(t.TempDir(), 900<<10), all
}

// usedAt says when a state was used last.
func usedAt(s *Store, n Name, at time.Time) { os.Chtimes(filepath.Join(s.dir, n.file()), at, at) }

// TestFamilies: a state that is a difference to one of another family has those of its own be
// differences to it; where a family has none yet, Else is what it is a difference to.
func TestFamilies(t *testing.T) {
	s := Open(t.TempDir(), 0)
	defer s.Close()
	many := make([]int, 40)
	for i := range many {
		many[i] = i
	}
	first := imageOf(t, 1, many...)
	with := func(seed uint64, n int) *cow.Image {
		t.Helper()
		i, err := first.With([]cow.Page{{Number: uint64(n), Bytes: bytes.Repeat([]byte{byte(seed)}, pages.Size)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { i.Close() })
		return i
	}
	put(t, s, name(1, 1, 1), "whole", first)
	second, third := with(2, 2), with(3, 3)
	for _, p := range []struct {
		name  Name
		image *cow.Image
		base  Name
	}{
		{name(2, 1, 1), second, name(1, 1, 1)},
		{name(2, 2, 1), third, name(2, 1, 1)}, // and not to what Else says
	} {
		other := &Base{Name: name(1, 1, 1).File(), Images: []*cow.Image{first}}
		if err := s.Put(p.name, State{Images: []*cow.Image{p.image}, Else: other}); err != nil {
			t.Fatal(err)
		}
		list := s.Find(p.name)
		if len(list) != 1 {
			t.Fatalf("%s: %d states are found, want 1", p.name.File(), len(list))
		}
		f := list[0]
		defer f.Close()
		if got, want := f.index.baseName(), p.base.File(); got != want {
			t.Errorf("%s is a difference to %q, want %q", p.name.File(), got, want)
		}
		images, err := f.Images(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytesOf(t, images[0]), bytesOf(t, p.image)) {
			t.Errorf("%s holds something else than was put", p.name.File())
		}
		cow.CloseAll(images)
	}
}

// TestBound: the folder keeps its bound, what was used least recently goes
// first, and a base outlives what is a difference to it.
func TestBound(t *testing.T) {
	s, all := roomForThree(t)
	for i := range byte(5) {
		put(t, s, name(10+i, 1, 1), "state", imageOf(t, uint64(i), all...))
		usedAt(s, name(10+i, 1, 1), time.Now().Add((time.Duration(i)-10)*time.Hour))
	}
	for i := range byte(5) {
		meta, _ := get(t, s, name(10+i, 1, 1))
		if there := meta != ""; there != (i >= 2) {
			t.Errorf("of five states, %d is there: %v; %+v", i, there, s.List())
		}
	}
	for v := range byte(20) {
		put(t, s, name(30, 1, v), fmt.Sprint(v), imageOf(t, 1, 1))
	}
	put(t, s, name(30, 2, 0), "large", imageOf(t, 1, all...)) // and the bound is kept
	if n := len(s.files(name(30, 1, 0).prefix())); n > maxVariants {
		t.Errorf("there are %d states of one key, want at most %d", n, maxVariants)
	}
}

// TestClockSetBack: states that were used at a time that is yet to come are those
// that go first.
func TestClockSetBack(t *testing.T) {
	s, all := roomForThree(t)
	for i := range byte(3) {
		put(t, s, name(10+i, 1, 1), "before", imageOf(t, uint64(i), all...))
		usedAt(s, name(10+i, 1, 1), time.Now().Add(1000*time.Hour))
	}
	for i := range byte(2) {
		put(t, s, name(20+i, 1, 1), "after", imageOf(t, uint64(20+i), all...))
	}
	for i := range byte(2) {
		if meta, _ := get(t, s, name(20+i, 1, 1)); meta != "after" {
			t.Errorf("of two states that were put after the clock was set back, %d is gone; %+v", i, s.List())
		}
	}
}

// TestDeadWriter: what a writer left that died goes, what one writes stays.
func TestDeadWriter(t *testing.T) {
	dir := t.TempDir()
	s := Open(dir, 0)
	dead := filepath.Join(dir, newPrefix+"dead")
	if err := os.WriteFile(dead, []byte("half a state"), 0o600); err != nil {
		t.Fatal(err)
	}
	alive, err := os.CreateTemp(dir, newPrefix)
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()
	if err := tryLock(alive); err != nil {
		t.Fatal(err)
	}
	put(t, s, name(1, 1, 1), "state", imageOf(t, 1, 1))
	if _, err := os.Stat(dead); err == nil {
		t.Error("what a dead writer left is still there")
	}
	if _, err := os.Stat(alive.Name()); err != nil {
		t.Errorf("what is being written is gone: %v", err)
	}
}

// TestTwo: two that use one folder at a time, and clean it, get whole states or
// none.
func TestTwo(t *testing.T) {
	dir := t.TempDir()
	done := make(chan error, 4)
	want := imageOf(t, 1, 1, 2, 3)
	sum, err := want.Hash()
	if err != nil {
		t.Fatal(err)
	}
	for w := range 4 {
		go func() {
			s := Open(dir, 64<<10)
			for i := range 60 {
				n := name(1, byte(i%3), byte(w))
				err := s.Put(n, State{Meta: []byte("m"), Images: []*cow.Image{want}})
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					done <- err
					return
				}
				for _, f := range s.Find(n) {
					images, err := f.Images(nil)
					f.Close()
					if err != nil {
						continue
					}
					if got, err := images[0].Hash(); err != nil || got != sum {
						done <- fmt.Errorf("an image holds something else: %v", err)
						return
					}
					images[0].Close()
				}
				if i%20 == 19 {
					s.Clean()
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func FuzzHead(f *testing.F) {
	x := index{label: "l", images: []indexed{
		{size: imageSize, at: pages.Size, runs: []run{{0, 2}, {5, 1}}, sums: []uint32{1, 2, 3}},
		{size: imageSize, base: "b.state", of: 1, at: 65 * pages.Size, runs: []run{{7, 1}}, chunks: []chunk{{4, 5}}},
	}}
	good := x.encode()
	f.Add(good, uint64(66*pages.Size))
	f.Add([]byte(strings.Repeat("\xff", 40)), uint64(1<<40))
	f.Fuzz(func(t *testing.T, b []byte, limit uint64) {
		decodeHead(bytes.NewReader(b), int64(len(b)))
		// As the index of a file that is whole but for that.
		list := append([]byte("meta"), b...)
		head := []byte(magic)
		for _, n := range []uint64{headSize, 4, uint64(len(b))} {
			head = binary.LittleEndian.AppendUint64(head, n)
		}
		head = append(head, headSum(head[len(magic):], list)...)
		decodeHead(bytes.NewReader(append(head, list...)), int64(headSize+len(list)))
		got, err := decodeIndex(b, limit)
		if err != nil {
			return
		}
		again, err := decodeIndex(got.encode(), limit)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
			t.Fatalf("%v becomes %v, %v", got, again, err)
		}
	})
}

// TestProgram: a program has a name that stays.
func TestProgram(t *testing.T) {
	a, err := Program()
	if err != nil || a == (Sum{}) {
		t.Fatalf("Program() = %x, %v", a, err)
	}
}
