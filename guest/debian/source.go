package debian

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sourcesPath is the place of the list of source packages below a Release file.
const sourcesPath = "main/source/Sources"

// archSource is the architecture of a source package (Debian Policy 5.6.8).
const archSource = "source"

// Source finds the source package of a name, the newest that the release has:
// upstream's tar file, which Download fetches and UnpackSource unpacks. What
// Debian changes in it is in another file, which is left out. The list of
// source packages is fetched unless it is there. The error is an *UnknownError
// if the release has none of that name.
func (a *Archive) Source(ctx context.Context, name string) (Package, error) {
	var found []Package
	for _, s := range suites(a.c.Release) {
		r, err := a.keptRelease(s)
		if err != nil || r.NotAutomatic {
			continue // Open has seen to it that those which are needed are there
		}
		l, err := a.of(s, r, sourcesPath)
		if err != nil {
			return Package{}, err
		}
		if verify(l.file, l.name, l.digest()) != nil {
			a.c.Progress.Phase("downloading the list of source packages of "+s.name, l.digest().size)
			if err := a.fetchList(ctx, l); err != nil {
				return Package{}, err
			}
			a.forget(s.name+"-source-*.*z*", []list{l})
		}
		err = l.read(func(r io.Reader) error {
			return parseSources(r, name, func(p Package) {
				p.security = l.security
				found = append(found, p)
			})
		})
		if err != nil {
			return Package{}, fmt.Errorf("the list of source packages of %s: %w", l.name, err)
		}
	}
	if len(found) == 0 {
		return Package{}, &UnknownError{Release: a.c.Release, What: "source package", Name: name}
	}
	return slices.MaxFunc(found, func(a, b Package) int { return compareVersions(a.Version, b.Version) }), nil
}

// parseSources reads the stanzas of one name in a list of source packages
// (Debian Policy 5.6.24; Debian's wiki, DebianRepository/Format).
func parseSources(r io.Reader, want string, each func(Package)) error {
	var p Package
	var dir, field string
	var files [][]string // digest, size and name
	flush := func() error {
		defer func() { p, dir, files = Package{}, "", nil }()
		if p.Name != want {
			return nil
		}
		p.Arch = archSource
		f := upstream(files)
		if f == nil {
			return fmt.Errorf("source package %s %s: it has no tar file", p.Name, p.Version)
		}
		sum, err := hex.DecodeString(f[0])
		size, err2 := strconv.ParseInt(f[1], 10, 64)
		if err != nil || len(sum) != 32 || err2 != nil || size < 0 || !safeName(strings.ReplaceAll(f[2], "_", "")) {
			return fmt.Errorf("source package %s: digest %q of %q bytes in file %q", p.Name, f[0], f[1], f[2])
		}
		p.SHA256, p.Size, p.path = hex.EncodeToString(sum), size, path.Join(dir, f[2])
		if err := p.check(); err != nil {
			return err
		}
		each(p)
		return nil
	}
	return readStanzas(r, "", func(name, value []byte) error {
		if name == nil {
			if f := strings.Fields(string(value)); field == "Checksums-Sha256" && p.Name == want && len(f) == 3 {
				files = append(files, f)
			}
			return nil
		}
		field = string(name)
		switch field {
		case "Package":
			p.Name = string(value)
		case "Version":
			p.Version = string(value)
		case "Directory":
			dir = string(value)
		}
		return nil
	}, flush)
}

// upstream is the file that has upstream's source: NAME_VERSION.orig.tar.*, or
// NAME_VERSION.tar.* of what is Debian's own (dpkg-source(1), formats 1.0, 3.0
// (quilt) and 3.0 (native)).
func upstream(files [][]string) []string {
	for _, middle := range []string{".orig.tar.", ".tar."} {
		for _, f := range files {
			if name := f[2]; strings.Contains(name, middle) && !strings.Contains(name, ".debian.tar.") && !strings.HasSuffix(name, ".asc") {
				return f
			}
		}
	}
	return nil
}

// UnpackSource decompresses the tar file of a source package into spool, which
// must be empty, and returns its entries, which read from spool. Where all are
// in one folder their paths are relative to that.
func UnpackSource(file io.Reader, spool *os.File, progress func(int)) ([]*File, error) {
	r := bufio.NewReaderSize(countingReader{file, progress}, 1<<20)
	magic, _ := r.Peek(6)
	var err error
	switch {
	case bytes.HasPrefix(magic, []byte("BZh")):
		err = decompress("", bzip2.NewReader(r), spool, MaxUnpacked)
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		err = decompress("source.gz", r, spool, MaxUnpacked)
	case bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		err = decompress("source.xz", r, spool, MaxUnpacked)
	default:
		err = fmt.Errorf("a tar file begins with %q: gzip, bzip2 and xz are known", magic)
	}
	if err != nil {
		return nil, err
	}
	list, err := listTar(spool)
	if err != nil || len(list) == 0 {
		return list, err
	}
	top, _, _ := strings.Cut(list[0].Path, "/")
	if slices.ContainsFunc(list, func(f *File) bool {
		return f.Path != top && !strings.HasPrefix(f.Path, top+"/") || f.Path == top && f.Mode&ModeType != ModeDir
	}) {
		return list, nil
	}
	list = slices.DeleteFunc(list, func(f *File) bool { return f.Path == top })
	for _, f := range list {
		f.Path = strings.TrimPrefix(f.Path, top+"/")
	}
	return list, nil
}

// digest is what the Release file says of the list.
func (l list) digest() digest { return l.release.files[l.release.listName(l.path)] }

// read gives a list, unpacked, to parse.
func (l list) read(parse func(io.Reader) error) error {
	if err := verify(l.file, l.name, l.digest()); err != nil {
		return err
	}
	f, err := os.Open(l.file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := Decompressor(l.file, f)
	if err != nil {
		return err
	}
	defer z.Close()
	limit := int64(maxUnpacked)
	if d, ok := l.release.files[l.path]; ok {
		limit = min(limit, d.size)
	}
	counted := &io.LimitedReader{R: z, N: limit + 1}
	err = parse(counted)
	if counted.N == 0 {
		err = fmt.Errorf("it unpacks to more than the %d bytes that its Release file says", limit)
	}
	return err
}

// forget removes the lists of a pattern that no Release file names any more.
func (a *Archive) forget(pattern string, lists []list) {
	old, _ := filepath.Glob(filepath.Join(a.c.Dir, pattern))
	for _, file := range old {
		if !slices.ContainsFunc(lists, func(l list) bool { return l.file == strings.TrimSuffix(file, ".part") }) {
			os.Remove(file)
		}
	}
}
