package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
)

// An inliner makes the text of functions with their parameters replaced and
// the calls of others inlined.
type inliner struct {
	functions map[string]*function
	width     int  // of T
	quiet     bool // leave out what sets flags
}

// body is the text of f's body. Names in replace stand for what they map to;
// on says what a return statement becomes, and before what comes before a
// statement of the outermost list.
func (x *inliner) body(f *function, replace map[string]string, on func(results []string) string, before func(s ast.Stmt) string) string {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, f.name, f.src, parser.SkipObjectResolution)
	check(err)
	decl := file.Decls[0].(*ast.FuncDecl)
	w := &writer{inliner: x, f: f, base: int(file.FileStart), replace: replace, on: on}
	var b strings.Builder
	for _, s := range decl.Body.List {
		b.WriteString(before(s))
		b.WriteString(w.text(s) + "\n")
	}
	return b.String()
}

// value is the text of an expression function's result.
func (x *inliner) value(f *function, replace map[string]string) string {
	result := ""
	x.body(f, replace, func(r []string) string {
		if len(r) != 1 || result != "" {
			fatalf("%s is used in an expression, and is not one", f.name)
		}
		result = "(" + r[0] + ")"
		return ""
	}, nothing)
	return result
}

func nothing(ast.Stmt) string { return "" }

// writer makes the text of one body.
type writer struct {
	*inliner
	f       *function
	base    int
	replace map[string]string
	on      func(results []string) string
	called  bool // the statement at hand makes a call that is not inlined
}

// text is that of a node, with edits.
func (w *writer) text(root ast.Node) string {
	var b strings.Builder
	at := root.Pos()
	ast.Inspect(root, func(n ast.Node) bool {
		if n == nil || n.Pos() < at {
			return n != nil
		}
		s, ok := w.edit(n, n == root)
		if !ok {
			return true
		}
		b.WriteString(w.source(at, n.Pos()) + s)
		at = n.End()
		return false
	})
	return b.String() + w.source(at, root.End())
}

func (w *writer) source(from, to token.Pos) string {
	return w.f.src[int(from)-w.base : int(to)-w.base]
}

// plain is the text of a node with edits below it only.
func (w *writer) list(args []ast.Expr) (texts []string) {
	for _, a := range args {
		texts = append(texts, w.text(a))
	}
	return texts
}

// edit is what replaces a node, if something does.
func (w *writer) edit(n ast.Node, root bool) (string, bool) {
	switch n := n.(type) {
	case *ast.Ident:
		s, ok := w.replace[n.Name]
		return s, ok
	case *ast.SelectorExpr:
		return w.text(n.X) + "." + n.Sel.Name, true
	case *ast.CallExpr:
		return w.call(n)
	case *ast.ReturnStmt:
		return w.on(w.list(n.Results)), true
	case *ast.ExprStmt:
		if call, ok := n.X.(*ast.CallExpr); ok {
			if s, ok := w.statement(call); ok {
				return s, true
			}
		}
		return w.saved(w.text(n.X)), true
	case *ast.AssignStmt:
		left, right := w.list(n.Lhs), w.list(n.Rhs)
		return w.saved(strings.Join(left, ", ") + " " + n.Tok.String() + " " + strings.Join(right, ", ")), true
	case *ast.IfStmt:
		cond := w.text(n.Cond)
		if w.called || n.Init != nil {
			fatalf("%s: a call in the head of an if is not supported", w.f.name)
		}
		body := w.text(n.Body)
		if n.Else != nil {
			return "if " + cond + " " + body + " else " + w.text(n.Else), true
		}
		if strings.Trim(body, "{} \t\n") == "" {
			return "", true
		}
		return "if " + cond + " " + body, true
	}
	return "", false
}

// saved wraps a statement that calls a function. The compiler keeps what lives
// across a call in memory from where it is made, and o is made anew for every
// op: so o is saved by hand, where it must be.
func (w *writer) saved(s string) string {
	if !w.called {
		return s
	}
	w.called = false
	return "c.at = uintptr(unsafe.Pointer(o)) - uintptr(ops)\n" + s + "\no = (*ir.Op)(unsafe.Add(ops, c.at))"
}

// call is the text of a call within an expression.
func (w *writer) call(n *ast.CallExpr) (string, bool) {
	name := ""
	switch fun := n.Fun.(type) {
	case *ast.Ident:
		name = fun.Name
	case *ast.IndexExpr: // size[T]
		if id, ok := fun.X.(*ast.Ident); ok {
			name = id.Name
		}
	case *ast.SelectorExpr:
		if id, ok := fun.X.(*ast.Ident); ok && (id.Name == "bits" || id.Name == "x86") {
			name = "bits" // pure
		}
	}
	switch name {
	case "size":
		return fmt.Sprint(w.width), true
	case "above":
		return fmt.Sprint(64 - w.width), true
	case "signed":
		return fmt.Sprintf("int64(int%d(%s))", w.width, w.text(n.Args[0])), true
	case "rotate":
		return fmt.Sprintf("bits.RotateLeft%d(%s, %s)", w.width, w.text(n.Args[0]), w.text(n.Args[1])), true
	case "T", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "int", "len", "bits":
		return "", false
	}
	if f := w.functions[name]; f != nil {
		replace := map[string]string{"T": word(w.width)}
		for i, arg := range n.Args {
			replace[f.params[i].name] = parens(w.text(arg))
		}
		return w.value(f, replace), true
	}
	w.called = true
	return "", false
}

func parens(s string) string {
	if token.IsIdentifier(s) {
		return s
	}
	return "(" + s + ")"
}

// statement is the text of a call that is a statement and is inlined.
func (w *writer) statement(n *ast.CallExpr) (string, bool) {
	id, ok := n.Fun.(*ast.Ident)
	if !ok {
		return "", false
	}
	if id.Name == "put" {
		slot := strings.TrimPrefix(w.text(n.Args[0]), "&")
		return store(slot, w.text(n.Args[1]), w.width), true
	}
	f := w.functions[id.Name]
	if f == nil {
		return "", false
	}
	if strings.HasPrefix(f.name, "flags") && w.quiet {
		return "", true
	}
	var names, values []string
	for i, arg := range n.Args {
		p := f.params[i]
		v := w.text(arg)
		if v == p.name {
			continue
		}
		names = append(names, p.name)
		values = append(values, typed(p.typ, v, w.width))
	}
	bind := ""
	if names != nil {
		bind = strings.Join(names, ", ") + " := " + strings.Join(values, ", ") + "\n"
	}
	body := w.body(f, map[string]string{"T": word(w.width)}, func([]string) string {
		fatalf("%s returns within %s", f.name, w.f.name)
		return ""
	}, nothing)
	return "{\n" + bind + body + "}", true
}

// typed is v as a value of a parameter's type.
func typed(typ, v string, width int) string {
	if typ == "T" {
		typ = word(width)
	}
	return typ + "(" + v + ")"
}

// mentions says whether a statement uses one of some names.
func mentions(s ast.Stmt, names []string) bool {
	found := false
	ast.Inspect(s, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && slices.Contains(names, id.Name) {
			found = true
		}
		return !found
	})
	return found
}

// assigns says whether a body stores through a parameter.
func (f *function) assigns(name string) bool {
	file, err := parser.ParseFile(token.NewFileSet(), f.name, f.src, parser.SkipObjectResolution)
	check(err)
	found := false
	ast.Inspect(file, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok {
			for _, l := range a.Lhs {
				switch l := l.(type) {
				case *ast.StarExpr:
					found = found || isIdent(l.X, name)
				case *ast.IndexExpr:
					found = found || isIdent(l.X, name)
				}
			}
		}
		return true
	})
	return found
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}
