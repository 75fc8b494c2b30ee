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

	deferred *deferred  // nil: there are no such files
	ended    chan error // of serve

	mu      sync.Mutex // of writes to rw, and of what is below
	out     []byte
	open    map[uint32]*request
	fetches map[uint32]*inbox // the agent's own requests
	fetched uint32            // of them so far
}

// request is one that is under way.
type request struct {
	s      *server
	id     uint32
	in     *inbox // standard input or the file's content; nil if it takes none
	cancel func() // nil: the answer is cut short
}

func newServer(rw io.ReadWriter, procs *processes) *server {
	return &server{rw: rw, procs: procs, open: map[uint32]*request{}, fetches: map[uint32]*inbox{}}
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

// receives makes a request one that a stream follows.
func (r *request) receives() *inbox {
	in := newInbox(func(taken uint64) { r.send(proto.KindAck, proto.EncodeAck(taken)) })
	r.s.mu.Lock()
	r.in = in
	r.s.mu.Unlock()
	return in
}

func (s *server) frame(f proto.Frame) {
	if f.ID&proto.FetchID != 0 {
		s.answer(f)
		return
	}
	s.mu.Lock()
	r := s.open[f.ID]
	s.mu.Unlock()
	switch f.Kind {
	case proto.KindData, proto.KindEntry, proto.KindExtent:
		// Input of a request that has ended meanwhile is dropped.
		if r != nil && r.in != nil {
			r.in.put(f.Kind, f.Payload)
		}
		return
	case proto.KindEnd:
		if r != nil && r.in != nil {
			r.in.close(nil)
		}
		return
	case proto.KindCancel:
		if r != nil && r.cancel != nil {
			r.cancel()
		} else if r != nil {
			if r.in != nil {
				r.in.close(errCancelled)
			}
			r.fail(errCancelled)
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
		k := &killer{}
		in := r.receives()
		s.mu.Lock()
		r.cancel = k.kill
		s.mu.Unlock()
		go s.run(r, m, in, k) // the program may have to come from the host first
	case proto.KindReadFile:
		name := string(f.Payload)
		go func() { r.finish(readFile(r, name)) }()
	case proto.KindPull:
		name := string(f.Payload)
		go func() { r.finish(pull(r, name)) }()
	case proto.KindPush:
		name, in := string(f.Payload), r.receives()
		go func() { r.finish(push(in, name)) }()
	case proto.KindWriteFile:
		m, err := proto.DecodeWriteFile(f.Payload)
		if err != nil {
			r.fail(err)
			return
		}
		in := r.receives()
		go func() { r.finish(writeFile(s.deferred, in, m)) }()
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
	if err := r.s.deferred.ensure(name); err != nil {
		return err
	}
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

func writeFile(d *deferred, in *inbox, m proto.WriteFile) error {
	if err := d.ensure(m.Path); err != nil {
		return err
	}
	f, err := os.OpenFile(m.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, os.FileMode(m.Mode&0o777))
	if err != nil {
		return err
	}
	w := newMemoryFile(f)
	for {
		p, err := in.take()
		if err == io.EOF {
			break
		}
		if err == nil {
			_, err = w.Write(p.data)
		}
		if err != nil {
			f.Close()
			if w.inMemory {
				os.Truncate(m.Path, 0) // half a file is of no use, and memory is short
			}
			return fmt.Errorf("writing %s: %w", m.Path, err)
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
