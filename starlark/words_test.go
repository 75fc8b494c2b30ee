package nvstar

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// scenarioSyntax is what only a scenario writes: a value of its language, a call
// of its methods.
var scenarioSyntax = regexp.MustCompile(`=(True|False|None)\b|\b(boot|kill|poweroff|reboot|power_cut|power_cut_on|wait_off|sha256|diff|unplug|snapshot)\(|\b(vm|t|check|nvdimm)\.[a-z_]+\(|\bgive [a-z_]+=[a-z0-9"]`)

// TestNoScenarioBelow: what is below the language says what is wrong, in values
// that a Go caller can look at, and never how a scenario is written.
func TestNoScenarioBelow(t *testing.T) {
	texts := 0
	for _, root := range []string{"../nvdimm", "../lab", "../vmm", "../acpi", "../internal", "../guest"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					texts++
					if found := scenarioSyntax.FindString(lit.Value); found != "" {
						t.Errorf("%s: %s speaks the scenario's language: %q", set.Position(lit.Pos()), lit.Value, found)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if texts < 1000 {
		t.Errorf("%d texts were looked at, want all of those below the language", texts)
	}
}
