package run

import (
	"fmt"
	"io"
	"sync"
	"time"

	"nvlab/internal/units"
	nvstar "nvlab/starlark"
)

// exploring shows how explorations go on: on a terminal in one line that is
// drawn again and again, elsewhere in a plain line now and then.
type exploring struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	mu     sync.Mutex
	began  map[string]time.Time // by test
	shown  map[string]time.Time // when a line told of it
	drawn  bool                 // there is a line that has to be wiped
	latest time.Time            // when it was drawn
}

const (
	redraw   = 200 * time.Millisecond
	plainest = 10 * time.Second // between two plain lines
)

func newExploring(w io.Writer, terminal bool) *exploring {
	return &exploring{w: w, terminal: terminal, now: time.Now, began: map[string]time.Time{}, shown: map[string]time.Time{}}
}

func (x *exploring) show(e nvstar.Exploring) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := x.now()
	if e.Over {
		x.wipe()
		delete(x.began, e.Test)
		delete(x.shown, e.Test)
		return
	}
	began, ok := x.began[e.Test]
	if !ok {
		began = now
		x.began[e.Test], x.shown[e.Test] = now, now
	}
	if x.terminal {
		if now.Sub(x.latest) >= redraw {
			fmt.Fprintf(x.w, "\r\x1b[K%s", progressLine(e, now.Sub(began)))
			x.drawn, x.latest = true, now
		}
	} else if now.Sub(x.shown[e.Test]) >= plainest {
		fmt.Fprintln(x.w, progressLine(e, now.Sub(began)))
		x.shown[e.Test] = now
	}
}

// progressLine tells how far an exploration is.
func progressLine(e nvstar.Exploring, took time.Duration) string {
	rate := ""
	if took >= time.Second {
		rate = fmt.Sprintf(", %.1f a second", float64(e.Executions)/took.Seconds())
	}
	return fmt.Sprintf("%s: %s for %s states, %s, %d more to run%s", e.Test, units.Count(e.Executions, "execution"), units.Large(e.States), units.Count(e.Findings, "finding"), e.Pending, rate)
}

// wipe takes the line away.
func (x *exploring) wipe() {
	if x.drawn {
		fmt.Fprint(x.w, "\r\x1b[K")
		x.drawn = false
	}
}

// over is a writer of what must not stand in the line.
func (x *exploring) over(w io.Writer) io.Writer { return wiping{x, w} }

type wiping struct {
	x *exploring
	w io.Writer
}

func (w wiping) Write(p []byte) (int, error) {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	w.x.wipe()
	return w.w.Write(p)
}
