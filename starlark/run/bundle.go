package run

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

	Files       map[string][]byte `json:"-"` // by path, with slashes
	Description string            `json:"-"` // the state in words
	Image       []byte            `json:"-"` // what it differs in from the NVDIMMs before the command, a line of text for 64 bytes
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

	// A bundle's files are small; its image may be that of a large write.
	maxBundleFiles = 1 << 10
	maxBundle      = 1 << 28
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
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil && len(b.Files) > maxBundleFiles {
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
	return b, nil
}

// Unpack writes the files to a folder, and returns the scenario's path.
func (b *Bundle) Unpack(dir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	for name, text := range b.Files {
		name = filepath.FromSlash(name)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", err
		}
		if err := root.WriteFile(name, text, 0o644); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, filepath.FromSlash(b.Scenario)), nil
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
