package run

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	nvstar "nvlab/starlark"
)

// A kcidbReport is what Linux's common database of test results takes, KCIDB: version
// 5.0 of its schema (kcidb-io, kcidb_io/schema/v05_00.py), whose readers take all
// later ones of 5 as well. Objects may have no fields but these.
type kcidbReport struct {
	Version   kcidbVersion    `json:"version"`
	Checkouts []kcidbCheckout `json:"checkouts"`
	Builds    []kcidbBuild    `json:"builds"`
	Tests     []kcidbTest     `json:"tests"`
}

type kcidbVersion struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

// A kcidbCheckout is the source of a kernel. Of a distribution's it is known by the
// kernel alone.
type kcidbCheckout struct {
	ID      string `json:"id"`
	Origin  string `json:"origin"`
	Comment string `json:"comment"`
}

type kcidbBuild struct {
	ID           string `json:"id"`
	CheckoutID   string `json:"checkout_id"`
	Origin       string `json:"origin"`
	Architecture string `json:"architecture"`
	Comment      string `json:"comment"`
}

// A kcidbTest is a test or a subtest on one kernel.
type kcidbTest struct {
	ID          string           `json:"id"`
	BuildID     string           `json:"build_id"`
	Origin      string           `json:"origin"`
	Path        string           `json:"path"` // names with dots between them
	Status      string           `json:"status"`
	Comment     string           `json:"comment"`
	Duration    float64          `json:"duration"` // seconds
	LogExcerpt  string           `json:"log_excerpt,omitempty"`
	Environment kcidbEnvironment `json:"environment"`
	Misc        map[string]any   `json:"misc"`
}

type kcidbEnvironment struct {
	Comment string `json:"comment"`
}

// kcidbExcerpt is how many characters of a log a report may have.
const kcidbExcerpt = 16384

// kcidbOrigin is what KCIDB takes for an origin.
var kcidbOrigin = regexp.MustCompile(`^[a-z0-9_]+$`)

// checkOrigin refuses a report for KCIDB that does not say whose it is.
func (o *Options) checkOrigin() error {
	switch {
	case o.KCIDB != "" && o.Origin == "":
		return errors.New("-kcidb: whose report is it? want -kcidb-origin NAME, as KCIDB knows you")
	case o.KCIDB == "" && o.Origin != "":
		return fmt.Errorf("-kcidb-origin %s: want -kcidb FILE with it", o.Origin)
	case o.Origin != "" && !kcidbOrigin.MatchString(o.Origin):
		return fmt.Errorf("-kcidb-origin %s: KCIDB takes small letters, digits and _", o.Origin)
	}
	return nil
}

// kcidb writes the run for KCIDB. A test that used no guest says nothing of a kernel,
// and is left out.
func (r *runner) kcidb(w io.Writer) error {
	report := kcidbReport{Version: kcidbVersion{5, 0}, Checkouts: []kcidbCheckout{}, Builds: []kcidbBuild{}, Tests: []kcidbTest{}}
	for _, f := range r.files {
		for _, item := range f.items {
			for i, n := range item.report.ended() {
				for _, kernel := range n.kernels() {
					id := r.o.Origin + ":" + kernel
					if !slices.ContainsFunc(report.Builds, func(b kcidbBuild) bool { return b.ID == id }) {
						report.Checkouts = append(report.Checkouts, kcidbCheckout{id, r.o.Origin, "the source of the kernel " + kernel})
						report.Builds = append(report.Builds, kcidbBuild{id, id, r.o.Origin, "x86_64", "the kernel " + kernel})
					}
					t := r.kcidbTest(f, n, kernel)
					t.ID, t.BuildID = fmt.Sprintf("%d/%d", item.number, i), id
					report.Tests = append(report.Tests, t)
				}
			}
		}
	}
	// Test runs are told apart by all that is told of them, so that a report that is
	// sent twice is one.
	text, err := json.Marshal(report.Tests)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	for i := range report.Tests {
		t := &report.Tests[i]
		t.ID = fmt.Sprintf("%s:%s/%s/%s", r.o.Origin, hex.EncodeToString(sum[:8]), t.ID, strings.TrimPrefix(t.BuildID, r.o.Origin+":"))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(report)
}

func (r *runner) kcidbTest(f *fileRun, n *node, kernel string) kcidbTest {
	o := n.outcome
	t := kcidbTest{
		Origin: r.o.Origin, Path: kcidbPath(f.path, n.name), Status: kcidbStatus(o), Comment: printable(f.path + ": " + n.name), Duration: o.Elapsed.Seconds(),
		LogExcerpt:  excerpt(printable(n.text), kcidbExcerpt),
		Environment: kcidbEnvironment{fmt.Sprintf("nvlab's machine, engine %s", r.engine)},
		Misc:        map[string]any{"seed": r.o.Seed, "kernel": kernel},
	}
	if o.Reason != "" {
		t.Misc["reason"] = printable(o.Reason)
	}
	return t
}

// kcidbStatus is an outcome as KCIDB has it: FAIL is the kernel's fault, ERROR the
// test's own, MISS the harness'.
func kcidbStatus(o *nvstar.Outcome) string {
	switch {
	case o.NotRun:
		return "MISS"
	case o.Status == nvstar.Skipped:
		return "SKIP"
	case o.Status == nvstar.Passed && o.Unchecked:
		return "DONE"
	case o.Status == nvstar.Passed:
		return "PASS"
	}
	class := nvstar.Check // of its subtests
	if len(o.Failures) > 0 {
		class = slices.MaxFunc(o.Failures, func(a, b *nvstar.Failure) int { return cmp.Compare(a.Class, b.Class) }).Class
	}
	switch class {
	case nvstar.Check, nvstar.Guest, nvstar.Boot:
		return "FAIL"
	case nvstar.Scenario, nvstar.Syntax:
		return "ERROR"
	}
	return "MISS"
}

var notInPath = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

// kcidbPath is a test's place in the tree of all tests: names of letters, digits, _
// and -.
func kcidbPath(file, test string) string {
	parts := []string{"nvlab"}
	for name := range strings.SplitSeq(strings.TrimSuffix(file, ".star")+"/"+test, "/") {
		if name = strings.Trim(notInPath.ReplaceAllString(name, "_"), "_"); name != "" {
			parts = append(parts, name)
		}
	}
	return strings.Join(parts, ".")
}

// excerpt is the begin of a text, of n characters at most.
func excerpt(s string, n int) string {
	at := 0
	for i := range s {
		if at == n {
			return s[:i]
		}
		at++
	}
	return s
}
