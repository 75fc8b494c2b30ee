// Package suites has scenarios that run the test suites of others. Its test
// runs a few of their tests.
package suites

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"

	"nvlab/guest"
	"nvlab/internal/require"
	"nvlab/starlark/run"
)

// TestSome runs a few tests of ndctl's suite, such as need no helper.
func TestSome(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	some := []string{"create.sh", "inject-error.sh"}
	var out bytes.Buffer
	exit := run.Run(t.Context(), run.Options{
		Paths: []string{"ndctl.star"}, Run: "^test_ndctl$/^nfit$/^(" + strings.Join(some, "|") + ")$", Verbose: true, Engine: "auto", Artifacts: t.ArtifactDir(),
		Stdout: &out, Stderr: &out, Progress: guest.NewProgress(os.Stderr, false),
	})
	if exit == 3 {
		require.Missing(t, "KERNELS", "no guest of trixie, or none that boots:\n%s", out.Bytes())
	}
	for _, name := range some {
		if !strings.Contains(out.String(), "--- PASS: test_ndctl/nfit/"+name) {
			t.Errorf("%s does not pass (status %d):\n%s", name, exit, out.Bytes())
		}
	}
}

// tests is the table in ndctl_tests.star.
func tests(t *testing.T) (list []*starlarkstruct.Struct) {
	t.Helper()
	globals, err := starlark.ExecFileOptions(&syntax.FileOptions{}, &starlark.Thread{}, "ndctl_tests.star", nil, starlark.StringDict{
		"struct": starlark.NewBuiltin("struct", starlarkstruct.Make),
	})
	if err != nil {
		t.Fatal(err)
	}
	for v := range starlark.Elements(globals["TESTS"].(starlark.Iterable)) {
		list = append(list, v.(*starlarkstruct.Struct))
	}
	return list
}

func text(t *testing.T, s *starlarkstruct.Struct, name string) string {
	t.Helper()
	v, err := s.Attr(name)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := starlark.AsString(v)
	if !ok {
		t.Fatalf("%s of a test is %v, want a string", name, v)
	}
	return text
}

// TestTable: the page has the table that the scenario compares with, each
// verdict that is none of "pass" has what shows it, and enough do pass.
func TestTable(t *testing.T) {
	const page, head = "../../docs/ndctl-suite.md", "| test | on | verdict | of its own, or why |\n|---|---|---|---|\n"
	want, passes := head, 0
	for _, s := range tests(t) {
		name, verdict, says, why := text(t, s, "name"), text(t, s, "verdict"), text(t, s, "says"), text(t, s, "why")
		if passed := verdict == "pass"; passed {
			passes++
		} else if says == "" || why == "" {
			t.Errorf("%s is to end as %q, and the table does not tell what it says then, and why", name, verdict)
		} else {
			why += fmt.Sprintf(": `%s`", says)
		}
		want += fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, text(t, s, "on"), verdict, why+text(t, s, "note"))
	}
	if passes < 24 {
		t.Errorf("%d tests of the suite are to pass, want 24 at least", passes)
	}
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), head)
	if !ok {
		t.Fatalf("%s has no table that begins with\n%s", page, head)
	}
	got, after := head, rest
	for strings.HasPrefix(after, "|") {
		line, more, _ := strings.Cut(after, "\n")
		got, after = got+line+"\n", more
	}
	if got == want {
		return
	}
	if os.Getenv("NVLAB_UPDATE") == "1" {
		if err := os.WriteFile(page, []byte(before+want+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s has another table than ndctl_tests.star, NVLAB_UPDATE=1 rewrites it:\n%s\nwant\n%s", page, got, want)
}
