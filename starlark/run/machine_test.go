package run

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"nvlab/lab"
	nvstar "nvlab/starlark"
)

// A world is a random run: scenarios, options, and what befalls it.
type world struct {
	text      string
	tests     []string
	o         Options
	interrupt time.Duration // after which it is interrupted; 0 is never
	panics    int           // the end of which test, in their order, panics; 0 is none
}

// Lines that the scenarios log say which functions were deferred, and which of
// them ran.
var deferLines = regexp.MustCompile(`(deferred|ran) (\w+)\n`)

func newWorld(rng *rand.Rand) *world {
	w := new(world)
	var b strings.Builder
	b.WriteString("def _spin(n):\n    for i in range(n):\n        x = i\n\n")
	functions := 0
	var body func(name, margin string, depth int)
	deferring := func(margin string) {
		functions++
		id := fmt.Sprintf("f%d", functions)
		act := []string{"pass", "_spin(3000)", "fail('deferred')", "t.log('late')", "t.skip('late')"}[rng.IntN(5)]
		again := ""
		if rng.IntN(6) == 0 {
			again = "\n" + margin + "    t.defer(" + id + ")" // for ever
		}
		fmt.Fprintf(&b, "%sdef %s():\n%s    t.log('ran %s')\n%s    %s%s\n", margin, id, margin, id, margin, act, again)
		fmt.Fprintf(&b, "%st.defer(%s)\n%st.log('deferred %s')\n", margin, id, margin, id)
	}
	body = func(name, margin string, depth int) {
		for range rng.IntN(4) {
			switch rng.IntN(5) {
			case 0, 1:
				deferring(margin)
			case 2:
				fmt.Fprintf(&b, "%s_spin(%d)\n", margin, rng.IntN(40_000))
			case 3:
				if depth < 2 {
					functions++
					sub := fmt.Sprintf("sub%d", functions)
					fmt.Fprintf(&b, "%sdef %s(t):\n", margin, sub)
					body(name, margin+"    ", depth+1)
					fmt.Fprintf(&b, "%st.run('%s', %s)\n", margin, sub, sub)
				}
			case 4:
				fmt.Fprintf(&b, "%st.xfail('known')\n", margin)
			}
		}
		end := []string{"pass", "pass", "pass", "check.eq(1, 2)", "t.skip('why')", "fail('x')", "_spin(1 << 60)", "check.fails(lambda: fail('x'), 'x')"}[rng.IntN(8)]
		fmt.Fprintf(&b, "%s%s\n", margin, end)
	}
	for i := range 1 + rng.IntN(8) {
		name := fmt.Sprintf("test_%d", i)
		w.tests = append(w.tests, name)
		fmt.Fprintf(&b, "def %s(t):\n", name)
		body(name, "    ", 0)
		b.WriteString("\n")
	}
	w.text = b.String()
	w.o = Options{
		Engine: "soft", Count: 1 + rng.IntN(2), Parallel: 1 + rng.IntN(3), FailFast: rng.IntN(4) == 0, Steps: 300_000,
		JSON: rng.IntN(2) == 0, Verbose: rng.IntN(2) == 0,
	}
	if rng.IntN(3) == 0 {
		w.o.Timeout = time.Duration(1 + rng.IntN(100_000_000))
	}
	if rng.IntN(3) == 0 {
		w.interrupt = time.Duration(1 + rng.IntN(100_000_000))
	}
	if rng.IntN(4) == 0 {
		w.panics = 1 + rng.IntN(2*len(w.tests))
	}
	return w
}

// A seen is what a report says of one test.
type seen struct{ name, status string }

// TestRunMachine drives random runs: tests that pass, fail, skip, compute for
// ever, defer and run subtests, with time limits, interrupts, -failfast and
// panics at random moments. Every chosen test is in each report with one
// outcome, reports agree with each other and with the exit status, and no test
// passes whose deferred functions did not all run.
func TestRunMachine(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	seed := rand.Uint64()
	for i := range rounds {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		w := newWorld(rng)
		if problem, output := w.run(t); problem != "" {
			t.Fatalf("seed %d, round %d: %s\noptions %+v, interrupt %v, panics %d\n%s\n%s", seed, i, problem, w.o, w.interrupt, w.panics, w.text, output)
		}
	}
}

func (w *world) run(t *testing.T) (problem, output string) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.star")
	if err := os.WriteFile(path, []byte(w.text), 0o644); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	o := w.o
	o.Paths, o.Stdout, o.Stderr, o.Cache = []string{path}, &stdout, &stderr, filepath.Join(dir, "cache")
	o.JUnit, o.KTAP, o.Artifacts = filepath.Join(dir, "junit.xml"), filepath.Join(dir, "ktap"), filepath.Join(dir, "artifacts")
	var ends atomic.Int32
	o.Ended = func(string, string, *lab.Experiment) {
		if int(ends.Add(1)) == w.panics {
			panic("at the end of a test")
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	if w.interrupt > 0 {
		timer := time.AfterFunc(w.interrupt, func() { cancel(nvstar.ErrInterrupted) })
		defer timer.Stop()
	}
	exit := Run(ctx, o)
	output = fmt.Sprintf("exit %d\n%s%s", exit, stdout.String(), stderr.String())
	data, err := os.ReadFile(o.JUnit)
	if err != nil {
		return err.Error(), output
	}
	output += string(data)
	cases, worst, err := junitCases(data)
	switch {
	case err != nil:
		return err.Error(), output
	case stderr.Len() > 0:
		return "something is on the standard error", output
	}
	// the exit status is that of the worst outcome; an interrupt may come after all is done
	interrupted := context.Cause(ctx) == nvstar.ErrInterrupted
	if exit != worst && !(interrupted && exit == nvstar.Interrupted.Exit()) {
		return fmt.Sprintf("the exit status is %d, and the worst that the JUnit report has is %d", exit, worst), output
	}
	if w.panics > 0 && int(ends.Load()) >= w.panics && exit != nvstar.Bug.Exit() && !interrupted {
		return "a panic was lost", output
	}
	// every chosen test has its outcomes
	for _, name := range w.tests {
		if n := count(cases, name); n != o.Count {
			return fmt.Sprintf("%s is %d times in the JUnit report, want %d", name, n, o.Count), output
		}
	}
	if data, err = os.ReadFile(o.KTAP); err != nil {
		return err.Error(), output
	}
	output += string(data)
	told, err := readKTAP(string(data))
	if err != nil {
		return "the KTAP report: " + err.Error(), output
	}
	if differ := sameCases("KTAP report", told, cases); differ != "" {
		return differ, output
	}
	switch {
	case o.JSON:
		return w.compareJSON(stdout.Bytes(), cases), output
	case o.Verbose:
		return compareText(stdout.String(), cases), output
	}
	for _, c := range cases { // the short text names what failed and what did not run
		if c.status == "fail" && !strings.Contains(c.name, "/") && !strings.Contains(stdout.String(), c.name) {
			return c.name + " failed and is not in the text", output
		}
	}
	return "", output
}

func count(cases []seen, name string) (n int) {
	for _, c := range cases {
		if c.name == name {
			n++
		}
	}
	return n
}

// junitCases reads a JUnit report: its cases, and the exit status that the worst
// of them asks for.
func junitCases(data []byte) (cases []seen, worst int, err error) {
	type result struct {
		Type string `xml:"type,attr"`
		Text string `xml:",chardata"`
		Why  string `xml:"message,attr"`
	}
	var report struct {
		Suites []struct {
			Cases []struct {
				Name    string  `xml:"name,attr"`
				Skipped *result `xml:"skipped"`
				Failure *result `xml:"failure"`
				Error   *result `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &report); err != nil {
		return nil, 0, err
	}
	status := map[string]int{"bug in nvlab": 4, "host failed": 3, "boot failed": 3, "interrupted": 130}
	for _, suite := range report.Suites {
		for _, c := range suite.Cases {
			s := seen{c.Name, "pass"}
			for _, r := range []*result{c.Failure, c.Error} {
				if r == nil {
					continue
				}
				s.status = "fail"
				worst = max(worst, 1, status[r.Type])
				if r.Why == "" {
					return nil, 0, fmt.Errorf("%s failed without a reason", c.Name)
				}
			}
			if c.Skipped != nil {
				s.status = "skip"
				if c.Skipped.Why == "" {
					return nil, 0, fmt.Errorf("%s is skipped without a reason", c.Name)
				}
			}
			cases = append(cases, s)
		}
	}
	return cases, worst, nil
}

// compareJSON holds the events to the JUnit report, and the deferred functions
// of each test that passed to what it logged.
func (w *world) compareJSON(events []byte, cases []seen) string {
	var ends []seen
	open := make(map[string]int)
	logged := make(map[string]string) // by test, with its subtests, since it began
	for line := range bytes.Lines(events) {
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return err.Error()
		}
		switch {
		case e.Test == "":
		case e.Action == "run":
			open[e.Test]++
			logged[e.Test] = ""
		case e.Action == "output":
			logged[e.Test] += e.Output
		default:
			if open[e.Test]--; open[e.Test] < 0 {
				return e.Test + " ends without a beginning"
			}
			ends = append(ends, seen{e.Test, e.Action})
			if e.Action == "pass" && w.o.Parallel == 1 {
				if lost := unrun(logged[e.Test]); lost != "" {
					return fmt.Sprintf("%s passes, and %s did not run", e.Test, lost)
				}
			}
		}
	}
	for name, n := range open {
		if n != 0 {
			return name + " has no end"
		}
	}
	return sameCases("events", ends, cases)
}

// unrun is a function that was deferred and did not run.
func unrun(log string) string {
	ran := make(map[string]bool)
	var deferred []string
	for _, m := range deferLines.FindAllStringSubmatch(log, -1) {
		if m[1] == "ran" {
			ran[m[2]] = true
		} else {
			deferred = append(deferred, m[2])
		}
	}
	for _, id := range deferred {
		if !ran[id] {
			return id
		}
	}
	return ""
}

var headlines = regexp.MustCompile(`(?m)^ *--- (PASS|FAIL|SKIP): (\S+) `)

func compareText(text string, cases []seen) string {
	var ends []seen
	for _, m := range headlines.FindAllStringSubmatch(text, -1) {
		ends = append(ends, seen{m[2], strings.ToLower(m[1])})
	}
	return sameCases("text", ends, cases)
}

func sameCases(what string, got, cases []seen) string {
	sorted := func(list []seen) []string {
		var lines []string
		for _, s := range list {
			lines = append(lines, s.name+" "+s.status)
		}
		slices.Sort(lines)
		return lines
	}
	if g, c := sorted(got), sorted(cases); !slices.Equal(g, c) {
		return fmt.Sprintf("the %s has %q\nand the JUnit report %q", what, g, c)
	}
	return ""
}

// TestStuck ends runs whose test is in something that cannot be ended: the
// run ends all the same, and its status says whose fault that is.
func TestStuck(t *testing.T) {
	defer func(a, b time.Duration) { timeoutGrace, interruptGrace = a, b }(timeoutGrace, interruptGrace)
	timeoutGrace, interruptGrace = 200*time.Millisecond, 200*time.Millisecond
	release := make(chan struct{})
	defer close(release)
	oneStep := "def test_x(t):\n    f = [lambda: i for i in range(30000)]\n    set(f)\n\ndef test_after(t):\n    pass\n"
	atEnd := "def test_x(t):\n    pass\n\ndef test_after(t):\n    pass\n"
	for _, test := range []struct {
		name, text string
		interrupt  bool
		exit       int
		want       string
	}{
		{"a step, time limit", oneStep, false, 1, "it is in one step of the scenario"},
		{"a step, interrupt", oneStep, true, 130, "it is in one step of the scenario"},
		{"the host, time limit", atEnd, false, 3, "it is in the end of the test"},
		{"the host, interrupt", atEnd, true, 130, "it is in the end of the test"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.star")
			if err := os.WriteFile(path, []byte(test.text), 0o644); err != nil {
				t.Fatal(err)
			}
			var stdout bytes.Buffer
			o := Options{Paths: []string{path}, Engine: "soft", Parallel: 1, Verbose: true, Stdout: &stdout, Stderr: &stdout, Cache: t.TempDir(),
				Ended: func(string, string, *lab.Experiment) {
					if test.text == atEnd {
						<-release
					}
				}}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if test.interrupt {
				time.AfterFunc(500*time.Millisecond, func() { cancel(nvstar.ErrInterrupted) })
			} else {
				o.Timeout = 500 * time.Millisecond
			}
			began := time.Now()
			exit := Run(ctx, o)
			text := stdout.String()
			if exit != test.exit || !strings.Contains(text, test.want) || !strings.Contains(text, "--- FAIL: test_x") || !strings.Contains(text, "--- FAIL: test_after") {
				t.Errorf("exit status %d, want %d, and\n%s\nwant %q, and both tests failed", exit, test.exit, text, test.want)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}
