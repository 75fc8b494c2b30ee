package rootfs

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// MaxModule bounds the size of an uncompressed module, in bytes.
const MaxModule = 256 << 20

// ModuleFile is a module as a package or /lib/modules has it.
type ModuleFile struct {
	Path string // below /lib/modules/RELEASE, such as kernel/drivers/dax/dax.ko.xz
	Open func() (io.ReadCloser, error)
}

// Modules are all modules of one kernel.
type Modules struct {
	Release string
	// Decompress returns a reader for a module whose name ends in .xz, .zst or .gz.
	Decompress func(name string, r io.Reader) (io.ReadCloser, error)

	files        map[string]ModuleFile // by name
	builtin      map[string]bool
	builtinPaths []string // as modules.builtin has them
	loaded       map[string]*module
}

type module struct {
	info ModuleInfo
	path string // below /lib/modules/RELEASE, without a compression's suffix
	size int64  // uncompressed, in bytes
}

// NewModules takes the modules of a kernel and the text of its
// modules.builtin, whose lines are paths.
func NewModules(release string, files []ModuleFile, builtin string) *Modules {
	m := &Modules{Release: release, files: map[string]ModuleFile{}, builtin: map[string]bool{}, loaded: map[string]*module{}}
	for _, f := range files {
		m.files[moduleName(f.Path)] = f
	}
	for _, line := range strings.Fields(builtin) {
		m.builtin[moduleName(line)] = true
		m.builtinPaths = append(m.builtinPaths, line)
	}
	return m
}

// Builtin reports whether the kernel has the module within itself.
func (m *Modules) Builtin(name string) bool { return m.builtin[moduleName(name)] }

func (m *Modules) load(name string) (*module, error) {
	name = moduleName(name)
	if k := m.loaded[name]; k != nil {
		return k, nil
	}
	f, ok := m.files[name]
	if !ok {
		return nil, fmt.Errorf("kernel %s has no module %s", m.Release, name)
	}
	data, err := m.read(f)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", f.Path, err)
	}
	info, err := ReadModuleInfo(data)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", f.Path, err)
	}
	if info.Release != "" && info.Release != m.Release {
		return nil, fmt.Errorf("module %s is of kernel %s, not %s", f.Path, info.Release, m.Release)
	}
	p := f.Path
	for _, ext := range []string{".xz", ".zst", ".gz"} {
		p = strings.TrimSuffix(p, ext)
	}
	k := &module{info: info, path: p, size: int64(len(data))}
	m.loaded[name] = k
	return k, nil
}

func (m *Modules) read(f ModuleFile) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if ext := path.Ext(f.Path); ext != ".ko" {
		if m.Decompress == nil {
			return nil, fmt.Errorf("compressed with %s", ext)
		}
		z, err := m.Decompress(f.Path, r)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		data, err := io.ReadAll(io.LimitReader(z, MaxModule+1))
		if err == nil && len(data) > MaxModule {
			err = errors.New("too large")
		}
		return data, err
	}
	return io.ReadAll(io.LimitReader(r, MaxModule))
}

// Order lists the named modules with all they depend on, each after what it
// needs. A name that is built in is left out; so is one that does not exist,
// unless required.
func (m *Modules) Order(names []string, required bool) ([]string, error) {
	var order []string
	state := map[string]int{} // 1 under way, 2 done
	var visit func(name string, required bool) error
	visit = func(name string, required bool) error {
		name = moduleName(name)
		_, exists := m.files[name]
		if state[name] == 2 || !exists && (!required || m.builtin[name]) {
			return nil
		}
		if state[name] == 1 {
			return fmt.Errorf("module %s depends on itself", name)
		}
		state[name] = 1
		k, err := m.load(name)
		if err != nil {
			return err
		}
		for _, d := range k.info.SoftPre {
			if state[d] == 0 {
				if err := visit(d, false); err != nil {
					return err
				}
			}
		}
		for _, d := range k.info.Depends {
			if err := visit(d, true); err != nil {
				return err
			}
		}
		state[name] = 2
		order = append(order, name)
		return nil
	}
	for _, n := range names {
		if err := visit(n, required); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// Install adds modules to the tree, uncompressed, with the modules.dep and
// modules.alias that modprobe reads. names must be closed, as Order's are.
func (m *Modules) Install(t *Tree, names []string) error {
	root := "usr/lib/modules/" + m.Release
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	var dep, alias strings.Builder
	for _, name := range slices.Compact(sorted) {
		k, err := m.load(name)
		if err != nil {
			return err
		}
		data, err := m.read(m.files[name])
		if err != nil {
			return fmt.Errorf("module %s: %w", k.path, err)
		}
		if err := t.AddFile(root+"/"+k.path, 0o644, data); err != nil {
			return err
		}
		order, err := m.Order([]string{name}, true)
		if err != nil {
			return err
		}
		fmt.Fprintf(&dep, "%s:", k.path)
		for i := len(order) - 2; i >= 0; i-- { // nearest first, itself left out
			fmt.Fprintf(&dep, " %s", m.loaded[order[i]].path)
		}
		dep.WriteByte('\n')
		for _, a := range k.info.Aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, name)
		}
	}
	for _, name := range IndexFiles {
		text := ""
		switch name {
		case "modules.dep":
			text = dep.String()
		case "modules.alias":
			text = alias.String()
		}
		// The agent puts the indices of all modules in the place of these.
		if err := t.AddFile(root+"/"+name, 0o644, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// Path is where Install put a module, absolute.
func (m *Modules) Path(name string) string {
	k := m.loaded[moduleName(name)]
	if k == nil {
		return ""
	}
	return "/usr/lib/modules/" + m.Release + "/" + k.path
}
