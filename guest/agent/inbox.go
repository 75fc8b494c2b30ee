package agent

import (
	"io"
	"sync"

	"nvlab/guest/proto"
)

// inbox holds the frames of a stream until someone takes them, so that a
// process that does not read its standard input never stops the channel. The
// host sends no more than a window of them ahead.
type inbox struct {
	took func(taken uint64) // tells the host

	mu    sync.Mutex
	more  sync.Cond
	parts []part
	taken uint64
	ended bool
	err   error
}

// A part is a frame's kind and payload.
type part struct {
	kind proto.Kind
	data []byte
}

func newInbox(took func(taken uint64)) *inbox {
	b := &inbox{took: took}
	b.more.L = &b.mu
	return b
}

// put keeps a copy of p.
func (b *inbox) put(kind proto.Kind, p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.parts = append(b.parts, part{kind, append([]byte(nil), p...)})
		b.more.Signal()
	}
}

// close says that there is no more input, because of an error if err is one.
func (b *inbox) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.ended, b.err = true, err
	}
	b.more.Broadcast()
}

// take waits for a frame, or returns io.EOF or the error at the end.
func (b *inbox) take() (part, error) {
	b.mu.Lock()
	for len(b.parts) == 0 {
		if b.ended {
			err := b.err
			b.mu.Unlock()
			if err == nil {
				err = io.EOF
			}
			return part{}, err
		}
		b.more.Wait()
	}
	p := b.parts[0]
	b.parts = b.parts[1:]
	before := b.taken
	b.taken += uint64(len(p.data))
	taken := b.taken
	b.mu.Unlock()
	// A quarter of the window at a time keeps the channel busy and answers few.
	if step := uint64(proto.Window / 4); before/step != taken/step {
		b.took(taken)
	}
	return p, nil
}
