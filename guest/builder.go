package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"nvlab/guest/debian"
	"nvlab/guest/rootfs"
)

// builder is one build: where it works, and what it has found.
type builder struct {
	store    *Store
	work     string // scratch, removed at the end
	extra    []string
	closure  []string // extra and what it depends on, as NAME=VERSION
	progress Progress
	update   bool // fetch package lists however fresh they are
	stale    bool // package lists were not fetched for this build
	apt      *debian.Apt
	packages []debian.Package
	spools   []*os.File
}

// freshLists is how old package lists may be before they are fetched again.
const freshLists = time.Hour

// start prepares apt with current lists. A source that fails is noted, not an
// error: what is needed may come from another.
func (b *builder) start(ctx context.Context) error {
	apt, err := debian.NewApt(b.store.inside("apt"), filepath.Join(b.work, "apt"))
	if err != nil {
		return err
	}
	b.apt = apt
	if age := time.Since(apt.Updated()); !b.update && age >= 0 && age < freshLists {
		b.stale = true
		return nil
	}
	b.progress.Phase("updating package lists", 0)
	err = b.apt.Update(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		b.progress.Note("warning: " + err.Error())
	}
	return nil
}

// resolve finds what the extra packages need. It comes before anything is
// unpacked, for their names are the user's.
func (b *builder) resolve(ctx context.Context, noApt error) error {
	if len(b.extra) == 0 {
		return nil
	}
	err := noApt
	if err == nil {
		b.closure, err = b.apt.Closure(ctx, b.extra)
	}
	if err != nil {
		return fmt.Errorf("cannot resolve packages %s: %w", strings.Join(b.extra, ", "), err)
	}
	return nil
}

// show looks packages up and insists on each.
func (b *builder) show(ctx context.Context, names ...string) ([]debian.Package, error) {
	list, err := b.apt.Show(ctx, names...)
	if err != nil {
		return nil, err
	}
	byName := map[string]debian.Package{}
	for _, p := range list {
		byName[p.Name] = p
	}
	var found []debian.Package
	var missing []string
	for _, name := range names {
		base, _, _ := strings.Cut(name, "=")
		if p, ok := byName[base]; ok {
			found = append(found, p)
		} else {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, &missingPackagesError{missing}
	}
	return found, nil
}

type missingPackagesError struct{ names []string }

func (e *missingPackagesError) Error() string {
	return fmt.Sprintf("the package lists of this host's apt sources have no %s", strings.Join(e.names, ", "))
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

// unpack fetches packages and unpacks each to a file of its own.
func (b *builder) unpack(ctx context.Context, list []debian.Package) ([][]*debian.File, error) {
	if len(list) == 0 {
		return nil, nil
	}
	if err := os.MkdirAll(b.store.downloads(), 0o755); err != nil {
		return nil, err
	}
	missing, err := debian.Missing(list, b.store.downloads())
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		what, total := summary(missing)
		b.progress.Phase("downloading "+what, total)
		if err := b.apt.Download(ctx, missing, b.store.downloads(), b.progress.Add); err != nil {
			return nil, err
		}
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
	spool, err := os.CreateTemp(b.work, "data-*.tar")
	if err != nil {
		return nil, err
	}
	b.spools = append(b.spools, spool)
	os.Remove(spool.Name()) // it goes with its last descriptor, however the process ends
	return debian.Unpack(ctxReader{ctx, deb}, spool, func(n int) { b.progress.Add(int64(n)) })
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
}

var realKernel = regexp.MustCompile(`^linux-image-(unsigned-)?[0-9]`)

// namedKernel finds the kernel of a spec. Extra packages for the default guest
// come with its very kernel while the archive still has that.
func (b *builder) namedKernel(ctx context.Context, spec string) (*kernelSource, error) {
	if spec != "" {
		return b.packagedKernel(ctx, spec)
	}
	if base, err := b.store.findDefault(nil); err == nil && len(b.extra) > 0 && base.Manifest.Kernel.Package != "" {
		k, err := b.packagedKernel(ctx, base.Manifest.Kernel.Package+"="+base.Manifest.Kernel.Debian)
		if err == nil && len(base.Manifest.Kernel.Aliases) > 0 {
			k.alias = base.Manifest.Kernel.Aliases[0]
		}
		var missing *missingPackagesError
		if !errors.As(err, &missing) {
			return k, err
		}
	}
	return b.packagedKernel(ctx, DefaultKernel)
}

// packagedKernel finds the kernel of a package, or of what a metapackage
// depends on, NAME or NAME=VERSION.
func (b *builder) packagedKernel(ctx context.Context, spec string) (*kernelSource, error) {
	want := spec
	alias := ""
	for range 3 {
		list, err := b.show(ctx, want)
		var missing *missingPackagesError
		if errors.As(err, &missing) && !strings.HasPrefix(want, "linux-image-") && !strings.Contains(want, "=") {
			// A release is the name of its package less its prefix.
			list, err = b.show(ctx, "linux-image-"+want)
			if err != nil {
				return nil, missing
			}
		} else if err != nil {
			return nil, err
		}
		p := list[0]
		next := ""
		parts := []debian.Package{p}
		for _, c := range p.Depends {
			switch {
			case realKernel.MatchString(c[0]) && c[0] != p.Name:
				next = c[0]
			case strings.HasPrefix(c[0], "linux-modules-"):
				m, err := b.show(ctx, c[0])
				if err != nil {
					return nil, err
				}
				parts = append(parts, m...)
			}
		}
		if next == "" {
			all, err := b.unpack(ctx, parts)
			if err != nil {
				return nil, err
			}
			b.packages = append(b.packages, parts...)
			var files []*debian.File
			for _, f := range all {
				files = append(files, f...)
			}
			return packagedKernel(p, alias, files)
		}
		alias = p.Name
		want = next
	}
	return nil, fmt.Errorf("package %s leads to no kernel", spec)
}

// tree composes the guest's files.
func (b *builder) tree(ctx context.Context, k *kernelSource, fromHost bool) (*rootfs.Tree, *Manifest, error) {
	t := rootfs.NewTree()
	m := &Manifest{Recipe: recipe, Extra: b.extra, Tools: "package"}
	if fromHost {
		m.Tools = "host"
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
	if k.alias != "" {
		m.Kernel.Aliases = []string{k.alias}
	}
	m.Packages = b.packages
	m.Files = len(t.Paths())
	return t, m, nil
}
