package proto

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// DefaultLimit is how many bytes of output or file content one request may
// bring back.
const DefaultLimit = 256 << 20

// ErrStreamEnded says that the guest went away (it was powered off, panicked
// or was killed) before it answered a request to its end.
var ErrStreamEnded = errors.New("the guest's stream ended before the answer did")

// RemoteError is an error that the agent reports: the guest works, the request
// failed.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return e.Text }

// Request is one of *Command, ReadPath, WritePath, Push, Pull, Ping, Poweroff
// and Reboot.
type Request interface {
	appendTo(b []byte, id uint32) ([]byte, error)
	// stream is what follows the request, if anything does.
	stream() (Source, bool)
	// final is the kind that ends a successful answer.
	final() Kind
}

// Command runs a process to its end.
type Command struct {
	Run
	Stdin []byte // nil and empty alike: end of file at once
}

// Shell returns a Command that runs text under sh -c.
func Shell(text string) *Command {
	return &Command{Run: Run{Argv: []string{"sh", "-c", text}}}
}

// ReadPath reads a whole file.
type ReadPath struct{ Path string }

// WritePath makes or replaces a whole file.
type WritePath struct {
	Path string
	Mode uint32 // permission bits; 0 means 0644
	Data []byte
}

// Push makes a tree in the guest at Path.
type Push struct {
	Path string
	Tree Source
}

// Pull brings a tree of the guest to a sink.
type Pull struct {
	Path string
	Tree Sink
}

// Ping asks for an answer, nothing else.
type Ping struct{}

// Poweroff ends all processes, unmounts, answers, and powers off.
type Poweroff struct{}

// Reboot is Poweroff with a reset at its end.
type Reboot struct{}

func appendRequest(b []byte, id uint32, kind Kind, payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return b, fmt.Errorf("%v request of %d bytes; at most %d are allowed", kind, len(payload), MaxPayload)
	}
	return AppendFrame(b, id, kind, payload), nil
}

func (c *Command) appendTo(b []byte, id uint32) ([]byte, error) {
	if len(c.Argv) == 0 {
		return b, errors.New("no command given")
	}
	return appendRequest(b, id, KindRun, c.Encode())
}

func (r ReadPath) appendTo(b []byte, id uint32) ([]byte, error) {
	return appendRequest(b, id, KindReadFile, []byte(r.Path))
}

func (r WritePath) appendTo(b []byte, id uint32) ([]byte, error) {
	mode := r.Mode & 0o7777
	if mode == 0 {
		mode = 0o644
	}
	return appendRequest(b, id, KindWriteFile, WriteFile{Path: r.Path, Mode: mode}.Encode())
}

func (r Push) appendTo(b []byte, id uint32) ([]byte, error) {
	return appendRequest(b, id, KindPush, []byte(r.Path))
}

func (r Pull) appendTo(b []byte, id uint32) ([]byte, error) {
	return appendRequest(b, id, KindPull, []byte(r.Path))
}

func (Ping) appendTo(b []byte, id uint32) ([]byte, error) {
	return AppendFrame(b, id, KindPing, nil), nil
}

func (Poweroff) appendTo(b []byte, id uint32) ([]byte, error) {
	return AppendFrame(b, id, KindPoweroff, nil), nil
}

func (Reboot) appendTo(b []byte, id uint32) ([]byte, error) {
	return AppendFrame(b, id, KindReboot, nil), nil
}

func (*Command) final() Kind  { return KindExit }
func (ReadPath) final() Kind  { return KindOK }
func (WritePath) final() Kind { return KindOK }
func (Push) final() Kind      { return KindOK }
func (Pull) final() Kind      { return KindOK }
func (Ping) final() Kind      { return KindOK }
func (Poweroff) final() Kind  { return KindOK }
func (Reboot) final() Kind    { return KindOK }

func (c *Command) stream() (Source, bool)  { return Data(bytes.NewReader(c.Stdin)), true }
func (r WritePath) stream() (Source, bool) { return Data(bytes.NewReader(r.Data)), true }
func (r Push) stream() (Source, bool)      { return r.Tree, true }
func (ReadPath) stream() (Source, bool)    { return nil, false }
func (Pull) stream() (Source, bool)        { return nil, false }
func (Ping) stream() (Source, bool)        { return nil, false }
func (Poweroff) stream() (Source, bool)    { return nil, false }
func (Reboot) stream() (Source, bool)      { return nil, false }

// Result is the answer to a request.
type Result struct {
	Exit           Exit // of a Command
	Stdout, Stderr []byte
	Data           []byte // of a ReadPath
	// Err is nil, a *RemoteError, or says why there is no answer: it wraps
	// ErrStreamEnded, or tells of a limit. The output up to then is kept.
	Err error
}

type call struct {
	want     Kind
	reads    bool // Data frames are due
	tree     Sink // Entry and Extent frames are, if not nil
	file     bool // the latest Entry was a regular file, of
	fileSize uint64
	result   Result
	size     int64
	over     error // past the limit: the rest is dropped
	done     bool
}

// Client is the host's side, as a state machine with no transport: bytes that
// Start and Cancel return go to the guest, bytes from the guest go to Feed.
// One goroutine at a time may use it. The zero Client is ready for a boot.
type Client struct {
	// Limit bounds the output of one request, in bytes; 0 is DefaultLimit.
	Limit int64
	// Files opens what the agent asks for by name: a file of the guest's image
	// that did not come with the initramfs. If nil, there are none.
	Files func(name string) (io.Reader, error)

	dec     Decoder
	hello   *Hello
	calls   map[uint32]*call
	streams []*stream
	answers []byte // to the agent's requests
	lastID  uint32
	err     error
}

// errBusy says that a request is under way.
var errBusy = errors.New("a command is still running in the guest")

// Busy says that a request is under way, or was not asked for its result.
func (c *Client) Busy() bool { return len(c.calls) > 0 || len(c.streams) > 0 || len(c.answers) > 0 }

// Fork returns a client for a guest that is a copy of this one's. Other files are opened by
// files. It fails while a request is under way that has more to send, or that brings back
// a tree.
func (c *Client) Fork(files func(name string) (io.Reader, error)) (*Client, error) {
	if len(c.streams) > 0 || len(c.answers) > 0 {
		return nil, errBusy
	}
	n := &Client{Limit: c.Limit, Files: files, dec: c.dec.clone(), hello: c.hello, lastID: c.lastID, err: c.err}
	for id, k := range c.calls {
		if k.tree != nil {
			return nil, errBusy
		}
		if n.calls == nil {
			n.calls = map[uint32]*call{}
		}
		n.calls[id] = k.clone()
	}
	return n, nil
}

func (k *call) clone() *call {
	n := *k
	r := &n.result
	r.Stdout, r.Stderr, r.Data = slices.Clip(r.Stdout), slices.Clip(r.Stderr), slices.Clip(r.Data)
	return &n
}

// ClientState is what a Client is between requests: plain data.
type ClientState struct {
	Hello  *Hello
	LastID uint32
	Rest   []byte // of a frame that is not whole
}

// State returns what the client is. While a request is under way, or when the
// stream is of no more use, it fails.
func (c *Client) State() (ClientState, error) {
	if c.Busy() {
		return ClientState{}, errBusy
	}
	n, err := c.Fork(nil)
	if err == nil {
		err = cmp.Or(n.err, n.dec.err)
	}
	if err != nil {
		return ClientState{}, err
	}
	return ClientState{n.hello, n.lastID, n.dec.buf}, nil
}

// Client returns a client that goes on from the state.
func (s ClientState) Client() *Client {
	return &Client{hello: s.Hello, lastID: s.LastID, dec: Decoder{buf: bytes.Clone(s.Rest)}}
}

// Hello returns what the agent said first, once it has.
func (c *Client) Hello() (Hello, bool) {
	if c.hello == nil {
		return Hello{}, false
	}
	return *c.hello, true
}

// Err returns why the stream is of no more use, or nil.
func (c *Client) Err() error { return c.err }

// Start begins a request and returns its id and the bytes to send.
func (c *Client) Start(r Request) (id uint32, send []byte, err error) {
	if c.err != nil {
		return 0, nil, c.err
	}
	if c.hello == nil {
		return 0, nil, errors.New("the guest's agent has not said hello yet")
	}
	id = c.lastID + 1
	send, err = r.appendTo(nil, id)
	if err != nil {
		return 0, nil, err
	}
	c.lastID = id
	if c.calls == nil {
		c.calls = make(map[uint32]*call)
	}
	_, reads := r.(ReadPath)
	k := &call{want: r.final(), reads: reads}
	if p, ok := r.(Pull); ok {
		k.tree = p.Tree
	}
	c.calls[id] = k
	if s, ok := r.stream(); ok {
		c.startStream(id, s)
	}
	return id, append(send, c.Outgoing()...), nil
}

// Cancel returns the bytes that make the agent kill the request's process
// group. The request still gets its final frame.
func (c *Client) Cancel(id uint32) []byte {
	if k := c.calls[id]; k == nil || k.done || c.err != nil {
		return nil
	}
	return AppendFrame(nil, id, KindCancel, nil)
}

// Feed takes bytes from the guest. An error means that the guest broke the
// protocol: it is final, and every request under way ends with it.
func (c *Client) Feed(b []byte) error {
	if c.err != nil {
		return c.err
	}
	c.dec.Feed(b)
	for {
		f, ok, err := c.dec.Next()
		if err == nil && ok {
			err = c.frame(f)
		}
		if err != nil {
			c.end(fmt.Errorf("the guest's agent broke the protocol: %w", err))
			return c.err
		}
		if !ok {
			return nil
		}
	}
}

// Close says that the guest's stream is over: every request under way ends
// with an error that wraps ErrStreamEnded.
func (c *Client) Close() {
	if c.err == nil {
		c.end(ErrStreamEnded)
	}
}

func (c *Client) end(err error) {
	c.err = err
	c.streams = nil
	for _, k := range c.calls {
		if !k.done {
			k.finish(err)
		}
	}
}

// Result returns the answer to a request once it is whole, and forgets it.
func (c *Client) Result(id uint32) (*Result, bool) {
	k := c.calls[id]
	if k == nil || !k.done {
		return nil, false
	}
	delete(c.calls, id)
	return &k.result, true
}

// Done says that the answer to a request is whole.
func (c *Client) Done(id uint32) bool { k := c.calls[id]; return k != nil && k.done }

// Output returns what a request under way has written so far.
func (c *Client) Output(id uint32) (stdout, stderr []byte) {
	if k := c.calls[id]; k != nil {
		return k.result.Stdout, k.result.Stderr
	}
	return nil, nil
}

// Over returns the error of a request under way that has brought back more
// than its limit, else nil.
func (c *Client) Over(id uint32) error {
	if k := c.calls[id]; k != nil {
		return k.over
	}
	return nil
}

func (k *call) finish(err error) {
	k.done = true
	if k.over != nil {
		err = k.over
	}
	k.result.Err = err
}

func (c *Client) frame(f Frame) error {
	if c.hello == nil && f.Kind != KindFetch && f.Kind != KindAck {
		if f.Kind != KindHello {
			return fmt.Errorf("a %v frame before the hello", f.Kind)
		}
		h, err := DecodeHello(f.Payload)
		if err != nil {
			return err
		}
		c.hello = &h
		return nil
	}
	switch f.Kind {
	case KindFetch:
		if f.ID&FetchID == 0 {
			return fmt.Errorf("a fetch frame under the id %d, which is the host's", f.ID)
		}
		c.fetch(f)
		return nil
	case KindAck:
		return c.ack(f)
	}
	k := c.calls[f.ID]
	if k == nil || k.done {
		return fmt.Errorf("a %v frame for request %d, which is not under way", f.Kind, f.ID)
	}
	switch f.Kind {
	case KindStdout, KindStderr, KindData:
		if (f.Kind == KindData) != k.reads || f.Kind != KindData && k.want != KindExit {
			return fmt.Errorf("a %v frame in the answer to a request that brings none", f.Kind)
		}
		c.output(k, f)
		return nil
	case KindEntry, KindExtent:
		if k.tree == nil {
			return fmt.Errorf("a %v frame in the answer to a request that brings none", f.Kind)
		}
		return c.branch(k, f)
	case KindError:
		c.endStream(f.ID)
		k.finish(&RemoteError{Text: string(f.Payload)})
		return nil
	case k.want:
		if f.Kind == KindExit {
			x, err := DecodeExit(f.Payload)
			if err != nil {
				return err
			}
			k.result.Exit = x
		}
		c.endStream(f.ID)
		k.finish(nil)
		return nil
	}
	return fmt.Errorf("a %v frame where %v was due", f.Kind, k.want)
}

// branch gives a part of a tree to its sink. The sink's error is the request's;
// the rest is dropped.
func (c *Client) branch(k *call, f Frame) error {
	var err error
	if f.Kind == KindEntry {
		var e Entry
		if e, err = DecodeEntry(f.Payload); err != nil {
			return err
		}
		k.file, k.fileSize = e.Mode&ModeType == ModeRegular, e.Size
		if k.over == nil {
			err = k.tree.Entry(e)
		}
	} else {
		var offset uint64
		var data []byte
		if offset, data, err = DecodeExtent(f.Payload); err != nil {
			return err
		}
		if !k.file || offset+uint64(len(data)) > k.fileSize {
			return fmt.Errorf("an extent frame of %d bytes at %d, in no file or beyond its end", len(data), offset)
		}
		if k.over == nil {
			err = k.tree.Extent(offset, data)
		}
	}
	if err != nil {
		k.over = err
	}
	return nil
}

func (c *Client) output(k *call, f Frame) {
	limit := c.Limit
	if limit <= 0 {
		limit = DefaultLimit
	}
	k.size += int64(len(f.Payload))
	if k.size > limit {
		if k.over == nil {
			k.over = fmt.Errorf("more than %d bytes came back; the rest is lost", limit)
		}
		return
	}
	switch f.Kind {
	case KindStdout:
		k.result.Stdout = append(k.result.Stdout, f.Payload...)
	case KindStderr:
		k.result.Stderr = append(k.result.Stderr, f.Payload...)
	default:
		k.result.Data = append(k.result.Data, f.Payload...)
	}
}
