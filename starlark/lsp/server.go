// Package lsp is a server of the Language Server Protocol for scenarios:
// completion, signatures, hover, definitions, symbols, layout and diagnostics, by
// what nvlab doc goes by.
package lsp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A Server serves one editor.
type Server struct {
	conn        *conn
	documents   map[string]*document // by path
	initialized bool
	shutDown    bool
}

// Serve answers an editor's messages until it says exit, or ends the stream. It
// is an error if the editor did not ask to shut down before, or sends what is no
// message.
func Serve(ctx context.Context, r io.Reader, w io.Writer) error {
	s := &Server{conn: &conn{r: bufio.NewReader(r), w: w}, documents: map[string]*document{}}
	for ctx.Err() == nil {
		m, err := s.conn.read()
		var bad *rpcError
		switch {
		case err == io.EOF || err == nil && m.Method == "exit":
			if !s.shutDown {
				return errors.New("the editor went away without a shutdown")
			}
			return nil
		case errors.As(err, &bad):
			err = s.conn.respond(json.RawMessage("null"), nil, bad)
		case err == nil:
			err = s.handle(m)
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// handle answers one message. The error is the stream's.
func (s *Server) handle(m *message) (lost error) {
	if m.Method == "" {
		return nil // a response, to nothing that was asked
	}
	var result any
	err := func() (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = &rpcError{-32603, fmt.Sprintf("a bug in nvlab: %v", v)}
			}
		}()
		result, err = s.answer(m)
		return err
	}()
	if m.ID == nil {
		return nil // a notification has no answer
	}
	return s.conn.respond(m.ID, result, err)
}

func (s *Server) answer(m *message) (any, error) {
	switch {
	case m.Method == "initialize":
		s.initialized = true
		return capabilities, nil
	case !s.initialized:
		return nil, &rpcError{codeNotInitialized, "the first request is initialize"}
	case s.shutDown:
		return nil, &rpcError{codeInvalidRequest, "after shutdown there is only exit"}
	}
	switch m.Method {
	case "shutdown":
		s.shutDown = true
		return nil, nil
	case "textDocument/didOpen":
		return s.with(m, func(d *document, r request) (any, error) {
			return nil, s.open(r.TextDocument.URI, r.TextDocument.Text)
		})
	case "textDocument/didChange":
		var p didChange
		if err := json.Unmarshal(m.Params, &p); err != nil {
			return nil, err
		}
		if n := len(p.ContentChanges); n > 0 {
			return nil, s.open(p.TextDocument.URI, p.ContentChanges[n-1].Text)
		}
		return nil, nil
	case "textDocument/didClose":
		return s.with(m, func(d *document, r request) (any, error) {
			delete(s.documents, pathOf(r.TextDocument.URI))
			return nil, s.publish(r.TextDocument.URI, []diagnostic{})
		})
	case "textDocument/completion":
		return s.in(m, (*query).completions)
	case "textDocument/signatureHelp":
		return s.in(m, (*query).signatures)
	case "textDocument/hover":
		return s.in(m, (*query).hover)
	case "textDocument/definition":
		return s.in(m, (*query).definition)
	case "textDocument/documentSymbol":
		return s.in(m, (*query).symbols)
	case "textDocument/formatting":
		return s.in(m, (*query).layout)
	}
	return nil, &rpcError{codeNoMethod, "there is no method " + m.Method}
}

func (s *Server) with(m *message, f func(*document, request) (any, error)) (any, error) {
	var r request
	if err := json.Unmarshal(m.Params, &r); err != nil {
		return nil, err
	}
	return f(s.documents[pathOf(r.TextDocument.URI)], r)
}

// A query is a request about a place in a document that is open.
type query struct {
	s  *Server
	d  *document
	at position
}

// newQuery takes a place that is none for the nearest one.
func newQuery(s *Server, d *document, at position) *query {
	at.Line = min(max(at.Line, 0), len(d.lines)-1)
	at.Character = max(at.Character, 0)
	return &query{s, d, at}
}

func (s *Server) in(m *message, f func(*query) (any, error)) (any, error) {
	return s.with(m, func(d *document, r request) (any, error) {
		if d == nil {
			return nil, fmt.Errorf("%s is not open", r.TextDocument.URI)
		}
		return f(newQuery(s, d, r.Position))
	})
}

// open takes a document's text, and tells what is wrong with it.
func (s *Server) open(uri, text string) error {
	path := pathOf(uri)
	d := newDocument(path, text, s.documents[path])
	s.documents[path] = d
	return s.publish(uri, s.diagnose(d))
}

func (s *Server) publish(uri string, list []diagnostic) error {
	params, err := json.Marshal(publishDiagnostics{uri, list})
	if err != nil {
		return err
	}
	return s.conn.write(&message{Method: "textDocument/publishDiagnostics", Params: params})
}
