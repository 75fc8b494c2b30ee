package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	nvstar "nvlab/starlark"
)

// A kcidbField is what KCIDB's schema says of a field.
type kcidbField struct {
	kind     string // "string", "number", "list", or the object that it is
	required bool
	pattern  *regexp.Regexp
	longest  int // characters; 0 is any number
}

const (
	kcidbID       = `^[a-z0-9_]+:.*$`
	kcidbName     = `^[a-z0-9_]+$`
	kcidbText     = `^[^\x00]*$`
	kcidbTestPath = `^([a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*)?$`
	kcidbStatuses = `^(FAIL|ERROR|MISS|PASS|DONE|SKIP)$`
)

func kcidbString(pattern string, required bool) kcidbField {
	return kcidbField{kind: "string", pattern: regexp.MustCompile(pattern), required: required}
}

// kcidbSchema is version 5.0 of the schema for the objects of a report, where later
// versions of 5 want more by those (kcidb-io, kcidb_io/schema/v05_00.py and v05_03.py;
// origins and ids: v04_00.py). An object has no field that is not here, but misc, which
// may have any.
var kcidbSchema = map[string]map[string]kcidbField{
	"report": {
		"version": {kind: "version", required: true}, "checkouts": {kind: "list of checkout"}, "builds": {kind: "list of build"}, "tests": {kind: "list of test"},
		"issues": {kind: "list of issue"}, "incidents": {kind: "list of incident"},
	},
	"version": {"major": {kind: "number", required: true}, "minor": {kind: "number"}},
	"checkout": {
		"id": kcidbString(kcidbID, true), "origin": kcidbString(kcidbName, true), "tree_name": kcidbString(kcidbText, false),
		"comment": kcidbString(kcidbText, false), "valid": {kind: "bool"}, "misc": {kind: "misc"},
	},
	"build": {
		"id": kcidbString(kcidbID, true), "checkout_id": kcidbString(kcidbID, true), "origin": kcidbString(kcidbName, true),
		"comment": kcidbString(kcidbText, false), "duration": {kind: "number"}, "architecture": kcidbString(`^[a-z0-9_]*$`, false),
		"config_name": kcidbString(kcidbText, false), "status": kcidbString(kcidbStatuses, false), "misc": {kind: "misc"},
	},
	"test": {
		"id": kcidbString(kcidbID, true), "build_id": kcidbString(kcidbID, true), "origin": kcidbString(kcidbName, true),
		"path": kcidbString(kcidbTestPath, false), "status": kcidbString(kcidbStatuses, false), "comment": kcidbString(kcidbText, false),
		"duration": {kind: "number"}, "log_excerpt": {kind: "string", pattern: regexp.MustCompile(kcidbText), longest: 16384},
		"environment": {kind: "environment"}, "misc": {kind: "misc"},
	},
	"environment": {"comment": kcidbString(kcidbText, false), "misc": {kind: "misc"}},
}

// against says how a value breaks the schema of a kind.
func kcidbAgainst(where, kind string, v any) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, where+": "+fmt.Sprintf(format, args...)) }
	if of, ok := strings.CutPrefix(kind, "list of "); ok {
		list, ok := v.([]any)
		if !ok {
			say("%v is no list", v)
		}
		for i, e := range list {
			wrong = append(wrong, kcidbAgainst(fmt.Sprintf("%s[%d]", where, i), of, e)...)
		}
		return wrong
	}
	ok := false
	switch kind {
	case "string":
		_, ok = v.(string)
	case "number":
		_, ok = v.(float64)
	case "bool":
		_, ok = v.(bool)
	default:
		_, ok = v.(map[string]any)
	}
	if !ok {
		say("%v is no %s", v, kind)
		return wrong
	}
	object, _ := v.(map[string]any)
	fields, known := kcidbSchema[kind]
	if !known {
		return wrong
	}
	for name, f := range fields {
		if _, ok := object[name]; f.required && !ok {
			say("%s is missing", name)
		}
	}
	for name, e := range object {
		f, ok := fields[name]
		if !ok {
			say("there is no field %s", name)
			continue
		}
		wrong = append(wrong, kcidbAgainst(where+"."+name, f.kind, e)...)
		if s, ok := e.(string); ok {
			if f.pattern != nil && !f.pattern.MatchString(strings.ReplaceAll(s, "\n", " ")) {
				say("%s is %q, which is not of %v", name, s, f.pattern)
			}
			if n := utf8.RuneCountInString(s); f.longest > 0 && n > f.longest {
				say("%s has %d characters, want %d at most", name, n, f.longest)
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}

// kcidbRun is a run with all outcomes there are.
func kcidbRun() *runner {
	failed := func(classes ...nvstar.Class) *nvstar.Outcome {
		o := &nvstar.Outcome{Status: nvstar.Failed, Elapsed: time.Second}
		for _, c := range classes {
			o.Failures = append(o.Failures, &nvstar.Failure{Class: c})
		}
		return o
	}
	f := &fileRun{path: "../scenarios/a b/x.star"}
	kernels := []string{"6.1.0-57-cloud-amd64"}
	for i, n := range []*node{
		{name: "test_pass", outcome: &nvstar.Outcome{Elapsed: 1500 * time.Millisecond}, guests: []string{"6.1.0-57-cloud-amd64", "6.12.0 é"}},
		{name: "test_pass/ü sub.part=a:b", outcome: &nvstar.Outcome{Unchecked: true}, guests: kernels},
		{name: "test_check", text: "\x00" + strings.Repeat("é\n", 20_000), outcome: failed(nvstar.Check), guests: kernels},
		{name: "test_panic", outcome: failed(nvstar.Guest, nvstar.Check), guests: kernels},
		{name: "test_wrong", outcome: failed(nvstar.Check, nvstar.Scenario), guests: kernels},
		{name: "test_host", outcome: failed(nvstar.Host), guests: kernels},
		{name: "test_sub", outcome: failed(), guests: kernels},
		{name: "test_skip", outcome: &nvstar.Outcome{Status: nvstar.Skipped, Reason: "why\x00"}, guests: kernels},
		{name: "test_late", outcome: &nvstar.Outcome{Status: nvstar.Skipped, NotRun: true}, guests: kernels},
		{name: "test_text", outcome: &nvstar.Outcome{}},
	} {
		it := &item{file: f, number: i + 1}
		it.report.order = []*node{n}
		f.items = append(f.items, it)
	}
	return &runner{engine: "soft", o: Options{Origin: "my_lab", Seed: 1<<63 + 1}, files: []*fileRun{f}}
}

// TestKCIDB: a report has the schema, every test that used a guest with its outcome, and
// ids that are its own and the same again.
func TestKCIDB(t *testing.T) {
	var text, again bytes.Buffer
	if err := kcidbRun().kcidb(&text); err != nil {
		t.Fatal(err)
	}
	if err := kcidbRun().kcidb(&again); err != nil || text.String() != again.String() {
		t.Errorf("the same run gives another report (error %v)", err)
	}
	var got any
	if err := json.Unmarshal(text.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range kcidbAgainst("report", "report", got) {
		t.Errorf("against the schema: %s", wrong)
	}
	var report kcidbReport
	if err := json.Unmarshal(text.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	var list []string
	ids := map[string]bool{}
	for _, x := range report.Tests {
		list = append(list, x.Path+" "+x.Status)
		if ids[x.ID] {
			t.Errorf("the id %s is there twice", x.ID)
		}
		ids[x.ID] = true
		if !slices.ContainsFunc(report.Builds, func(b kcidbBuild) bool { return b.ID == x.BuildID }) {
			t.Errorf("%s is of the build %s, which is not there", x.ID, x.BuildID)
		}
	}
	for _, b := range report.Builds {
		if !slices.ContainsFunc(report.Checkouts, func(c kcidbCheckout) bool { return c.ID == b.CheckoutID }) {
			t.Errorf("%s is of the checkout %s, which is not there", b.ID, b.CheckoutID)
		}
	}
	const at = "nvlab.scenarios.a_b.x.test_"
	want := []string{at + "pass PASS", at + "pass PASS", at + "pass.sub_part_a_b DONE", at + "check FAIL", at + "panic FAIL", at + "wrong ERROR", at + "host MISS", at + "sub FAIL", at + "skip SKIP", at + "late MISS"}
	if !slices.Equal(list, want) {
		t.Errorf("the report has\n%s\nwant\n%s", strings.Join(list, "\n"), strings.Join(want, "\n"))
	}
	if n := len(report.Builds); n != 2 {
		t.Errorf("there are %d builds, want one of each of the 2 kernels", n)
	}
}

// TestKCIDBSchema: the schema that reports are held to finds what breaks it.
func TestKCIDBSchema(t *testing.T) {
	for _, test := range []struct{ text, wrong string }{
		{`{"version":{"major":5}}`, ""},
		{`{}`, "report: version is missing"},
		{`{"version":{"major":"5"}}`, "report.version.major: 5 is no number"},
		{`{"version":{"major":5},"tests":[{"id":"a:1","build_id":"a:2","origin":"a","kernel":"x"}]}`, "report.tests[0]: there is no field kernel"},
		{`{"version":{"major":5},"tests":[{"id":"A:1","build_id":"a:2","origin":"a"}]}`, `report.tests[0]: id is "A:1", which is not of ` + kcidbID},
		{`{"version":{"major":5},"tests":[{"id":"a:1","build_id":"a:2","origin":"a","status":"pass"}]}`, `report.tests[0]: status is "pass", which is not of ` + kcidbStatuses},
		{`{"version":{"major":5},"tests":[{"id":"a:1","build_id":"a:2","origin":"a","path":"a..b"}]}`, `report.tests[0]: path is "a..b", which is not of ` + kcidbTestPath},
		{`{"version":{"major":5},"tests":[{"id":"a:1","build_id":"a:2","origin":"a","log_excerpt":"` + strings.Repeat("x", 16385) + `"}]}`, "report.tests[0]: log_excerpt has 16385 characters, want 16384 at most"},
		{`{"version":{"major":5},"tests":[{"id":"a:1","build_id":"a:2","origin":"a","misc":null}]}`, "report.tests[0].misc: <nil> is no misc"},
	} {
		var v any
		if err := json.Unmarshal([]byte(test.text), &v); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(kcidbAgainst("report", "report", v), "; "); got != test.wrong {
			t.Errorf("of %.100s the schema says %q, want %q", test.text, got, test.wrong)
		}
	}
}

// TestKCIDBOrigin: a report says whose it is, in a name that KCIDB takes.
func TestKCIDBOrigin(t *testing.T) {
	for _, test := range []struct {
		file, origin, wrong string
	}{
		{"", "", ""}, {"x.json", "my_lab2", ""},
		{"x.json", "", "whose report is it"}, {"", "my_lab", "want -kcidb FILE"}, {"x.json", "My Lab", "small letters"},
	} {
		o := Options{KCIDB: test.file, Origin: test.origin}
		if err := o.checkOrigin(); (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("-kcidb %q -kcidb-origin %q: %v, want an error with %q", test.file, test.origin, err, test.wrong)
		}
	}
}
