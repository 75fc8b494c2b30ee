package run

import (
	"encoding/json"
	"fmt"
	"strings"

	nvstar "nvlab/starlark"
)

// A listed is a line of -list -json: a test, or a file that cannot be loaded.
// docs/scale.md documents it.
type listed struct {
	Path     string            `json:"path"`
	Name     string            `json:"name,omitempty"`
	Line     int32             `json:"line,omitempty"`
	Doc      string            `json:"doc,omitempty"`
	Cases    map[string]string `json:"cases,omitempty"` // by parameter
	Explores bool              `json:"explores,omitempty"`
	Failure  string            `json:"failure,omitempty"`
}

// list names the tests that would run.
func (r *runner) list(tests int) error {
	for _, f := range r.files {
		if f.failure != nil {
			fmt.Fprintln(r.o.Stderr, f.failure.Text)
			if r.o.JSON {
				r.listLine(listed{Path: f.path, Failure: f.failure.Text})
			}
			continue
		}
		told := map[*nvstar.Test]bool{} // with -count an item is there several times
		for _, it := range f.items {
			t := it.test
			switch {
			case told[t]:
			case r.o.JSON:
				r.listLine(listed{Path: f.path, Name: t.Name, Line: t.Pos.Line, Doc: oneMargin(t.Doc), Cases: caseNames(t.Cases), Explores: t.Explores})
			default:
				fmt.Fprintf(r.o.Stdout, "%s  %s\n", f.path, t.Name)
			}
			told[t] = true
		}
	}
	if tests == 0 && r.exit.Load() == 0 {
		r.worst(ExitNoTests)
		return r.noTests()
	}
	return nil
}

func (r *runner) listLine(l listed) {
	if line, err := json.Marshal(l); err == nil {
		r.o.Stdout.Write(append(line, '\n'))
	}
}

func caseNames(cases []nvstar.Case) map[string]string {
	names := make(map[string]string, len(cases))
	for _, c := range cases {
		names[c.Param] = c.Name
	}
	return names
}

// oneMargin is a docstring without the margin of its later lines.
func oneMargin(doc string) string {
	lines := strings.Split(strings.TrimSpace(doc), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// chosen is which tests -run and -skip take, as they were given.
func (o *Options) chosen() (flags string) {
	for _, f := range []struct{ name, value string }{{"-run", o.Run}, {"-skip", o.Skip}} {
		if f.value != "" {
			flags += " " + f.name + " " + ShellQuote(f.value)
		}
	}
	return flags
}
