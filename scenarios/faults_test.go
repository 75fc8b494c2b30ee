package scenarios

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"nvlab/guest"
	"nvlab/starlark/run"
)

// TestGuideShowsItsFinding runs the scenario of docs/faults.md and holds the
// finding that the page shows against the report.
func TestGuideShowsItsFinding(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	guide, err := os.ReadFile("../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(guide, []byte("## A scenario, step by step"))
	_, rest, _ = bytes.Cut(rest, []byte("```python\n"))
	scenario, rest, _ := bytes.Cut(rest, []byte("```\n"))
	_, rest, _ = bytes.Cut(rest, []byte("```text\n"))
	finding, _, ok := bytes.Cut(rest, []byte("```\n"))
	if !ok {
		t.Fatal("docs/faults.md has no scenario with a finding")
	}
	programs, err := os.ReadFile("faults/program.star")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	for name, text := range map[string][]byte{"log.star": scenario, "program.star": programs} {
		if err := os.WriteFile(name, text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if exit := run.Run(t.Context(), run.Options{Paths: []string{"log.star"}, Engine: "soft", Stdout: &out, Stderr: &out, Progress: guest.Quiet}); exit != 1 {
		t.Fatalf("the guide's scenario ends in status %d, want 1:\n%s", exit, out.Bytes())
	}
	report := passing.ReplaceAllString(out.String(), "")
	for line := range strings.Lines(string(finding)) {
		if line = strings.TrimSpace(line); line != "..." && !strings.Contains(report, passing.ReplaceAllString(line, "")) {
			t.Errorf("docs/faults.md shows %q, which is not in the report:\n%s", line, out.Bytes())
		}
	}
}

// passing is what differs between guests: numbers of events, processes and
// instructions, and with them the names of states.
var passing = regexp.MustCompile(`\d+\.x\d+-[0-9a-f]{8}|\[\d+\]|instruction \d+`)
