package ir

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOpcodesHaveNoOrder finds code that computes with opcodes or compares
// their order: what is to be known of an op is in OpTable.
func TestOpcodesHaveNoOrder(t *testing.T) {
	opcodes := map[string]bool{}
	for _, x := range OpTable {
		opcodes["Op"+x.Name] = true
	}
	named := func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.Ident:
			return opcodes[e.Name]
		case *ast.SelectorExpr: // ir.OpJMP
			return opcodes[e.Sel.Name]
		}
		return false
	}
	code := func(e ast.Expr) bool {
		s, ok := e.(*ast.SelectorExpr)
		return ok && s.Sel.Name == "Code"
	}
	equality := []token.Token{token.EQL, token.NEQ}
	order := []token.Token{token.LSS, token.GTR, token.LEQ, token.GEQ}
	var paths []string
	for _, room := range []string{".", "..", "../jit"} {
		list, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, list...)
	}
	checked := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_gen.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			b, ok := n.(*ast.BinaryExpr)
			if !ok {
				return true
			}
			isOpcode := named(b.X) || named(b.Y)
			if isOpcode || code(b.X) || code(b.Y) {
				checked++
				if isOpcode && !slices.Contains(equality, b.Op) || slices.Contains(order, b.Op) {
					t.Errorf("%v: opcodes are only equal or not; what else is to be known of them is in opTable", set.Position(b.Pos()))
				}
			}
			return true
		})
	}
	if checked < 10 {
		t.Errorf("%d comparisons of opcodes were found, not even ==, want 10 at least", checked)
	}
}

// TestOpTable checks that every op is found by what it does, and every variant
// by what it is a variant of.
func TestOpTable(t *testing.T) {
	for c := range OpCount {
		x := &OpTable[c]
		if x.Full == 0 {
			if got := OpOf(x.Kind, x.Form, x.Size, x.Sub); got != c {
				t.Errorf("%v and %v are of one kind, form, size and number", c, got)
			}
			for _, v := range []Opcode{x.Quiet, x.Based} {
				if v != 0 && OpTable[v].Full != c {
					t.Errorf("%v is a variant of %v and says it is of %v", v, c, OpTable[v].Full)
				}
			}
			if x.Quiet != 0 && OpTable[x.Quiet].Effect&EffSets != 0 {
				t.Errorf("%v sets flags", x.Quiet)
			}
			continue
		}
		if f := &OpTable[x.Full]; f.Quiet != c && f.Based != c {
			t.Errorf("%v is a variant of %v, which does not know it", c, x.Full)
		}
	}
}
