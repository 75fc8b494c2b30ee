package run

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The lines that Linux's own parser knows (tools/testing/kunit/kunit_parser.py,
// 6.12).
var (
	ktapStart  = regexp.MustCompile(`^\s*KTAP version ([0-9]+)$`)
	ktapHeader = regexp.MustCompile(`^\s*# Subtest: (.*)$`)
	ktapPlan   = regexp.MustCompile(`^\s*1\.\.([0-9]+)`)
	ktapResult = regexp.MustCompile(`^\s*(ok|not ok) ([0-9]+) ?(- )?([^#]*)( # .*)?$`)
	ktapSkip   = regexp.MustCompile(`^\s*(ok|not ok) ([0-9]+) ?(- )?(.*) # SKIP ?(.*)$`)
)

// A ktapReader reads as that parser does, but that what is only worth a warning
// there is an error.
type ktapReader struct {
	lines []string
	cases []seen // but for the scenarios themselves
}

func (r *ktapReader) next(re *regexp.Regexp) []string {
	if len(r.lines) == 0 {
		return nil
	}
	m := re.FindStringSubmatch(r.lines[0])
	if m != nil {
		r.lines = r.lines[1:]
	}
	return m
}

// skip passes what is neither a version, a header, a plan nor a result.
func (r *ktapReader) skip() {
	for len(r.lines) > 0 {
		for _, re := range []*regexp.Regexp{ktapStart, ktapHeader, ktapPlan, ktapResult} {
			if re.MatchString(r.lines[0]) {
				return
			}
		}
		r.lines = r.lines[1:]
	}
}

func readKTAP(text string) ([]seen, error) {
	r := &ktapReader{lines: strings.Split(text, "\n")}
	if r.next(ktapStart) == nil {
		return nil, fmt.Errorf("it begins with %q", r.lines[0])
	}
	r.skip()
	if err := r.plan(func(n int) error { return r.test("", 0, n) }); err != nil {
		return nil, err
	}
	if r.skip(); len(r.lines) > 0 {
		return nil, fmt.Errorf("after all tests there is %q", r.lines[0])
	}
	return r.cases, nil
}

func (r *ktapReader) plan(test func(n int) error) error {
	m := r.next(ktapPlan)
	if m == nil {
		return errors.New("a plan is missing")
	}
	count, err := strconv.Atoi(m[1])
	if err != nil {
		return err
	}
	for n := range count {
		if err := test(n + 1); err != nil {
			return err
		}
	}
	return nil
}

// test reads the nth test of a level, 0 for the scenarios. Its name begins with
// its parent's.
func (r *ktapReader) test(parent string, level, n int) error {
	r.skip()
	header := ""
	if r.next(ktapStart) != nil {
		m := r.next(ktapHeader)
		if m == nil {
			return errors.New("a header is missing")
		}
		header = m[1]
		inner := ""
		if level > 0 {
			inner = parent + header + "/"
		}
		if err := r.plan(func(n int) error { return r.test(inner, level+1, n) }); err != nil {
			return fmt.Errorf("%s: %w", header, err)
		}
		r.skip()
	}
	skip := len(r.lines) > 0 && ktapSkip.MatchString(r.lines[0])
	m := r.next(ktapResult)
	switch {
	case m == nil:
		return fmt.Errorf("number %d of %q has no result", n, parent)
	case m[2] != fmt.Sprint(n):
		return fmt.Errorf("number %d of %q is number %s", n, parent, m[2])
	case header != "" && m[4] != header:
		return fmt.Errorf("the result of %q is that of %q", header, m[4])
	}
	if level > 0 {
		status := map[string]string{"ok": "pass", "not ok": "fail"}[m[1]]
		if skip {
			status = "skip"
		}
		r.cases = append(r.cases, seen{parent + m[4], status})
	}
	return nil
}

// TestKTAP: the kernel's parser would read what nvlab writes, whatever tests say.
func TestKTAP(t *testing.T) {
	dir := t.TempDir()
	scenario := `
def test_pass(t):
    t.log("ok 7 a line like a result\n# Subtest: and one like a header\n1..3\nKTAP version 1")

def test_fail(t):
    t.run("good", lambda t: t.log("fine"))
    t.run("bad # SKIP not at all", lambda t: check.eq("a\x1b[1mb", "c"))
    def deeper(t):
        t.run("one", lambda t: t.skip("no\nreason"))
        t.run("two", lambda t: check.true(True))
    t.run("deep", deeper)

def test_skip(t):
    t.skip("a reason")
`
	for name, text := range map[string]string{"x.star": scenario, "y.star": "x = = 1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	var out bytes.Buffer
	o := Options{Paths: []string{"x.star", "y.star"}, KTAP: "x.ktap", Artifacts: t.TempDir(), Stdout: &out, Stderr: &out, Parallel: 1, Cache: t.TempDir()}
	if exit := Run(t.Context(), o); exit != 2 {
		t.Fatalf("the run ends in status %d:\n%s", exit, out.String())
	}
	text, err := os.ReadFile("x.ktap")
	if err != nil {
		t.Fatal(err)
	}
	got, err := readKTAP(string(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	want := []seen{
		{"test_pass", "pass"}, {"test_fail/good", "pass"}, {"test_fail/bad_%23_SKIP_not_at_all", "fail"},
		{"test_fail/deep/one", "skip"}, {"test_fail/deep/two", "pass"}, {"test_fail/deep", "pass"}, {"test_fail", "fail"}, {"test_skip", "skip"}, {"load", "fail"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the report has %v, want %v:\n%s", got, want, text)
	}
	for _, line := range []string{"  #       x.star:3: ok 7 a line like a result", "      ok 1 one # SKIP no", "  ok 3 test_skip # SKIP a reason", "not ok 1 x.star", "not ok 2 y.star"} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the report lacks %q:\n%s", line, text)
		}
	}
}
