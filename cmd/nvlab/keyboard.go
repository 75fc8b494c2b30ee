package main

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// A keyboard is an input that several read in turn. Who gives up waiting leaves what
// comes later to the next.
type keyboard struct {
	in io.Reader

	mu      sync.Mutex
	waiting chan reading // of the read of in that is under way, nil if none is
	rest    []byte       // read, and not yet given to anybody
}

type reading struct {
	data []byte
	err  error
}

// errOver is of a reader whose time is over.
var errOver = errors.New("the input is another reader's now")

// lines is a reader that gets a line at a time, or what is there of it, so that it
// cannot read ahead of what it uses.
func (k *keyboard) lines() io.Reader { return &turn{k: k, lines: true} }

// until is a reader that gets nothing more once over is closed.
func (k *keyboard) until(over <-chan struct{}) io.Reader { return &turn{k: k, over: over} }

// A turn is what one of the readers reads by.
type turn struct {
	k     *keyboard
	lines bool
	over  <-chan struct{} // nil: it never is
}

func (t *turn) Read(p []byte) (int, error) {
	k := t.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.rest) == 0 {
		if k.waiting == nil {
			k.waiting = make(chan reading, 1)
			go read(k.in, k.waiting)
		}
		select {
		case r := <-k.waiting:
			k.waiting, k.rest = nil, r.data
			if len(r.data) == 0 {
				return 0, r.err
			}
		case <-t.over:
			return 0, errOver
		}
	}
	select {
	case <-t.over:
		return 0, errOver
	default:
	}
	n := len(k.rest)
	if i := bytes.IndexAny(k.rest, "\r\n"); t.lines && i >= 0 {
		n = i + 1
	}
	n = copy(p, k.rest[:n])
	k.rest = k.rest[n:]
	return n, nil
}

// read reads once. An error that comes with data comes again.
func read(in io.Reader, to chan<- reading) {
	buf := make([]byte, 1<<10)
	n, err := in.Read(buf)
	to <- reading{buf[:n], err}
}
