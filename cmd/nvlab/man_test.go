package main

import (
	"bytes"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// overstruck is how a terminal of paper shows bold and underlined letters.
var overstruck = regexp.MustCompile(`.\x08`)

// TestManual: the page is sound roff, and a reader finds all commands and flags
// in it.
func TestManual(t *testing.T) {
	var page bytes.Buffer
	manual(&page)
	for _, checker := range [][]string{{"mandoc", "-Tlint", "-Wwarning"}, {"groff", "-man", "-ww", "-z"}} {
		if _, err := exec.LookPath(checker[0]); err != nil {
			continue
		}
		cmd := exec.Command(checker[0], checker[1:]...)
		cmd.Stdin = bytes.NewReader(page.Bytes())
		out, _ := cmd.CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "missing date") {
				t.Errorf("%s: %s", strings.Join(checker, " "), line)
			}
		}
	}
	text := page.String()
	if _, err := exec.LookPath("mandoc"); err == nil {
		cmd := exec.Command("mandoc", "-Tascii", "-Owidth=1000")
		cmd.Stdin = bytes.NewReader(page.Bytes())
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		text = overstruck.ReplaceAllString(string(out), "")
	} else {
		text = strings.NewReplacer(`\-`, "-", `" "`, "", `"`, "").Replace(text)
	}
	for _, d := range describe() {
		if !strings.Contains(text, "nvlab "+d.name) || !strings.Contains(text, strings.ToUpper(d.name)+" ") {
			t.Errorf("the page lacks the command %s", d.name)
		}
		for _, f := range d.flags {
			if !strings.Contains(text, "-"+f.name) {
				t.Errorf("the page lacks nvlab %s -%s", d.name, f.name)
			}
		}
	}
	for _, want := range []string{"-engine auto|soft|kvm", "    0  all tests passed", "-run RE"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
