// Package scenarios has scenarios to run, read and copy. Its test runs them.
package scenarios

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"nvlab/guest"
	"nvlab/lab"
	"nvlab/starlark/run"
)

// noisy are lines that no guest prints but where a scenario provokes them.
var noisy = regexp.MustCompile(`(?i)ACPI[^:]* (error|warning|exception)|(bios|firmware) (bug|error)|` +
	`(nfit|nd_|nvdimm|pmem|btt|dax).*(error|warn|unknown|fail|invalid|read-only)|unstable|stall|lockup|\bWARNING:`)

// provoked are the lines that a test provokes, by scenario and test: each has
// to be there, and nothing else may be noisy.
var provoked = map[string][]string{
	"capabilities.star/test_unarmed_is_read_only": unarmed,

	"labels_damaged.star/test_damage/a_label_of_zeros_in_slot_0": {`probe of nmem0 failed with error -16`},

	"beyond/backends.star/test_readonly": unarmed,
	"beyond/malformed.star/test_nfit/checksum_and_length": {
		`Incorrect checksum in table \[NFIT\]`,
	},
	"beyond/malformed.star/test_nfit/structures": {
		`unknown table '99' parsing nfit`,
		`failed to register spa range 2`,
	},
	"beyond/malformed.star/test_nfit/ranges": {
		`probe of namespace1.0 failed with error -16`,
		`failed to insert pmem resource to iomem: -16`,
		`failed to register spa range 2`,
		`probe of ACPI0012:00 failed with error -16`,
	},
	"beyond/state.star/test_flags": {
		`NVDIMM nmem0 flags: save_fail`,
		`NVDIMM nmem1 flags: restore_fail`,
		`NVDIMM nmem2 flags: flush_fail`,
		`NVDIMM nmem3 flags: not_armed`,
		`NVDIMM nmem6 flags: map_fail`,
		`region3 read-only, marking pmem3 read-only`,
	},
	"document/hotplug.star/test_into_a_busy_guest": {`Error found in NVDIMM nmem\d flags: not_armed`, `region\d read-only, marking pmem\d read-only`},

	"firmware/families.star/test_not_saved":  {`Error found in NVDIMM nmem0 flags: flush_fail`, `Error found in NVDIMM nmem1 flags: flush_fail`},
	"firmware/security.star/test_passphrase": {`nmem0: is locked, failing probe`},

	"faults/calls.star/test_calls_fail": {`probe of nmem0 failed with error -5`},
	"faults/calls.star/test_fit":        {`new nfit deletes entries`, `failed to merge updated NFIT`},
	"faults/calls.star/test_flags": {
		`NVDIMM nmem0 flags: save_fail restore_fail flush_fail not_armed`,
		`NVDIMM nmem1 flags: map_fail`,
		`region0 read-only, marking pmem0 read-only`,
	},
	"faults/torn.star/test_group_descriptor": {`Checksum for group \d failed`},
	"faults/torn.star/test_superblock":       {`invalid superblock checksum`},

	"document/persistence.star/test_unarmed_makes_the_guest_read_only": unarmed,
}

// tolerated are lines that a test may provoke.
var tolerated = map[string]*regexp.Regexp{
	"faults/bugs.star/test_index_block": regexp.MustCompile(`probe of nmem1 failed with error -5`),
	"faults/bugs.star/test_free_blocks": regexp.MustCompile(`nfree 1 smaller than lane count|error in arena_discover: -19|probe of btt0\.1 failed|io error in WRITE sector|WARNING: .* nsio_rw_bytes`),
	"faults/filesystem.star/test_xfs":   regexp.MustCompile(`DAX enabled. Warning: EXPERIMENTAL`),
	"faults/recovery.star/test_xfs":     regexp.MustCompile(`DAX enabled. Warning: EXPERIMENTAL|log mount(/recovery)? failed|Metadata CRC error detected at xfs_(ag|inobt)`),
	"faults/recovery.star/test_ext4":    regexp.MustCompile(`error loading journal|invalid superblock checksum`),
}

var unarmed = []string{
	`Error found in NVDIMM nmem0 flags: not_armed`,
	`region0 read-only, marking pmem0 read-only`,
}

// TestScenarios runs every scenario, reads what the guests' kernels said, and
// looks at the clock.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	var mu sync.Mutex
	machines := 0
	var out bytes.Buffer
	exit := run.Run(t.Context(), run.Options{
		Paths: []string{"."}, Verbose: true, Engine: "auto", Artifacts: t.ArtifactDir(),
		Stdout: &out, Stderr: os.Stderr, Progress: guest.NewProgress(os.Stderr, false),
		Ended: func(scenario, test string, x *lab.Experiment) {
			mu.Lock()
			defer mu.Unlock()
			var consoles []string
			for _, v := range x.VMs() {
				machines++
				consoles = append(consoles, v.Console())
			}
			checkConsoles(t, filepath.ToSlash(scenario)+"/"+test, consoles)
		},
	})
	if exit != 0 {
		t.Errorf("nvlab run scenarios ends in status %d:\n%s", exit, out.Bytes())
	}
	if machines < 20 {
		t.Errorf("the scenarios made %d machines, want 20 at least: did they all run?", machines)
	}
}

// checkConsoles reads what the guests of one test said.
func checkConsoles(t *testing.T, name string, consoles []string) {
	var expect []*regexp.Regexp
	for _, text := range provoked[name] {
		expect = append(expect, regexp.MustCompile(text))
	}
	found := make([]bool, len(expect))
	var may *regexp.Regexp
	for prefix, re := range tolerated {
		if strings.HasPrefix(name, prefix) {
			may = re
		}
	}
	for line := range strings.Lines(strings.Join(consoles, "\n")) {
		line = strings.TrimRight(line, "\r\n")
		expected := may != nil && may.MatchString(line)
		for i, re := range expect {
			if re.MatchString(line) {
				expected, found[i] = true, true
			}
		}
		if !expected && noisy.MatchString(line) {
			t.Errorf("%s: the guest's kernel says: %s", name, line)
		}
	}
	for i, re := range expect {
		if !found[i] {
			t.Errorf("%s: the guest's kernel does not say %q", name, re)
		}
	}
}

// TestQuickstartIsQuick holds the quickstart to 10 seconds. The guest is made
// before; other tests may be running on the same two cores.
func TestQuickstartIsQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	const limit = 10 * time.Second
	best := time.Hour
	for range 3 {
		var out bytes.Buffer
		start := time.Now()
		if exit := run.Run(t.Context(), run.Options{Paths: []string{"quickstart.star"}, Engine: "soft", Verbose: true, Stdout: &out, Stderr: &out, Progress: guest.Quiet}); exit != 0 {
			t.Fatalf("the quickstart ends in status %d:\n%s", exit, out.Bytes())
		}
		checkReadme(t, out.String())
		if best = min(best, time.Since(start)); best <= limit {
			break
		}
	}
	t.Logf("quickstart: %.1f s", best.Seconds())
	if best > limit {
		t.Errorf("the quickstart takes %.1f s, want at most %v", best.Seconds(), limit)
	}
}

// checkReadme keeps what the README shows of the quickstart's output true, but
// for times and for the engine, which is the host's to choose.
func checkReadme(t *testing.T, got string) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "$ go run ./cmd/nvlab run -v scenarios/quickstart.star\n")
	shown, _, _ = strings.Cut(shown, "```")
	plain := func(text string) string {
		_, text, _ = strings.Cut(strings.ReplaceAll(text, "scenarios/", ""), "\n")
		return regexp.MustCompile(`\d+\.\d+s`).ReplaceAllString(text, "TIME")
	}
	if plain(got) != plain(shown) {
		t.Errorf("the quickstart prints\n%s\nand README.md shows\n%s", got, shown)
	}
}

// TestReadmeShowsTheQuickstart keeps the README's scenario the one that runs.
func TestReadmeShowsTheQuickstart(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	scenario, err := os.ReadFile("quickstart.star")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(scenario, []byte("\n\n"))
	if !bytes.Contains(readme, bytes.TrimSpace(body)) {
		t.Error("README.md does not show scenarios/quickstart.star as it is")
	}
}

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
