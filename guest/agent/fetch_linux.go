package agent

import (
	"errors"
	"fmt"
	"io"

	"nvlab/guest/proto"
)

// fetch asks the host for a file of the image and gives its bytes to take.
func (s *server) fetch(name string, take func([]byte) error) error {
	s.mu.Lock()
	s.fetched++
	id := uint32(proto.FetchID) | s.fetched
	in := newInbox(func(taken uint64) { s.write(id, proto.KindAck, proto.EncodeAck(taken)) })
	s.fetches[id] = in
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.fetches, id)
		s.mu.Unlock()
	}()
	s.write(id, proto.KindFetch, []byte(name))
	var broken error
	for {
		p, err := in.take()
		switch {
		case err == io.EOF:
			return broken
		case err != nil:
			return fmt.Errorf("the host does not give it: %w", err)
		case broken == nil:
			broken = take(p.data)
		}
	}
}

// answer takes a frame that belongs to a fetch.
func (s *server) answer(f proto.Frame) {
	s.mu.Lock()
	in := s.fetches[f.ID]
	s.mu.Unlock()
	if in == nil {
		return
	}
	switch f.Kind {
	case proto.KindData:
		in.put(f.Kind, f.Payload)
	case proto.KindEnd:
		in.close(nil)
	case proto.KindError:
		in.close(errors.New(string(f.Payload)))
	}
}

// write sends a frame.
func (s *server) write(id uint32, kind proto.Kind, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = proto.AppendFrame(s.out[:0], id, kind, payload)
	if _, err := s.rw.Write(s.out); err != nil {
		report(fmt.Errorf("cannot write to the host: %w", err))
	}
}
