package states

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/s2"

	"nvlab/internal/cow"
	"nvlab/internal/pages"
)

// newPrefix begins the names of files that are being written. Their writers hold
// a lock on them.
const newPrefix = ".new-"

// Put keeps a state, and removes those that were used least recently until the
// folder keeps its bound. A state that is there already is replaced.
func (s *Store) Put(n Name, st State) (err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	f, err := s.create()
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	base := s.asBase(st.Base)
	if base == nil {
		if base = s.baseFor(n); base != nil {
			defer base.close()
		} else {
			base = s.asBase(st.Else)
		}
	}
	if err := write(f, st, base); err != nil {
		return fmt.Errorf("keeping a state in %s: %w", s.dir, err)
	}
	if err := os.Rename(f.Name(), filepath.Join(s.dir, n.file())); err != nil {
		return err
	}
	keep := map[string]bool{n.file(): true}
	if base != nil {
		s.touch(base.name, keep)
	}
	if info, err := f.Stat(); err != nil || s.due(onDisk(info)) {
		s.bound(n, keep)
	}
	return nil
}

// growth is by how much of its bound a folder grows until that is kept: 1 of so
// many. To look at a folder takes longer than to write a small state.
const growth = 64

// due reports whether the bound is to be kept after another state.
func (s *Store) due(size int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.grown < 0
	if s.grown += size; !first && s.grown < s.limit/growth {
		return false
	}
	s.grown = 0
	return true
}

// touch notes the use of a state that another is a difference to, and of those
// below it, and adds them to names if that is not nil.
func (s *Store) touch(name string, names map[string]bool) {
	for range maxBases {
		if !validName(name) {
			return
		}
		s.use(name)
		if names != nil {
			names[name] = true
		}
		name = s.baseOf(name)
	}
}

// baseOf is the state that another is a difference to, "" if it is to none.
// It believes the file.
func (s *Store) baseOf(name string) string {
	f, h, err := s.numbersOf(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	list := make([]byte, h.index)
	if n, err := f.ReadAt(list, int64(h.at+h.meta)); n < len(list) && err != nil {
		return ""
	}
	x, err := decodeIndex(list, h.at)
	if err != nil {
		return ""
	}
	return x.baseName()
}

// numbersOf opens a state, and reads its first bytes.
func (s *Store) numbersOf(name string) (_ *os.File, n numbers, err error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return nil, n, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, n, err
	}
	n, err = readNumbers(f, info.Size())
	return f, n, err
}

// create makes a file that is to be written, and locks it. Whoever sweeps the
// folder may come between the two, and take it for a dead writer's.
func (s *Store) create() (f *os.File, err error) {
	for range 100 {
		if f, err = os.CreateTemp(s.dir, newPrefix); err != nil {
			return nil, err
		}
		if err = tryLock(f); err == nil {
			if _, err = os.Lstat(f.Name()); err == nil {
				return f, nil
			}
		}
		f.Close()
	}
	return nil, fmt.Errorf("%s: a new file is taken away each time: %w", s.dir, err)
}

// A baseState is one that others may be differences to.
type baseState struct {
	name   string
	sum    Sum
	images []*cow.Image
}

// asBase is b, or nil if that is nil or its file is not there any more.
func (s *Store) asBase(b *Base) *baseState {
	if b == nil {
		return nil
	}
	f, h, err := s.numbersOf(b.Name)
	if err != nil {
		return nil
	}
	f.Close()
	if b.Sum != (Sum{}) && b.Sum != h.sum {
		return nil
	}
	return &baseState{b.Name, h.sum, b.Images}
}

func (b *baseState) close() { cow.CloseAll(b.images) }

// baseFor finds a base: of the family's roots, the one that was used last.
func (s *Store) baseFor(n Name) *baseState {
	for _, e := range s.files(n.prefix()[:2*familyBytes+1]) {
		if e.name == n.file() {
			continue
		}
		f, err := s.open(e.name)
		if err != nil {
			continue
		}
		if !f.root() {
			f.Close()
			continue
		}
		images, err := f.Images(nil)
		f.Close()
		if err == nil {
			return &baseState{e.name, f.index.sum, images}
		}
	}
	return nil
}

// write fills a file.
func write(f *os.File, st State, base *baseState) error {
	x := index{label: st.Label}
	at := uint64(pages.Size)
	for k, image := range st.Images {
		m, end, err := writeImage(f, at, image, base, k)
		if err != nil {
			return err
		}
		x.images = append(x.images, m)
		at = end
	}
	head, tail := encodeHead(at, st.Meta, &x)
	if _, err := f.WriteAt(tail, int64(at)); err != nil {
		return err
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	return f.Chmod(0o444)
}

// writeImage writes an image from an offset of the file on, and returns where it
// ends: as its difference to the base's image of the same number, if there is one
// and it is worthwhile, or as a root.
func writeImage(f *os.File, at uint64, image *cow.Image, base *baseState, number int) (_ indexed, end uint64, err error) {
	m := indexed{size: image.Size(), at: at}
	if base != nil && number < len(base.images) && base.images[number].Size() == image.Size() {
		d := m
		d.base, d.sum, d.of = base.name, base.sum, uint64(number)
		size, err := d.writeDifference(f, image, base.images[number])
		if !errors.Is(err, errNotWorthwhile) {
			return d, at + (size+pages.Size-1)&^(pages.Size-1), err
		}
		if err := f.Truncate(int64(at)); err != nil { // a root's zeros are holes
			return m, 0, err
		}
	}
	return m, at + m.size, m.writeRoot(f, image)
}

// worthwhile is which part of an image a difference may be at most: 1 of so
// many.
const worthwhile = 2

var errNotWorthwhile = errors.New("the difference is too large a part of the image")

// note adds a page to the image's runs.
func (m *indexed) note(page uint64) {
	if n := len(m.runs); n > 0 && m.runs[n-1].first+m.runs[n-1].n == page {
		m.runs[n-1].n++
	} else {
		m.runs = append(m.runs, run{page, 1})
	}
}

// writeDifference writes the pages in which the image differs from the base's,
// and returns how many bytes they take.
func (m *indexed) writeDifference(f *os.File, image, base *cow.Image) (size uint64, err error) {
	var limit int
	for _, r := range image.Touched() {
		limit += int(r.Size / pages.Size)
	}
	limit /= worthwhile
	plain := make([]byte, 0, chunkPages*pages.Size)
	packed := make([]byte, s2.MaxEncodedLen(cap(plain)))
	write := func() error {
		b, c := pack(packed, plain)
		_, err := f.WriteAt(b, int64(m.at+size))
		m.chunks = append(m.chunks, c)
		size, plain = size+c.size, plain[:0]
		return err
	}
	err = image.Differing(base, func(p cow.Page) error {
		if limit == 0 {
			return errNotWorthwhile
		}
		limit--
		m.note(p.Number)
		if plain = append(plain, p.Bytes...); len(plain) < cap(plain) {
			return nil
		}
		return write()
	})
	if err == nil && len(plain) > 0 {
		err = write()
	}
	return size, err
}

// writeRoot writes an image's pages where they are in memory.
func (m *indexed) writeRoot(f *os.File, image *cow.Image) error {
	w := &runWriter{f: f}
	err := image.Pages(func(p cow.Page) error {
		m.note(p.Number)
		m.sums = append(m.sums, pageSum(p.Bytes))
		return w.add(m.at+p.Number*pages.Size, p.Bytes)
	})
	if err != nil {
		return err
	}
	return w.flush()
}

// A runWriter writes pages that follow each other at a time.
type runWriter struct {
	f   *os.File
	buf []byte
	at  uint64 // of buf
}

const writeSize = 1 << 20

func (w *runWriter) add(at uint64, p []byte) error {
	if len(w.buf) > 0 && (w.at+uint64(len(w.buf)) != at || len(w.buf) == writeSize) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.buf) == 0 {
		w.at = at
	}
	w.buf = append(w.buf, p...)
	return nil
}

func (w *runWriter) flush() error {
	_, err := w.f.WriteAt(w.buf, int64(w.at))
	w.buf = w.buf[:0]
	return err
}

// bound removes what is too much. A base stays in use with those that are
// differences to it, which note its use with theirs.
func (s *Store) bound(n Name, keep map[string]bool) {
	s.sweep()
	for i, e := range s.files(n.prefix()) {
		if i >= maxVariants && !keep[e.name] {
			s.drop(e.name)
		}
	}
	var total int64
	for _, e := range s.files("") {
		if total += e.size; total > s.limit && !keep[e.name] {
			s.drop(e.name)
			total -= e.size
		}
	}
}

// sweep removes what writers left that died: nobody locks it.
func (s *Store) sweep() {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), newPrefix) || !e.Type().IsRegular() {
			continue
		}
		name := filepath.Join(s.dir, e.Name())
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && tryLock(f) == nil {
			os.Remove(name)
		}
		if err == nil {
			f.Close()
		}
	}
}
