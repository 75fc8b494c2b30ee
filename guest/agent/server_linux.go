package agent

import (
	"fmt"
	"io"
	"os"
	"sync"

	"nvlab/guest/proto"
)

// server answers requests on one stream.
type server struct {
	rw       io.ReadWriter
	procs    *processes
	shutdown func(reboot bool, answer func()) error

	mu   sync.Mutex // of writes to rw, and of what is below
	out  []byte
	open map[uint32]*request
}

// request is one that is under way.
type request struct {
	s      *server
	id     uint32
	in     *inbox // standard input or the file's content; nil if it takes none
	cancel func() // nil: the answer is cut short
}

func newServer(rw io.ReadWriter, procs *processes) *server {
	return &server{rw: rw, procs: procs, open: map[uint32]*request{}}
}

func (s *server) hello(release string, notes []string) error {
	h := proto.Hello{Version: proto.Version, Release: release, Notes: notes}
	_, err := s.rw.Write(proto.AppendFrame(nil, 0, proto.KindHello, h.Encode()))
	return err
}

// serve returns when the stream ends or breaks.
func (s *server) serve() error {
	var dec proto.Decoder
	buf := make([]byte, 64<<10)
	for {
		n, err := s.rw.Read(buf)
		if err != nil {
			return fmt.Errorf("the host's stream ended: %w", err)
		}
		dec.Feed(buf[:n])
		for {
			f, ok, err := dec.Next()
			if err != nil {
				return fmt.Errorf("the host broke the protocol: %w", err)
			}
			if !ok {
				break
			}
			s.frame(f)
		}
	}
}

// send writes a frame of a request that is under way; a final one ends it. It
// returns false if the request has ended already.
func (r *request) send(kind proto.Kind, payload []byte) bool {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[r.id] != r {
		return false
	}
	if kind.Final() {
		delete(s.open, r.id)
	}
	s.out = proto.AppendFrame(s.out[:0], r.id, kind, payload)
	if _, err := s.rw.Write(s.out); err != nil {
		report(fmt.Errorf("cannot answer: %w", err))
	}
	return true
}

func (r *request) fail(err error) {
	text := err.Error()
	r.send(proto.KindError, []byte(text[:min(len(text), 4096)]))
}

// finish ends a request that has no result but success.
func (r *request) finish(err error) {
	if err != nil {
		r.fail(err)
		return
	}
	r.send(proto.KindOK, nil)
}

func (s *server) frame(f proto.Frame) {
	s.mu.Lock()
	r := s.open[f.ID]
	s.mu.Unlock()
	switch f.Kind {
	case proto.KindData:
		// Input of a request that has ended meanwhile is dropped.
		if r != nil && r.in != nil {
			r.in.put(f.Payload)
		}
		return
	case proto.KindEnd:
		if r != nil && r.in != nil {
			r.in.close()
		}
		return
	case proto.KindCancel:
		if r != nil && r.cancel != nil {
			r.cancel()
		} else if r != nil {
			r.fail(fmt.Errorf("cancelled"))
		}
		return
	}
	if r != nil {
		r.fail(fmt.Errorf("a %v frame under the id of another request", f.Kind))
		return
	}
	r = &request{s: s, id: f.ID}
	s.mu.Lock()
	s.open[f.ID] = r
	s.mu.Unlock()
	s.begin(r, f)
}

func (s *server) begin(r *request, f proto.Frame) {
	switch f.Kind {
	case proto.KindPing:
		r.finish(nil)
	case proto.KindRun:
		m, err := proto.DecodeRun(f.Payload)
		if err != nil {
			r.fail(err)
			return
		}
		s.run(r, m)
	case proto.KindReadFile:
		name := string(f.Payload)
		go func() { r.finish(readFile(r, name)) }()
	case proto.KindWriteFile:
		m, err := proto.DecodeWriteFile(f.Payload)
		if err != nil {
			r.fail(err)
			return
		}
		r.in = newInbox()
		go func() { r.finish(writeFile(r.in, m)) }()
	case proto.KindPoweroff, proto.KindReboot:
		go func() {
			if err := s.shutdown(f.Kind == proto.KindReboot, func() { r.finish(nil) }); err != nil {
				r.fail(err)
				report(err)
			}
		}()
	default:
		r.fail(fmt.Errorf("a %v frame is no request", f.Kind))
	}
}

func readFile(r *request, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, proto.ChunkSize)
	for {
		n, err := f.Read(buf)
		if n > 0 && !r.send(proto.KindData, buf[:n]) {
			return nil // cancelled: the file may have no end
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func writeFile(in *inbox, m proto.WriteFile) error {
	f, err := os.OpenFile(m.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, os.FileMode(m.Mode&0o777))
	if err != nil {
		return err
	}
	for {
		b, ok := in.take()
		if !ok {
			break
		}
		if _, err := f.Write(b); err != nil {
			f.Close()
			return err
		}
	}
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		if err := f.Chmod(os.FileMode(m.Mode & 0o777)); err != nil {
			f.Close()
			return err
		}
	}
	return f.Close()
}

// inbox holds input until someone takes it, so that a process that does not
// read its standard input never stops the stream.
type inbox struct {
	mu     sync.Mutex
	more   sync.Cond
	data   []byte
	closed bool
}

func newInbox() *inbox {
	b := &inbox{}
	b.more.L = &b.mu
	return b
}

func (b *inbox) put(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.data = append(b.data, p...)
		b.more.Signal()
	}
}

// close says that there is no more input.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.more.Broadcast()
}

// take waits for input and returns all there is, or false at its end.
func (b *inbox) take() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.data) == 0 {
		if b.closed {
			return nil, false
		}
		b.more.Wait()
	}
	p := b.data
	b.data = nil
	return p, true
}
