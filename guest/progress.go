package guest

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress is told how a build goes on. A phase follows the one before; Done
// ends the last. Its methods may be called from several goroutines.
type Progress interface {
	// Phase begins a phase of so many bytes; 0 if that is not known.
	Phase(name string, total int64)
	// Add says that so many bytes more are done.
	Add(n int64)
	// Note is a line for the user.
	Note(text string)
	Done()
}

// Quiet is a Progress that says nothing.
var Quiet Progress = quiet{}

type quiet struct{}

func (quiet) Phase(string, int64) {}
func (quiet) Add(int64)           {}
func (quiet) Note(string)         {}
func (quiet) Done()               {}

// NewProgress writes to w, with bars that move if terminal is set, one plain
// line a phase otherwise.
func NewProgress(w io.Writer, terminal bool) Progress {
	if terminal {
		return &bars{w: w}
	}
	return &lines{w: w}
}

// lines prints a line when a phase begins, and its size and time at its end if
// it took a while.
type lines struct {
	mu    sync.Mutex
	w     io.Writer
	name  string
	total int64
	start time.Time
}

func (p *lines) Phase(name string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.name, p.total, p.start = name, total, time.Now()
	if total > 0 {
		fmt.Fprintf(p.w, "%s (%s)\n", name, megabytes(total))
	} else {
		fmt.Fprintln(p.w, name)
	}
}

func (p *lines) end() {
	if d := time.Since(p.start); p.name != "" && d >= 2*time.Second {
		fmt.Fprintf(p.w, "%s: done in %.1f s\n", p.name, d.Seconds())
	}
	p.name = ""
}

func (p *lines) Add(int64) {}

func (p *lines) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w, text)
}

func (p *lines) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

// bars redraws one line a phase.
type bars struct {
	mu          sync.Mutex
	w           io.Writer
	name        string
	total, done int64
	drawn       time.Time
}

const barWidth = 24

func (p *bars) Phase(name string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.name, p.total, p.done = name, total, 0
	p.draw()
}

func (p *bars) Add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.name != "" && time.Since(p.drawn) >= 100*time.Millisecond {
		p.draw()
	}
}

func (p *bars) draw() {
	p.drawn = time.Now()
	if p.total <= 0 {
		fmt.Fprintf(p.w, "\r\x1b[K%s ...", p.name)
		return
	}
	done := min(p.done, p.total)
	full := int(done * barWidth / p.total)
	fmt.Fprintf(p.w, "\r\x1b[K%-32s %s%s %3d%% of %s", p.name,
		strings.Repeat("#", full), strings.Repeat("-", barWidth-full), done*100/p.total, megabytes(p.total))
}

func (p *bars) end() {
	if p.name == "" {
		return
	}
	p.done = p.total
	p.draw()
	fmt.Fprintln(p.w)
	p.name = ""
}

func (p *bars) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "\r\x1b[K%s\n", text)
	if p.name != "" {
		p.draw()
	}
}

func (p *bars) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

func megabytes(n int64) string {
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
