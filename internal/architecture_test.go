// Package internal_test holds the packages of this module to ARCHITECTURE.md.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "nvlab/"

// row is a folder of the table, and what it may import.
type row struct {
	folder  string
	imports []string
}

var (
	tableRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|[^|]*\\|([^|]*)\\|$")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

func table(t *testing.T) (rows []row) {
	text, err := os.ReadFile("../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range tableRow.FindAllStringSubmatch(string(text), -1) {
		r := row{folder: m[1]}
		for _, q := range quoted.FindAllStringSubmatch(m[2], -1) {
			r.imports = append(r.imports, q[1])
		}
		if _, err := os.Stat(filepath.Join("..", r.folder)); err != nil {
			t.Errorf("ARCHITECTURE.md has a row for %s, which is not there", r.folder)
		}
		rows = append(rows, r)
	}
	return rows
}

// within says that a package is a folder's, or that of a folder below.
func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// rowOf is the row of the innermost folder that a package is in.
func rowOf(rows []row, pkg string) *row {
	var best *row
	for i := range rows {
		if r := &rows[i]; within(pkg, r.folder) && (best == nil || len(r.folder) > len(best.folder)) {
			best = r
		}
	}
	return best
}

// may says whether a row's packages may import one.
func (r *row) may(rows []row, pkg string) bool {
	if within(pkg, "internal") || rowOf(rows, pkg) == r {
		return true
	}
	for _, folder := range r.imports {
		if within(pkg, folder) {
			return true
		}
	}
	// A part with a row of its own is its parent's to use: vmm has vmm/boot.
	return within(pkg, r.folder) && !strings.Contains(r.folder, "/") && !slices.Contains(rowOf(rows, pkg).imports, r.folder)
}

// TestImports: what a package imports is in ARCHITECTURE.md, and what is there
// is imported.
func TestImports(t *testing.T) {
	rows := table(t)
	if len(rows) < 20 {
		t.Fatalf("ARCHITECTURE.md has %d rows: is the table's form another one?", len(rows))
	}
	used := map[string]bool{}
	err := filepath.WalkDir("..", func(file string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" || e.Name() == "source" || strings.HasPrefix(e.Name(), ".") && e.Name() != ".."):
			return filepath.SkipDir
		case !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		pkg := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), "../")
		if pkg == ".." {
			return nil // the module's root: agent.go imports nothing of ours
		}
		r := rowOf(rows, pkg)
		if r == nil {
			t.Errorf("ARCHITECTURE.md has no row for %s", pkg)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range f.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			other, ours := strings.CutPrefix(name, module)
			if !ours {
				continue
			}
			if !r.may(rows, other) {
				t.Errorf("%s imports %s, which ARCHITECTURE.md does not say of %s", file, other, r.folder)
			}
			for _, folder := range r.imports {
				if within(other, folder) {
					used[r.folder+" "+folder] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		for _, folder := range r.imports {
			if !used[r.folder+" "+folder] && !strings.HasSuffix(r.folder, "test") {
				t.Errorf("ARCHITECTURE.md says that %s imports %s, and it does not", r.folder, folder)
			}
		}
	}
}

// TestNoArrowUp: no two rows import each other, directly or over others.
func TestNoArrowUp(t *testing.T) {
	rows := table(t)
	var visit func(r *row, above []string)
	visit = func(r *row, above []string) {
		for i, folder := range above {
			if folder == r.folder {
				t.Fatalf("ARCHITECTURE.md has a circle: %s", strings.Join(append(above[i:], r.folder), " -> "))
			}
		}
		for _, folder := range r.imports {
			if o := rowOf(rows, folder); o != r {
				visit(o, append(above[:len(above):len(above)], r.folder))
			}
		}
	}
	for i := range rows {
		visit(&rows[i], nil)
	}
}
