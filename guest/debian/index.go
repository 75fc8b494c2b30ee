package debian

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pault.ag/go/debian/dependency"
	"pault.ag/go/debian/version"

	"nvlab/internal/spell"
)

// An UnknownError names a package that a release does not have.
type UnknownError struct {
	Release string
	What    string // "" for "package"
	Name    string // NAME or NAME=VERSION
	Near    string // what may be meant; "" if nothing is close
}

func (e *UnknownError) Error() string {
	meant := ""
	if e.Near != "" {
		meant = fmt.Sprintf(" (did you mean %s?)", e.Near)
	}
	return fmt.Sprintf("Debian %s has no %s %s%s", e.Release, cmp.Or(e.What, "package"), e.Name, meant)
}

// Index is what packages a release has.
type Index struct {
	release  string
	packages map[string][]Package // by name, the one to take first
	virtual  map[string][]offer   // by name
}

// An offer is a package that provides a virtual one.
type offer struct {
	pkg     string
	version string // that it provides; "" if it says none
}

func newIndex(release string) *Index {
	return &Index{release: release, packages: map[string][]Package{}, virtual: map[string][]offer{}}
}

func (x *Index) add(p Package) { x.packages[p.Name] = append(x.packages[p.Name], p) }

// finish sorts what was added: the newest version first, backports last.
func (x *Index) finish() {
	for name, list := range x.packages {
		if len(list) > 1 {
			slices.SortStableFunc(list, func(a, b Package) int {
				if a.backports != b.backports {
					return cmp.Compare(b2i(a.backports), b2i(b.backports))
				}
				return compareVersions(b.Version, a.Version)
			})
		}
		if list[0].offers == "" {
			continue
		}
		clauses, err := list[0].Provides()
		if err != nil {
			continue // nothing is lost that apt would have
		}
		for _, c := range clauses {
			o := offer{pkg: name}
			if c[0].Version != nil {
				o.version = c[0].Version.Number
			}
			x.virtual[c[0].Name] = append(x.virtual[c[0].Name], o)
		}
	}
	for _, list := range x.virtual {
		slices.SortFunc(list, func(a, b offer) int { return cmp.Compare(a.pkg, b.pkg) })
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareVersions orders versions as Debian Policy 5.6.12 has it.
func compareVersions(a, b string) int {
	v, err1 := version.Parse(a)
	w, err2 := version.Parse(b)
	if err1 != nil || err2 != nil {
		return cmp.Compare(a, b)
	}
	return version.Compare(v, w)
}

// Names lists the packages whose names begin with prefix, sorted.
func (x *Index) Names(prefix string) []string {
	var list []string
	for name := range x.packages {
		if strings.HasPrefix(name, prefix) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// Find returns the package NAME, or the version of it that NAME=VERSION names.
// The error is an *UnknownError.
func (x *Index) Find(spec string) (Package, error) {
	name, want, pinned := strings.Cut(spec, "=")
	list := x.packages[name]
	for _, p := range list {
		if !pinned || p.Version == want {
			return p, nil
		}
	}
	e := &UnknownError{Release: x.release, Name: spec}
	if len(list) > 0 {
		e.Near = list[0].String()
	} else {
		e.Near = spell.Nearest(name, x.Names(""))
	}
	return Package{}, e
}

// assumed pass for installed: tools that serve installation alone, and
// busybox's own modprobe. A guest's packages are unpacked, never configured.
var assumed = []string{
	"adduser", "base-files", "base-passwd", "debconf", "debconf-2.0", "debianutils", "dpkg", "init-system-helpers", "initramfs-tools", "install-info",
	"kmod", "linux-base", "linux-initramfs-tool", "login", "passwd", "sensible-utils", "sysvinit-utils", "ucf", "usrmerge", "usr-is-merged",
}

// maxClosure bounds the packages that a few need.
const maxClosure = 5000

// Closure returns the packages that names (each NAME or NAME=VERSION) stand
// for, and all that they depend on, each after the one that first needs it. A
// name that no package has may be a virtual one. Packages of one's own among
// them, which no archive has, are named as their String does; they come first
// and are taken for what others depend on.
func (x *Index) Closure(names []string, own ...Package) ([]Package, error) {
	var list []Package
	chosen := map[string]bool{}
	take := func(p Package) {
		if !chosen[p.Name] {
			chosen[p.Name] = true
			list = append(list, p)
		}
	}
	for _, p := range own {
		take(p)
		provides, err := p.Provides()
		if err != nil {
			return nil, err
		}
		for _, c := range provides {
			chosen[c[0].Name] = true
		}
	}
	for _, n := range names {
		if slices.ContainsFunc(own, func(p Package) bool { return p.String() == n }) {
			continue
		}
		p, err := x.Find(n)
		if err != nil {
			if o := x.virtual[n]; len(o) > 0 {
				p, err = x.Find(o[0].pkg)
			}
			if err != nil {
				return nil, err
			}
		}
		take(p)
	}
	for i := 0; i < len(list); i++ {
		if len(list) > maxClosure {
			return nil, fmt.Errorf("%s depend on more than %d packages", strings.Join(names, ", "), maxClosure)
		}
		clauses, err := list[i].Depends()
		if err != nil {
			return nil, err
		}
		for _, c := range clauses {
			p, met, err := x.satisfy(c, chosen)
			if err != nil {
				return nil, fmt.Errorf("package %s: %w", list[i], err)
			}
			if !met {
				take(p)
			}
		}
	}
	return list, nil
}

// satisfy finds a package for a clause, unless one that is chosen already, or
// passes for installed, meets it.
func (x *Index) satisfy(c Clause, chosen map[string]bool) (p Package, met bool, err error) {
	for _, alt := range c {
		if chosen[alt.Name] || slices.Contains(assumed, alt.Name) {
			return p, true, nil
		}
		for _, o := range x.virtual[alt.Name] {
			if chosen[o.pkg] && meets(alt, o.version, false) {
				return p, true, nil
			}
		}
	}
	for _, alt := range c {
		for _, p := range x.packages[alt.Name] {
			if meets(alt, p.Version, true) {
				return p, false, nil
			}
		}
		for _, o := range x.virtual[alt.Name] {
			if meets(alt, o.version, false) {
				return x.packages[o.pkg][0], false, nil
			}
		}
	}
	var all []string
	for _, alt := range c {
		all = append(all, alt.String())
	}
	return p, false, fmt.Errorf("it depends on %s, which Debian %s does not have", strings.Join(all, " | "), x.release)
}

// meets compares a version with what a clause asks for. A virtual package
// without a version meets only what asks for none, Debian Policy 7.5.
func meets(alt dependency.Possibility, have string, real bool) bool {
	if alt.Version == nil {
		return true
	}
	if have == "" && !real {
		return false
	}
	v, err := version.Parse(have)
	return err == nil && alt.Version.SatisfiedBy(v)
}
