package nvstar

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"nvlab/lab"
)

// recorder is a Watcher that keeps what it is told.
type recorder struct {
	t    *testing.T
	logs strings.Builder
}

func (r *recorder) Match(string) bool                     { return true }
func (r *recorder) Dir(string) (string, error)            { return r.t.TempDir(), nil }
func (r *recorder) Start(string)                          {}
func (r *recorder) Output(_, text string)                 { r.logs.WriteString(text) }
func (r *recorder) Gone(string, string)                   {}
func (r *recorder) End(string, *Outcome, *lab.Experiment) {}

// runTest runs a test without a guest and gives its outcome as its docstring
// would say it: "passes", "skips: why" or "fails: text".
func runTest(t *testing.T, test *Test) (outcome, logs string) {
	t.Helper()
	l, err := lab.New(lab.Options{Engine: "soft", Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{t: t}
	o := test.Run(context.Background(), Env{Lab: l, Watcher: r, Steps: 3_000_000})
	switch o.Status {
	case Failed:
		var texts []string
		for _, f := range o.Failures {
			texts = append(texts, f.Text)
		}
		return "fails: " + strings.Join(texts, "\n"), r.logs.String()
	case Skipped:
		return "skips: " + o.Reason, r.logs.String()
	}
	return "passes", r.logs.String()
}

// TestScenarios runs testdata/*.star. A docstring says what is expected of a
// test that does not pass: "fails: REGEXP" or "skips: REGEXP", and "logs:
// REGEXP" of one that passes.
func TestScenarios(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.star")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, path := range paths {
		file, failure := NewLoader().Load(t.Context(), path)
		if failure != nil {
			t.Fatal(failure.Text)
		}
		for _, test := range file.Tests {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".star")+"/"+test.Name, func(t *testing.T) {
				got, logs := runTest(t, test)
				want := unindent(test.Doc)
				switch {
				case want == "":
					if got != "passes" {
						t.Errorf("%s, want a pass", got)
					}
				case strings.HasPrefix(want, "logs: "):
					if !matches(t, strings.TrimPrefix(want, "logs: "), logs) || got != "passes" {
						t.Errorf("%s\nand logs %q\nwant a pass that %s", got, logs, want)
					}
				case !matches(t, want[:len("fails: ")]+"(?:.*\n)*.*"+strings.TrimPrefix(want[len("fails: "):], "logs: "), got) &&
					!strings.HasPrefix(want, "fails: logs: "):
					t.Errorf("got %s\nwant %s", got, want)
				}
			})
		}
	}
}

func matches(t *testing.T, pattern, text string) bool {
	t.Helper()
	re, err := regexp.Compile("(?m)" + strings.TrimRight(pattern, " "))
	if err != nil {
		t.Fatalf("docstring: %v", err)
	}
	return re.MatchString(text)
}

// unindent takes off the margin of a docstring's later lines.
func unindent(doc string) string {
	return strings.TrimSpace(strings.ReplaceAll(doc, "\n    ", "\n"))
}

// TestLoadErrors loads testdata/load/*.star, whose comments "# want: REGEXP"
// say how that fails.
func TestLoadErrors(t *testing.T) {
	paths, err := filepath.Glob("testdata/load/*.star")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, failure := NewLoader().Load(t.Context(), path)
		if failure == nil {
			t.Errorf("%s was loaded, want an error", path)
			continue
		}
		if failure.Class != Syntax {
			t.Errorf("%s: class %v, want %v", path, failure.Class, Syntax)
		}
		for line := range strings.Lines(string(text)) {
			if want, ok := strings.CutPrefix(line, "# want: "); ok && !matches(t, strings.TrimSpace(want), failure.Text) {
				t.Errorf("%s: error\n%s\nwant %s", path, failure.Text, want)
			}
		}
	}
}

func TestLoad(t *testing.T) {
	file, failure := NewLoader().Load(t.Context(), "testdata/load/good/main.star")
	if failure != nil {
		t.Fatal(failure.Text)
	}
	var names []string
	for _, test := range file.Tests {
		names = append(names, test.Name)
	}
	if got, want := strings.Join(names, " "), "test_b test_c test_a"; got != want {
		t.Errorf("tests are %s, want %s: what is defined there, in order", got, want)
	}
	if file.Doc != "A scenario that loads another.\n\nMore of its docstring." {
		t.Errorf("docstring is %q", file.Doc)
	}
	if got, want := file.Tests[0].Doc, "Second letter first."; got != want {
		t.Errorf("docstring of test_b is %q, want %q", got, want)
	}
	if !file.UsesVM {
		t.Errorf("t.vm is mentioned, and UsesVM is false")
	}
	for _, test := range file.Tests {
		if got, _ := runTest(t, test); got != "passes" {
			t.Errorf("%s %s, want a pass", test.Name, got)
		}
	}
	if file, failure := NewLoader().Load(t.Context(), "testdata/load/good/helper.star"); failure != nil || file.UsesVM {
		t.Errorf("helper.star: failure %v, UsesVM %v, want none and false", failure, file.UsesVM)
	}
}

// TestStop stops a run while a test computes.
func TestStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.star")
	src := "def test_x(t):\n    for i in range(1 << 60):\n        x = i\n"
	if err := os.WriteFile(path, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	file, failure := NewLoader().Load(t.Context(), path)
	if failure != nil {
		t.Fatal(failure.Text)
	}
	l, err := lab.New(lab.Options{Engine: "soft", Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(ErrInterrupted)
	o := file.Tests[0].Run(ctx, Env{Lab: l, Watcher: &recorder{t: t}, Steps: 1 << 62})
	if o.Status != Failed || len(o.Failures) != 1 || o.Failures[0].Class != Interrupted {
		t.Errorf("outcome is %+v, want one failure of class interrupted", o)
	}
	ctx, stop = context.WithCancelCause(t.Context())
	stop(&TimeoutError{"1s"})
	o = file.Tests[0].Run(ctx, Env{Lab: l, Watcher: &recorder{t: t}, Steps: 1 << 62})
	if o.Status != Failed || !matches(t, `x.star:[23]:\d+: error: the run took longer than -timeout 1s`, o.Failures[0].Text) {
		t.Errorf("outcome is %+v, want the time limit's, with its line", o)
	}
}
