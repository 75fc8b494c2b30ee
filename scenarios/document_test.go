package scenarios

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	scenarioName = regexp.MustCompile("`((?:\\w+/|\\.\\./)?\\w+\\.star)/(test_\\w+(?:/\\w+)?)`")
	goName       = regexp.MustCompile("`([\\w/]+)\\.((?:Test|Fuzz)\\w+)`")
	definition   = regexp.MustCompile(`(?m)^def (test_\w+)\(|^ +t\.run\("(\w+)"`)
)

// defined lists the tests of a scenario, and what they run as subtests.
func defined(t *testing.T, path string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	var test string
	for _, m := range definition.FindAllStringSubmatch(string(text), -1) {
		if m[1] != "" {
			test = m[1]
			tests[test] = true
		} else {
			tests[test+"/"+m[2]] = true
		}
	}
	return tests
}

// TestFirmwareDocument: every test that docs/firmware.md names is there, and
// every scenario of scenarios/firmware is named.
func TestFirmwareDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/firmware.md")
	if err != nil {
		t.Fatal(err)
	}
	names := scenarioName.FindAllStringSubmatch(string(text), -1)
	if len(names) == 0 {
		t.Error("docs/firmware.md names no test")
	}
	for _, m := range names {
		if !defined(t, m[1])[m[2]] {
			t.Errorf("docs/firmware.md names %s of %s, which is not there", m[2], m[1])
		}
	}
	files, err := filepath.Glob("firmware/*.star")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in firmware: %v", err)
	}
	for _, file := range files {
		if !strings.Contains(string(text), "(../scenarios/"+file+")") {
			t.Errorf("docs/firmware.md does not tell of %s", file)
		}
	}
}

// commandRow is a row of the table of ndctl's commands: command, options,
// fields, scenarios.
var (
	commandRow = regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|([^|]*)\\|([^|]*)\\|([^|]*)\\|$")
	codeWord   = regexp.MustCompile("`([^`]+)`")
	optionRow  = regexp.MustCompile(`(?m)^    "([a-z-]+)": "([a-z -]+)",$`)
)

// TestFirmwareCommands: the table of docs/firmware.md has each command and option
// that commands.star asks ndctl for, and each of them, and each field, is in a
// scenario that the row names.
func TestFirmwareCommands(t *testing.T) {
	text, err := os.ReadFile("../docs/firmware.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## What ndctl takes and prints\n")
	table, _, _ = strings.Cut(table, "\n## ")
	_, left, _ := strings.Cut(table, "Left out are ")
	words := func(cell string) (list []string) {
		for _, m := range codeWord.FindAllStringSubmatch(cell, -1) {
			list = append(list, m[1])
		}
		return list
	}
	options := map[string]bool{} // "command --option"
	for _, row := range commandRow.FindAllStringSubmatch(table, -1) {
		source := ""
		for _, name := range words(row[4]) {
			p, err := os.ReadFile("firmware/" + name + ".star")
			if err != nil {
				t.Errorf("docs/firmware.md, %s: %v", row[1], err)
			}
			_, code, ok := strings.Cut(string(p), "_FOREIGN = ") // behind the list of all options
			if !ok {
				code = string(p)
			}
			source += code
		}
		options[row[1]] = true
		for _, word := range words(row[2]) {
			options[row[1]+" "+word] = true
			if !strings.Contains(source, word) {
				t.Errorf("docs/firmware.md: no scenario of %s, which are%s, uses %s", row[1], row[4], word)
			}
		}
		for _, word := range words(row[3]) {
			if !strings.Contains(source, word) {
				t.Errorf("docs/firmware.md: no scenario of %s, which are%s, has %s", row[1], row[4], word)
			}
		}
	}
	source, err := os.ReadFile("firmware/commands.star")
	if err != nil {
		t.Fatal(err)
	}
	commands := optionRow.FindAllStringSubmatch(string(source), -1)
	if len(commands) == 0 {
		t.Error("commands.star lists no options")
	}
	for _, m := range commands {
		if !options[m[1]] {
			t.Errorf("docs/firmware.md does not tell of %s", m[1])
		}
		for _, name := range strings.Fields(m[2]) {
			switch name {
			case "bus", "verbose", "human": // said once
			default:
				if !options[m[1]+" --"+name] && !slices.Contains(words(left), "--"+name) {
					t.Errorf("docs/firmware.md does not tell of %s --%s", m[1], name)
				}
			}
		}
	}
}

// TestFirmwareFeatures: the table beside nfit_test has the features that
// beside.star has subtests of.
func TestFirmwareFeatures(t *testing.T) {
	text, err := os.ReadFile("../docs/firmware.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| feature | nfit_test | here | shown too by |\n|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var told []string
	for line := range strings.Lines(table) {
		told = append(told, strings.Fields(line)[1])
	}
	source, err := os.ReadFile("firmware/beside.star")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(source), "_ROWS = [")
	list, _, _ = strings.Cut(list, "\n]")
	var shown []string
	for _, m := range regexp.MustCompile(`\("(\w+)",`).FindAllStringSubmatch(list, -1) {
		shown = append(shown, m[1])
	}
	if len(shown) == 0 || !slices.Equal(told, shown) {
		t.Errorf("docs/firmware.md tells of %q beside nfit_test, beside.star shows %q", told, shown)
	}
}

// TestDocument: every test that docs/document.md names is there, and every
// test of scenarios/document is named.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/document.md")
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for _, m := range scenarioName.FindAllStringSubmatch(string(text), -1) {
		path := m[1]
		if !strings.Contains(path, "/") {
			path = "document/" + path
		}
		path = strings.TrimPrefix(path, "../")
		if _, err := os.Stat(path); err != nil {
			t.Errorf("docs/document.md names %s, which is not there", path)
		} else if !defined(t, path)[m[2]] {
			t.Errorf("docs/document.md names %s of %s, which is not there", m[2], path)
		}
		named[path+" "+m[2]] = true
	}
	for _, m := range goName.FindAllStringSubmatch(string(text), -1) {
		files, err := filepath.Glob(filepath.Join("..", m[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(source), "\nfunc "+m[2]+"(")
		}
		if !found {
			t.Errorf("docs/document.md names %s of package %s, which is not there", m[2], m[1])
		}
	}
	if len(named) < 30 {
		t.Errorf("docs/document.md names %d tests of scenarios: is its form another one?", len(named))
	}
	paths, err := filepath.Glob("document/*.star")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		for name := range defined(t, path) {
			if !named[path+" "+name] {
				t.Errorf("docs/document.md does not name %s of %s", name, path)
			}
		}
	}
}

// TestRationaleNamesDependencies: docs/rationale.md says of each module that
// go.mod requires why it is there, and of no other.
func TestRationaleNamesDependencies(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	rationale, err := os.ReadFile("../docs/rationale.md")
	if err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllSubmatch(mod, -1) {
		required[string(m[1])] = true
	}
	if len(required) == 0 {
		t.Fatal("go.mod requires nothing: is its form another one?")
	}
	for _, m := range regexp.MustCompile(`(?m)^\| ([\w.-]+\.\w+\S*) \|`).FindAllSubmatch(rationale, -1) {
		if name := string(m[1]); !required[name] {
			t.Errorf("docs/rationale.md has a line for %s, which go.mod does not require", name)
		}
		delete(required, string(m[1]))
	}
	for name := range required {
		t.Errorf("docs/rationale.md has no line for %s, which go.mod requires", name)
	}
}
