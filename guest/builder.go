package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"nvlab/guest/debian"
	"nvlab/guest/rootfs"
	"nvlab/internal/spell"
)

// builder is one build: where it works, and what it has found.
type builder struct {
	store    *Store
	work     string // scratch, removed at the end
	release  string // of Debian
	extra    []string
	local    []localPackage   // of extra
	modules  []string         // that extra packages bring, by path in the guest
	closure  []debian.Package // extra and what it depends on
	sources  []debian.Package // of extra
	progress Progress
	maxAge   time.Duration              // that package lists may have
	archives map[string]*debian.Archive // by release
	packages []debian.Package
	spools   []*os.File
}

// freshLists is how old package lists may be before they are fetched again.
const freshLists = time.Hour

func newBuilder(s *Store, work string, spec Spec, maxAge time.Duration, p Progress) *builder {
	return &builder{
		store: s, work: work, release: s.release(spec), extra: spec.extra(), local: spec.local, progress: p,
		maxAge: maxAge, archives: map[string]*debian.Archive{},
	}
}

// archive reads a release's package lists, once.
func (b *builder) archive(ctx context.Context, release string) (*debian.Archive, error) {
	if a := b.archives[release]; a != nil {
		return a, nil
	}
	keys, err := keyring()
	if err != nil {
		return nil, err
	}
	mirrors, err := debian.HostMirrors(ctx)
	if err != nil {
		return nil, err
	}
	a, err := debian.Open(ctx, debian.Config{
		Release: release, Dir: b.store.inside("lists"), Keys: keys, Mirrors: mirrors, MaxAge: b.maxAge, Progress: b.progress,
	})
	if err != nil {
		return nil, err
	}
	b.archives[release] = a
	return a, nil
}

// Offered lists the packages that a spec's release has whose names begin with
// prefix, sorted.
func (s *Store) Offered(ctx context.Context, spec Spec, prefix string, progress Progress) ([]string, error) {
	lock, err := s.lock(ctx, progress)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	defer progress.Done()
	b := newBuilder(s, "", spec, freshLists, progress)
	defer b.close()
	a, err := b.archive(ctx, b.release)
	if err != nil {
		return nil, err
	}
	return a.Names(prefix), nil
}

// keyring is Debian's; tests set another.
var keyring = debian.DebianKeyring

// stale reports whether the build used package lists of before.
func (b *builder) stale() bool {
	for _, a := range b.archives {
		if a.Stale {
			return true
		}
	}
	return false
}

// find looks packages up and insists on each. A file that is a package of that
// name comes before an archive's.
func (b *builder) find(names []string) (list []debian.Package, err error) {
	for _, name := range names {
		if n := slices.IndexFunc(b.local, func(p localPackage) bool { return p.Name == name }); n >= 0 {
			list = append(list, b.local[n].Package)
			continue
		}
		p, err := b.archives[b.release].Find(name)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// summary names packages, with their size in bytes.
func summary(list []debian.Package) (what string, total int64) {
	for _, p := range list {
		total += p.Size
	}
	if len(list) == 1 {
		return list[0].Name, total
	}
	return fmt.Sprintf("%d packages", len(list)), total
}

// fetch downloads packages that are not there yet.
func (b *builder) fetch(ctx context.Context, a *debian.Archive, list []debian.Package, absent func(debian.Package, error) error) error {
	if err := os.MkdirAll(b.store.downloads(), 0o755); err != nil {
		return err
	}
	if missing := debian.Missing(list, b.store.downloads()); len(missing) > 0 {
		what, total := summary(missing)
		b.progress.Phase("downloading "+what, total)
		for _, p := range missing {
			err := a.Download(ctx, p, b.store.downloads())
			if errors.Is(err, fs.ErrNotExist) {
				err = absent(p, err)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// unpack fetches packages and unpacks each to a file of its own.
func (b *builder) unpack(ctx context.Context, a *debian.Archive, list []debian.Package) ([][]*debian.File, error) {
	if len(list) == 0 {
		return nil, nil
	}
	if err := b.fetch(ctx, a, list, func(_ debian.Package, err error) error { return err }); err != nil {
		return nil, err
	}
	what, total := summary(list)
	b.progress.Phase("unpacking "+what, total)
	var all [][]*debian.File
	for _, p := range list {
		files, err := b.unpackOne(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", p, err)
		}
		all = append(all, files)
	}
	return all, nil
}

func (b *builder) unpackOne(ctx context.Context, p debian.Package) ([]*debian.File, error) {
	deb, err := os.Open(filepath.Join(b.store.downloads(), p.FileName()))
	if err != nil {
		return nil, err
	}
	defer deb.Close()
	spool, err := b.spool()
	if err != nil {
		return nil, err
	}
	return debian.Unpack(ctxReader{ctx, deb}, spool, func(n int) { b.progress.Add(int64(n)) })
}

// spool makes a file for the content of a package. It goes with its last
// descriptor, however the process ends.
func (b *builder) spool() (*os.File, error) {
	f, err := os.CreateTemp(b.work, "data-*.tar")
	if err != nil {
		return nil, err
	}
	b.spools = append(b.spools, f)
	return f, os.Remove(f.Name())
}

// ctxReader fails once its context is done.
type ctxReader struct {
	ctx context.Context
	f   *os.File
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.f.Read(p)
}

func (b *builder) close() {
	for _, f := range b.spools {
		f.Close()
	}
	for _, a := range b.archives {
		a.Close()
	}
}

// namedKernel finds the kernel of a spec. Extra packages for the default guest
// come with its very kernel while the archive still has that.
func (b *builder) namedKernel(ctx context.Context, spec string) (*kernelSource, error) {
	if spec != "" {
		return b.packagedKernel(ctx, spec)
	}
	if base, err := b.store.findDefault(Spec{Release: b.release}); err == nil && len(b.extra) > 0 && base.Manifest.Kernel.Package != "" {
		known := &base.Manifest.Kernel
		k, err := b.packagedKernel(ctx, known.Package+"="+known.Debian)
		if err == nil {
			k.aliases = known.Aliases
		}
		var unknown *debian.UnknownError
		if !errors.As(err, &unknown) {
			return k, err
		}
	}
	return b.packagedKernel(ctx, DefaultKernel)
}

// packagedKernel finds the kernel of a package, or of what a metapackage
// depends on: NAME, NAME=VERSION, or a kernel's release, which is the name of
// its package less a prefix.
func (b *builder) packagedKernel(ctx context.Context, spec string) (*kernelSource, error) {
	name, from := kernelOf(spec, b.release)
	a, err := b.archive(ctx, from)
	if err != nil {
		return nil, err
	}
	const prefix = "linux-image-"
	root, err := a.Find(name)
	if err != nil && !strings.HasPrefix(name, prefix) {
		var err2 error
		if root, err2 = a.Find(prefix + name); err2 == nil {
			err = nil
		}
	}
	if err != nil {
		return nil, unknownKernel(err, name, a.Names(prefix))
	}
	list, err := a.Closure([]string{root.String()})
	if err != nil {
		return nil, err
	}
	// A metapackage has nothing but dependencies, and mirrors may lack it: the
	// lists have what matters of it.
	lost := map[string]bool{}
	err = b.fetch(ctx, a, list, func(p debian.Package, err error) error {
		lost[p.Name] = true
		b.progress.Note(fmt.Sprintf("warning: %v: going on without it", err))
		return nil
	})
	if err != nil {
		return nil, err
	}
	whole := list
	list = slices.DeleteFunc(slices.Clone(list), func(p debian.Package) bool { return lost[p.Name] })
	unpacked, err := b.unpack(ctx, a, list)
	if err != nil {
		return nil, err
	}
	found, err := findKernel(root, list, unpacked)
	if err != nil {
		return nil, err
	}
	k, err := found.source()
	if err != nil {
		return nil, err
	}
	k.archive = from
	if k.pkg, k.aliases, err = kernelPackage(a, whole, found.packages); err != nil {
		return nil, err
	}
	for _, p := range list {
		if found.packages[p.Name] {
			b.packages = append(b.packages, p)
		}
	}
	return k, nil
}

// kernelPackage is the package that brings a kernel, image, modules and all:
// of those that depend on all its packages the one that needs the fewest. The
// others lead to it.
func kernelPackage(a *debian.Archive, list []debian.Package, parts map[string]bool) (best debian.Package, aliases []string, err error) {
	fewest := 0
	var whole []debian.Package
	for _, p := range list {
		needs, err := a.Closure([]string{p.String()})
		if err != nil {
			return best, nil, err
		}
		n := 0
		for _, q := range needs {
			if parts[q.Name] {
				n++
			}
		}
		if n < len(parts) {
			continue
		}
		whole = append(whole, p)
		if fewest == 0 || len(needs) < fewest {
			best, fewest = p, len(needs)
		}
	}
	for _, p := range whole {
		if p.Name != best.Name {
			aliases = append(aliases, p.Name)
		}
	}
	return best, aliases, nil
}

// unknownKernel names a kernel that is near to one that is not there.
func unknownKernel(err error, name string, kernels []string) error {
	var unknown *debian.UnknownError
	if !errors.As(err, &unknown) {
		return err
	}
	e := &debian.UnknownError{Release: unknown.Release, What: "kernel", Name: name, Near: unknown.Near}
	if e.Near == "" || !strings.Contains(name, "=") {
		bare := make([]string, len(kernels))
		for i, k := range kernels {
			bare[i] = strings.TrimPrefix(k, "linux-image-")
		}
		e.Near = spell.Nearest(name, slices.Concat(kernels, bare))
	}
	return e
}

// tree composes the guest's files.
func (b *builder) tree(ctx context.Context, k *kernelSource, fromHost bool) (*rootfs.Tree, *Manifest, error) {
	t := rootfs.NewTree()
	m := &Manifest{Recipe: recipe, Extra: b.extra, Tools: "package", Debian: b.release}
	if fromHost {
		m.Tools, m.Debian = "host", ""
		if err := addHostTools(t); err != nil {
			return nil, nil, err
		}
	} else if err := b.addPackagedTools(ctx, t); err != nil {
		return nil, nil, err
	}
	var err error
	if m.Boot, m.Modules, err = addModules(t, k.modules); err != nil {
		return nil, nil, err
	}
	if err := addSystem(t); err != nil {
		return nil, nil, err
	}
	m.Kernel.Release, m.Kernel.Version = k.release, k.version
	m.Kernel.Package, m.Kernel.Debian = k.pkg.Name, k.pkg.Version
	m.Kernel.Source = "package"
	if k.pkg.Name == "" {
		m.Kernel.Source = "host"
	}
	m.Kernel.Aliases, m.Kernel.Archive = k.aliases, k.archive
	m.Packages, m.ExtraModules = b.packages, b.modules
	m.Files = len(t.Paths())
	return t, m, nil
}
