package lsp

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"sync"
)

// maxMessage bounds a message, in bytes.
const maxMessage = 16 << 20

// A message is one of JSON-RPC 2.0: a request has an id and a method, a
// notification a method, a response an id.
type message struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  any             `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
}

// An rpcError is an error with a code of JSON-RPC's or of the protocol's.
type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *rpcError) Error() string { return e.Message }

const (
	codeInvalidRequest = -32600
	codeNoMethod       = -32601
	codeInvalidParams  = -32602
	codeNotInitialized = -32002
)

// A conn carries messages, each behind a header with its length (LSP 3.17, "Base
// Protocol").
type conn struct {
	r *bufio.Reader

	mu sync.Mutex
	w  io.Writer
}

// read returns io.EOF where the stream ends between two messages.
func (c *conn) read() (*message, error) {
	header, err := textproto.NewReader(c.r).ReadMIMEHeader()
	if err != nil {
		if err == io.EOF && len(header) == 0 {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("a message's header: %w", err)
	}
	length := header.Get("Content-Length")
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 || n > maxMessage {
		return nil, fmt.Errorf("a message's header: Content-Length: %q: want a number of bytes, at most %d", length, maxMessage)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return nil, fmt.Errorf("a message of %d bytes: %w", n, err)
	}
	m := new(message)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, &rpcError{codeInvalidRequest, err.Error()}
	}
	return m, nil
}

func (c *conn) write(m *message) error {
	m.Version = "2.0"
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = fmt.Fprintf(c.w, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return err
}

// respond answers a request.
func (c *conn) respond(id json.RawMessage, result any, err error) error {
	m := &message{ID: id, Result: result}
	var e *rpcError
	switch {
	case err == nil && result == nil:
		m.Result = json.RawMessage("null")
	case errors.As(err, &e):
		m.Result, m.Error = nil, e
	case err != nil:
		m.Result, m.Error = nil, &rpcError{codeInvalidParams, err.Error()}
	}
	return c.write(m)
}
