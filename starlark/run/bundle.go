package run

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"nvlab/internal/hostfile"
	nvstar "nvlab/starlark"
	"nvlab/starlark/guard"
)

// BundleExt is how the name of a bundle ends.
const BundleExt = ".nvlab"

// A Bundle is a crash state of a test with all that somebody else needs to see
// it: the scenario and what it loads, the options of the run, and, to compare,
// what the state is and by what it was found.
type Bundle struct {
	Version  string // of nvlab
	Guest    string
	Test     string
	State    string
	Scenario string // its path among the files
	Options  BundleOptions
	Carried  []CarriedFile
	Lacks    []string `json:",omitempty"` // paths of the host that it needs besides

	Files       map[string][]byte `json:"-"` // by path, with slashes
	Description string            `json:"-"` // the state in words
	Image       []byte            `json:"-"` // what it differs in from the NVDIMMs before the command, a line of text for 64 bytes
}

// A CarriedFile is a file of the host that the scenario pushes, up to the state.
type CarriedFile struct {
	Path string      // absolute, where it was
	Mode fs.FileMode // permissions
	Text []byte      `json:"-"`
}

// BundleOptions are the run's, as far as they decide what its machines do.
type BundleOptions struct {
	Engine, Kernel, Release, Cmdline string
	Seed, Steps                      uint64
}

const (
	bundleHead        = "bundle.json"
	bundleDescription = "state.txt"
	bundleImage       = "image.txt"
	bundleFiles       = "files/"
	bundleCarried     = "carried/" // and the number

	// carriedFolder is none of a scenario, whose files end in .star, nor below one.
	carriedFolder = "carried files"

	// A bundle's files are small; its image may be that of a large write.
	maxBundleFiles = 1 << 10
	maxBundle      = 1 << 28
	maxCarried     = 1 << 27 // bytes of carried files
)

// Write writes the bundle.
func (b *Bundle) Write(to io.Writer) error {
	head, err := json.MarshalIndent(b, "", "\t")
	if err != nil {
		return err
	}
	z := gzip.NewWriter(to)
	w := tar.NewWriter(z)
	add := func(name string, text []byte) {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Format: tar.FormatPAX}))
		if err == nil {
			_, err = w.Write(text)
		}
	}
	add(bundleHead, append(head, '\n'))
	add(bundleDescription, []byte(b.Description))
	add(bundleImage, b.Image)
	for _, name := range slices.Sorted(maps.Keys(b.Files)) {
		add(bundleFiles+name, b.Files[name])
	}
	for i, f := range b.Carried {
		add(bundleCarried+strconv.Itoa(i), f.Text)
	}
	return errors.Join(err, w.Close(), z.Close())
}

// ReadBundle reads one, which may come from anywhere.
func ReadBundle(from io.Reader) (*Bundle, error) {
	z, err := gzip.NewReader(from)
	if err != nil {
		return nil, fmt.Errorf("it is no bundle: %w", err)
	}
	b := &Bundle{Files: map[string][]byte{}}
	left := &io.LimitedReader{R: z, N: maxBundle}
	r := tar.NewReader(left)
	var head []byte
	carried := map[string][]byte{}
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil && len(b.Files)+len(carried) > maxBundleFiles {
			err = fmt.Errorf("more than %d files", maxBundleFiles)
		}
		var text []byte
		if err == nil {
			text, err = io.ReadAll(r)
		}
		if err != nil {
			return nil, fmt.Errorf("it is no bundle: %w", err)
		}
		name, isFile := strings.CutPrefix(h.Name, bundleFiles)
		switch {
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("it is no bundle: %q is no plain file", h.Name)
		case isFile && (!filepath.IsLocal(filepath.FromSlash(name)) || filepath.Ext(name) != ".star" || len(text) > guard.MaxSource):
			return nil, fmt.Errorf("it is no bundle: the name %q, or its %d bytes, are no scenario's", name, len(text))
		case isFile:
			b.Files[name] = text
		case strings.HasPrefix(h.Name, bundleCarried):
			carried[h.Name] = text
		case h.Name == bundleHead:
			head = text
		case h.Name == bundleDescription:
			b.Description = string(text)
		case h.Name == bundleImage:
			b.Image = text
		}
	}
	if err := json.Unmarshal(head, b); err != nil {
		return nil, fmt.Errorf("it is no bundle: %s: %w", bundleHead, err)
	}
	if b.Files[b.Scenario] == nil {
		return nil, fmt.Errorf("it is no bundle: the scenario %q is not in it", b.Scenario)
	}
	for i := range b.Carried {
		f, ok := &b.Carried[i], false
		if f.Text, ok = carried[bundleCarried+strconv.Itoa(i)]; !ok || !filepath.IsAbs(f.Path) || f.Mode&^fs.ModePerm != 0 {
			return nil, fmt.Errorf("it is no bundle: the file %q, of mode %v, is not in it, or is no plain one with an absolute path", f.Path, f.Mode)
		}
	}
	return b, nil
}

// Unpack writes the files to a folder, and returns the scenario's path, and where
// what it carries is, by the paths that the scenario has for it.
func (b *Bundle) Unpack(dir string) (scenario string, carried map[string]string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", nil, err
	}
	defer root.Close()
	if err := root.Mkdir(carriedFolder, 0o755); err != nil {
		return "", nil, err
	}
	carried = map[string]string{}
	for i, f := range b.Carried {
		name := filepath.Join(carriedFolder, strconv.Itoa(i))
		if err := errors.Join(root.WriteFile(name, f.Text, 0o600), root.Chmod(name, f.Mode|0o400)); err != nil {
			return "", nil, err
		}
		carried[filepath.Clean(f.Path)] = filepath.Join(dir, name)
	}
	for name, text := range b.Files {
		name = filepath.FromSlash(name)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", nil, err
		}
		if err := root.WriteFile(name, text, 0o644); err != nil {
			return "", nil, err
		}
	}
	return filepath.Join(dir, filepath.FromSlash(b.Scenario)), carried, nil
}

// OpenBundle reads a bundle's file.
func OpenBundle(path string) (*Bundle, error) {
	text, err := hostfile.Read(path, maxBundle)
	if err != nil {
		return nil, err
	}
	b, err := ReadBundle(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// pack reads the files of a scenario into the bundle, named from the folder that
// has all of them.
func (b *Bundle) pack(scenario string, files []string) error {
	var paths []string
	for _, f := range append([]string{scenario}, files...) {
		abs, err := filepath.Abs(f)
		if err != nil {
			return err
		}
		paths = append(paths, abs)
	}
	base := filepath.Dir(paths[0])
	for _, p := range paths {
		for !within(base, p) {
			base = filepath.Dir(base)
		}
	}
	b.Files = map[string][]byte{}
	for i, p := range paths {
		text, err := hostfile.Read(p, guard.MaxSource)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(base, p)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); i == 0 {
			b.Scenario = name
		}
		b.Files[name] = text
	}
	return nil
}

// carry reads the files that the scenario pushed into the bundle, and notes what
// it cannot take: folders, what is too large, and what is used otherwise.
func (b *Bundle) carry(pushed, others []string) {
	b.Carried, b.Lacks = nil, others
	left := int64(maxCarried)
	for _, path := range pushed {
		info, err := os.Stat(path)
		var text []byte
		if err == nil && info.Mode()&^fs.ModePerm == 0 && len(b.Files)+len(b.Carried) < maxBundleFiles {
			text, err = hostfile.Read(path, left)
		} else {
			err = cmp.Or(err, errNotCarried)
		}
		if err != nil {
			b.Lacks = append(b.Lacks, path)
			continue
		}
		left -= int64(len(text))
		b.Carried = append(b.Carried, CarriedFile{path, info.Mode(), text})
	}
}

var errNotCarried = errors.New("no plain file")

// within says that a path is below a folder.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// Pattern is the expression that takes the test alone.
func (b *Bundle) Pattern() string { return exactly(b.Test) }

// Reach fills the bundle in at its state.
func (b *Bundle) Reach(at *nvstar.Reached) {
	b.Guest, b.Test, b.State = at.VM.Guest(), at.Test, at.State.ID
	b.Description = at.Trace.Describe(at.State) + at.Trace.Explain(at.State) + "\n"
	b.Image = at.Trace.Difference(at.State)
}
