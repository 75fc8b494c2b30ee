// Package faults has scenarios in which something fails. Its test runs them.
package faults

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"nvlab/guest"
	"nvlab/internal/consoles"
	"nvlab/starlark/run"
)

// heard is what the guests' kernels say where a test provokes it.
var heard = consoles.Table{
	Provoked: map[string][]string{
		"calls.star/test_calls_fail": {`probe of nmem0 failed with error -5`},
		"calls.star/test_fit":        {`new nfit deletes entries`, `failed to merge updated NFIT`},
		"calls.star/test_flags": {
			`NVDIMM nmem0 flags: save_fail restore_fail flush_fail not_armed`,
			`NVDIMM nmem1 flags: map_fail`,
			`region0 read-only, marking pmem0 read-only`,
		},
		"torn.star/test_group_descriptor": {`Checksum for group \d failed`},
		"torn.star/test_superblock":       {`invalid superblock checksum`},
	},
	Tolerated: map[string]*regexp.Regexp{
		"bugs.star/test_index_block": regexp.MustCompile(`probe of nmem1 failed with error -5`),
		"bugs.star/test_free_blocks": regexp.MustCompile(`nfree 1 smaller than lane count|error in arena_discover: -19|probe of btt0\.1 failed|io error in WRITE sector|WARNING: .* nsio_rw_bytes`),
		"filesystem.star/test_xfs":   regexp.MustCompile(`DAX enabled. Warning: EXPERIMENTAL|Torn write \(CRC failure\) detected at log block`),
		"recovery.star/test_xfs":     regexp.MustCompile(`DAX enabled. Warning: EXPERIMENTAL|log mount(/recovery)? failed|Metadata CRC error detected at xfs_(ag|inobt)`),
		"torn.star/":                 regexp.MustCompile(`error loading journal`),
		"recovery.star/test_ext4":    regexp.MustCompile(`error loading journal|invalid superblock checksum`),
	},
}

// TestScenarios runs every scenario, and reads what the guests' kernels said.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	heard.Run(t, "scenarios/faults", ".")
}

// TestGuideShowsItsFinding runs the scenario of docs/faults.md and holds the
// finding that the page shows against the report.
func TestGuideShowsItsFinding(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	guide, err := os.ReadFile("../../docs/faults.md")
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
	programs, err := os.ReadFile("program.star")
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
