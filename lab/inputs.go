package lab

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"nvlab/guest"
	"nvlab/internal/states"
	"nvlab/nvdimm/backend"
)

// Inputs are what experiments take from outside of their own folders, besides
// what the options of their Lab say: guests, and files of the host with what
// they held before. A nil *Inputs notes nothing.
type Inputs struct {
	mu     sync.Mutex
	guests map[string]string     // contents by spec
	files  map[string]states.Sum // by path; the zero Sum of what is not there
	used   map[string]bool       // paths outside, and whether all that is done there is to push them by that name
	other  error                 // why the same inputs may lead elsewhere
}

// Other notes that something has a part in what happens that no Inputs name.
func (in *Inputs) Other(format string, args ...any) {
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.other == nil {
		in.other = fmt.Errorf(format, args...)
	}
}

// guest notes the use of a guest.
func (in *Inputs) guest(spec guest.Spec, i *image) {
	if in == nil {
		return
	}
	key, err := json.Marshal(spec)
	content, ok := i.identity()
	if err != nil || !ok {
		in.Other("a guest without a name for its contents")
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.guests == nil {
		in.guests = map[string]string{}
	}
	in.guests[string(key)] = content
}

// file notes the use of a file or a folder of the host, before it is used.
func (in *Inputs) file(path string) {
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if _, ok := in.files[path]; ok || in.other != nil {
		return
	}
	sum, err := sumOfPath(path)
	if err != nil {
		in.other = err
		return
	}
	if in.files == nil {
		in.files = map[string]states.Sum{}
	}
	in.files[path] = sum
}

// use notes that a path of the host was used, to push it by that name or for
// something else.
func (in *Inputs) use(path string, push bool) {
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.used == nil {
		in.used = map[string]bool{}
	}
	was, ok := in.used[path]
	in.used[path] = push && (was || !ok)
}

// Used returns the absolute paths outside the experiments' folders that were used,
// sorted: those that were only pushed, and the others.
func (in *Inputs) Used() (pushed, others []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(in.used)) {
		if in.used[path] {
			pushed = append(pushed, path)
		} else {
			others = append(others, path)
		}
	}
	return pushed, others
}

// SavedInputs are Inputs that are kept.
type SavedInputs struct {
	Guests map[string]string
	Files  map[string]states.Sum
}

// Save returns the inputs, if these are all, and the files hold what they held.
func (in *Inputs) Save() (*SavedInputs, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.other != nil {
		return nil, in.other
	}
	s := &SavedInputs{maps.Clone(in.guests), maps.Clone(in.files)}
	return s, s.filesHold()
}

func (s *SavedInputs) filesHold() error {
	for path, want := range s.Files {
		if sum, err := sumOfPath(path); err != nil || sum != want {
			return fmt.Errorf("%s is not what it was", path)
		}
	}
	return nil
}

// Hold says why the inputs are not what they were.
func (l *Lab) Hold(ctx context.Context, s *SavedInputs) error {
	if err := s.filesHold(); err != nil {
		return err
	}
	for text, want := range s.Guests {
		var spec guest.Spec
		if err := json.Unmarshal([]byte(text), &spec); err != nil {
			return err
		}
		i, err := l.image(ctx, spec)
		if err != nil {
			return err
		}
		if content, ok := i.identity(); !ok || content != want {
			return fmt.Errorf("the guest %s is another", spec)
		}
	}
	return nil
}

// identity names all that a guest is made of, its pid 1 included.
func (i *image) identity() (string, bool) {
	m := &i.Manifest
	text, err := json.Marshal([]any{m.Content, m.Archives, m.Vmlinux, m.Recipe, i.agent()})
	return string(text), err == nil && m.Content != ""
}

// Record has an experiment note what it takes from outside.
func (x *Experiment) Record(in *Inputs) { x.inputs = in }

// opened notes what of a backend the host decides.
func (in *Inputs) opened(b *Backend) {
	if d := b.Durability(); b.contended || d != backend.Volatile && d != backend.PageCache {
		in.Other("%s: %v", b, d)
	}
}

// maxInput bounds the bytes that are read to name a file's contents.
const maxInput = 1 << 30

var errTooMuch = errors.New("too much to be read")

// sumOfPath names what a file or a folder holds, and the kind and permissions of
// all that is in it. What a link leads to counts if it is the path itself.
func sumOfPath(path string) (sum states.Sum, err error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return sum, nil
	}
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	left := int64(maxInput)
	err = filepath.WalkDir(real, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(real, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %v %d\n", rel, info.Mode(), info.Size())
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(name)
			fmt.Fprintf(h, "%q\n", to)
			return err
		case info.IsDir():
			return nil
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is neither a file nor a folder", name)
		}
		if left -= info.Size(); left < 0 {
			return errTooMuch
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(h, f)
		return err
	})
	return states.Sum(h.Sum(nil)), err
}
