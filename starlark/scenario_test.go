package nvstar

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.starlark.net/starlarkstruct"

	"nvlab/acpi"
	"nvlab/lab"
	"nvlab/nvdimm/label"
)

// recorder is a Watcher that keeps what it is told.
type recorder struct {
	t    *testing.T
	logs strings.Builder
}

func (r *recorder) Match(string) bool                                          { return true }
func (r *recorder) Dir(string) (string, error)                                 { return r.t.TempDir(), nil }
func (r *recorder) Start(string)                                               {}
func (r *recorder) Output(_, text string)                                      { r.logs.WriteString(text) }
func (r *recorder) Opened(context.Context, string) error                       { return nil }
func (r *recorder) End(string, string, *Outcome)                               {}
func (r *recorder) Closing(context.Context, string, *Outcome, *lab.Experiment) {}

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
	t.Setenv("NVLAB_MIRROR", "http://127.0.0.1:1/debian") // nothing is there: nothing is fetched
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

// scenario loads a text, and makes a lab that has no guest.
func scenario(t *testing.T, src string) (*File, *lab.Lab) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.star")
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
	return file, l
}

// TestStop stops a run while a test computes.
func TestStop(t *testing.T) {
	src := "def test_x(t):\n    for i in range(1 << 60):\n        x = i\n"
	file, l := scenario(t, src)
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

// TestPanic makes a built-in panic: without a lab, no VM can be made.
func TestPanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.star")
	src := "def test_x(t):\n    t.defer(lambda: t.log('cleaned'))\n    check.fails(lambda: t.vm(), '.')\n"
	if err := os.WriteFile(path, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	file, failure := NewLoader().Load(t.Context(), path)
	if failure != nil {
		t.Fatal(failure.Text)
	}
	r := &recorder{t: t}
	o := file.Tests[0].Run(t.Context(), Env{Watcher: r})
	if o.Status != Failed || len(o.Failures) != 1 || o.Failures[0].Class != Bug {
		t.Fatalf("outcome is %+v, want one failure of class bug, which check.fails does not catch", o)
	}
	f := o.Failures[0]
	if !matches(t, `x.star:3:\d+: bug in nvlab: t.vm: .*nil pointer`, f.Text) || !strings.Contains(f.Stack, "nvlab/lab.") {
		t.Errorf("failure is %s\nstack %s\nwant the scenario's line, and the Go stack", f.Text, f.Stack)
	}
	if !strings.Contains(r.logs.String(), "cleaned") {
		t.Errorf("logs are %q, want what was deferred", r.logs.String())
	}
}

func TestLabelArea(t *testing.T) {
	for version, want := range map[label.Version]string{
		label.V11: `struct(abstraction_guid = None, dpa = 0, flags = 8, isetcookie = 0, lbasize = 512, name = "one", nlabel = 1, position = 0, rawsize = 4096, slot = 0, type_guid = None, uuid = "01020304-0506-0708-090a-0b0c0d0e0f10", valid = True)`,
		label.V12: `struct(abstraction_guid = "00000000-0000-0000-0000-000000000000", dpa = 0, flags = 8, isetcookie = 0, lbasize = 512, name = "one", nlabel = 1, position = 0, rawsize = 4096, slot = 0, type_guid = "66f0d379-b4f3-4074-ac43-0d3318b78cdb", uuid = "01020304-0506-0708-090a-0b0c0d0e0f10", valid = True)`,
	} {
		area := make([]byte, label.MinSize)
		if err := label.Init(area, version); err != nil {
			t.Fatal(err)
		}
		l := label.Label{UUID: label.UUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Name: "one", NLabel: 1,
			RawSize: 4096, LBASize: 512, Flags: 8, TypeGUID: label.TypePersistentMemory}
		if _, err := label.Add(area, l); err != nil {
			t.Fatal(err)
		}
		parsed := labelArea(label.Parse(area)).(*starlarkstruct.Struct)
		active, err := parsed.Attr("active")
		if err != nil {
			t.Fatal(err)
		}
		if got := active.String(); got != "["+want+"]" {
			t.Errorf("active labels of version %v are %s, want [%s]", version, got, want)
		}
		if v, _ := parsed.Attr("version"); v.String() != `"`+version.String()+`"` {
			t.Errorf("version is %s, want %q", v, version)
		}
	}
}

func TestNFITStructure(t *testing.T) {
	for _, test := range []struct {
		in   acpi.NFITStructure
		want string
	}{
		{&acpi.PlatformCapabilities{Capabilities: 3}, `capabilities = 3, .*kind = "capabilities".*type = 7\)`},
		{&acpi.MemoryDevice{Handle: 1, DPABase: 5, Flags: 8}, `dpa_base = 5, flags = 8, handle = 1, .*kind = "memdev".* spa_index = 0, type = 1\)`},
		{&acpi.SPARange{Index: 2, Type: acpi.SPAPersistent, Base: 1 << 32}, `base = 4294967296, .*kind = "spa".* range_type = "66f0d379-b4f3-4074-ac43-0d3318b78cdb", type = 0\)`},
		{&acpi.UnknownEntry{Type: 12, Data: []byte("x")}, `data = b"x", kind = None, type = 12\)`},
	} {
		if got := nfitStructure(test.in).String(); !matches(t, test.want, got) {
			t.Errorf("%T is %s, want %s", test.in, got, test.want)
		}
	}
}
