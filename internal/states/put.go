package states

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
	base := (*baseState)(nil)
	if st.Base != nil {
		base = &baseState{st.Base.Name, st.Base.Images}
	} else if base = s.baseFor(n); base != nil {
		defer base.close()
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
	s.bound(n, keep)
	return nil
}

// touch notes the use of a state that another is a difference to, and of those
// below it.
func (s *Store) touch(name string, names map[string]bool) {
	for range maxBases {
		f, err := s.open(name)
		if err != nil {
			return
		}
		f.used()
		f.Close()
		names[name] = true
		if name = f.index.baseName(); name == "" {
			return
		}
	}
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
	images []*cow.Image
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
		if f.index.baseName() != "" {
			f.Close()
			continue
		}
		images, err := f.Images()
		f.Close()
		if err == nil {
			return &baseState{e.name, images}
		}
	}
	return nil
}

// write fills a file.
func write(f *os.File, st State, base *baseState) error {
	x := index{label: st.Label}
	at := uint64(pages.Size)
	for k, image := range st.Images {
		m := indexed{size: image.Size(), at: at}
		w := &pageWriter{f: f, image: &m}
		difference, err := base.difference(image, k)
		switch {
		case err != nil:
			return err
		case difference != nil:
			m.base, m.of, w.dense = base.name, uint64(k), true
			for _, p := range difference {
				if err := w.add(p); err != nil {
					return err
				}
			}
			at += uint64(len(difference)) * pages.Size
		default:
			if err := image.Pages(w.add); err != nil {
				return err
			}
			at += m.size
		}
		if err := w.flush(); err != nil {
			return err
		}
		x.images = append(x.images, m)
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

// worthwhile is which part of an image a difference may be at most: 1 of so
// many.
const worthwhile = 2

// difference is in what an image differs from the base's of its number; nil if
// that is no use.
func (b *baseState) difference(image *cow.Image, k int) ([]cow.Page, error) {
	if b == nil || k >= len(b.images) || b.images[k].Size() != image.Size() {
		return nil, nil
	}
	var used uint64
	for _, r := range image.Touched() {
		used += r.Size / pages.Size
	}
	list, few, err := image.Differing(b.images[k], int(used/worthwhile))
	if err != nil || !few {
		return nil, err
	}
	if list == nil {
		list = []cow.Page{}
	}
	return list, nil
}

// A pageWriter writes an image's pages and notes them in its index.
type pageWriter struct {
	f     *os.File
	image *indexed
	dense bool // pages follow each other
	buf   []byte
	at    uint64 // of buf, within the image's place in the file
	next  uint64 // within that place, of a dense image
}

const writeSize = 1 << 20

func (w *pageWriter) add(p cow.Page) error {
	m := w.image
	if n := len(m.runs); n > 0 && m.runs[n-1].first+m.runs[n-1].n == p.Number {
		m.runs[n-1].n++
	} else {
		m.runs = append(m.runs, run{p.Number, 1})
	}
	m.sums = append(m.sums, pageSum(p.Bytes))
	at := p.Number * pages.Size
	if w.dense {
		at = w.next
		w.next += pages.Size
	}
	if len(w.buf) > 0 && (w.at+uint64(len(w.buf)) != at || len(w.buf) == writeSize) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.buf) == 0 {
		w.at = at
	}
	w.buf = append(w.buf, p.Bytes...)
	return nil
}

func (w *pageWriter) flush() error {
	_, err := w.f.WriteAt(w.buf, int64(w.image.at+w.at))
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
		if !strings.HasPrefix(e.Name(), newPrefix) {
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
