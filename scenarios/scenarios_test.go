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
	"nvlab/guest/agent"
	"nvlab/lab"
	"nvlab/starlark/run"
)

// TestMain lets the test binary be the guest's pid 1.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		agent.Main()
	}
	os.Exit(m.Run())
}

// noisy are lines that no guest prints but where a scenario provokes them.
var noisy = regexp.MustCompile(`(?i)ACPI[^:]* (error|warning|exception)|(bios|firmware) (bug|error)|` +
	`(nfit|nd_|nvdimm|pmem|btt|dax).*(error|warn|unknown|fail|invalid|read-only)|unstable|stall|lockup|\bWARNING:`)

// provoked are the lines that a test provokes, by scenario and test.
var provoked = map[string]*regexp.Regexp{
	"capabilities.star/test_unarmed_is_read_only": regexp.MustCompile(
		`Error found in NVDIMM nmem0 flags: not_armed|region0 read-only, marking pmem0 read-only`),
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
			for _, v := range x.VMs() {
				machines++
				checkConsole(t, filepath.Base(scenario)+"/"+test, v.Console())
			}
		},
	})
	if exit != 0 {
		t.Errorf("nvlab run scenarios ends in status %d:\n%s", exit, out.Bytes())
	}
	if machines < 20 {
		t.Errorf("the scenarios made %d machines, want 20 at least: did they all run?", machines)
	}
}

func checkConsole(t *testing.T, name, console string) {
	expect := provoked[name]
	found := false
	for line := range strings.Lines(console) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case expect != nil && expect.MatchString(line):
			found = true
		case noisy.MatchString(line):
			t.Errorf("%s: the guest's kernel says: %s", name, line)
		}
	}
	if expect != nil && !found {
		t.Errorf("%s: the guest's kernel does not say %q", name, expect)
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
		if exit := run.Run(t.Context(), run.Options{Paths: []string{"quickstart.star"}, Engine: "soft", Stdout: &out, Stderr: &out, Progress: guest.Quiet}); exit != 0 {
			t.Fatalf("the quickstart ends in status %d:\n%s", exit, out.Bytes())
		}
		if best = min(best, time.Since(start)); best <= limit {
			break
		}
	}
	t.Logf("quickstart: %.1f s", best.Seconds())
	if best > limit {
		t.Errorf("the quickstart takes %.1f s, want at most %v", best.Seconds(), limit)
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
