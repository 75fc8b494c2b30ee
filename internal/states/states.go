// Package states keeps states of machines in a folder, so that what was computed
// once is not computed again by a later process. It knows nothing of what a
// state is: bytes that its user encodes, and images of memory.
//
// A state has a key, over all that determines it and is known beforehand, and a
// variant, over what only the state itself knows that it depends on: states of
// one key are candidates, and who asks decides which of them holds. A state of
// a family may have its images as differences to those of another, its base.
//
// Nothing in the folder is believed. A file is written under another name and
// renamed when it is whole; checksums tell what is damaged, which is removed and
// counts as not there. Any number of processes may use a folder at a time; what
// one of them removes others may go on using.
package states

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"nvlab/internal/cow"
)

// DefaultLimit is how many bytes a folder takes of its disk at most.
const DefaultLimit = 2 << 30

// maxVariants is how many states of one key are kept.
const maxVariants = 8

// A Sum is a SHA-256.
type Sum [32]byte

// A Store is a folder of states.
type Store struct {
	dir   string
	limit int64

	mu    sync.Mutex
	roots []rootImages // those used last, the latest last
	grown int64        // bytes put since the bound was kept; negative before the first
}

// rootImages are images of a state of which root says that it is one. They were
// checked, and states that are differences to them have their memory in common.
type rootImages struct {
	file   os.FileInfo // of whose bytes they are
	sum    Sum         // of its head: when it is gone, another may have its inode
	images []*cow.Image
}

// maxRoots is how many a process keeps open.
const maxRoots = 8

// Open returns the store in a folder, which is made when something is put there.
// It is to take no more than limit bytes, and what it may grow by until that is
// looked at; 0 is DefaultLimit.
func Open(dir string, limit int64) *Store {
	return &Store{dir: dir, limit: cmp.Or(limit, DefaultLimit), grown: -1}
}

// Limit is how many bytes the folder takes at most.
func (s *Store) Limit() int64 { return s.limit }

// Dir is the folder.
func (s *Store) Dir() string { return s.dir }

// A State is what is kept.
type State struct {
	Label  string // for people
	Meta   []byte // the user's own encoding
	Images []*cow.Image
	Base   *Base // nil, or gone: one of the family is looked for
	Else   *Base // the base if the family has none; nil: none
}

// A Base is a state in the store that another is a difference to, with images
// that hold what its own do.
type Base struct {
	Name   string
	Sum    Sum // of the state that the images are from; 0: of the one that has the name
	Images []*cow.Image
}

// A Name names a state in its folder.
type Name struct {
	Family, Key, Variant Sum
}

// suffix ends the names of states.
const suffix = ".state"

// Bytes of each sum that are in a file's name.
const familyBytes, keyBytes, variantBytes = 4, 16, 8

func (n Name) prefix() string {
	return hex.EncodeToString(n.Family[:familyBytes]) + "-" + hex.EncodeToString(n.Key[:keyBytes]) + "-"
}

// File is the name of the state's file.
func (n Name) File() string { return n.file() }

func (n Name) file() string {
	return n.prefix() + hex.EncodeToString(n.Variant[:variantBytes]) + suffix
}

// Find returns the states of a family and a key, those used last first. Close
// ends each.
func (s *Store) Find(n Name) []*Found {
	var list []*Found
	for _, e := range s.files(n.prefix()) {
		if f, err := s.open(e.name); err == nil {
			f.asked = n
			list = append(list, f)
		}
	}
	return list
}

// A file of the store, as its folder shows it.
type file struct {
	name string
	size int64 // bytes on the disk
	used time.Time
}

// files lists the states whose names begin with a prefix, those used last first.
func (s *Store) files(prefix string) (list []file) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			list = append(list, file{e.Name(), onDisk(info), lastUse(info)})
		}
	}
	slices.SortFunc(list, func(a, b file) int { return cmp.Or(b.used.Compare(a.used), cmp.Compare(a.name, b.name)) })
	return list
}

// lastUse is when a state was used last. A time that is yet to come is from before
// the clock was set back, and says nothing: such states would outlive all others.
func lastUse(info os.FileInfo) time.Time {
	const skew = time.Hour // between hosts that share a folder
	if used := info.ModTime(); time.Until(used) < skew {
		return used
	}
	return time.Time{}
}

// A Found is a state in the store, open.
type Found struct {
	store *Store
	name  string
	asked Name
	f     *os.File
	index index
	meta  []byte
}

// Label is the state's.
func (f *Found) Label() string { return f.index.label }

// Name is that of its file.
func (f *Found) Name() string { return f.name }

// At is the name that Find found it under. Its variant is the digits that are in
// the file's name.
func (f *Found) At() Name {
	n := f.asked
	n.Variant = Sum{}
	digits := strings.TrimSuffix(strings.TrimPrefix(f.name, n.prefix()), suffix)
	if b, err := hex.DecodeString(digits); err == nil {
		copy(n.Variant[:], b)
	}
	return n
}

// Base is the state as one that others are differences to, with its images.
func (f *Found) Base(images []*cow.Image) *Base { return &Base{f.name, f.index.sum, images} }

// Meta is what Put got. It is whole.
func (f *Found) Meta() []byte { return f.meta }

// Close ends it. Images stay.
func (f *Found) Close() error { return f.f.Close() }

// ErrDamaged says that a file is not what was written.
var ErrDamaged = errors.New("damaged")

// ErrOther says that a file is that of a version of nvlab which laid files out in another way.
var ErrOther = errors.New("of another version of nvlab")

// useless says that an error is one of a file that nobody can ever use.
func useless(err error) bool { return errors.Is(err, ErrDamaged) || errors.Is(err, ErrOther) }

// open opens a state's file and checks all of it but its pages. What is useless
// is removed.
func (s *Store) open(name string) (*Found, error) {
	f, err := os.Open(filepath.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	found := &Found{store: s, name: name, f: f}
	if found.meta, found.index, err = readHead(f); err != nil {
		f.Close()
		if useless(err) {
			s.drop(name)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return found, nil
}

// Images returns the images, once all of their bytes were checked, and notes
// that the state was used. Who gets them closes them. A base whose images are at
// hand is not read; nil if there is none.
func (f *Found) Images(known *Base) ([]*cow.Image, error) { return f.images(known, 0) }

// maxBases bounds how many bases stand upon each other.
const maxBases = 32

func (f *Found) images(known *Base, depth int) (list []*cow.Image, err error) {
	defer func() {
		if err != nil {
			cow.CloseAll(list)
			if useless(err) || errors.Is(err, fs.ErrNotExist) {
				f.store.drop(f.name)
			}
			err = fmt.Errorf("%s: %w", f.name, err)
		}
	}()
	file, err := f.f.Stat()
	if err != nil {
		return nil, err
	}
	f.used() // before its base, which is to be removed later
	if list := f.store.root(file, f.index.sum); list != nil {
		return list, nil
	}
	bases := map[string][]*cow.Image{}
	defer func() {
		for _, images := range bases {
			cow.CloseAll(images)
		}
	}()
	for i := range f.index.images {
		x := &f.index.images[i]
		var base *cow.Image
		if x.base != "" {
			if bases[x.base] == nil {
				if bases[x.base], err = f.base(x, known, depth); err != nil {
					return list, err
				}
			}
			if x.of >= uint64(len(bases[x.base])) {
				return list, fmt.Errorf("%w: its base has no image %d", ErrDamaged, x.of)
			}
			base = bases[x.base][x.of]
		}
		image, err := x.load(f.f, base)
		if err != nil {
			return list, err
		}
		list = append(list, image)
	}
	if f.root() {
		f.store.keepRoot(rootImages{file, f.index.sum, list})
	}
	return list, nil
}

// root says that the state is whole, or a difference to one of another family: those of
// its own may be differences to it.
func (f *Found) root() bool {
	base := f.index.baseName()
	return base == "" || familyOf(base) != familyOf(f.name)
}

// familyOf is the digits of a state's family.
func familyOf(name string) string { return name[:min(2*familyBytes, len(name))] }

func (f *Found) used() { f.store.use(f.name) }

func (s *Store) use(name string) {
	now := time.Now()
	os.Chtimes(filepath.Join(s.dir, name), now, now)
}

// root returns the images of a state that is open already, nil if it is not.
func (s *Store) root(file os.FileInfo, sum Sum) (list []*cow.Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.roots {
		if r.sum == sum && os.SameFile(r.file, file) {
			s.roots = append(slices.Delete(s.roots, i, i+1), r)
			list, _ := same(r.images)
			return list
		}
	}
	return nil
}

// keepRoot keeps images open.
func (s *Store) keepRoot(r rootImages) {
	if len(r.images) == 0 {
		return
	}
	var err error
	if r.images, err = same(r.images); err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roots = append(s.roots, r)
	if len(s.roots) > maxRoots {
		cow.CloseAll(s.roots[0].images)
		s.roots = slices.Delete(s.roots, 0, 1)
	}
}

// Close gives back what the store keeps open.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.roots {
		cow.CloseAll(r.images)
	}
	s.roots = nil
}

// same returns other images of the same contents.
func same(images []*cow.Image) (list []*cow.Image, err error) {
	for _, i := range images {
		c, err := i.With(nil)
		if err != nil {
			cow.CloseAll(list)
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// base loads the images of the state that an image is a difference to.
func (f *Found) base(x *indexed, known *Base, depth int) ([]*cow.Image, error) {
	name := x.base
	if known != nil && known.Name == name && (known.Sum == x.sum || known.Sum == Sum{}) {
		f.store.touch(name, nil)
		return same(known.Images)
	}
	if depth == maxBases || !validName(name) {
		return nil, fmt.Errorf("%w: its base is %q", ErrDamaged, name)
	}
	b, err := f.store.open(name)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.index.sum != x.sum {
		return nil, fmt.Errorf("%w: its base %s is another by now", ErrDamaged, name)
	}
	return b.images(known, depth+1)
}

func validName(name string) bool {
	return filepath.Base(name) == name && strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, ".")
}

func (s *Store) drop(name string) { os.Remove(filepath.Join(s.dir, name)) }

// An Info is what there is to tell of a state.
type Info struct {
	Name  string
	Label string
	Size  int64 // bytes on the disk
	Used  time.Time
	Base  string // the state that it is a difference to, or ""
	Err   error  // wraps ErrDamaged, or says why it cannot be read
}

// List returns all states, those used last first. It removes none.
func (s *Store) List() (list []Info) {
	for _, e := range s.files("") {
		info := Info{Name: e.name, Size: e.size, Used: e.used}
		f, err := os.Open(filepath.Join(s.dir, e.name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			var x index
			_, x, err = readHead(f)
			f.Close()
			info.Label, info.Base = x.label, x.baseName()
		}
		info.Err = err
		list = append(list, info)
	}
	return list
}

// Get opens a state by the name of its file.
func (s *Store) Get(name string) (*Found, error) {
	if !validName(name) {
		return nil, fmt.Errorf("%q is no state", name)
	}
	return s.open(name)
}

// Check reads all of a state, and those that it is a difference to, and says
// what is wrong.
func (s *Store) Check(name string) error {
	f, err := s.Get(name)
	if err != nil {
		return err
	}
	defer f.Close()
	images, err := f.Images(nil)
	cow.CloseAll(images)
	return err
}

// Remove removes a state.
func (s *Store) Remove(name string) error {
	if !validName(name) {
		return fmt.Errorf("%q is no state", name)
	}
	return os.Remove(filepath.Join(s.dir, name))
}

// Clean removes all states, and says how many bytes of the disk that gave back.
func (s *Store) Clean() (freed int64, err error) {
	var errs []error
	for _, e := range s.files("") {
		if err := s.Remove(e.name); err == nil {
			freed += e.size
		} else if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	s.sweep()
	return freed, errors.Join(errs...)
}
