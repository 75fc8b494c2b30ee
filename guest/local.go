package guest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"nvlab/guest/debian"
	"nvlab/internal/hostfile"
)

// maxLocal bounds a package that is a file of the host, in bytes.
const maxLocal = 2 << 30

// A localPackage is a .deb of the host.
type localPackage struct {
	debian.Package
	path string
}

// A localError says that a file cannot be a guest's package or kernel.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// isFile says that a package of a spec is a file: it holds a slash.
func isFile(pkg string) bool { return strings.Contains(pkg, "/") }

// localize has a spec name the files among its packages by what they are:
// NAME=VERSION@ and the beginning of a digest. A file that changes is another
// package; one that only moves is the same.
func (s Spec) localize() (Spec, error) {
	if !slices.ContainsFunc(s.Packages, isFile) {
		return s, nil
	}
	names := slices.Clone(s.Packages)
	s.local = slices.Clone(s.local)
	for i, file := range names {
		if !isFile(file) {
			continue
		}
		deb, err := hostfile.Read(file, maxLocal)
		if err != nil {
			return s, &localError{fmt.Errorf("package %s: %w", file, err)}
		}
		p, err := debian.ReadPackage(deb)
		if err != nil {
			return s, &localError{fmt.Errorf("package %s: %w", file, err)}
		}
		for _, q := range s.local {
			if q.Name == p.Name && q.SHA256 != p.SHA256 {
				return s, &localError{fmt.Errorf("%s and %s are both package %s: give one of them", q.path, file, p.Name)}
			}
		}
		names[i], s.local = p.String(), append(s.local, localPackage{p, file})
	}
	s.Packages = names
	return s, nil
}

// isLocal says that a package was a file before localize.
func (s Spec) isLocal(pkg string) bool {
	return slices.ContainsFunc(s.local, func(p localPackage) bool { return p.String() == pkg })
}

// keepLocal puts the spec's files where packages of an archive are, too.
func (b *builder) keepLocal() error {
	if err := os.MkdirAll(b.store.downloads(), 0o755); err != nil {
		return err
	}
	for _, p := range b.local {
		if len(debian.Missing([]debian.Package{p.Package}, b.store.downloads())) == 0 {
			continue
		}
		deb, err := hostfile.Read(p.path, maxLocal)
		if err != nil {
			return &localError{fmt.Errorf("package %s: %w", p.path, err)}
		}
		if sum := sha256.Sum256(deb); hex.EncodeToString(sum[:]) != p.SHA256 {
			return &localError{fmt.Errorf("package %s changed while the guest was built", p.path)}
		}
		err = writeFileAtomic(filepath.Join(b.store.downloads(), p.FileName()), func(f *os.File) error {
			_, err := f.Write(deb)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ownPackages are the spec's files as packages.
func (b *builder) ownPackages() (list []debian.Package) {
	for _, p := range b.local {
		list = append(list, p.Package)
	}
	return list
}
