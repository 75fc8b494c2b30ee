// Package consoles runs scenarios, for tests, and reads what guests' kernels said
// of ACPI and of NVDIMMs.
package consoles

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"nvlab/guest"
	"nvlab/lab"
	"nvlab/starlark/run"
)

// noisy are lines that no guest prints but where a scenario provokes them.
var noisy = regexp.MustCompile(`(?i)ACPI[^:]* (error|warning|exception)|(bios|firmware) (bug|error)|` +
	`(nfit|nd_|nvdimm|pmem|btt|dax).*(error|warn|unknown|fail|invalid|read-only)|unstable|stall|lockup|\bWARNING:`)

// known are lines that are not noisy, less the kernel's time: most are those of every boot.
var known sync.Map

// isQuiet says that a line is not noisy.
func isQuiet(line string) bool {
	text := line
	if time, rest, ok := strings.Cut(line, "] "); ok && strings.Trim(time, "[ .0123456789") == "" {
		text = rest
	}
	if _, ok := known.Load(text); ok {
		return true
	}
	if noisy.MatchString(line) {
		return false
	}
	known.Store(text, true)
	return true
}

// Table is what tests of scenarios may hear.
type Table struct {
	// Provoked are the lines that a test provokes, as regular expressions, by
	// scenario and test: each has to be there.
	Provoked map[string][]string
	// Tolerated are lines that a test may provoke, by how its name begins.
	Tolerated map[string]*regexp.Regexp
	// Machines is how many the scenarios make at least; 0 is 20.
	Machines int
}

// Run runs scenarios, which are to pass and to make so many machines, not counting
// those of recoveries, and checks what their guests' kernels said. What is the folder, for messages.
func (table Table) Run(t *testing.T, what string, paths ...string) {
	t.Helper()
	var mu sync.Mutex
	machines := 0
	recovered := map[string][]string{} // consoles, by test
	var out bytes.Buffer
	exit := run.Run(t.Context(), run.Options{
		Paths: paths, Verbose: true, Engine: "auto", Reuse: "on", States: t.TempDir(), Artifacts: t.ArtifactDir(),
		Stdout: &out, Stderr: os.Stderr, Progress: guest.NewProgress(os.Stderr, false),
		Recovered: func(scenario, test, console string) {
			mu.Lock()
			defer mu.Unlock()
			name := filepath.ToSlash(scenario) + "/" + test
			recovered[name] = append(recovered[name], console)
		},
		Ended: func(scenario, test string, x *lab.Experiment) {
			mu.Lock()
			defer mu.Unlock()
			name := filepath.ToSlash(scenario) + "/" + test
			texts := recovered[name]
			delete(recovered, name)
			for _, v := range x.VMs() {
				machines++
				texts = append(texts, v.Console())
			}
			table.Check(t, name, texts)
		},
	})
	if exit != 0 {
		t.Errorf("nvlab run %s ends in status %d:\n%s", what, exit, out.Bytes())
	}
	if want := cmp.Or(table.Machines, 20); machines < want {
		t.Errorf("the scenarios made %d machines, want %d at least: did they all run?", machines, want)
	}
}

// Check fails unless the consoles of one test have all that it provokes, and
// nothing else that is noisy.
func (table Table) Check(t testing.TB, name string, consoles []string) {
	t.Helper()
	var expect []*regexp.Regexp
	for _, text := range table.Provoked[name] {
		expect = append(expect, regexp.MustCompile(text))
	}
	found := make([]bool, len(expect))
	var may *regexp.Regexp
	for prefix, re := range table.Tolerated {
		if strings.HasPrefix(name, prefix) {
			may = re
		}
	}
	for line := range strings.Lines(strings.Join(consoles, "\n")) {
		line = strings.TrimRight(line, "\r\n")
		expected := false
		for i, re := range expect {
			if re.MatchString(line) {
				expected, found[i] = true, true
			}
		}
		if !expected && !isQuiet(line) && (may == nil || !may.MatchString(line)) {
			t.Errorf("%s: the guest's kernel says: %s", name, line)
		}
	}
	for i, re := range expect {
		if !found[i] {
			t.Errorf("%s: the guest's kernel does not say %q", name, re)
		}
	}
}
