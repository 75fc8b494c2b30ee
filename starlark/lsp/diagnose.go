package lsp

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/syntax"

	"nvlab/internal/spell"
	nvstar "nvlab/starlark"
)

// diagnose is what is wrong with a document: what loading it would find, files
// and names to load that are not there, and attributes and parameters that a
// value surely lacks.
func (s *Server) diagnose(d *document) []diagnostic {
	list := []diagnostic{}
	add := func(pos syntax.Position, format string, args ...any) {
		list = append(list, diagnostic{d.word(pos), severityError, "nvlab", fmt.Sprintf(format, args...)})
	}
	for _, p := range nvstar.Examine(d.path, []byte(d.text)) {
		add(p.Pos, "%s", p.Message)
	}
	if !d.read {
		return list
	}
	var stack []syntax.Node
	syntax.Walk(d.tree, func(n syntax.Node) bool {
		if n == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		stack = append(stack, n)
		in := &inference{s: s, d: d, tree: d.tree}
		switch n := n.(type) {
		case *syntax.LoadStmt:
			in.checkLoad(n, add)
		case *syntax.DotExpr:
			if t := topicOf(in.surely(n.X, stack)); t != nil && len(t.Subs) > 0 && !slices.Contains(attributes(t), n.Name.Name) {
				add(n.Name.NamePos, "%s has no .%s field or method%s", t.Name, n.Name.Name, meant(n.Name.Name, attributes(t), "."))
			}
		case *syntax.CallExpr:
			if dot, ok := n.Fn.(*syntax.DotExpr); ok {
				if k := in.surely(dot.X, stack); k != "" {
					checkKeywords(n, topicOf(k+"."+dot.Name.Name), add)
				}
			}
		}
		return true
	})
	return list
}

// surely is the type that an expression surely has, "" for none.
func (in *inference) surely(x syntax.Expr, stack []syntax.Node) string {
	var fns []function
	for _, n := range slices.Backward(stack) {
		if fn, ok := functionOf(n); ok {
			fns = append(fns, fn)
		}
	}
	if k := in.infer(x, fns); k.sure && k.of == "" {
		return k.name
	}
	return ""
}

func checkKeywords(call *syntax.CallExpr, t *nvstar.Topic, add func(syntax.Position, string, ...any)) {
	if t == nil {
		return
	}
	names, more := t.Params()
	if more {
		return
	}
	for _, arg := range call.Args {
		if b, ok := arg.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ {
			if id, ok := b.X.(*syntax.Ident); ok && !slices.Contains(names, id.Name) {
				add(id.NamePos, "no parameter of %s is called %s%s", t.Name, id.Name, meant(id.Name, names, ""))
			}
		}
	}
}

func meant(name string, names []string, prefix string) string {
	if near := spell.Nearest(name, names); near != "" {
		return fmt.Sprintf(" (did you mean %s%s?)", prefix, near)
	}
	return ""
}

// checkLoad says which files and names are not there.
func (in *inference) checkLoad(s *syntax.LoadStmt, add func(syntax.Position, string, ...any)) {
	other := in.loaded(s)
	if other == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(in.d.path), s.ModuleName())); err != nil {
			add(s.Module.TokenPos, "there is no file %s", s.ModuleName())
		}
		return
	}
	if other.tree == nil {
		add(s.Module.TokenPos, "%s cannot be read", s.ModuleName())
		return
	}
	names := other.globals()
	for _, from := range s.From {
		if !slices.Contains(names, from.Name) && !strings.HasPrefix(from.Name, "_") { // of which loading tells
			add(from.NamePos, "%s has no %s%s", s.ModuleName(), from.Name, meant(from.Name, names, ""))
		}
	}
}

// globals are the names that a file defines.
func (in *inference) globals() (names []string) {
	if in.tree == nil {
		return nil
	}
	for _, stmt := range in.tree.Stmts {
		names = append(names, defined(stmt)...)
	}
	return names
}

// defined are the names that a statement binds, without those of blocks in it.
func defined(stmt syntax.Stmt) (names []string) {
	switch s := stmt.(type) {
	case *syntax.DefStmt:
		return []string{s.Name.Name}
	case *syntax.AssignStmt:
		if s.Op == syntax.EQ {
			return targets(s.LHS)
		}
	case *syntax.ForStmt:
		return targets(s.Vars)
	case *syntax.LoadStmt:
		for _, to := range s.To {
			names = append(names, to.Name)
		}
	}
	return names
}

func targets(x syntax.Expr) (names []string) {
	switch x := x.(type) {
	case *syntax.Ident:
		return []string{x.Name}
	case *syntax.ParenExpr:
		return targets(x.X)
	case *syntax.TupleExpr:
		for _, e := range x.List {
			names = append(names, targets(e)...)
		}
	case *syntax.ListExpr:
		for _, e := range x.List {
			names = append(names, targets(e)...)
		}
	}
	return names
}
