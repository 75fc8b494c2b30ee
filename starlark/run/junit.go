package run

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jstemmer/go-junit-report/v2/junit"

	nvstar "nvlab/starlark"
)

// suite makes the JUnit suite of a scenario.
func (f *fileRun) suite(engine string, seed uint64) junit.Testsuite {
	s := junit.Testsuite{Name: f.path, File: f.path, Time: seconds(f.elapsed())}
	s.SetTimestamp(f.began)
	s.AddProperty("engine", engine)
	s.AddProperty("seed", fmt.Sprint(seed))
	for _, kernel := range f.kernels() {
		s.AddProperty("kernel", kernel)
	}
	if f.failure != nil {
		s.AddTestcase(junit.Testcase{Name: "load", Classname: f.path, Time: seconds(0), Error: junitResult(f.failure)})
	}
	for _, item := range f.items {
		for _, n := range item.report.ended() {
			s.AddTestcase(n.testcase(f.path))
		}
	}
	return s
}

// kernels are those that the scenario's tests used.
func (f *fileRun) kernels() (list []string) {
	for _, item := range f.items {
		for _, n := range item.report.ended() {
			list = append(list, n.kernels()...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (n *node) testcase(path string) junit.Testcase {
	c := junit.Testcase{Name: n.name, Classname: path, Time: seconds(n.outcome.Elapsed)}
	switch n.outcome.Status {
	case nvstar.Skipped:
		c.Skipped = &junit.Result{Message: printable(n.outcome.Reason)}
	case nvstar.Failed:
		worst := &nvstar.Failure{Class: nvstar.Check, Message: "a subtest failed", Text: "a subtest failed"}
		for i, f := range n.outcome.Failures {
			if i == 0 || f.Class.Exit() > worst.Class.Exit() {
				worst = f
			}
		}
		r := junitResult(worst)
		if n.text != "" {
			r.Data = printable(n.text)
		}
		if worst.Class.Exit() == 1 {
			c.Failure = r
		} else {
			c.Error = r
		}
	}
	out := strings.Join(n.logs, "")
	for _, path := range n.left {
		out += fmt.Sprintf("[[ATTACHMENT|%s]]\n", path) // as GitLab and Jenkins' JUnit Attachments find files
	}
	if out != "" {
		c.SystemOut = &junit.Output{Data: printable(out)}
	}
	return c
}

func junitResult(f *nvstar.Failure) *junit.Result {
	return &junit.Result{Message: printable(f.Message), Type: f.Class.String(), Data: printable(f.Text)}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

// printable drops what XML 1.0 cannot hold, which a console may well send.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', r >= 0x20 && r < 0xd800, r >= 0xe000 && r < 0xfffe, r >= 0x10000:
			return r
		}
		return -1
	}, s)
}

// junit writes the run as JUnit XML.
func (r *runner) junit(w io.Writer) error {
	var all junit.Testsuites
	for _, f := range r.files {
		all.AddSuite(f.suite(r.engine, r.o.Seed))
	}
	return all.WriteXML(w)
}
