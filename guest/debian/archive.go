package debian

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bounds of what an archive may make nvlab fetch and unpack, in bytes. The
// lists of sid have 11 MB, 65 MB unpacked.
const (
	maxList     = 256 << 20
	maxUnpacked = 1 << 30
	maxPackage  = 4 << 30
)

// Progress is told how a transfer goes on.
type Progress interface {
	Phase(name string, total int64) // begins a phase of so many bytes
	Add(n int64)                    // so many bytes more are done
	Note(text string)               // a line for the user
}

// Config says which archive is read, and how.
type Config struct {
	Release  string
	Dir      string // keeps the lists from one time to the next
	Keys     Keyring
	Mirrors  *Mirrors
	MaxAge   time.Duration // lists that were fetched so long ago will do
	Progress Progress
}

// Archive is a release of Debian: what packages it has, and where they are.
// Nothing of it is believed that is not named, with its digest, by a Release
// file that Debian signed.
type Archive struct {
	*Index
	// Stale says that the lists are those of an earlier time.
	Stale bool

	c     Config
	fetch *fetcher
	first map[bool]string // the mirror that answered, by whether it is of security updates
}

// Open reads a release's lists, and fetches them unless those in the folder
// are young enough. Lists that are there serve where no mirror is reached.
func Open(ctx context.Context, c Config) (*Archive, error) {
	if !Known(c.Release) {
		return nil, fmt.Errorf("there is no release %q: want %s", c.Release, strings.Join(Releases(), ", "))
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	a := &Archive{c: c, fetch: newFetcher(c.Mirrors), first: map[bool]string{}}
	checked := a.file("checked")
	if st, err := os.Stat(checked); err == nil {
		if age := time.Since(st.ModTime()); age >= 0 && age < c.MaxAge {
			if a.read(a.kept()) == nil {
				a.Stale = true
				return a, nil
			}
		}
	}
	lists, err := a.update(ctx)
	if err == nil {
		err = a.read(lists)
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	if !a.Stale {
		return a, writeFile(checked, nil)
	}
	return a, nil
}

// Close ends connections.
func (a *Archive) Close() { a.fetch.close() }

func (a *Archive) file(name string) string { return filepath.Join(a.c.Dir, a.c.Release+"."+name) }

func writeFile(name string, data []byte) error {
	if err := os.WriteFile(name+".part", data, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}

// A list is a suite's package list, or that of its source packages, on disk.
type list struct {
	suite
	release *Release
	path    string // below its Release file, less the compression
	file    string
}

// listPath is a package list's place below its Release file. All packages that
// amd64 can have are in it, those of architecture "all" as well.
const listPath = "main/binary-amd64/Packages"

// listName is the compressed form of a list that is fetched.
func (r *Release) listName(path string) string {
	for _, ext := range []string{".xz", ".gz"} {
		if _, ok := r.files[path+ext]; ok {
			return path + ext
		}
	}
	return ""
}

// of names a list's file, for its suite and its digest.
func (a *Archive) of(s suite, r *Release, path string) (list, error) {
	name := r.listName(path)
	if name == "" {
		return list{}, fmt.Errorf("the Release file of %s names no %s", s.name, path)
	}
	d := r.files[name]
	if d.size > maxList {
		return list{}, fmt.Errorf("the Release file of %s names a package list of %d bytes", s.name, d.size)
	}
	kind := "-"
	if path == sourcesPath {
		kind = "-source-"
	}
	return list{s, r, path, filepath.Join(a.c.Dir, s.name+kind+d.sha256[:16]+filepath.Ext(name))}, nil
}

func (a *Archive) inRelease(s suite) string { return filepath.Join(a.c.Dir, s.name+".InRelease") }

// keptRelease reads the Release file of an earlier time.
func (a *Archive) keptRelease(s suite) (*Release, error) {
	b, err := os.ReadFile(a.inRelease(s))
	if err != nil {
		return nil, err
	}
	return a.parse(s, b)
}

func (a *Archive) parse(s suite, inRelease []byte) (*Release, error) {
	r, err := ParseRelease(inRelease, a.c.Keys, time.Now())
	if err != nil {
		return nil, err
	}
	if r.Codename != s.name {
		return nil, fmt.Errorf("%w as %s: it is of %q", ErrUntrusted, s.name, r.Codename)
	}
	return r, nil
}

// kept are the lists of an earlier time.
func (a *Archive) kept() (lists []list) {
	for _, s := range suites(a.c.Release) {
		r, err := a.keptRelease(s)
		if err != nil {
			if s.required {
				return nil
			}
			continue
		}
		if l, err := a.of(s, r, listPath); err == nil {
			lists = append(lists, l)
		}
	}
	return lists
}

// update fetches Release files and the lists they name.
func (a *Archive) update(ctx context.Context) ([]list, error) {
	a.c.Progress.Phase("looking for packages of Debian "+a.c.Release, 0)
	var lists, missing []list
	var total int64
	for _, s := range suites(a.c.Release) {
		r, err := a.release(ctx, s)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		l, err := a.of(s, r, listPath)
		if err != nil {
			return nil, err
		}
		lists = append(lists, l)
		if verify(l.file, l.name, l.digest()) != nil {
			missing = append(missing, l)
			total += l.digest().size
		}
	}
	if len(missing) > 0 {
		a.c.Progress.Phase("downloading package lists of "+a.c.Release, total)
	}
	for _, l := range missing {
		if err := a.fetchList(ctx, l); err != nil {
			return nil, err
		}
	}
	for _, s := range suites(a.c.Release) {
		a.forget(s.name+"-????????????????.*z*", lists)
	}
	return lists, nil
}

// release fetches a suite's Release file. nil stands for a suite that the
// release does not have, or can do without.
func (a *Archive) release(ctx context.Context, s suite) (*Release, error) {
	kept, keptErr := a.keptRelease(s)
	var failure error
	absent := false // a mirror says that there is no such suite
	for _, mirror := range a.mirrors(s.security) {
		at := mirror + "/dists/" + s.name + "/InRelease"
		b, err := a.fetch.get(ctx, at, maxRelease)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var r *Release
		if err == nil {
			if r, err = a.parse(s, b); err != nil {
				err = &FetchError{at, err}
			}
		}
		if err != nil {
			absent = absent || errors.Is(err, fs.ErrNotExist)
			failure = cmp.Or(failure, err)
			continue
		}
		a.first[s.security] = mirror
		if keptErr == nil && r.Date.Before(kept.Date) {
			a.c.Progress.Note(fmt.Sprintf("warning: %s is older (%s) than what was seen before (%s), which is kept", at, r.Date.Format(time.DateOnly), kept.Date.Format(time.DateOnly)))
			return kept, nil
		}
		a.tell(s, r)
		return r, writeFile(a.inRelease(s), b)
	}
	switch {
	case keptErr == nil && !absent:
		a.Stale = true
		a.c.Progress.Note(fmt.Sprintf("warning: %v: taking %s as it was on %s", failure, s.name, kept.Date.Format(time.DateOnly)))
		return kept, nil
	case s.required:
		return nil, failure
	case !absent:
		a.c.Progress.Note(fmt.Sprintf("warning: %v: going on without %s", failure, s.name))
	}
	return nil, nil
}

// tell says what is odd about a Release file. Neither keeps anyone from testing
// with a release that Debian no longer changes.
func (a *Archive) tell(s suite, r *Release) {
	switch {
	case !s.required:
	case r.KeyExpired:
		a.c.Progress.Note(fmt.Sprintf("warning: %s is signed, on %s, with a key that has expired since", s.name, r.Date.Format(time.DateOnly)))
	case !r.ValidUntil.IsZero() && time.Now().After(r.ValidUntil):
		a.c.Progress.Note(fmt.Sprintf("warning: what the mirror has of %s was good until %s: there may be newer packages", s.name, r.ValidUntil.Format(time.DateOnly)))
	}
}

// mirrors are the URLs to try, the one that answered before first.
func (a *Archive) mirrors(security bool) []string {
	all := a.c.Mirrors.Main
	if security {
		all = a.c.Mirrors.Security
	}
	if first := a.first[security]; first != "" {
		all = append([]string{first}, slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == first })...)
	}
	return all
}

// fetchList fetches a package list by its digest, or where a mirror lacks that
// by its name.
func (a *Archive) fetchList(ctx context.Context, l list) error {
	name, d := l.release.listName(l.path), l.digest()
	byHash := filepath.Dir(name) + "/by-hash/SHA256/" + d.sha256
	return a.download(ctx, l.security, l.file, d, a.c.Progress.Add, "dists/"+l.name+"/"+byHash, "dists/"+l.name+"/"+name)
}

// download tries paths on mirrors until one gives the file that is wanted.
func (a *Archive) download(ctx context.Context, security bool, file string, want digest, progress func(int64), paths ...string) error {
	var failure error
	for _, mirror := range a.mirrors(security) {
		for _, p := range paths {
			err := a.fetch.download(ctx, mirror+"/"+p, file, want, progress)
			if err == nil || ctx.Err() != nil {
				return err
			}
			var fetch *FetchError
			if !errors.As(err, &fetch) && !errors.Is(err, ErrBroken) {
				return err // of this host: a disk that is full
			}
			failure = cmp.Or(failure, err)
		}
	}
	return failure
}

// read makes the index of lists.
func (a *Archive) read(lists []list) error {
	if len(lists) == 0 {
		return errors.New("no package lists")
	}
	a.Index = newIndex(a.c.Release)
	for _, l := range lists {
		if err := a.readList(l); err != nil {
			return fmt.Errorf("the package list of %s: %w", l.name, err)
		}
	}
	a.finish()
	return nil
}

func (a *Archive) readList(l list) error {
	return l.read(func(r io.Reader) error {
		return parseIndex(r, func(p Package) {
			p.security, p.backports = l.security, l.release.NotAutomatic
			a.add(p)
		})
	})
}

// Missing returns the packages that are not in dir, each as a file that the
// lists' digest verifies.
func Missing(list []Package, dir string) []Package {
	return slices.DeleteFunc(slices.Clone(list), func(p Package) bool {
		return verify(filepath.Join(dir, p.FileName()), p.FileName(), digest{p.Size, p.SHA256}) == nil
	})
}

// Download fetches a package into dir, and verifies it. The error is
// fs.ErrNotExist if no mirror has the file.
func (a *Archive) Download(ctx context.Context, p Package, dir string) error {
	if p.Size > maxPackage || p.path == "" {
		return fmt.Errorf("%w: package %s has %d bytes in file %q", ErrBroken, p, p.Size, p.path)
	}
	path := (&url.URL{Path: p.path}).EscapedPath()
	if err := a.download(ctx, p.security, filepath.Join(dir, p.FileName()), digest{p.Size, p.SHA256}, a.c.Progress.Add, path); err != nil {
		return fmt.Errorf("package %s: %w", p, err)
	}
	return nil
}
