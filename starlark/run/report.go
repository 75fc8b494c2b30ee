package run

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	nvstar "nvlab/starlark"
)

// An event is one of test2json (go doc test2json).
type event struct {
	Time    time.Time
	Action  string   // start, run, output, pass, fail or skip
	Package string   `json:",omitempty"`
	Test    string   `json:",omitempty"`
	Elapsed *float64 `json:",omitempty"` // seconds
	Output  string   `json:",omitempty"`

	// Of the stream of a shard.
	Item   int     `json:",omitempty"` // the test's number in the plan
	Record *record `json:",omitempty"`
}

// A stream writes what happens to one place of a sequence: as events, or as
// the text that they carry.
type stream struct {
	w       io.Writer
	json    bool
	pkg     string
	verbose bool // text of tests that pass, too
	shard   bool // with records, and
	item    int  // the test's number
}

func (s *stream) event(action, test string, elapsed *time.Duration, with *record) {
	if !s.json {
		return
	}
	e := event{Action: action, Test: test}
	if s.shard {
		e.Record = with
	}
	if elapsed != nil {
		seconds := elapsed.Seconds()
		e.Elapsed = &seconds
	}
	s.encode(e)
}

func (s *stream) encode(e event) {
	e.Time, e.Package = time.Now(), s.pkg
	if s.shard && e.Test != "" {
		e.Item = s.item
	}
	line, err := json.Marshal(e)
	if err == nil {
		s.w.Write(append(line, '\n'))
	}
}

// output writes whole lines.
func (s *stream) output(test, text string) {
	if !s.json {
		io.WriteString(s.w, text)
		return
	}
	for line := range strings.Lines(text) {
		s.encode(event{Action: "output", Test: test, Output: line})
	}
}

// A testReport tells of one test and its subtests.
type testReport struct {
	stream
	mu       sync.Mutex
	nodes    map[string]*node
	order    []*node
	explored []nvstar.Explored
	over     bool // nothing is told any more
}

// A node is a test or a subtest that began.
type node struct {
	name    string
	logs    []string // of t.log and print
	text    string   // why it did not pass
	calls   []nvstar.Called
	outcome *nvstar.Outcome
	guests  []string // that it used, of one that ended elsewhere
	left    []string // files of a test that failed
}

// kernels are the guests that the test used, by their names in the store, which are
// those of their kernels. A test whose outcome was known used none.
func (n *node) kernels() []string {
	list := slices.Clone(n.guests)
	if n.outcome != nil {
		for _, v := range n.outcome.Evidence.VMs {
			if name := v.Guest(); name != "" {
				list = append(list, name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (r *testReport) start(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.begin(name)
	if r.verbose {
		r.stream.output(name, "=== RUN   "+name+"\n")
	}
}

func (r *testReport) begin(name string) *node {
	n := &node{name: name}
	r.nodes[name] = n
	r.order = append(r.order, n)
	r.event("run", name, nil, nil)
	return n
}

// notRun tells of a test whose turn never came.
func (r *testReport) notRun(name string, o *nvstar.Outcome, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finish(r.begin(name), o, text)
	r.over = true
}

func (r *testReport) log(name, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	text = indent(text, "    ")
	if r.verbose {
		r.stream.output(name, text)
	}
	if n := r.nodes[name]; n != nil {
		n.logs = append(n.logs, text)
	}
}

// note keeps what an exploration came to.
func (r *testReport) note(e nvstar.Explored) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.explored = append(r.explored, e)
}

// called keeps a call.
func (r *testReport) called(c nvstar.Called) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[c.Test]; n != nil && !r.over {
		n.calls = append(n.calls, c)
	}
}

// left notes what is kept of a test that failed: the files in a folder.
func (r *testReport) left(test, dir string) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return
	}
	list, _ := os.ReadDir(dir) // one that cannot be read has none to tell of
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[test]
	if n == nil || r.over {
		return
	}
	for _, f := range list {
		if f.Type().IsRegular() {
			n.left = append(n.left, filepath.Join(dir, f.Name()))
		}
	}
}

// end tells how a test ended, unless it is too late for that. The text says
// why, if it did not pass.
func (r *testReport) end(name string, o *nvstar.Outcome, text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[name]
	if n == nil || r.over {
		return false
	}
	r.finish(n, o, text)
	return true
}

// abandon ends a test that does not end by itself, and what is open of its
// subtests.
func (r *testReport) abandon(o *nvstar.Outcome, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range slices.Backward(r.order) {
		if n.outcome == nil {
			r.finish(n, o, text)
		}
	}
	r.over = true
}

func (r *testReport) finish(n *node, o *nvstar.Outcome, text string) {
	name := n.name
	n.outcome, n.text = o, text
	depth := strings.Count(name, "/")
	if r.verbose {
		r.stream.output(name, n.body(depth)+n.headline(depth))
		var with *record
		if depth == 0 {
			with = &record{Test: r.recorded()}
		}
		r.event(o.Status.String(), name, &o.Elapsed, with)
	} else if depth == 0 && !o.NotRun { // those are named together
		r.summary(o.Status)
	}
}

// ended is what there is to tell when the run is over: of tests with an outcome.
func (r *testReport) ended() []*node {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.order), func(n *node) bool { return n.outcome == nil })
}

// summary writes a test that failed, with its subtests that failed. A subtest
// that has no parent on record is the whole.
func (r *testReport) summary(status nvstar.Status) {
	if status != nvstar.Failed {
		return
	}
	var b strings.Builder
	for _, n := range r.order {
		if n.outcome == nil || n.outcome.Status != nvstar.Failed {
			continue
		}
		depth := strings.Count(n.name, "/")
		b.WriteString(n.headline(depth))
		for _, line := range n.logs {
			b.WriteString(indent(line, strings.Repeat("    ", depth)))
		}
		b.WriteString(n.body(depth))
	}
	r.stream.output("", b.String())
}

// headline is "--- PASS: test_x (1.23s)", and "(1.23s, cached)" of a test that
// took so long when it was run.
func (n *node) headline(depth int) string {
	word, cached := strings.ToUpper(n.outcome.Status.String()), ""
	if n.outcome.Cached {
		cached = ", cached"
	}
	return fmt.Sprintf("%s--- %s: %s (%.2fs%s)\n", strings.Repeat("    ", depth), word, n.name, n.outcome.Elapsed.Seconds(), cached)
}

func (n *node) body(depth int) string {
	return indent(n.text, strings.Repeat("    ", depth+1))
}

// indent puts a margin before each line that is not empty.
func indent(text, margin string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString(margin)
		}
		b.WriteString(line)
	}
	if b.Len() > 0 && !strings.HasSuffix(text, "\n") {
		b.WriteByte('\n')
	}
	return b.String()
}
