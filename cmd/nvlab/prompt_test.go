package main

import (
	"io"
	"os"
	"regexp"
	"testing"

	nvstar "nvlab/starlark"
	nvrun "nvlab/starlark/run"
)

// TestFirstLine types the line that makes a machine, as each text has it, at a prompt.
func TestFirstLine(t *testing.T) {
	texts := map[string]string{"nvlab help repl": replCommand.long, "the prompt's help": replHelp}
	for _, page := range []string{"writing.md", "scale.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		texts[page] = string(text)
	}
	paused := false
	nvrun.Run(t.Context(), nvrun.Options{
		Paths: []string{"repl.star"}, Texts: map[string]string{"repl.star": "def test_repl(t): t.pause()"},
		Reuse: "off", Stdout: io.Discard, Stderr: t.Output(), Cache: t.TempDir(),
		Pause: func(p *nvstar.Paused) bool {
			paused = true
			for where, text := range texts {
				line := regexp.MustCompile(`vm = t\.vm\([^)]*\)`).FindString(text)
				if _, err := p.Eval(line+"\n", func(string) {}); err != nil || line == "" {
					t.Errorf("%s: the line %q, typed at a prompt: %v, want one that makes a machine", where, line, err)
				}
			}
			return false
		},
	})
	if !paused {
		t.Error("there was no prompt")
	}
}
