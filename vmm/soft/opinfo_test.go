package soft

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
// their order: what is to be known of an op is in opTable.
func TestOpcodesHaveNoOrder(t *testing.T) {
	opcodes := map[string]bool{}
	for _, x := range opTable {
		opcodes["op"+x.name] = true
	}
	named := func(e ast.Expr) bool {
		id, ok := e.(*ast.Ident)
		return ok && opcodes[id.Name]
	}
	code := func(e ast.Expr) bool {
		s, ok := e.(*ast.SelectorExpr)
		return ok && s.Sel.Name == "code"
	}
	equality := []token.Token{token.EQL, token.NEQ}
	order := []token.Token{token.LSS, token.GTR, token.LEQ, token.GEQ}
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
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
	if checked == 0 {
		t.Error("no comparison of opcodes was found, not even ==")
	}
}

// TestOpTable checks that every op is found by what it does, and every variant
// by what it is a variant of.
func TestOpTable(t *testing.T) {
	for c := range opCount {
		x := &opTable[c]
		if x.full == 0 {
			if got := opOf(x.kind, x.form, x.size, x.sub); got != c {
				t.Errorf("%v and %v are of one kind, form, size and number", c, got)
			}
			for _, v := range []opcode{x.quiet, x.based} {
				if v != 0 && opTable[v].full != c {
					t.Errorf("%v is a variant of %v and says it is of %v", v, c, opTable[v].full)
				}
			}
			if x.quiet != 0 && opTable[x.quiet].effect&effSets != 0 {
				t.Errorf("%v sets flags", x.quiet)
			}
			continue
		}
		if f := &opTable[x.full]; f.quiet != c && f.based != c {
			t.Errorf("%v is a variant of %v, which does not know it", c, x.full)
		}
	}
}
