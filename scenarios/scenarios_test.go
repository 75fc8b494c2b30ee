// Package scenarios has scenarios to run, read and copy. Its test runs them.
package scenarios

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/guest"
	"nvlab/internal/consoles"
	"nvlab/starlark/format"
	"nvlab/starlark/run"
)

// heard is what the guests' kernels say where a test provokes it.
var heard = consoles.Table{
	Provoked: map[string][]string{
		"capabilities.star/test_unarmed_is_read_only":                unarmed,
		"labels_damaged.star/test_damage/a_label_of_zeros_in_slot_0": {`probe of nmem0 failed with error -16`},
		"beyond/backends.star/test_readonly":                         unarmed,
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

		"document/persistence.star/test_unarmed_makes_the_guest_read_only": unarmed,
		"faults/calls.star/test_calls_fail":                                {`probe of nmem0 failed with error -5`},
		"faults/calls.star/test_fit":                                       {`new nfit deletes entries`, `failed to merge updated NFIT`},
		"faults/calls.star/test_flags": {
			`NVDIMM nmem0 flags: save_fail restore_fail flush_fail not_armed`,
			`NVDIMM nmem1 flags: map_fail`,
			`region0 read-only, marking pmem0 read-only`,
		},
		"faults/torn.star/test_group_descriptor": {`Checksum for group \d failed`},
		"faults/torn.star/test_superblock":       {`invalid superblock checksum`},
	},
	Tolerated: map[string]*regexp.Regexp{
		"faults/bugs.star/test_index_block": regexp.MustCompile(`probe of nmem1 failed with error -5`),
		"faults/bugs.star/test_free_blocks": regexp.MustCompile(`nfree 1 smaller than lane count|error in arena_discover: -19|probe of btt0\.1 failed|io error in WRITE sector|WARNING: .* nsio_rw_bytes`),
		"faults/filesystem.star/test_xfs":   regexp.MustCompile(`DAX enabled. Warning: EXPERIMENTAL|Torn write \(CRC failure\) detected at log block`),
		"faults/recovery.star/test_xfs":     regexp.MustCompile(`DAX enabled. Warning: EXPERIMENTAL|log mount(/recovery)? failed|Metadata CRC error detected at xfs_(ag|inobt)`),
		"faults/torn.star/":                 regexp.MustCompile(`error loading journal`),
		"faults/recovery.star/test_ext4":    regexp.MustCompile(`error loading journal|invalid superblock checksum`),
	},
}

var unarmed = []string{
	`Error found in NVDIMM nmem0 flags: not_armed`,
	`region0 read-only, marking pmem0 read-only`,
}

// own are the folders that have a test of their own.
var own = []string{"explore", "firmware", "machine", "suites"}

// scenarios are the files here and below but for own.
func scenarios(t *testing.T) (paths []string) {
	t.Helper()
	for _, pattern := range []string{"*.star", "*/*.star"} {
		list, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, list...)
	}
	return slices.DeleteFunc(paths, func(path string) bool { return slices.Contains(own, filepath.Dir(path)) })
}

// TestScenarios runs the scenarios but for those of own, reads what the guests' kernels said, and
// looks at the clock.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	heard.Run(t, "scenarios", scenarios(t)...)
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
	if laid, err := format.Source("quickstart.star", scenario); err != nil || !bytes.Equal(laid, scenario) {
		t.Errorf("scenarios/quickstart.star is not as nvlab fmt lays it out (%v)", err)
	}
}
