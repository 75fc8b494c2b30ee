package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"nvlab/guest/debian"
	"nvlab/guest/rootfs"
)

// libraryDirs are where a guest's dynamic linker looks without a cache (glibc,
// elf/dl-load.c, system_dirs; Debian's multiarch folder comes first).
var libraryDirs = []string{"usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib"}

// contentReaderAt reads a node's content at offsets.
func contentReaderAt(n *rootfs.Node) (io.ReaderAt, func(), error) {
	r, err := n.Content.Open()
	if err != nil {
		return nil, nil, err
	}
	if at, ok := r.(io.ReaderAt); ok {
		return at, func() { r.Close() }, nil
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, nil, err
	}
	return strings.NewReader(string(b)), func() {}, nil
}

// linker finds which libraries a tree still lacks.
type linker struct {
	tree *rootfs.Tree
	seen map[string]bool
}

// A need is a library that a file in the tree asks for and that is not there.
type need struct{ library, by string }

// missing looks at files that were not looked at before.
func (l *linker) missing() ([]need, error) {
	var list []need
	for _, p := range l.tree.Paths() {
		n := l.tree.Get(p)
		if l.seen[p] || n.Mode&rootfs.ModeType != rootfs.ModeRegular || strings.HasSuffix(p, ".ko") {
			continue
		}
		at, done, err := contentReaderAt(n)
		if err != nil {
			return nil, err
		}
		link, ok, err := rootfs.ReadLinkage(at)
		done()
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", p, err)
		}
		whole := true
		if ok {
			wanted := link.Needed
			if link.Interpreter != "" {
				wanted = append(wanted, link.Interpreter)
			}
			for _, lib := range wanted {
				if !l.has(lib, path.Dir(p)) {
					list = append(list, need{lib, p})
					whole = false
				}
			}
		}
		l.seen[p] = whole
	}
	return list, nil
}

func (l *linker) has(lib, near string) bool {
	if strings.Contains(lib, "/") {
		return l.tree.Resolve(lib) != ""
	}
	for _, dir := range append([]string{near}, libraryDirs...) {
		if l.tree.Resolve(dir+"/"+lib) != "" {
			return true
		}
	}
	return false
}

// packagePool unpacks packages on demand and remembers where files are from.
type packagePool struct {
	b       *builder
	used    []debian.Package
	files   map[string][]*debian.File // by package name
	owner   map[string]string         // package of a file in the tree
	offered map[string]source         // by merged path: what unpacked packages have
}

type source struct {
	file *debian.File
	pkg  string
}

func newPackagePool(b *builder) *packagePool {
	return &packagePool{b: b, files: map[string][]*debian.File{}, owner: map[string]string{}, offered: map[string]source{}}
}

// fetch downloads and unpacks packages that are not there yet.
func (p *packagePool) fetch(ctx context.Context, list []debian.Package) error {
	var more []debian.Package
	for _, d := range list {
		if _, ok := p.files[d.Name]; !ok {
			more = append(more, d)
			p.files[d.Name] = nil
		}
	}
	files, err := p.b.unpack(ctx, p.b.archives[p.b.release], more)
	if err != nil {
		return err
	}
	for i, d := range more {
		p.used = append(p.used, d)
		p.files[d.Name] = files[i]
		for _, f := range files[i] {
			if name := rootfs.Clean(f.Path); f.Mode&debian.ModeType != debian.ModeDir {
				p.offered[name] = source{f, d.Name}
			}
		}
	}
	return nil
}

func (p *packagePool) pkg(name string) (debian.Package, bool) {
	for _, d := range p.used {
		if d.Name == name {
			return d, true
		}
	}
	return debian.Package{}, false
}

func (p *packagePool) add(t *rootfs.Tree, name string) error {
	s := p.offered[name]
	n := rootfs.Node{Mode: s.file.Mode, Size: s.file.Size, Link: s.file.Link}
	if n.Mode&rootfs.ModeType == rootfs.ModeRegular {
		n.Content = s.file
	}
	p.owner[name] = s.pkg
	return t.Add(name, n)
}

// addLibrary adds a library that some unpacked package has, with the links
// that lead to its file.
func (p *packagePool) addLibrary(t *rootfs.Tree, lib string) (bool, error) {
	candidates := []string{rootfs.Clean(lib)}
	if !strings.Contains(lib, "/") {
		candidates = candidates[:0]
		for _, dir := range libraryDirs {
			candidates = append(candidates, dir+"/"+lib)
		}
	}
	for _, name := range candidates {
		for range 10 {
			s, ok := p.offered[name]
			if !ok {
				break
			}
			if err := p.add(t, name); err != nil {
				return false, err
			}
			if s.file.Mode&debian.ModeType != debian.ModeSymlink {
				return true, nil
			}
			if path.IsAbs(s.file.Link) {
				name = rootfs.Clean(s.file.Link)
			} else {
				name = rootfs.Clean(path.Join(path.Dir(name), s.file.Link))
			}
		}
	}
	return false, nil
}

// addPackagedTools fills the tree from Debian packages.
func (b *builder) addPackagedTools(ctx context.Context, t *rootfs.Tree) error {
	pool := newPackagePool(b)
	tools, err := b.find(baseTools)
	if err != nil {
		return err
	}
	if err := pool.fetch(ctx, tools); err != nil {
		return err
	}
	for _, name := range sortedKeys(pool.offered) {
		if inBase(name) {
			if err := pool.add(t, name); err != nil {
				return err
			}
		}
	}
	for _, want := range alwaysThere {
		if t.Get("usr/bin/"+want) == nil {
			return fmt.Errorf("the packages %s hold no %s", strings.Join(baseTools, ", "), want)
		}
	}
	if err := pool.addBetter(ctx, t); err != nil {
		return err
	}
	if err := pool.addStatic(ctx, t); err != nil {
		return err
	}
	if err := pool.addLibraries(ctx, t); err != nil {
		return err
	}
	for _, p := range basePaths {
		// Who makes or mends a file system waits for its tool.
		if n := t.Get(p); n != nil && path.Dir(p) == "usr/bin" && !slices.Contains(alwaysThere, path.Base(p)) {
			n.Defer(p)
		}
	}
	if len(b.extra) > 0 {
		base := map[string]bool{}
		for _, p := range t.Paths() {
			base[p] = true
		}
		if err := b.addExtra(ctx, t, pool); err != nil {
			return err
		}
		if err := pool.addLibraries(ctx, t); err != nil {
			return err
		}
		for _, p := range t.Paths() {
			if !base[p] {
				t.Get(p).Defer(p)
			}
		}
	}
	if err := t.AddDeferredList(); err != nil {
		return err
	}
	b.packages = append(b.packages, pool.used...)
	return nil
}

// better are programs of other packages, for a busybox whose own cannot do
// what tests of persistent memory need: such a busybox lacks a word. The dd of
// bullseye's knows no oflag=direct.
var better = []struct{ program, pkg, word string }{
	{"usr/bin/dd", "coreutils", "direct"},
}

// addBetter adds those that are needed.
func (p *packagePool) addBetter(ctx context.Context, t *rootfs.Tree) error {
	busybox, err := t.Get("usr/bin/busybox").ReadAll()
	if err != nil {
		return err
	}
	for _, want := range better {
		if bytes.Contains(busybox, []byte("\x00"+want.word+"\x00")) {
			continue
		}
		list, err := p.b.find([]string{want.pkg})
		if err != nil {
			return err
		}
		if err := p.fetch(ctx, list); err != nil {
			return err
		}
		if _, ok := p.offered[want.program]; !ok {
			return fmt.Errorf("package %s holds no /%s", list[0], want.program)
		}
		if err := p.add(t, want.program); err != nil {
			return err
		}
	}
	return nil
}

// addStatic adds the static busybox, if the archive has its package: without it
// a guest does the same, but slower.
func (p *packagePool) addStatic(ctx context.Context, t *rootfs.Tree) error {
	list, err := p.b.find([]string{staticBusybox})
	if err != nil {
		return nil
	}
	const program = "usr/bin/busybox"
	dynamic := p.offered[program]
	if err := p.fetch(ctx, list); err != nil {
		return err
	}
	f := p.offered[program].file
	p.offered[program] = dynamic
	if f == dynamic.file {
		return fmt.Errorf("package %s holds no /%s", list[0], program)
	}
	return t.Add("usr/bin/"+staticBusybox, rootfs.Node{Mode: f.Mode, Size: f.Size, Content: f})
}

// addLibraries adds libraries until no file in the tree lacks one. A library's
// package is among those that its user's package depends on: dpkg-shlibdeps
// put it there.
func (p *packagePool) addLibraries(ctx context.Context, t *rootfs.Tree) error {
	l := &linker{tree: t, seen: map[string]bool{}}
	for {
		needs, err := l.missing()
		if err != nil || len(needs) == 0 {
			return err
		}
		var fetch []string
		added := false
		for _, n := range needs {
			if l.has(n.library, path.Dir(n.by)) {
				continue
			}
			ok, err := p.addLibrary(t, n.library)
			if err != nil {
				return err
			}
			if ok {
				added = true
				continue
			}
			more, err := p.providers(n)
			if err != nil {
				return err
			}
			fetch = append(fetch, more...)
		}
		if added {
			continue
		}
		slices.Sort(fetch)
		fetch = slices.Compact(fetch)
		if len(fetch) == 0 {
			// A library that no dependency has is opened by nobody in practice
			// (a plugin's); what is named in the recipe must be whole.
			for _, n := range needs {
				if inBase(n.by) {
					return fmt.Errorf("/%s needs %s, which none of the packages that %s depends on has", n.by, n.library, p.owner[n.by])
				}
				l.seen[n.by] = true
			}
			continue
		}
		list, err := p.b.find(fetch)
		if err != nil {
			return err
		}
		if err := p.fetch(ctx, list); err != nil {
			return err
		}
	}
}

// providers guesses the packages that may have a library: the one named for
// it, else every library package that is not unpacked yet.
func (p *packagePool) providers(n need) ([]string, error) {
	pkg, ok := p.pkg(p.owner[n.by])
	if !ok {
		return nil, nil
	}
	depends, err := pkg.Depends()
	if err != nil {
		return nil, err
	}
	var open []string
	for _, clause := range depends {
		name := clause[0].Name
		if _, ok := p.files[name]; ok {
			continue
		}
		if namedFor(name, n.library) {
			return []string{name}, nil
		}
		if strings.Contains(name, "lib") {
			open = append(open, name)
		}
	}
	return open, nil
}

// namedFor reports whether a package has the name that Debian Policy 8.1 gives
// the package of a library: libndctl6 of libndctl.so.6, libjson-c5 of
// libjson-c.so.5, libbz2-1.0 of libbz2.so.1.0.
func namedFor(pkg, library string) bool {
	stem, version, _ := strings.Cut(path.Base(library), ".so")
	stem = strings.ReplaceAll(strings.ToLower(stem), "_", "-")
	version = strings.TrimPrefix(version, ".")
	pkg = strings.TrimSuffix(pkg, "t64")
	return pkg == stem+version || pkg == stem+"-"+version || pkg == "libc6" && slices.Contains(libcParts, stem)
}

var libcParts = []string{"libc", "libm", "libdl", "libpthread", "librt", "libresolv", "ld-linux-x86-64"}

// addExtra adds all files of the packages the user named and of what they
// depend on.
func (b *builder) addExtra(ctx context.Context, t *rootfs.Tree, pool *packagePool) error {
	list := b.closure
	if err := pool.fetch(ctx, list); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, d := range list {
		wanted[d.Name] = true
	}
	for _, name := range sortedKeys(pool.offered) {
		if !wanted[pool.offered[name].pkg] {
			continue
		}
		if strings.HasPrefix(name, "usr/lib/modules/") {
			// A package's own modules are at hand as the kernel's are.
			if f := pool.offered[name].file; isModule(name) && f.Mode&debian.ModeType == debian.ModeRegular {
				b.modules = append(b.modules, name)
				t.Keep(name, rootfs.Node{Mode: f.Mode, Size: f.Size, Content: f})
			}
			continue
		}
		if !isNeedless(name) {
			if err := pool.add(t, name); err != nil {
				return err
			}
		}
	}
	if err := b.addSources(ctx, t); err != nil {
		return err
	}
	if err := b.linkAlternatives(t, list); err != nil {
		return err
	}
	return linkLibraries(t)
}

// hostDirs are where the host has programs and libraries; tests set others.
var hostDirs = struct{ programs, libraries []string }{
	programs: []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"},
	libraries: []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64",
		"/lib", "/usr/lib"},
}

// addHostTools fills the tree with the host's own programs.
func addHostTools(t *rootfs.Tree) error {
	var missing []string
	for _, want := range basePaths {
		dir, name := path.Split(want)
		if dir != "usr/bin/" {
			continue
		}
		file := findHost(hostDirs.programs, name)
		if file == "" {
			if name == "busybox" || name == "ndctl" {
				missing = append(missing, name)
			}
			continue
		}
		if err := addHostFile(t, want, file); err != nil {
			return err
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the host has no %s", strings.Join(missing, " and no "))
	}
	for _, conf := range []string{"etc/mke2fs.conf"} {
		if _, err := os.Stat("/" + conf); err == nil {
			if err := addHostFile(t, conf, "/"+conf); err != nil {
				return err
			}
		}
	}
	l := &linker{tree: t, seen: map[string]bool{}}
	for {
		needs, err := l.missing()
		if err != nil || len(needs) == 0 {
			return err
		}
		for _, n := range needs {
			to, file := n.library, n.library
			if !strings.Contains(n.library, "/") {
				to = libraryDirs[0] + "/" + n.library
				file = findHost(hostDirs.libraries, n.library)
			}
			if file == "" {
				return fmt.Errorf("the host's %s needs %s, which is in none of %s", path.Base(n.by), n.library, strings.Join(hostDirs.libraries, ", "))
			}
			if err := addHostFile(t, to, file); err != nil {
				return err
			}
		}
	}
}

func findHost(dirs []string, name string) string {
	for _, dir := range dirs {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p
		}
	}
	return ""
}

// hostFile is the content of a file of the host.
type hostFile string

func (h hostFile) Open() (io.ReadCloser, error) { return os.Open(string(h)) }

func addHostFile(t *rootfs.Tree, to, from string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New(from + " is no regular file")
	}
	return t.Add(to, rootfs.Node{Mode: rootfs.ModeRegular | uint32(st.Mode().Perm()), Size: st.Size(), Content: hostFile(from)})
}

func sortedKeys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
