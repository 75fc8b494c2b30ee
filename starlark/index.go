package nvstar

import (
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"nvlab/internal/spell"
)

// The interpreter's errors of x[y] say neither what x holds nor where it came
// from, and it lets nobody look. So x[y] is compiled as a call of a function
// that no scenario can name; one whose index is a number stays as it is.
const indexName = " x[y]" // hidden, as guard.Hidden has it

var indexFunction = starlark.NewBuiltin(indexName, func(thread *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	x, y := args[0], args[1]
	switch x := x.(type) {
	case starlark.Mapping:
		v, found, err := x.Get(y)
		if err == nil && !found {
			err = &hintedError{fmt.Errorf("key %s not in %s", brief(y), x.Type()), keysHint(x, y)}
		}
		return v, err
	case starlark.Indexable:
		n := x.Len()
		i, err := starlark.AsInt32(y)
		at := i
		if i < 0 {
			at += n
		}
		switch {
		case err != nil:
			return nil, &hintedError{fmt.Errorf("%s index: %w", x.Type(), err), activityOf(thread).elementHint(x, y)}
		case n == 0:
			return nil, fmt.Errorf("index %d out of range: empty %s", i, x.Type())
		case at < 0 || at >= n:
			return nil, fmt.Errorf("%s index %d out of range [%d:%d]", x.Type(), i, -n, n-1)
		}
		return x.Index(at), nil
	}
	return nil, &hintedError{fmt.Errorf("unhandled index operation %s[%s]", x.Type(), y.Type()), attributeHint(x, y)}
})

// A hintedError is an error of the scenario's with what may help.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

func hintOf(err error) string {
	var e *hintedError
	if errors.As(err, &e) {
		return e.hint
	}
	return ""
}

// elementHint tells somebody who takes a list for its element what it is.
func (a *activity) elementHint(x starlark.Indexable, y starlark.Value) string {
	if _, ok := y.(starlark.String); !ok || x.Type() != "list" {
		return ""
	}
	what := "it is a list of"
	if origin := a.origin(x); origin != "" {
		what = origin + " returned a list of"
	}
	switch n := x.Len(); n {
	case 0:
		return fmt.Sprintf("%s none", what)
	case 1:
		return fmt.Sprintf("%s 1: use [0]", what)
	default:
		return fmt.Sprintf("%s %d: use [0] to [%d], or a loop", what, n, n-1)
	}
}

// keysLimit is how many keys a hint names.
const keysLimit = 20

// keysHint names the keys that are there.
func keysHint(x starlark.Mapping, y starlark.Value) string {
	m, ok := x.(starlark.IterableMapping)
	if !ok {
		return ""
	}
	var names, shown []string
	more := 0
	for key := range starlark.Elements(m) {
		if s, ok := key.(starlark.String); ok {
			names = append(names, string(s))
		}
		if len(shown) < keysLimit {
			shown = append(shown, brief(key))
		} else {
			more++
		}
	}
	if len(shown) == 0 {
		return "it has no keys"
	}
	hint := "its keys are " + strings.Join(shown, ", ")
	if more > 0 {
		hint += fmt.Sprintf(" and %d more", more)
	}
	if want, ok := starlark.AsString(y); ok {
		if near := spell.Nearest(want, names); near != "" {
			return fmt.Sprintf("did you mean %q? %s", near, hint)
		}
	}
	return hint
}

const noneHint = "vm.ndctl returns None where ndctl printed no JSON, as when there is nothing to list; vm.regions(), vm.namespaces() and vm.dimms() return lists in any case"

// attributeHint is for what has no elements.
func attributeHint(x, y starlark.Value) string {
	name, _ := starlark.AsString(y)
	switch x := x.(type) {
	case starlark.NoneType:
		return noneHint
	case *result:
		return "the output of a command is text: .json() decodes it"
	case starlark.HasAttrs:
		if v, err := x.Attr(name); v != nil && err == nil {
			return fmt.Sprintf("%s has attributes: write .%s", x.Type(), name)
		}
	}
	return ""
}

// hintIndexes makes calls of a file's index expressions, but of those that are
// assigned to.
func hintIndexes(file *syntax.File) {
	targets := make(map[syntax.Node]bool) // tuples and lists on the left of an assignment
	var target func(x syntax.Expr)
	target = func(x syntax.Expr) {
		targets[x] = true
		switch x := x.(type) {
		case *syntax.ParenExpr:
			target(x.X)
		case *syntax.TupleExpr:
			for _, e := range x.List {
				target(e)
			}
		case *syntax.ListExpr:
			for _, e := range x.List {
				target(e)
			}
		}
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.AssignStmt:
			target(n.LHS)
			hinted(&n.RHS)
		case *syntax.ExprStmt:
			hinted(&n.X)
		case *syntax.IfStmt:
			hinted(&n.Cond)
		case *syntax.ForStmt:
			target(n.Vars)
			hinted(&n.X)
		case *syntax.ReturnStmt:
			hinted(&n.Result)
		case *syntax.ParenExpr:
			if !targets[n] {
				hinted(&n.X)
			}
		case *syntax.CallExpr:
			hinted(&n.Fn)
			hintedAll(n.Args)
		case *syntax.DotExpr:
			hinted(&n.X)
		case *syntax.Comprehension:
			hinted(&n.Body)
		case *syntax.ForClause:
			target(n.Vars)
			hinted(&n.X)
		case *syntax.IfClause:
			hinted(&n.Cond)
		case *syntax.DictEntry:
			hinted(&n.Key)
			hinted(&n.Value)
		case *syntax.LambdaExpr:
			hinted(&n.Body)
		case *syntax.ListExpr:
			if !targets[n] {
				hintedAll(n.List)
			}
		case *syntax.TupleExpr:
			if !targets[n] {
				hintedAll(n.List)
			}
		case *syntax.CondExpr:
			hinted(&n.Cond)
			hinted(&n.True)
			hinted(&n.False)
		case *syntax.UnaryExpr:
			hinted(&n.X)
		case *syntax.BinaryExpr:
			hinted(&n.X)
			hinted(&n.Y)
		case *syntax.SliceExpr:
			hinted(&n.X)
			hinted(&n.Lo)
			hinted(&n.Hi)
			hinted(&n.Step)
		case *syntax.IndexExpr: // what is assigned to, or has a number
			hinted(&n.X)
			hinted(&n.Y)
		}
		return true
	})
}

func hintedAll(list []syntax.Expr) {
	for i := range list {
		hinted(&list[i])
	}
}

// hinted makes a call of an index expression that is evaluated.
func hinted(x *syntax.Expr) {
	e, ok := (*x).(*syntax.IndexExpr)
	if !ok {
		return
	}
	y := e.Y
	if minus, ok := y.(*syntax.UnaryExpr); ok && minus.Op == syntax.MINUS {
		y = minus.X
	}
	if lit, ok := y.(*syntax.Literal); ok && lit.Token == syntax.INT {
		return
	}
	*x = &syntax.CallExpr{
		Fn:     &syntax.Ident{NamePos: e.Lbrack, Name: indexName},
		Lparen: e.Lbrack, Args: []syntax.Expr{e.X, e.Y}, Rparen: e.Rbrack,
	}
}
