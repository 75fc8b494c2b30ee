package run

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	nvstar "nvlab/starlark"
)

// page is the report but for its data: a page that needs nothing else.
//
//go:embed report.html
var page string

// pageData is where the data goes.
const pageData = "{{DATA}}"

// A htmlReport is what the page shows. docs/report.md documents it.
type htmlReport struct {
	Engine  string     `json:"engine"`
	Seed    uint64     `json:"seed"`
	Began   time.Time  `json:"began"`
	Seconds float64    `json:"seconds"`
	Exit    int        `json:"exit"`
	Files   []htmlFile `json:"files"`
	LeftOut string     `json:"leftOut,omitempty"` // what is not here, and why
}

type htmlFile struct {
	Path    string     `json:"path"`
	Seconds float64    `json:"seconds"`
	Failure string     `json:"failure,omitempty"` // to load it
	Tests   []htmlTest `json:"tests"`
}

// A htmlTest is a test or a subtest, whose name has its test's before a slash.
type htmlTest struct {
	Name     string            `json:"name"`
	Status   string            `json:"status"` // "pass", "fail" or "skip"
	Seconds  float64           `json:"seconds"`
	Reason   string            `json:"reason,omitempty"` // of a skip
	Log      string            `json:"log,omitempty"`
	Text     string            `json:"text,omitempty"` // of a failure
	Machines []htmlMachine     `json:"machines,omitempty"`
	Explored []htmlExploration `json:"explored,omitempty"`
}

// A htmlMachine is a VM, and the calls of one test that have to do with it.
type htmlMachine struct {
	Name  string     `json:"name"`
	Guest string     `json:"guest,omitempty"`
	Calls []htmlCall `json:"calls"`
}

type htmlCall struct {
	What    string  `json:"what"`
	At      string  `json:"at"`
	From    float64 `json:"from"` // seconds of guest time since power-on, before the call
	To      float64 `json:"to"`   // and after it
	Seconds float64 `json:"seconds"`
	Console string  `json:"console,omitempty"`
	Error   string  `json:"error,omitempty"`
}

type htmlExploration struct {
	Line    string       `json:"line"`
	Answers []htmlAnswer `json:"answers"`
}

type htmlAnswer struct {
	Text       string `json:"text"`
	Executions int    `json:"executions"`
	States     string `json:"states"` // a number that may be large
	State      string `json:"state"`  // the plainest
	Finding    bool   `json:"finding,omitempty"`
	Repeat     string `json:"repeat,omitempty"` // the command that goes there
}

// consoleBudget bounds what the page has of consoles of tests that passed, in
// bytes. Those of tests that failed are always there.
const consoleBudget = 16 << 20

// html writes the page.
func (r *runner) html(w io.Writer) error {
	report := htmlReport{Engine: r.engine, Seed: r.o.Seed, Exit: int(r.exit.Load()), Files: []htmlFile{}}
	left := consoleBudget
	for _, f := range r.files {
		if report.Began.IsZero() || f.began.Before(report.Began) {
			report.Began = f.began
		}
		if took := f.ended.Sub(report.Began).Seconds(); took > report.Seconds {
			report.Seconds = took
		}
		report.Files = append(report.Files, f.html(r, &left))
	}
	if left < 0 {
		report.LeftOut = fmt.Sprintf("consoles of tests that passed, beyond %d MiB", consoleBudget>>20)
	}
	return writePage(w, &report)
}

func writePage(w io.Writer, report *htmlReport) error {
	var data bytes.Buffer
	if err := json.NewEncoder(&data).Encode(report); err != nil { // it escapes what would end the script
		return err
	}
	before, after, _ := strings.Cut(page, pageData)
	for _, part := range []string{before, data.String(), after} {
		if _, err := io.WriteString(w, part); err != nil {
			return err
		}
	}
	return nil
}

func (f *fileRun) html(r *runner, left *int) htmlFile {
	h := htmlFile{Path: f.path, Seconds: f.elapsed().Seconds(), Tests: []htmlTest{}}
	if f.failure != nil {
		h.Failure = f.failure.Text
	}
	for _, item := range f.items {
		for _, n := range item.report.ended() {
			t := htmlTest{Name: n.name, Status: n.outcome.Status.String(), Seconds: n.outcome.Elapsed.Seconds(), Reason: n.outcome.Reason,
				Log: strings.Join(n.logs, ""), Text: n.text}
			t.Machines = machinesOf(n, left)
			for _, e := range item.report.explored {
				if e.Test == n.name {
					t.Explored = append(t.Explored, r.exploration(f, e))
				}
			}
			h.Tests = append(h.Tests, t)
		}
	}
	return h
}

// machinesOf are the VMs that a test used, in the order in which it did.
func machinesOf(n *node, left *int) (list []htmlMachine) {
	for _, c := range n.calls {
		name := machineName(c.VM, c.Owner, n.name)
		i := slices.IndexFunc(list, func(m htmlMachine) bool { return m.Name == name })
		if i < 0 {
			i, list = len(list), append(list, htmlMachine{Name: name})
		}
		m := &list[i]
		if c.Guest != "" {
			m.Guest = c.Guest
		}
		if n.outcome.Status != nvstar.Failed {
			if *left -= len(c.Printed); *left < 0 {
				c.Printed = ""
			}
		}
		m.Calls = append(m.Calls, htmlCall{c.What, c.At, c.From.Seconds(), c.To.Seconds(), c.Took.Seconds(), printable(c.Printed), c.Err})
	}
	return list
}

func (r *runner) exploration(f *fileRun, e nvstar.Explored) htmlExploration {
	h := htmlExploration{Line: e.Line, Answers: []htmlAnswer{}}
	for _, a := range e.Result.Answers() {
		answer := htmlAnswer{Text: a.Text, Executions: a.Executions, States: a.States.String(), State: a.Plainest.ID}
		if answer.Finding = slices.Contains(e.Bad, a.Text); answer.Finding {
			answer.Repeat = r.o.repeat(f.path, e.Test, r.engine, a.Plainest.ID)
		}
		h.Answers = append(h.Answers, answer)
	}
	slices.SortStableFunc(h.Answers, func(a, b htmlAnswer) int {
		switch {
		case a.Finding == b.Finding:
			return 0
		case a.Finding:
			return -1
		}
		return 1
	})
	return h
}
