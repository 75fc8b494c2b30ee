package proto

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// A Source gives the frames that follow a request: kinds and payloads of at
// most ChunkSize, then io.EOF. A payload may be reused by the next call.
type Source interface {
	Next() (Kind, []byte, error)
}

// A Sink takes the tree of a Pull. An error ends the request with it.
type Sink interface {
	Entry(Entry) error
	// Extent brings bytes of the latest Entry, which is a regular file, within
	// its size.
	Extent(offset uint64, data []byte) error
}

// Data is the source of Data frames from a reader.
func Data(r io.Reader) Source { return &dataSource{r: r, buf: make([]byte, ChunkSize)} }

type dataSource struct {
	r   io.Reader
	buf []byte
}

func (d *dataSource) Next() (Kind, []byte, error) {
	n, err := io.ReadFull(d.r, d.buf)
	if err == io.ErrUnexpectedEOF {
		err = nil
	}
	return KindData, d.buf[:n], err
}

var errNoFiles = errors.New("the host has no files of the guest's image")

// A stream is a source whose frames are on their way to the agent.
type stream struct {
	id          uint32
	source      Source
	sent, acked uint64 // bytes of payload
}

func (c *Client) startStream(id uint32, s Source) {
	if s == nil {
		s = Data(bytes.NewReader(nil))
	}
	c.streams = append(c.streams, &stream{id: id, source: s})
}

func (c *Client) endStream(id uint32) {
	c.streams = slices.DeleteFunc(c.streams, func(s *stream) bool { return s.id == id })
}

// Outgoing returns what is due for the guest: as much of every stream as its
// window has room for. It is to be called after Start and Feed.
func (c *Client) Outgoing() []byte {
	b := c.answers
	c.answers = nil
	for _, s := range slices.Clone(c.streams) {
		b = c.fill(b, s)
	}
	return b
}

func (c *Client) fill(b []byte, s *stream) []byte {
	for s.sent < s.acked+Window {
		kind, payload, err := s.source.Next()
		switch {
		case err == io.EOF:
			c.endStream(s.id)
			return AppendFrame(b, s.id, KindEnd, nil)
		case err != nil:
			c.endStream(s.id)
			if s.id&FetchID != 0 {
				return appendError(b, s.id, err)
			}
			if k := c.calls[s.id]; k != nil {
				k.over = err
			}
			return AppendFrame(b, s.id, KindCancel, nil)
		}
		b = AppendFrame(b, s.id, kind, payload)
		s.sent += uint64(len(payload))
	}
	return b
}

func appendError(b []byte, id uint32, err error) []byte {
	text := err.Error()
	return AppendFrame(b, id, KindError, []byte(text[:min(len(text), 4096)]))
}

// fetch answers the agent's request for a file.
func (c *Client) fetch(f Frame) {
	name := string(f.Payload)
	if c.Files == nil {
		c.answers = appendError(c.answers, f.ID, errNoFiles)
		return
	}
	r, err := c.Files(name)
	if err != nil {
		c.answers = appendError(c.answers, f.ID, err)
		return
	}
	c.startStream(f.ID, Data(r))
}

// ack moves a stream's window.
func (c *Client) ack(f Frame) error {
	n, err := DecodeAck(f.Payload)
	if err != nil {
		return err
	}
	for _, s := range c.streams {
		if s.id == f.ID {
			s.acked = min(max(s.acked, n), s.sent)
		}
	}
	return nil
}
