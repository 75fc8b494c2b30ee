// Package proto frames what nvlab and its agent in a guest say to each other
// over a byte stream.
//
// A frame is a 12-byte header and a payload. All integers are little-endian:
//
//	offset 0  uint32  length of the payload, at most MaxPayload
//	offset 4  uint32  id of the request it belongs to; 0 for Hello
//	offset 8  uint8   kind
//	offset 9  [3]byte zero
//
// The agent speaks first, with one Hello, before which it only fetches files. The host then sends requests, each
// under an id of its own, and may have several under way. A request begins
// with Run, ReadFile, WriteFile, Push, Pull, Ping, Poweroff or Reboot; Run and
// WriteFile are followed by Data frames and one End (standard input; the
// file), Push by Entry and Extent frames and one End (a tree). The agent
// answers with any number of Stdout, Stderr, Data, Entry or Extent frames and
// then exactly one final frame: Exit for Run, OK for the rest, or Error. A
// stream that ends earlier is an error.
//
// The agent asks the host for a file of the guest's image with Fetch, under an
// id with FetchID set, and gets Data frames and an End, or an Error.
//
// No more than Window bytes of payload that follow a request, or answer a
// Fetch, are under way to the agent: it says with Ack how many it has taken.
package proto

import (
	"encoding/binary"
	"fmt"
)

// Version is what Hello carries; both sides must have the same.
const Version = 2

// PortName names the virtio-console port that carries the stream.
const PortName = "nvlab.agent"

const (
	headerSize = 12
	// MaxPayload bounds a frame's payload, in bytes.
	MaxPayload = 1 << 20
	// ChunkSize is the payload of a full Data, Stdout or Stderr frame: with
	// its header it fits the 32 KiB that Linux's virtio_console takes at once.
	ChunkSize = 32<<10 - headerSize
	// Window bounds what the agent has to hold of a stream, in bytes.
	Window = 1 << 20
	// FetchID marks the ids of the agent's own requests.
	FetchID = 1 << 31
)

// Kind is the type of a frame.
type Kind uint8

// The kinds. Their numbers are part of the protocol.
const (
	KindHello Kind = iota + 1
	KindRun
	KindReadFile
	KindWriteFile
	KindPing
	KindPoweroff
	KindReboot
	KindCancel
	KindData
	KindEnd
	KindStdout
	KindStderr
	KindExit
	KindOK
	KindError
	KindPush
	KindPull
	KindEntry
	KindExtent
	KindFetch
	KindAck
	kindLimit
)

var kindNames = [...]string{
	KindHello: "hello", KindRun: "run", KindReadFile: "read-file", KindWriteFile: "write-file",
	KindPing: "ping", KindPoweroff: "poweroff", KindReboot: "reboot", KindCancel: "cancel",
	KindData: "data", KindEnd: "end", KindStdout: "stdout", KindStderr: "stderr",
	KindExit: "exit", KindOK: "ok", KindError: "error",
	KindPush: "push", KindPull: "pull", KindEntry: "entry", KindExtent: "extent", KindFetch: "fetch", KindAck: "ack",
}

func (k Kind) String() string {
	if k > 0 && k < kindLimit {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Final reports whether a frame of this kind ends its request.
func (k Kind) Final() bool { return k == KindExit || k == KindOK || k == KindError }

// Frame is one message. Payload is valid until the next call to the Decoder
// that returned it.
type Frame struct {
	ID      uint32
	Kind    Kind
	Payload []byte
}

// AppendFrame appends the frame to b. The payload must not exceed MaxPayload.
func AppendFrame(b []byte, id uint32, kind Kind, payload []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, id)
	b = append(b, byte(kind), 0, 0, 0)
	return append(b, payload...)
}

// AppendChunks appends data as frames of at most ChunkSize, and none if data
// is empty.
func AppendChunks(b []byte, id uint32, kind Kind, data []byte) []byte {
	for len(data) > 0 {
		n := min(len(data), ChunkSize)
		b = AppendFrame(b, id, kind, data[:n])
		data = data[n:]
	}
	return b
}

// Decoder cuts a byte stream into frames. It holds at most one frame that is
// not whole yet, besides what a single Feed brought.
type Decoder struct {
	buf []byte
	off int
	err error
}

// Feed adds bytes of the stream. It keeps no reference to b.
func (d *Decoder) Feed(b []byte) {
	if d.off > 0 {
		d.buf = d.buf[:copy(d.buf, d.buf[d.off:])]
		d.off = 0
	}
	d.buf = append(d.buf, b...)
}

// clone returns a decoder of a stream that goes on like this one.
func (d *Decoder) clone() Decoder {
	return Decoder{buf: append([]byte(nil), d.buf[d.off:]...), err: d.err}
}

// Next returns the next whole frame, or false when more bytes are needed. An
// error is final: the stream is out of step.
func (d *Decoder) Next() (Frame, bool, error) {
	if d.err != nil {
		return Frame{}, false, d.err
	}
	b := d.buf[d.off:]
	if len(b) < headerSize {
		return Frame{}, false, nil
	}
	n := binary.LittleEndian.Uint32(b)
	kind := Kind(b[8])
	switch {
	case n > MaxPayload:
		d.err = fmt.Errorf("frame of %d bytes; at most %d are allowed", n, MaxPayload)
	case kind == 0 || kind >= kindLimit:
		d.err = fmt.Errorf("frame of unknown kind %d; 1 to %d are known", b[8], kindLimit-1)
	case b[9]|b[10]|b[11] != 0:
		d.err = fmt.Errorf("frame header ends in % x; must be zero", b[9:12])
	}
	if d.err != nil {
		d.buf, d.off = nil, 0
		return Frame{}, false, d.err
	}
	end := headerSize + int(n)
	if len(b) < end {
		return Frame{}, false, nil
	}
	d.off += end
	return Frame{ID: binary.LittleEndian.Uint32(b[4:]), Kind: kind, Payload: b[headerSize:end:end]}, true, nil
}

// Partial reports whether the stream so far ends within a frame.
func (d *Decoder) Partial() bool { return d.err == nil && len(d.buf) > d.off }
