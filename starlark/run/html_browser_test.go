package run

import (
	"bytes"
	"fmt"
	"html"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nvlab/internal/require"
	"nvlab/lab"
	"nvlab/nvdimm/explore"
	"nvlab/nvdimm/infoblock"
	nvstar "nvlab/starlark"
)

// wholeRun is a run that has what a page can show: two VMs, tests that pass, fail
// and are skipped, and an exploration with a finding.
func wholeRun() *runner {
	leaf := func(point int, id, answer string, all bool, lines int) explore.Leaf {
		return explore.Leaf{ID: id, Answer: answer, States: big.NewInt(3), Point: point, All: all, Lines: lines}
	}
	result := &explore.Result{Legal: big.NewInt(12), States: big.NewInt(12), Depth: 2, Complete: true, Leaves: []explore.Leaf{
		leaf(1, "1.n", `"good"`, false, 0), leaf(1, "1.n2", `"bad"`, false, 1), leaf(1, "1.e", `"good"`, true, 0), leaf(2, "2.e", `"good"`, true, 0)}}
	line := lab.LostLine{NVDIMM: "nvdimm1", Offset: 0x1fe0000, What: "index[0]"}
	line.All[3], line.All[40] = 7, 9
	explored := nvstar.Explored{Test: "test_explored", Line: "explore: 4 executions", Result: result, Bad: []string{`"bad"`}, Detail: &nvstar.ExploredDetail{
		Answers: []nvstar.ShownState{{Told: "crash state 1.n"}, {Told: "crash state 1.n2\nIt is enough to lose one", Lines: []lab.LostLine{line}, More: 2}},
		Events:  map[int]string{1: "before a fence in memcpy_flushcache+0x20", 2: "at the end of ndctl"},
	}}
	call := func(vm int, what, console string, from, to time.Duration) nvstar.Called {
		return nvstar.Called{Test: "test_fail", Owner: "test_fail", VM: vm, Guest: "6.1.0", What: what, At: "x.star:3", From: from, To: to, Printed: console}
	}
	failed := &node{name: "test_fail", text: "check failed: check.eq\n" + strings.Repeat("a long line ", 40), outcome: &nvstar.Outcome{Status: nvstar.Failed}, calls: []nvstar.Called{
		call(1, "vm.boot()", strings.Repeat("[    0.1] nd_pmem namespace0.0\n", 20), 0, time.Second), call(2, "vm.boot()", "", 0, time.Second),
		call(1, "vm.power_cut()", "", time.Second, 0), call(2, `vm.run(command = "false")`, "", time.Second, 2*time.Second)}}
	failed.calls[3].Err = "exit status 1"
	boot := &failed.calls[0]
	for i := range 20 {
		boot.Lines = append(boot.Lines, time.Duration(i)*time.Millisecond)
	}
	boot.Happened = []lab.Happening{{Times: 1, Kind: lab.KindPower, What: "on: boot 1"},
		{At: 3 * time.Millisecond, Last: 5 * time.Millisecond, Times: 4, Printed: strings.Index(boot.Printed, "\n") + 1, Kind: lab.KindFirmware, What: "ars_status"}}
	for i := range 10 {
		boot.Happened = append(boot.Happened, lab.Happening{At: 6 * time.Millisecond, Times: 1, Printed: len(boot.Printed), Kind: lab.KindLabel, What: fmt.Sprintf("nvdimm1: label[%d]", i)})
	}
	first := nvstar.LabelSlot{Slot: 0, UUID: "8aed63a2-29a2-4c66-8b12-f05d15d3922a", Claims: "pfn", Size: 16 << 20, Of: 1, Holds: []infoblock.Span{{Name: "pfn.info", Offset: 4096, Length: 4096}}}
	renamed, second := first, first
	renamed.Name = "renamed"
	second.Slot, second.DPA, second.Size = 3, 32<<20, 8<<20
	failed.calls[0].Labels = []nvstar.LabelChange{{NVDIMM: "nvdimm1", Size: 64 << 20, After: []nvstar.LabelSlot{first}}}
	failed.calls[2].Labels = []nvstar.LabelChange{{NVDIMM: "nvdimm1", Size: 64 << 20, Before: []nvstar.LabelSlot{first}, After: []nvstar.LabelSlot{renamed, second}}}
	f := &fileRun{path: "scenarios/x.star", began: time.Unix(1e9, 0), ended: time.Unix(1e9+3, 0)}
	for _, n := range []*node{
		failed,
		{name: "test_explored", outcome: &nvstar.Outcome{Status: nvstar.Failed}, text: "finding"},
		{name: "test_skip", outcome: &nvstar.Outcome{Status: nvstar.Skipped, Reason: "it does not apply"}},
		{name: "test_pass", outcome: &nvstar.Outcome{}, logs: []string{"    said\n"}},
	} {
		it := &item{file: f}
		it.report.order = []*node{n}
		if n.name == explored.Test {
			it.report.explored = []nvstar.Explored{explored}
		}
		f.items = append(f.items, it)
	}
	return &runner{engine: "soft", files: []*fileRun{f}}
}

// TestReaderInBrowser does in Chromium what a reader does, on a phone in the light
// and at a desk in the dark. axe-core's checks run too, where NVLAB_AXE names its
// axe.min.js.
func TestReaderInBrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		require.Missing(t, "CHROMIUM", "%v", err)
	}
	var page bytes.Buffer
	if err := wholeRun().html(&page); err != nil {
		t.Fatal(err)
	}
	check, err := os.ReadFile("testdata/html/check.js")
	if err != nil {
		t.Fatal(err)
	}
	scripts := "<script>" + string(check) + "</script>"
	if axe := os.Getenv("NVLAB_AXE"); axe != "" {
		text, err := os.ReadFile(axe)
		if err != nil {
			t.Fatal(err)
		}
		scripts = "<script>" + string(text) + "</script>" + scripts
	}
	path := filepath.Join(t.TempDir(), "x.html")
	if err := os.WriteFile(path, []byte(strings.Replace(page.String(), "</html>", scripts+"</html>", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		flags  []string
		scheme string
	}{
		{[]string{"--window-size=500,900"}, "light"}, // the narrowest there is
		{[]string{"--window-size=1400,900", "--force-dark-mode"}, "dark"},
	} {
		dom := openPage(t, browser, path, test.flags...)
		_, said, ok := strings.Cut(dom, `<pre id="wrong">`)
		said, _, _ = strings.Cut(said, "</pre>")
		if want := "looked at in " + test.scheme; !ok || html.UnescapeString(said) != want {
			t.Errorf("%s: a reader finds\n%s\nwant %q", strings.Join(test.flags, " "), html.UnescapeString(said), want)
		}
	}
}
