package run

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	nvstar "nvlab/starlark"
)

// ktap writes the run as the Kernel Test Anything Protocol, version 1 (Linux,
// Documentation/dev-tools/ktap.rst): a scenario is a test with its tests as
// subtests. What the kernel's own parser (tools/testing/kunit/kunit_parser.py)
// wants besides is kept to: each level has a plan, names have no '#', and what is
// to be shown of a test stands before its result.
func (r *runner) ktap(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "KTAP version 1\n# engine: %s\n# seed: %d\n1..%d\n", r.engine, r.o.Seed, len(r.files))
	for i, f := range r.files {
		tests := f.tree()
		ok := f.failure == nil
		for _, t := range tests {
			ok = ok && t.status != nvstar.Failed
		}
		writeKTAP(b, 0, i+1, &ktapTest{name: f.path, status: passedIf(ok), tests: tests})
	}
	return b.Flush()
}

// A ktapTest is a scenario, a test or a subtest.
type ktapTest struct {
	name   string // its own, without its parents'
	status nvstar.Status
	reason string // it was skipped
	notes  string // lines
	tests  []*ktapTest
}

func passedIf(ok bool) nvstar.Status {
	if ok {
		return nvstar.Passed
	}
	return nvstar.Failed
}

// tree is the scenario's tests, each with its subtests. A scenario that cannot be
// loaded has one test, which says why.
func (f *fileRun) tree() (tests []*ktapTest) {
	if f.failure != nil {
		tests = append(tests, &ktapTest{name: "load", status: nvstar.Failed, notes: f.failure.Text})
	}
	for _, item := range f.items {
		by := map[string]*ktapTest{}
		for _, n := range item.report.ended() {
			t := &ktapTest{name: n.name, status: n.outcome.Status, notes: strings.Join(n.logs, "") + n.text}
			if t.status == nvstar.Skipped {
				t.reason, t.notes = n.outcome.Reason, strings.Join(n.logs, "")
			}
			by[n.name] = t
			if i := strings.LastIndex(n.name, "/"); i >= 0 && by[n.name[:i]] != nil {
				parent := by[n.name[:i]]
				t.name = n.name[i+1:]
				parent.tests = append(parent.tests, t)
				continue
			}
			tests = append(tests, t)
		}
	}
	return tests
}

func writeKTAP(w io.Writer, depth, number int, t *ktapTest) {
	margin := strings.Repeat("  ", depth)
	if len(t.tests) > 0 {
		inner := margin + "  "
		fmt.Fprintf(w, "%sKTAP version 1\n%s# Subtest: %s\n%s1..%d\n", inner, inner, ktapName(t.name), inner, len(t.tests))
		for i, sub := range t.tests {
			writeKTAP(w, depth+1, i+1, sub)
		}
	}
	for line := range strings.Lines(printable(t.notes)) {
		if line = strings.TrimRight(line, " \t\n"); line != "" {
			fmt.Fprintf(w, "%s#   %s\n", margin, line) // one space makes "# Subtest: " of some lines
		}
	}
	result, directive := "ok", ""
	switch t.status {
	case nvstar.Failed:
		result = "not ok"
	case nvstar.Skipped:
		reason, _, _ := strings.Cut(printable(t.reason), "\n")
		directive = strings.TrimRight(" # SKIP "+reason, " ")
	}
	fmt.Fprintf(w, "%s%s %d %s%s\n", margin, result, number, ktapName(t.name), directive)
}

// ktapName is a name on one line, without what begins a directive.
func ktapName(name string) string {
	return strings.TrimSpace(strings.NewReplacer("#", "%23", "\n", " ").Replace(printable(name)))
}
