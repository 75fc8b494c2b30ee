package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nvlab/guest/debian"
)

const (
	kernelFile   = "kernel"
	vmlinuxFile  = "vmlinux"
	initrdFile   = "initrd.cpio"
	manifestFile = "manifest.json"
)

// ErrNoGuest says that the store has no such guest.
var ErrNoGuest = errors.New("no such guest")

// Store is a folder of guests. Several processes may use one at a time.
type Store struct {
	// Vmlinux decompresses a bzImage to the ELF file within, so that a machine
	// starts without doing so. If nil, guests have no VmlinuxPath.
	Vmlinux func(bzImage []byte) ([]byte, error)

	dir string
}

// DefaultDir is ${XDG_CACHE_HOME:-~/.cache}/nvlab.
func DefaultDir() (string, error) {
	if dir := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "nvlab"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for guests: set XDG_CACHE_HOME or HOME: %w", err)
	}
	return filepath.Join(home, ".cache", "nvlab"), nil
}

// Open returns the store in a folder, which need not exist; "" is DefaultDir.
func Open(dir string) (*Store, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return nil, fmt.Errorf("the store of guests %s is no folder", dir)
	}
	return &Store{dir: dir}, nil
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

func (s *Store) guests() string            { return filepath.Join(s.dir, "guests") }
func (s *Store) guest(name string) string  { return filepath.Join(s.guests(), name) }
func (s *Store) defaultFile() string       { return filepath.Join(s.guests(), "default") }
func (s *Store) downloads() string         { return filepath.Join(s.dir, "downloads") }
func (s *Store) tmp() string               { return filepath.Join(s.dir, "tmp") }
func (s *Store) inside(name string) string { return filepath.Join(s.dir, name) }

// defaultName is the name of the default guest, or "".
func (s *Store) defaultName() string {
	b, err := os.ReadFile(s.defaultFile())
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// manifest reads what a guest is made of.
func (s *Store) manifest(name string) (m Manifest, err error) {
	if !validName(name) {
		return m, fmt.Errorf("%w: %q", ErrNoGuest, name)
	}
	b, err := os.ReadFile(filepath.Join(s.guest(name), manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("%w: %s", ErrNoGuest, name)
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: %s has a broken %s: %w", ErrNoGuest, name, manifestFile, err)
	}
	if m.Name != name {
		return m, fmt.Errorf("%w: the %s of %s is of guest %q", ErrNoGuest, manifestFile, name, m.Name)
	}
	return m, nil
}

// load reads one guest. A folder that holds no whole guest is no guest.
func (s *Store) load(name string) (*Image, error) {
	m, err := s.manifest(name)
	if err != nil {
		return nil, err
	}
	dir := s.guest(name)
	im := imageAt(dir, m)
	parts := map[string]int64{im.KernelPath: m.Image.Size, im.BaseInitrd: m.Initrd.Size}
	for name, sum := range m.Archives {
		if filepath.Base(name) == name {
			parts[filepath.Join(dir, name)] = sum.Size
		}
	}
	for file, want := range parts {
		st, err := os.Stat(file)
		if err != nil {
			return nil, &DamagedError{name, filepath.Base(file), "cannot be had: " + err.Error()}
		}
		if st.Size() != want {
			return nil, &DamagedError{name, filepath.Base(file), fmt.Sprintf("has %d bytes, and had %d", st.Size(), want)}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, vmlinuxFile)); err == nil {
		im.VmlinuxPath = filepath.Join(dir, vmlinuxFile)
	}
	im.Default = name == s.defaultName()
	return im, nil
}

// List returns the guests in the store, by name. Folders that are no guests
// are passed over.
func (s *Store) List() ([]*Image, error) {
	entries, err := os.ReadDir(s.guests())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []*Image
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if im, err := s.load(e.Name()); err == nil {
			list = append(list, im)
		}
	}
	return list, nil
}

// Lookup returns the guest of a spec if the store has it, else an error that
// wraps ErrNoGuest. It builds nothing and takes no lock.
func (s *Store) Lookup(spec Spec) (*Image, error) {
	spec, err := spec.localize()
	if err != nil {
		return nil, err
	}
	im, err := s.find(spec)
	if err != nil {
		return nil, err
	}
	if r := im.Manifest.Recipe; r != recipe && r != splitRecipe {
		return nil, fmt.Errorf("%w: %s was built by another nvlab; build it again", ErrNoGuest, im.Name)
	}
	return im, nil
}

func (s *Store) find(spec Spec) (*Image, error) {
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if spec.Kernel == "" {
		return s.findDefault(spec)
	}
	if strings.Contains(spec.Kernel, "/") {
		k, err := readLocalKernel(spec.Kernel)
		if err != nil {
			return nil, err
		}
		spec.Kernel = k.name()
	}
	release := s.release(spec)
	im, err := s.newest(func(im *Image) bool { return im.matches(spec, release) })
	if err == nil && im == nil {
		err = fmt.Errorf("%w: %s", ErrNoGuest, spec)
	}
	return im, err
}

// release is the release of Debian that a spec's packages are of.
func (s *Store) release(spec Spec) string {
	if spec.Release != "" {
		return spec.Release
	}
	if im, err := s.load(s.defaultName()); err == nil && im.Manifest.Debian != "" {
		return im.Manifest.Debian
	}
	return debian.HostRelease()
}

// findDefault finds the default guest, that of a release, or one with extra
// packages whose kernel is the default guest's, or was the default when it was
// built.
func (s *Store) findDefault(spec Spec) (*Image, error) {
	name, extra := s.defaultName(), spec.extra()
	if len(extra) == 0 && spec.Release == "" {
		if name == "" {
			return nil, fmt.Errorf("%w: the store %s has no default guest", ErrNoGuest, s.dir)
		}
		return s.load(name)
	}
	release := s.release(spec)
	im, err := s.newest(func(im *Image) bool {
		m := &im.Manifest
		return m.Base == name && slices.Equal(m.Extra, extra) && (spec.Release == "" || m.Debian == spec.Release)
	})
	if err != nil || im != nil {
		return im, err
	}
	spec.Kernel = DefaultKernel
	im, err = s.newest(func(im *Image) bool { return im.matches(spec, release) })
	if err == nil && im == nil {
		spec.Kernel = ""
		err = fmt.Errorf("%w: %s", ErrNoGuest, spec)
	}
	return im, err
}

// newest returns the guest built last of those that want accepts, or nil.
func (s *Store) newest(want func(*Image) bool) (*Image, error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var best *Image
	for _, im := range list {
		if want(im) && (best == nil || im.Manifest.Built.After(best.Manifest.Built)) {
			best = im
		}
	}
	return best, nil
}

// Path returns the folder of a guest; "" is the default guest.
func (s *Store) Path(name string) (string, error) {
	im, err := s.find(Spec{Kernel: name})
	if err != nil {
		return "", err
	}
	return im.dir, nil
}

// SetDefault makes a guest of the store the default one.
func (s *Store) SetDefault(name string) error {
	if _, err := s.load(name); err != nil {
		return err
	}
	return writeFileAtomic(s.defaultFile(), func(f *os.File) error {
		_, err := f.WriteString(name + "\n")
		return err
	})
}

func validName(name string) bool {
	return name != "" && name[0] != '.' && len(name) <= 200 && !strings.ContainsAny(name, "/\\\x00 \n")
}
