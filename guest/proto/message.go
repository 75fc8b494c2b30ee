package proto

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// helloMagic opens a Hello's payload.
const helloMagic = "nvlab-agent"

// Hello is the agent's first message.
type Hello struct {
	Version uint32
	Release string   // uname -r
	Notes   []string // what went wrong on the way up, such as a module that did not load
}

// Run asks for a process. Its standard input follows in Data frames.
type Run struct {
	Argv []string // at least one; found in PATH if it has no slash
	Env  []string // added to the agent's own, as NAME=value
	Dir  string   // working directory; "" is /
}

// Exit tells how a Run ended.
type Exit struct {
	Code   int // exit status; -1 if a signal ended it
	Signal int // 0 if none did
}

// WriteFile asks for a file to be made or replaced. Its content follows in
// Data frames.
type WriteFile struct {
	Path string
	Mode uint32 // permission bits
}

// A payload is a sequence of fields: a uvarint, or a string as its uvarint
// length and bytes, or a list as its uvarint length and strings.

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendStrings(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// A fieldReader takes a payload apart. After the first error all it returns is
// zero.
type fieldReader struct {
	b   []byte
	err error
}

func (r *fieldReader) uint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if r.err == nil && (n <= 0 || v > limit) {
		r.err = fmt.Errorf("bad number, %d bytes before the end", len(r.b))
	}
	if r.err != nil {
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *fieldReader) string() string {
	n := r.uint(uint64(len(r.b)))
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = fmt.Errorf("string of %d bytes with %d left", n, len(r.b))
	}
	if r.err != nil {
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *fieldReader) strings() []string {
	n := r.uint(uint64(len(r.b))) // each takes a byte or more
	if r.err != nil || n == 0 {
		return nil
	}
	var list []string
	for range n {
		list = append(list, r.string())
		if r.err != nil {
			return nil
		}
	}
	return list
}

func (r *fieldReader) end(kind Kind) error {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes after the last field", len(r.b))
	}
	if r.err != nil {
		return fmt.Errorf("%v frame: %w", kind, r.err)
	}
	return nil
}

// Encode returns the payload.
func (h Hello) Encode() []byte {
	b := binary.AppendUvarint([]byte(helloMagic), uint64(h.Version))
	b = appendString(b, h.Release)
	return appendStrings(b, h.Notes)
}

// DecodeHello parses a Hello's payload. Of another version it reads no more
// than the number.
func DecodeHello(p []byte) (Hello, error) {
	if len(p) < len(helloMagic) || string(p[:len(helloMagic)]) != helloMagic {
		return Hello{}, errors.New("the stream does not begin with an agent's hello")
	}
	r := fieldReader{b: p[len(helloMagic):]}
	h := Hello{Version: uint32(r.uint(math.MaxUint32))}
	if r.err == nil && h.Version != Version {
		return h, fmt.Errorf("the agent speaks protocol version %d, nvlab %d: build the guest's agent from the same nvlab", h.Version, Version)
	}
	h.Release = r.string()
	h.Notes = r.strings()
	return h, r.end(KindHello)
}

// Encode returns the payload.
func (m Run) Encode() []byte {
	b := appendStrings(nil, m.Argv)
	b = appendStrings(b, m.Env)
	return appendString(b, m.Dir)
}

// DecodeRun parses a Run's payload.
func DecodeRun(p []byte) (Run, error) {
	r := fieldReader{b: p}
	m := Run{Argv: r.strings(), Env: r.strings(), Dir: r.string()}
	err := r.end(KindRun)
	if err == nil && len(m.Argv) == 0 {
		err = errors.New("run frame: no command")
	}
	return m, err
}

// Encode returns the payload.
func (m Exit) Encode() []byte {
	b := binary.AppendUvarint(nil, uint64(m.Code+1))
	return binary.AppendUvarint(b, uint64(m.Signal))
}

// DecodeExit parses an Exit's payload.
func DecodeExit(p []byte) (Exit, error) {
	r := fieldReader{b: p}
	m := Exit{Code: int(r.uint(256)) - 1, Signal: int(r.uint(127))}
	err := r.end(KindExit)
	if err == nil && (m.Code == -1) != (m.Signal != 0) {
		err = fmt.Errorf("exit frame: status %d with signal %d", m.Code, m.Signal)
	}
	return m, err
}

// Encode returns the payload.
func (m WriteFile) Encode() []byte {
	b := appendString(nil, m.Path)
	return binary.AppendUvarint(b, uint64(m.Mode))
}

// DecodeWriteFile parses a WriteFile's payload.
func DecodeWriteFile(p []byte) (WriteFile, error) {
	r := fieldReader{b: p}
	m := WriteFile{Path: r.string(), Mode: uint32(r.uint(0o7777))}
	return m, r.end(KindWriteFile)
}

// Encode returns the payload.
func (e Entry) Encode() []byte {
	b := appendString(nil, e.Path)
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendUvarint(b, e.Size)
	return appendString(b, e.Link)
}

// DecodeEntry parses an Entry's payload. What it accepts lies within its tree:
// see Entry.
func DecodeEntry(p []byte) (Entry, error) {
	r := fieldReader{b: p}
	e := Entry{Path: r.string(), Mode: uint32(r.uint(math.MaxUint32)), Size: r.uint(maxFile), Link: r.string()}
	if err := r.end(KindEntry); err != nil {
		return Entry{}, err
	}
	return e, e.check()
}

// AppendExtent appends the payload of an Extent: where in the latest Entry's
// file the bytes belong, and the bytes.
func AppendExtent(b []byte, offset uint64, data []byte) []byte {
	return append(binary.AppendUvarint(b, offset), data...)
}

// DecodeExtent parses an Extent's payload.
func DecodeExtent(p []byte) (offset uint64, data []byte, err error) {
	offset, n := binary.Uvarint(p)
	if n <= 0 || offset > maxFile || offset+uint64(len(p)-n) > maxFile {
		return 0, nil, errors.New("extent frame: no place in a file")
	}
	return offset, p[n:], nil
}

// EncodeAck returns the payload of an Ack: the bytes taken so far.
func EncodeAck(taken uint64) []byte { return binary.AppendUvarint(nil, taken) }

// DecodeAck parses an Ack's payload.
func DecodeAck(p []byte) (uint64, error) {
	r := fieldReader{b: p}
	n := r.uint(math.MaxInt64)
	return n, r.end(KindAck)
}
