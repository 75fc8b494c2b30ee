package lab

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// A screen is what a terminal shows, and says when a text is on it.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) shows(want string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), want)
}

// TestPipedShell: what is there before the shell is kept for it, and the shell ends
// with its input.
func TestPipedShell(t *testing.T) {
	v, err := vmExperiment(t).VM(VMOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := &screen{}
	if err := v.Interact(t.Context(), Terminal{In: strings.NewReader("echo the sum is $((40+2))\n"), Out: out}); err != nil {
		t.Fatal(err)
	}
	if !out.shows("the sum is 42") {
		t.Errorf("the terminal showed %q, want what the command in the pipe prints", out.text.String())
	}
}

// TestShellKnowsItsWindow: its size, and that it changed; and nothing comes
// before the prompt.
func TestShellKnowsItsWindow(t *testing.T) {
	x := vmExperiment(t)
	v, err := x.VM(VMOptions{})
	if err != nil {
		t.Fatal(err)
	}
	keys, typist := io.Pipe()
	resized := make(chan struct{}, 1)
	var mu sync.Mutex
	rows := 33
	out := &screen{}
	await := func(want string) {
		for range 600 {
			if out.shows(want) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("the terminal never showed %q", want)
	}
	go func() {
		defer typist.Close()
		await("# ")
		typist.Write([]byte("echo size $(stty size) $TERM; ping -c 1 127.0.0.1 >/dev/null && echo lo is up\r"))
		await("size 33 101 xterm-256color")
		await("lo is up\r")
		mu.Lock()
		rows = 44
		mu.Unlock()
		resized <- struct{}{}
		for range 100 {
			typist.Write([]byte("echo now $(stty size)\r"))
			time.Sleep(100 * time.Millisecond)
			if out.shows("now 44 101") {
				break
			}
		}
		await("now 44 101")
		typist.Write([]byte("exit\r"))
	}()
	err = v.Interact(t.Context(), Terminal{In: keys, Out: out, Name: "xterm-256color", Resized: resized, Size: func() (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return rows, 101
	}})
	if err != nil {
		t.Fatal(err)
	}
	if out.shows("Linux version") || !strings.Contains(v.Console(), "Linux version") {
		t.Errorf("the terminal showed %q, want nothing of the boot, which the console has", out.text.String())
	}
}

// TestShellShowsWhyThereIsNone: a guest that does not come up says so.
func TestShellShowsWhyThereIsNone(t *testing.T) {
	x := vmExperiment(t)
	var o VMOptions
	o.Cmdline = "rdinit=/bin/false"
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	out := &screen{}
	keys, typist := io.Pipe()
	defer typist.Close()
	err = v.Interact(t.Context(), Terminal{In: keys, Out: out})
	if ClassOf(err) != ClassBoot || out.text.Len() > 0 {
		t.Errorf("Interact() of a guest that panics = %v, class %v, with %q shown; want a boot error and nothing", err, ClassOf(err), out.text.String())
	}
}
