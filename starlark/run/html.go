package run

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"nvlab/nvdimm/explore"
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

	Times    []float64       `json:"consoleTimes,omitempty"` // guest time at which the console's lines ended, as far as that is known
	Happened []htmlHappening `json:"happened,omitempty"`
	More     int             `json:"more,omitempty"` // of these, besides
	Labels   []htmlLabels    `json:"labels,omitempty"`
}

// A htmlHappening is what a call brought about while it lasted.
type htmlHappening struct {
	At    float64 `json:"at"`             // guest time
	Last  float64 `json:"last,omitempty"` // of several in a row
	Times int     `json:"times,omitempty"`
	Line  int     `json:"line"` // so many lines of the console come before
	Kind  string  `json:"kind"`
	What  string  `json:"what"`
}

// htmlLabels is what a call made of the labels of an NVDIMM.
type htmlLabels struct {
	NVDIMM string      `json:"nvdimm"`
	Size   uint64      `json:"size"` // bytes of memory
	Before []htmlLabel `json:"before"`
	After  []htmlLabel `json:"after"`
}

type htmlLabel struct {
	Slot     int    `json:"slot"`
	UUID     string `json:"uuid"`
	Name     string `json:"name"`
	Claims   string `json:"claims"`
	DPA      uint64 `json:"dpa"`
	Size     uint64 `json:"size"`
	Position uint16 `json:"position"`
	Of       uint16 `json:"of"`
	Updating bool   `json:"updating,omitempty"`
	Holds    string `json:"holds,omitempty"` // structures of the namespace
}

type htmlExploration struct {
	Line    string       `json:"line"`
	Answers []htmlAnswer `json:"answers"`
	Events  []htmlEvent  `json:"events"`
	Repeat  string       `json:"repeat"` // the command that goes to the state whose id stands for statePlace
}

type htmlAnswer struct {
	Text       string     `json:"text"`
	Executions int        `json:"executions"`
	States     string     `json:"states"` // a number that may be large
	State      string     `json:"state"`  // the plainest
	Finding    bool       `json:"finding,omitempty"`
	Told       string     `json:"told,omitempty"` // of the plainest: when power failed, and what was undecided
	Lines      []htmlLine `json:"lines,omitempty"`
	More       int        `json:"more,omitempty"` // lines, besides
}

// A htmlLine is a line of an NVDIMM as a state left it, and as it would be if all
// stores had survived.
type htmlLine struct {
	NVDIMM string `json:"nvdimm"`
	Offset uint64 `json:"offset"`
	Of     string `json:"of"` // the structure
	Left   string `json:"left"`
	All    string `json:"all"`
}

// A htmlEvent is when power failed, with the executions there.
type htmlEvent struct {
	When    string          `json:"when"`
	States  string          `json:"states"`  // that the executions speak for
	Answers []int           `json:"answers"` // numbers of the exploration's
	Runs    []htmlExecution `json:"runs"`
	More    int             `json:"more,omitempty"` // runs, besides
}

type htmlExecution struct {
	State  string `json:"state"`
	Kept   string `json:"kept"`    // "nothing" or "everything", but for
	Lines  int    `json:"changed"` // so many lines,
	Torn   int    `json:"torn,omitempty"`
	States string `json:"states"`
	Answer int    `json:"answer"` // its number
}

// executionBudget bounds how many executions of an exploration the page has.
const executionBudget = 5000

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
				c.Printed, c.Lines = "", nil
			}
		}
		call := htmlCall{What: c.What, At: c.At, From: c.From.Seconds(), To: c.To.Seconds(), Seconds: c.Took.Seconds(), Console: printable(c.Printed), Error: c.Err}
		for _, at := range c.Lines {
			call.Times = append(call.Times, micro(at))
		}
		call.happened(&c)
		for _, l := range c.Labels {
			call.Labels = append(call.Labels, htmlLabels{l.NVDIMM, l.Size, labels(l.Before), labels(l.After)})
		}
		m.Calls = append(m.Calls, call)
	}
	return list
}

// happeningBudget bounds how many happenings of a call the page has.
const happeningBudget = 1000

// happened fills in what a call brought about, as far as there is room.
func (h *htmlCall) happened(c *nvstar.Called) {
	for _, e := range c.Happened[:min(happeningBudget, len(c.Happened))] {
		one := htmlHappening{At: micro(e.At), Kind: string(e.Kind), What: printable(e.What), Line: strings.Count(c.Printed[:max(0, min(e.Printed, len(c.Printed)))], "\n")}
		if e.Times > 1 {
			one.Last, one.Times = micro(e.Last), e.Times
		}
		h.Happened = append(h.Happened, one)
	}
	h.More = len(c.Happened) - len(h.Happened)
}

// micro are the seconds of a time, to the microsecond.
func micro(d time.Duration) float64 { return float64(d.Microseconds()) / 1e6 }

func labels(slots []nvstar.LabelSlot) []htmlLabel {
	list := []htmlLabel{}
	for _, s := range slots {
		var holds []string
		for _, h := range s.Holds {
			holds = append(holds, fmt.Sprintf("%s at %#x", h.Name, h.Offset))
		}
		list = append(list, htmlLabel{s.Slot, s.UUID, s.Name, s.Claims, s.DPA, s.Size, s.Position, s.Of, s.Updating, strings.Join(holds, ", ")})
	}
	return list
}

// statePlace stands for a state's id in a command.
const statePlace = "STATE"

func (r *runner) exploration(f *fileRun, e nvstar.Explored) htmlExploration {
	h := htmlExploration{Line: e.Line, Answers: []htmlAnswer{}, Events: []htmlEvent{}, Repeat: r.o.repeat(f.path, e.Test, r.engine, statePlace)}
	answers := e.Result.Answers()
	order := make([]int, len(answers)) // findings first
	for i := range order {
		order[i] = i
	}
	bad := func(i int) bool { return slices.Contains(e.Bad, answers[i].Text) }
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case bad(a) == bad(b):
			return 0
		case bad(a):
			return -1
		}
		return 1
	})
	number := map[string]int{}
	for n, i := range order {
		a := answers[i]
		number[a.Text] = n
		answer := htmlAnswer{Text: a.Text, Executions: a.Executions, States: a.States.String(), State: a.Plainest.ID, Finding: bad(i)}
		if e.Detail != nil && i < len(e.Detail.Answers) {
			answer.show(&e.Detail.Answers[i])
		}
		h.Answers = append(h.Answers, answer)
	}
	h.Events = events(&e, number)
	return h
}

func (a *htmlAnswer) show(s *nvstar.ShownState) {
	a.Told, a.More = s.Told, s.More
	for _, l := range s.Lines {
		a.Lines = append(a.Lines, htmlLine{l.NVDIMM, l.Offset, l.What, hex.EncodeToString(l.Left[:]), hex.EncodeToString(l.All[:])})
	}
}

// events are an exploration's executions by when power failed.
func events(e *nvstar.Explored, number map[string]int) []htmlEvent {
	list := []htmlEvent{}
	leaves := slices.Clone(e.Result.Leaves) // the plainest first
	slices.SortStableFunc(leaves, func(a, b explore.Leaf) int { return cmp.Compare(a.Point, b.Point) })
	left := executionBudget
	for len(leaves) > 0 {
		point := leaves[0].Point
		n := slices.IndexFunc(leaves, func(l explore.Leaf) bool { return l.Point != point })
		if n < 0 {
			n = len(leaves)
		}
		there := htmlEvent{When: fmt.Sprintf("event %d", point), Runs: []htmlExecution{}}
		if e.Detail != nil && e.Detail.Events[point] != "" {
			there.When = e.Detail.Events[point]
		}
		states := new(big.Int)
		for _, l := range leaves[:n] {
			states.Add(states, l.States)
			answer := number[l.Answer]
			if !slices.Contains(there.Answers, answer) {
				there.Answers = append(there.Answers, answer)
			}
			if left--; left < 0 {
				there.More++
				continue
			}
			kept := "nothing"
			if l.All {
				kept = "everything"
			}
			there.Runs = append(there.Runs, htmlExecution{l.ID, kept, l.Lines, l.Torn, l.States.String(), answer})
		}
		slices.Sort(there.Answers) // findings first
		there.States = states.String()
		list, leaves = append(list, there), leaves[n:]
	}
	return list
}
