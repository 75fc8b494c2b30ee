package run

import (
	"bytes"
	"math/big"
	"strings"
	"testing"
	"time"

	"nvlab/nvdimm/explore"
	nvstar "nvlab/starlark"
)

// liveRun is a run of two tests that began, and what is shown of it.
func liveRun(size func() (int, int)) (l *live, out *bytes.Buffer, pass func(time.Duration), items [2]*item) {
	out = &bytes.Buffer{}
	l = newLive(out, size)
	now := time.Unix(0, 0)
	l.now = func() time.Time { return now }
	l.total = 12
	for i, name := range []string{"test_a", "test_\x1b[2Jb"} {
		items[i] = &item{test: &nvstar.Test{Name: name}}
		l.begin(items[i])
	}
	return l, out, func(d time.Duration) { now = now.Add(d); l.tick() }, items
}

// TestLiveLines: on a terminal a line a test, of its width, drawn anew after what is
// written; nothing of a test that is over at once, and nothing while somebody else has
// the terminal.
func TestLiveLines(t *testing.T) {
	cols := 80
	l, out, pass, items := liveRun(func() (int, int) { return 24, cols })
	shows := func(when, want string) {
		t.Helper()
		if got := out.String(); got != want {
			t.Errorf("%s the terminal gets %q, want %q", when, got, want)
		}
		out.Reset()
	}
	pass(400 * time.Millisecond)
	shows("after 400 ms", "")
	pass(800 * time.Millisecond)
	shows("after 1.2 s", "[1/12] test_a: 1.2 s\r\n[2/12] test_?[2Jb: 1.2 s")
	l.enter(items[0], "test_a/part")
	l.explores(items[0], nvstar.Exploring{Progress: explore.Progress{States: big.NewInt(40), Executions: 12, Pending: 4}, Findings: 1})
	pass(2 * time.Second)
	const wiped = "\r\x1b[K\x1b[A\x1b[K"
	shows("in an exploration", wiped+"[1/12] test_a/part: [############----] 12 executions for 40 states, 1 finding,\u2026\r\n[2/12] test_?[2Jb: 3.2 s")
	cols = 20
	l.over(out).Write([]byte("ok\n"))
	pass(time.Second)
	shows("after a line of output, 20 columns wide,", wiped+"ok\n[1/12] test_a/part\u2026\r\n[2/12] test_?[2Jb:\u2026")
	release := l.hold()
	pass(time.Second)
	shows("while it is held", wiped)
	release()
	cols = 5
	pass(time.Second)
	shows("5 columns wide", "")
	cols = 80
	l.end(items[0])
	l.end(items[1])
	pass(time.Second)
	shows("after the tests", "")
}

// TestPlainLines: without a terminal a test that takes long is told of after 10 s, and
// then ever more rarely, a minute apart at most.
func TestPlainLines(t *testing.T) {
	l, out, pass, _ := liveRun(nil)
	var at []string
	for s := range 300 {
		if pass(time.Second); strings.Contains(out.String(), "[1/12] test_a: ") {
			at = append(at, (time.Duration(s+1) * time.Second).String())
		}
		out.Reset()
	}
	release := l.hold()
	if pass(10 * time.Minute); out.Len() > 0 {
		t.Errorf("while somebody types at a prompt it says %q, want nothing", out)
	}
	release()
	if got, want := strings.Join(at, " "), "10s 20s 40s 1m20s 2m20s 3m20s 4m20s"; got != want {
		t.Errorf("of a test of 5 minutes lines tell at %s, want %s", got, want)
	}
}

func TestColours(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"ok    x.star  1.2s\n", "\x1b[32mok    x.star  1.2s\x1b[m\n"},
		{"    --- SKIP: test_x (0.00s)\n    said\n", "\x1b[33m    --- SKIP: test_x (0.00s)\x1b[m\n    said\n"},
		{"FAIL: 1 failed\n", "\x1b[31mFAIL: 1 failed\x1b[m\n"},
		{"=== RUN   test_x\nokay", "=== RUN   test_x\nokay"},
	} {
		var out bytes.Buffer
		if n, err := (colouring{&out}).Write([]byte(test.text)); n != len(test.text) || err != nil || out.String() != test.want {
			t.Errorf("%q is %q in colours (%d, %v), want %q", test.text, out.String(), n, err, test.want)
		}
	}
}
