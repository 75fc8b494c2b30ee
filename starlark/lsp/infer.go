package lsp

import (
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/syntax"

	"nvlab/internal/hostfile"
	nvstar "nvlab/starlark"
	"nvlab/starlark/guard"
)

// A kind is what is known of a value: the name of a type of the language, "list"
// or "iterable" of one, or "tuple". The zero kind is unknown.
type kind struct {
	name     string
	of       string   // of a list's elements
	elements []kind   // of a tuple
	fields   []string // of a struct, or of a list's structs
	sure     bool     // it follows from the text, and not from a name
}

func (k kind) same(other kind) bool { return k.name == other.name && k.of == other.of }

// element is what a list or an iterable holds.
func (k kind) element() kind { return kind{name: k.of, sure: k.sure, fields: k.fields} }

// guesses are what parameters of these names mostly are.
var guesses = map[string]string{"dimm": "nvdimm", "disk": "backend", "base": "snapshot"}

func guess(name string) kind {
	if other := guesses[name]; other != "" {
		name = other
	}
	if t := topicOf(name); t != nil && len(t.Subs) > 0 {
		return kind{name: name}
	}
	return kind{}
}

// maxInference bounds how many steps a value is followed.
const maxInference = 30

// An inference follows values through one document, and what it loads.
type inference struct {
	s     *Server
	d     *document
	tree  *syntax.File
	steps int
}

// A function is a def or a lambda around a place.
type function struct {
	params []syntax.Expr
	body   []syntax.Stmt // of a def
	def    *syntax.DefStmt
}

func functionOf(n syntax.Node) (function, bool) {
	switch n := n.(type) {
	case *syntax.DefStmt:
		return function{n.Params, n.Body, n}, true
	case *syntax.LambdaExpr:
		return function{params: n.Params}, true
	}
	return function{}, false
}

// around are the functions around a place, innermost first. A line that is
// being typed belongs to a def if it, and all between, stand further right.
func (in *inference) around(line, col int) (fns []function) {
	if in.tree == nil {
		return nil
	}
	syntax.Walk(in.tree, func(n syntax.Node) bool {
		fn, ok := functionOf(n)
		if !ok {
			return true
		}
		start, end := n.Span()
		inside := !before(line, col, start) && before(line, col, end)
		if fn.def != nil && !inside {
			inside = in.reaches(start, line)
		}
		if inside {
			fns = append(fns, fn)
		}
		return true
	})
	slices.Reverse(fns)
	return fns
}

func before(line, col int, p syntax.Position) bool {
	return line < int(p.Line) || line == int(p.Line) && col < int(p.Col)
}

// reaches says whether all lines from a def on to a line stand further right
// than it, or are empty.
func (in *inference) reaches(def syntax.Position, line int) bool {
	if line <= int(def.Line) || line > len(in.d.lines) {
		return false
	}
	for i := int(def.Line) + 1; i <= line; i++ {
		text := in.d.lines[i-1]
		if (strings.TrimSpace(text) != "" || i == line) && indent(text) < int(def.Col) {
			return false
		}
	}
	return true
}

// infer says what an expression is, within functions, innermost first.
func (in *inference) infer(x syntax.Expr, fns []function) kind {
	if in.steps++; in.steps > maxInference {
		return kind{}
	}
	switch x := x.(type) {
	case *syntax.ParenExpr:
		return in.infer(x.X, fns)
	case *syntax.Ident:
		return in.name(x.Name, fns)
	case *syntax.TupleExpr:
		k := kind{name: "tuple", sure: true}
		for _, e := range x.List {
			k.elements = append(k.elements, in.infer(e, fns))
		}
		return k
	case *syntax.IndexExpr:
		if k := in.infer(x.X, fns); k.name == "list" {
			return k.element()
		}
	case *syntax.DotExpr:
		if t := in.topic(x, fns); t != nil && t.Sig == "" {
			return in.gives(t, in.infer(x.X, fns).sure)
		}
	case *syntax.CallExpr:
		if t := in.topic(x.Fn, fns); t != nil {
			sure := true
			if dot, ok := x.Fn.(*syntax.DotExpr); ok {
				sure = in.infer(dot.X, fns).sure
			}
			return in.gives(t, sure)
		}
		if id, ok := x.Fn.(*syntax.Ident); ok {
			if where, def := in.function(id.Name); def != nil {
				return where.returns(def)
			}
		}
	}
	return kind{}
}

func (in *inference) gives(t *nvstar.Topic, sure bool) kind {
	name, of := t.Gives()
	return kind{name: name, of: of, sure: sure, fields: t.Fields()}
}

// topic is the documentation of what an expression names, nil if there is none.
func (in *inference) topic(x syntax.Expr, fns []function) *nvstar.Topic {
	switch x := x.(type) {
	case *syntax.Ident:
		if k := in.bound(x.Name, fns); k == nil {
			return topicOf(x.Name)
		}
	case *syntax.DotExpr:
		if k := in.infer(x.X, fns); k.name != "" {
			return topicOf(k.name + "." + x.Name.Name)
		}
	}
	return nil
}

// name says what a name stands for.
func (in *inference) name(name string, fns []function) kind {
	if k := in.bound(name, fns); k != nil {
		return *k
	}
	if name == "check" {
		return kind{name: name, sure: true}
	}
	return kind{}
}

// bound is what a name of the file's stands for, nil if it is none.
func (in *inference) bound(name string, fns []function) *kind {
	for i, fn := range fns {
		for n, p := range fn.params {
			if paramName(p) == name {
				k := guess(name)
				k.sure = n == 0 && name == "t" // which everybody calls a test
				if n == 0 && fn.def != nil && strings.HasPrefix(fn.def.Name.Name, "test_") {
					k = kind{name: "t", sure: true}
				}
				return &k
			}
		}
		if k := in.assigned(name, fn.body, fns[i:]); k != nil {
			return k
		}
	}
	if in.tree == nil {
		return nil
	}
	if where, def := in.function(name); def != nil || where != nil {
		return &kind{}
	}
	return in.assigned(name, in.tree.Stmts, nil)
}

// assigned is what the assignments of a block, without functions within, make
// of a name; nil if there is none. Assignments that differ make it unknown.
func (in *inference) assigned(name string, block []syntax.Stmt, fns []function) (found *kind) {
	add := func(k kind) {
		switch {
		case found == nil:
			found = &k
		case !found.same(k):
			found = &kind{}
		default:
			found.sure = found.sure && k.sure
		}
	}
	var bind func(target syntax.Expr, k func() kind)
	bind = func(target syntax.Expr, k func() kind) {
		switch target := target.(type) {
		case *syntax.Ident:
			if target.Name == name {
				add(k())
			}
		case *syntax.ParenExpr:
			bind(target.X, k)
		case *syntax.TupleExpr:
			for i, e := range target.List {
				bind(e, func() kind {
					if all := k(); i < len(all.elements) {
						return all.elements[i]
					}
					if id, ok := e.(*syntax.Ident); ok {
						return guess(id.Name)
					}
					return kind{}
				})
			}
		}
	}
	loop := func(vars, x syntax.Expr) {
		bind(vars, func() kind {
			if k := in.infer(x, fns); k.name == "list" || k.name == "iterable" {
				return k.element()
			}
			return kind{}
		})
	}
	for _, stmt := range block {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.DefStmt:
				if n.Name.Name == name {
					add(kind{})
				}
				return false
			case *syntax.LambdaExpr:
				return false
			case *syntax.AssignStmt:
				if n.Op == syntax.EQ {
					bind(n.LHS, func() kind { return in.infer(n.RHS, fns) })
				}
			case *syntax.ForStmt:
				loop(n.Vars, n.X)
			case *syntax.ForClause:
				loop(n.Vars, n.X)
			}
			return true
		})
	}
	return found
}

func paramName(p syntax.Expr) string {
	switch p := p.(type) {
	case *syntax.Ident:
		return p.Name
	case *syntax.BinaryExpr: // with a default
		return paramName(p.X)
	case *syntax.UnaryExpr: // * or **
		if p.X != nil {
			return paramName(p.X)
		}
	}
	return ""
}

// function is the def of a global name, and where it is: in this document or
// one that it loads. Of a name that is loaded and no function the def is nil.
func (in *inference) function(name string) (where *inference, def *syntax.DefStmt) {
	if in.tree == nil {
		return nil, nil
	}
	for _, stmt := range in.tree.Stmts {
		switch s := stmt.(type) {
		case *syntax.DefStmt:
			if s.Name.Name == name {
				return in, s
			}
		case *syntax.LoadStmt:
			for i, to := range s.To {
				if to.Name != name {
					continue
				}
				other := in.loaded(s)
				if other == nil || in.steps > maxInference {
					return in, nil
				}
				if at, def := other.function(s.From[i].Name); at != nil {
					return at, def
				}
				return other, nil
			}
		}
	}
	return nil, nil
}

// loaded is the document that a statement loads, nil if it cannot be read.
func (in *inference) loaded(s *syntax.LoadStmt) *inference {
	path := filepath.Join(filepath.Dir(in.d.path), s.ModuleName())
	d := in.s.documents[path]
	if d == nil {
		text, err := hostfile.Read(path, guard.MaxSource)
		if err != nil {
			return nil
		}
		d = newDocument(path, string(text), nil)
	}
	return &inference{s: in.s, d: d, tree: d.tree, steps: in.steps + 1}
}

// returns is what a function of the top level gives.
func (in *inference) returns(def *syntax.DefStmt) (k kind) {
	if in.steps++; in.steps > maxInference {
		return kind{}
	}
	fn, _ := functionOf(def)
	first := true
	for _, stmt := range def.Body {
		syntax.Walk(stmt, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.DefStmt, *syntax.LambdaExpr:
				return false
			case *syntax.ReturnStmt:
				got := kind{}
				if n.Result != nil {
					got = in.infer(n.Result, []function{fn})
				}
				if first {
					k, first = got, false
				} else if !k.same(got) {
					k = kind{}
				}
			}
			return true
		})
	}
	return k
}
