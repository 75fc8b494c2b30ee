package nvstar

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/syntax"
)

// silent finds what a file says that would do nothing without a word: a
// function that is named and not called, a comparison whose outcome nobody
// sees, a value that is made and dropped.
func silent(file *syntax.File) resolve.ErrorList {
	var errs resolve.ErrorList
	var block func(stmts []syntax.Stmt, only bool)
	block = func(stmts []syntax.Stmt, only bool) {
		for _, stmt := range stmts {
			switch s := stmt.(type) {
			case *syntax.ExprStmt:
				if why := idle(s.X, only); why != "" {
					errs = append(errs, resolve.Error{Pos: syntax.Start(s.X), Msg: why})
				}
			case *syntax.DefStmt:
				block(s.Body, onlyStatement(s))
			case *syntax.ForStmt:
				block(s.Body, false)
			case *syntax.WhileStmt:
				block(s.Body, false)
			case *syntax.IfStmt:
				block(s.True, false)
				block(s.False, false)
			}
		}
	}
	block(file.Stmts, false)
	return errs
}

// onlyStatement says that a function has one statement besides a docstring,
// and so may be there for the error that this raises: check.fails takes it.
func onlyStatement(def *syntax.DefStmt) bool {
	body := def.Body
	if len(body) > 1 && isText(body[0]) {
		body = body[1:]
	}
	return len(body) == 1 && !strings.HasPrefix(def.Name.Name, "test_")
}

func isText(s syntax.Stmt) bool {
	expr, ok := s.(*syntax.ExprStmt)
	if !ok {
		return false
	}
	lit, ok := expr.X.(*syntax.Literal)
	return ok && lit.Token == syntax.STRING
}

// idle says why an expression has no effect as a statement, "" if it may have
// one. Only says that it may be there for its error.
func idle(x syntax.Expr, only bool) string {
	const unused = "the statement has no effect: its value is not used"
	switch e := x.(type) {
	case *syntax.ParenExpr:
		return idle(e.X, only)
	case *syntax.CallExpr:
		return ""
	case *syntax.Literal:
		if e.Token == syntax.STRING { // a docstring, or a comment
			return ""
		}
		return unused
	case *syntax.DotExpr:
		if form := callable(e.Name.Name); form != "" {
			return fmt.Sprintf("%s is not called: write %[1]s%s", dotted(e), form)
		}
		if only {
			return ""
		}
	case *syntax.Ident, *syntax.LambdaExpr:
		return unused
	case *syntax.CondExpr:
		if yes, no := idle(e.True, only), idle(e.False, only); yes == "" || no == "" || calls(e.Cond) {
			return ""
		}
		return unused
	case *syntax.BinaryExpr:
		switch {
		case e.Op == syntax.AND || e.Op == syntax.OR:
			if why := idle(e.Y, only); why != unused || !calls(e.X) {
				return why
			}
			return ""
		case only && e.Op != syntax.EQL && e.Op != syntax.NEQ:
			return ""
		case comparisons[e.Op] != "":
			return fmt.Sprintf("the statement has no effect: what %s says is not looked at; to judge it write %s", e.Op, comparisons[e.Op])
		}
	default:
		if only {
			return ""
		}
	}
	if calls(x) {
		return ""
	}
	return unused
}

// comparisons are the checks that judge what an operator compares.
var comparisons = map[syntax.Token]string{
	syntax.EQL: "check.eq(got, want)", syntax.NEQ: "check.ne(got, want)",
	syntax.LT: "check.lt(got, want)", syntax.LE: "check.le(got, want)",
	syntax.GT: "check.gt(got, want)", syntax.GE: "check.ge(got, want)",
	syntax.IN: "check.contains(container, item)", syntax.NOT_IN: "check.not_contains(container, item)",
}

// calls says whether an expression calls something when it is evaluated.
func calls(x syntax.Expr) bool {
	found := false
	syntax.Walk(x, func(n syntax.Node) bool {
		switch n.(type) {
		case *syntax.CallExpr:
			found = true
		case *syntax.LambdaExpr:
			return false
		}
		return !found
	})
	return found
}

// dotted is an attribute as it is written, as far as it is made of names.
func dotted(e *syntax.DotExpr) string {
	switch x := e.X.(type) {
	case *syntax.Ident:
		return x.Name + "." + e.Name.Name
	case *syntax.DotExpr:
		return dotted(x) + "." + e.Name.Name
	}
	return "." + e.Name.Name
}

// callable is how a method of the language is called, as a reminder: "()" if it
// needs no arguments, else "(...)". It is "" for what is a field of some type.
func callable(name string) string {
	sig := methods[name]
	if sig == nil || fields[name] {
		return ""
	}
	if slices.ContainsFunc(sig().params, func(p param) bool { return p.fallback == nil }) {
		return "(...)"
	}
	return "()"
}

// The names of the language's attributes, of whatever type; newClass adds to
// them.
var (
	methods = make(map[string]func() *signature)
	fields  = make(map[string]bool)
)
