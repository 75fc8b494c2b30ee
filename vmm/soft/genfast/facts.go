package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
)

// facts are what the text of an op's case says of it.
type facts struct {
	readsFlags, setsFlags, setsAll bool
	leaves, branches, ends         bool
	readsDst, readsSrc, address    bool
	writesDst, writesSrc           bool
	loads, stores, vectors         bool
	changesRegisters               bool
}

var flagFields = []string{"c.fz", "c.fs", "c.fc"}

// learn reads the text of a case, and the text without what sets flags.
func learn(name, full, quiet string) (f facts) {
	l := read(name, full)
	q := read(name, quiet)
	f = l.facts
	f.readsFlags = q.usesOld
	f.changesRegisters = q.changesRegisters
	n := 0
	for _, field := range flagFields {
		if l.assigned[field] {
			n++
		}
	}
	f.setsFlags = l.setsFlags
	f.setsAll = n == len(flagFields) && l.usesOld == q.usesOld
	return f
}

// reader walks the statements of a case in the order of execution.
type reader struct {
	facts
	assigned map[string]bool // flags that surely are
	usesOld  bool            // a flag is read that was not assigned before
}

func read(name, text string) *reader {
	file, err := parser.ParseFile(token.NewFileSet(), name, "package p\nfunc f() {\nswitch {\ncase true:\n"+text+"}\n}\n", parser.SkipObjectResolution)
	if err != nil {
		fatalf("%s: %v\n%s", name, err, text)
	}
	body := file.Decls[0].(*ast.FuncDecl).Body.List[0].(*ast.SwitchStmt).Body.List[0].(*ast.CaseClause).Body
	r := &reader{assigned: map[string]bool{}}
	r.loads = strings.Contains(text, "e.RTag")
	r.stores = strings.Contains(text, "e.WTag")
	r.vectors = strings.Contains(text, "c.fpu.xmm")
	r.statements(body, true)
	if len(body) > 0 {
		_, r.ends = body[len(body)-1].(*ast.BranchStmt)
	}
	return r
}

func (r *reader) statements(list []ast.Stmt, surely bool) {
	for _, s := range list {
		r.statement(s, surely)
	}
}

func (r *reader) statement(s ast.Stmt, surely bool) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		for _, e := range s.Rhs {
			r.expression(e)
		}
		for _, e := range s.Lhs {
			if s.Tok != token.ASSIGN && s.Tok != token.DEFINE {
				r.expression(e)
			}
			r.assign(e, surely)
		}
	case *ast.ExprStmt:
		r.expression(s.X)
	case *ast.BlockStmt:
		r.statements(s.List, surely)
	case *ast.IfStmt:
		r.expression(s.Cond)
		r.statement(s.Body, false)
		if s.Else != nil {
			r.statement(s.Else, false)
		}
	case *ast.BranchStmt:
		if s.Label.Name == "taken" && !surely {
			r.branches = true
		} else {
			r.leaves = true
		}
	default:
		fatalf("a statement of an unknown kind: %T", s)
	}
}

func (r *reader) assign(e ast.Expr, surely bool) {
	switch s := text(e); s {
	case "c.fz", "c.fs", "c.fc":
		r.setsFlags = true
		r.assigned[s] = r.assigned[s] || surely
	case "c.r[o.Dst]":
		r.writesDst, r.changesRegisters = true, true
		r.readsDst = r.readsDst || !surely
	case "c.r[o.Src]":
		r.writesSrc, r.changesRegisters = true, true
		r.readsSrc = r.readsSrc || !surely
	default:
		if strings.HasPrefix(s, "c.r[") {
			r.changesRegisters = true
		}
	}
}

// expression notes what is read.
func (r *reader) expression(e ast.Expr) {
	ast.Inspect(e, func(n ast.Node) bool {
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		switch s := text(e); s {
		case "c.fz", "c.fs", "c.fc":
			r.usesOld = r.usesOld || !r.assigned[s]
		case "c.rflags":
			r.usesOld = true
		case "c.execute":
			r.usesOld = true
		case "c.r[o.Dst]":
			r.readsDst = true
		case "c.r[o.Src]":
			r.readsSrc = true
		case "c.r[o.Base]", "c.r[o.Index]":
			r.address = true
		}
		return true
	})
}

// text is an expression of the kinds that matter.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return text(e.X) + "." + e.Sel.Name
	case *ast.IndexExpr:
		return text(e.X) + "[" + text(e.Index) + "]"
	}
	return ""
}
