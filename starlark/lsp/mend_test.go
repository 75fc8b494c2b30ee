package lsp

import (
	"slices"
	"testing"
)

// TestCompletionsOfABrokenFile: a file that could never be read has completions,
// whichever of its other lines are wrong.
func TestCompletionsOfABrokenFile(t *testing.T) {
	for name, text := range map[string]string{
		"the line itself":     "def test_x(t):\n    machine = t.vm()\n    machine.\n",
		"a line above":        "x = = 1\ndef test_x(t):\n    machine = t.vm()\n    machine.\n",
		"lines above":         "def (:\nx = = 1\n\ndef test_x(t):\n    y = 1 +\n    machine = t.vm()\n    machine.\n",
		"a line below":        "def test_x(t):\n    machine = t.vm()\n    machine.\n\nfor in\n",
		"no body of the last": "def test_x(t):\n    machine = t.vm()\n    machine.\n\ndef test_y(t):\n",
	} {
		s := &Server{documents: map[string]*document{}}
		d := newDocument("/none/x.star", text, nil)
		s.documents[d.path] = d
		line := slices.Index(d.lines, "    machine.")
		got, err := newQuery(s, d, position{line, len("    machine.")}).completions()
		list, _ := got.([]completion)
		if err != nil || !slices.ContainsFunc(list, func(c completion) bool { return c.Label == "plug" }) {
			t.Errorf("%s is wrong: %d completions after \"machine.\", %v, want plug among them", name, len(list), err)
		}
	}
}
