package run

import (
	"bytes"
	"cmp"
	"io"
	"sync"
)

// A sequence lets parallel tests write to one stream: each has a place, and
// what it writes appears in the order of the places. The first that has not
// finished writes through. Unordered, all write through, each write whole.
type sequence struct {
	mu        sync.Mutex
	out       io.Writer
	unordered bool
	places    []place
	next      int // the place that writes through
}

type place struct {
	held bytes.Buffer
	done bool
}

// at is the writer of a place.
func (s *sequence) at(i int) io.Writer { return placeWriter{s, i} }

type placeWriter struct {
	s *sequence
	i int
}

func (w placeWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.unordered || w.i <= w.s.next {
		return w.s.out.Write(p)
	}
	return w.s.places[w.i].held.Write(p)
}

// finish says that a place writes no more.
func (s *sequence) finish(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places[i].done = true
	for s.next < len(s.places) && s.places[s.next].done {
		s.next++
		if s.next < len(s.places) {
			s.places[s.next].held.WriteTo(s.out)
		}
	}
}

// A checkedWriter keeps the first error of its writes, so that a report that
// was lost is not taken for one that says nothing.
type checkedWriter struct {
	w     io.Writer
	mu    sync.Mutex
	first error
}

func (c *checkedWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first = cmp.Or(c.first, err)
	return n, err
}

func (c *checkedWriter) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}
