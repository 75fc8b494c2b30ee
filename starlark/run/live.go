package run

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"nvlab/guest"
	"nvlab/internal/units"
	nvstar "nvlab/starlark"
)

// A live shows which tests run and what they are about: on a terminal in lines that
// are drawn again and again below what is written, elsewhere in a plain line now and
// then.
type live struct {
	w    io.Writer
	size func() (rows, cols int) // of the terminal; nil if it is none
	now  func() time.Time

	mu      sync.Mutex
	total   int // tests of the run
	begun   int // of them
	running []*runningTest
	drawn   int       // lines on the terminal that have to be wiped
	held    int       // who has the terminal for themselves
	quiet   time.Time // until then somebody else writes to it
}

// A runningTest is a test from its begin to its end.
type runningTest struct {
	it        *item
	number    int    // in the order in which tests began, from 1
	name      string // of the subtest that runs
	began     time.Time
	told      time.Duration // of its time, when a plain line told of it
	exploring *nvstar.Exploring
	explores  time.Time // since when
}

const (
	redraw    = 200 * time.Millisecond
	worthIt   = 500 * time.Millisecond // a test that is over before is not shown
	mostLines = 8
	firstLine = 10 * time.Second // until the first plain line; then twice that, up to
	lastLine  = time.Minute      // between two
)

func newLive(w io.Writer, size func() (rows, cols int)) *live {
	return &live{w: w, size: size, now: time.Now}
}

// start shows the tests of a run until stop is called.
func (l *live) start(total int) (stop func()) {
	l.total = total
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				l.tick()
			}
		}
	}()
	return func() {
		close(over)
		<-done
		l.mu.Lock()
		defer l.mu.Unlock()
		l.wipe()
	}
}

func (l *live) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	switch {
	case l.held > 0:
		return
	case l.size != nil:
		if now.After(l.quiet) {
			l.draw(now)
		}
		return
	}
	for _, t := range l.running {
		if took := now.Sub(t.began); took >= t.due() {
			t.told = took
			fmt.Fprintln(l.w, l.line(t, now, 0))
		}
	}
}

// due is when the next plain line tells of the test, of its time.
func (t *runningTest) due() time.Duration {
	return t.told + min(max(t.told, firstLine), lastLine)
}

// draw draws the tests that run.
func (l *live) draw(now time.Time) {
	rows, cols := l.size()
	if rows < 2 || cols < 10 {
		l.wipe()
		return
	}
	var lines []string
	for _, t := range l.running {
		if now.Sub(t.began) >= worthIt {
			lines = append(lines, l.line(t, now, cols-1))
		}
	}
	if most := min(mostLines, rows-1); len(lines) > most {
		more := len(lines) - most + 1
		lines = append(lines[:most-1], cut(fmt.Sprintf("and %d more", more), cols-1))
	}
	var b strings.Builder
	b.WriteString(l.wiping())
	b.WriteString(strings.Join(lines, "\r\n"))
	l.drawn = len(lines)
	io.WriteString(l.w, b.String())
}

// line is what a test is about, in so many columns; 0 is any number.
func (l *live) line(t *runningTest, now time.Time, cols int) string {
	about := t.it.at.Call()
	if e := t.exploring; e != nil {
		about = exploringText(*e, now.Sub(t.explores))
	}
	if about != "" {
		about += ", "
	}
	return cut(fmt.Sprintf("[%d/%d] %s: %s%.1f s", t.number, l.total, t.name, about, now.Sub(t.began).Seconds()), cols)
}

// cut is a text on one line of so many columns at most; 0 is any number.
func cut(s string, cols int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
	if runes := []rune(s); cols > 0 && len(runes) > cols {
		s = string(runes[:cols-1]) + "…"
	}
	return s
}

// barWidth is how many characters an exploration's bar has.
const barWidth = 16

// exploringText tells how far an exploration is. Of what is missing it knows what was
// found by now.
func exploringText(e nvstar.Exploring, took time.Duration) string {
	rate := ""
	if took >= time.Second {
		rate = fmt.Sprintf(", %.1f a second", float64(e.Executions)/took.Seconds())
	}
	full := 0
	if all := e.Executions + e.Pending; all > 0 {
		full = e.Executions * barWidth / all
	}
	return fmt.Sprintf("[%s%s] %s for %s states, %s, %d more to run%s", strings.Repeat("#", full), strings.Repeat("-", barWidth-full),
		units.Count(e.Executions, "execution"), units.Large(e.States), units.Count(e.Findings, "finding"), e.Pending, rate)
}

// begin and end enclose a test, enter its subtests.
func (l *live) begin(it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
	l.running = append(l.running, &runningTest{it: it, number: l.begun, name: it.test.Name, began: l.now()})
}

func (l *live) end(it *item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = slices.DeleteFunc(l.running, func(t *runningTest) bool { return t.it == it })
}

// enter notes which of a test and its subtests runs.
func (l *live) enter(it *item, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.test(it); t != nil {
		t.name, t.exploring = name, nil
	}
}

func (l *live) test(it *item) *runningTest {
	i := slices.IndexFunc(l.running, func(t *runningTest) bool { return t.it == it })
	if i < 0 {
		return nil
	}
	return l.running[i]
}

// explores notes how far an exploration of a test is.
func (l *live) explores(it *item, e nvstar.Exploring) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.test(it)
	switch {
	case t == nil:
	case e.Over:
		t.exploring = nil
	default:
		if t.exploring == nil {
			t.explores = l.now()
		}
		t.exploring = &e
	}
}

// hold leaves the terminal to somebody else until release is called.
func (l *live) hold() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wipe()
	l.held++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held--
	}
}

// wiping is what takes the lines away that were drawn.
func (l *live) wiping() string {
	if l.drawn == 0 {
		return ""
	}
	return "\r\x1b[K" + strings.Repeat("\x1b[A\x1b[K", l.drawn-1)
}

func (l *live) wipe() {
	if l.drawn > 0 {
		io.WriteString(l.w, l.wiping())
		l.drawn = 0
	}
}

// over is a writer of what stands above the lines.
func (l *live) over(w io.Writer) io.Writer { return overLive{l, w} }

type overLive struct {
	l *live
	w io.Writer
}

func (o overLive) Write(p []byte) (int, error) {
	o.l.mu.Lock()
	defer o.l.mu.Unlock()
	o.l.wipe()
	return o.w.Write(p)
}

// besideLive is the making of a guest, which has the terminal for a while.
type besideLive struct {
	guest.Progress
	l *live
}

func (b besideLive) step() {
	b.l.mu.Lock()
	defer b.l.mu.Unlock()
	b.l.wipe()
	b.l.quiet = b.l.now().Add(time.Second)
}

func (b besideLive) Phase(name string, total int64) { b.step(); b.Progress.Phase(name, total) }
func (b besideLive) Add(n int64)                    { b.step(); b.Progress.Add(n) }
func (b besideLive) Note(text string)               { b.step(); b.Progress.Note(text) }
