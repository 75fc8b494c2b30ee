package nvstar

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"nvlab/internal/hostfile"
	"nvlab/starlark/guard"
)

// fileOptions are the dialect: Starlark's own rules, with sets.
var fileOptions = &syntax.FileOptions{Set: true}

// loadSteps is how many steps a file may take at its top level.
const loadSteps = 20_000_000

// A Loader loads scenarios and what they load, each file once. Loading is not
// safe for concurrent use; what was loaded is.
type Loader struct {
	Print func(text string) // what files print at their top level; nil drops it
	Texts map[string]string // of scenarios that are in no file, by their paths

	sources sources
	modules map[string]*module // by absolute path
}

// NewLoader makes a loader that has loaded nothing.
func NewLoader() *Loader {
	return &Loader{sources: sources{make(map[string]*source)}, modules: make(map[string]*module)}
}

// A File is a scenario.
type File struct {
	Path   string // as it was given
	Doc    string // its docstring
	Tests  []*Test
	UsesVM bool              // it, or a file it loads, names a VM
	Sum    [sha256.Size]byte // of its text, and of those that it loads

	loader *Loader
}

// Sources are the paths of all files that were loaded so far, sorted.
func (f *File) Sources() []string { return f.loader.Sources() }

// Sources are the paths of all files that were read so far, sorted.
func (l *Loader) Sources() []string { return slices.Sorted(maps.Keys(l.sources.files)) }

// A Test is a top-level function of a scenario whose name starts with test_, or
// one case of it.
type Test struct {
	Name     string // of a case "test_x:size=1,mode=fsdax"
	Doc      string
	File     *File
	Pos      syntax.Position
	Explores bool   // it, or a function that it names, has a call of .explore
	Cases    []Case // its parameters, in their order; nil if they have no cases
	fn       *starlark.Function
	kwargs   []starlark.Tuple // it is called with, beside t
}

// module is a file on its way: while it loads, globals is nil.
type module struct {
	globals starlark.StringDict
	names   []string // globals in the order of the source
	doc     string
	usesVM  bool
	sum     [sha256.Size]byte // see File
	explore map[string]bool   // globals that explore
	err     error
}

// Load loads a scenario. The failure is nil or of class Syntax, Interrupted,
// Scenario (the run's time limit) or
// Bug.
func (l *Loader) Load(ctx context.Context, path string) (*File, *Failure) {
	m, err := l.module(ctx, path, nil)
	if err != nil {
		class := classify(err)
		if class != Interrupted && class != Bug && !errors.As(err, new(*TimeoutError)) {
			class = Syntax
		}
		return nil, l.sources.failureOf(class, err)
	}
	file := &File{Path: path, Doc: m.doc, UsesVM: m.usesVM, Sum: m.sum, loader: l}
	for _, name := range m.names {
		fn, ok := m.globals[name].(*starlark.Function)
		if !ok || !strings.HasPrefix(name, "test_") {
			continue
		}
		if wrong := notATest(fn); wrong != "" {
			err := syntax.Error{Pos: fn.Position(), Msg: fmt.Sprintf(wrong, name)}
			return nil, l.sources.failureOf(Syntax, err)
		}
		test := &Test{Name: name, Doc: fn.Doc(), File: file, Pos: fn.Position(), Explores: m.explore[name], fn: fn}
		tests, err := test.each()
		if err != nil {
			return nil, l.sources.failureOf(Syntax, syntax.Error{Pos: fn.Position(), Msg: err.Error()})
		}
		file.Tests = append(file.Tests, tests...)
	}
	return file, nil
}

// notATest says what keeps a function from being a test, with a %s for its name; "" if
// nothing does.
func notATest(fn *starlark.Function) string {
	named := fn.NumParams()
	for _, rest := range []bool{fn.HasVarargs(), fn.HasKwargs()} { // *rest and **others come last
		if rest {
			named--
		}
	}
	if named <= fn.NumKwonlyParams() {
		return "a test takes one parameter: def %s(t)"
	}
	for i := 1; i < named; i++ {
		if fn.ParamDefault(i) == nil {
			first, _ := fn.Param(0)
			other, _ := fn.Param(i)
			return fmt.Sprintf("a test takes one parameter, and others if they have cases or a default: def %%s(%s, %s = cases(...))", first, other)
		}
	}
	return ""
}

// module loads a file once. chain is the files that load it, outermost first.
func (l *Loader) module(ctx context.Context, path string, chain []string) (*module, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if m := l.modules[abs]; m != nil {
		if m.globals == nil && m.err == nil {
			at := slices.Index(chain, path)
			return nil, fmt.Errorf("files load each other: %s", strings.Join(append(chain[max(at, 0):], path), " -> "))
		}
		return m, m.err
	}
	m := new(module)
	l.modules[abs] = m
	m.err = l.execute(ctx, m, path, chain)
	return m, m.err
}

func (l *Loader) execute(ctx context.Context, m *module, path string, chain []string) (err error) {
	defer recoverBug(&err)
	text, err := l.text(path)
	if err != nil {
		return err
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	src := l.sources.add(path, text)
	file, err := src.examine(path, text)
	if err != nil {
		return err
	}
	guard.Guard(file)
	hintIndexes(file)
	program, err := starlark.FileProgram(file, universe().Has)
	if err != nil {
		return err
	}
	for _, b := range file.Module.(*resolve.Module).Globals {
		m.names = append(m.names, b.First.Name)
	}
	m.doc = docstring(file)
	sum := sha256.New()
	fmt.Fprintf(sum, "%d\n%s", len(text), text)
	m.usesVM = namesVM(file)

	a := newActivity(ctx, loadSteps)
	defer a.stop(nil)
	a.chain = append(slices.Clone(chain), path)
	if l.Print != nil {
		a.print = func(thread *starlark.Thread, text string) { l.Print(located(thread, text)) }
	}
	thread := a.newThread(path)
	loads := map[string]*module{} // by the name that the file gives them
	thread.Load = func(_ *starlark.Thread, name string) (starlark.StringDict, error) {
		target, err := resolveLoad(path, name)
		if err != nil {
			return nil, err
		}
		loaded, err := l.module(a.ctx, target, a.chain)
		if err != nil {
			return nil, err
		}
		m.usesVM = m.usesVM || loaded.usesVM
		loads[name] = loaded
		fmt.Fprintf(sum, "%q %x\n", name, loaded.sum)
		return loaded.globals, nil
	}
	globals, err := program.Init(thread, universe())
	if err != nil {
		return a.ended(err)
	}
	if name, err := guard.Frozen(globals); err != nil {
		return fmt.Errorf("%s: the value of %s cannot be kept: %w", path, name, err)
	}
	globals.Freeze()
	m.explore = explorers(file, loads)
	m.sum = [sha256.Size]byte(sum.Sum(nil))
	m.globals = globals
	return nil
}

// text is the text of a scenario.
func (l *Loader) text(path string) ([]byte, error) {
	if text, ok := l.Texts[path]; ok {
		return []byte(text), nil
	}
	return readSource(path)
}

// readSource reads a scenario. It may be any file that somebody named, or linked
// to.
func readSource(path string) ([]byte, error) {
	text, err := hostfile.Read(path, guard.MaxSource)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s", path)
	}
	return text, err
}

// resolveLoad gives the path of a file that another one loads, relative to that
// one.
func resolveLoad(from, name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New(`the name is empty: want a path such as "./other.star"`)
	case filepath.IsAbs(name):
		return "", errors.New(`the path is absolute: want one relative to the loading file, such as "./other.star"`)
	case strings.HasPrefix(name, "@") || strings.HasPrefix(name, "//") || strings.HasPrefix(name, ":"):
		return "", errors.New(`labels of build tools mean nothing here: want a path relative to the loading file, such as "./other.star"`)
	case filepath.Ext(name) != ".star":
		return "", errors.New(`the name of a file to load ends in ".star"`)
	}
	return filepath.Join(filepath.Dir(from), name), nil
}

func docstring(file *syntax.File) string {
	if len(file.Stmts) > 0 {
		if expr, ok := file.Stmts[0].(*syntax.ExprStmt); ok {
			if lit, ok := expr.X.(*syntax.Literal); ok && lit.Token == syntax.STRING {
				return strings.TrimSpace(lit.Value.(string))
			}
		}
	}
	return ""
}

// namesVM says whether a file mentions an attribute vm, as t.vm is.
func namesVM(file *syntax.File) bool {
	found := false
	syntax.Walk(file, func(n syntax.Node) bool {
		if dot, ok := n.(*syntax.DotExpr); ok && dot.Name.Name == "vm" {
			found = true
		}
		return !found
	})
	return found
}
