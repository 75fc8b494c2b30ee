package proto

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestDecoderTakesAnyCut(t *testing.T) {
	stream := AppendFrame(nil, 0, KindHello, []byte("abc"))
	stream = AppendFrame(stream, 7, KindEnd, nil)
	stream = AppendFrame(stream, 9, KindData, bytes.Repeat([]byte("x"), 70000))
	for _, cut := range []int{1, 2, 11, 12, 13, 4096, len(stream)} {
		var d Decoder
		var got []string
		for rest := stream; len(rest) > 0; {
			n := min(cut, len(rest))
			d.Feed(rest[:n])
			rest = rest[n:]
			for {
				f, ok, err := d.Next()
				if err != nil {
					t.Fatalf("pieces of %d: Next() = %v, want a frame", cut, err)
				}
				if !ok {
					break
				}
				got = append(got, f.Kind.String()+string(rune('0'+f.ID))+string(f.Payload[:min(3, len(f.Payload))]))
			}
		}
		if want := []string{"hello0abc", "end7", "data9xxx"}; !reflect.DeepEqual(got, want) {
			t.Errorf("pieces of %d: frames = %q, want %q", cut, got, want)
		}
		if d.Partial() {
			t.Errorf("pieces of %d: Partial() = true at the end of a whole stream", cut)
		}
	}
}

func TestDecoderRefuses(t *testing.T) {
	for _, tt := range []struct{ name, stream, want string }{
		{"too long", "\x01\x00\x10\x00\x00\x00\x00\x00\x01\x00\x00\x00", "frame of 1048577 bytes"},
		{"kind 0", strings.Repeat("\x00", 12), "unknown kind 0"},
		{"kind 200", "\x00\x00\x00\x00\x00\x00\x00\x00\xc8\x00\x00\x00", "unknown kind 200"},
		{"reserved", "\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x07\x00", "must be zero"},
	} {
		var d Decoder
		d.Feed([]byte(tt.stream))
		_, ok, err := d.Next()
		if ok || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Next() = %v, %v, want an error with %q", tt.name, ok, err, tt.want)
		}
		d.Feed(AppendFrame(nil, 1, KindOK, nil))
		if _, ok, err := d.Next(); ok || err == nil {
			t.Errorf("%s: the decoder went on after an error", tt.name)
		}
	}
}

func TestMessagesSurviveEncoding(t *testing.T) {
	hello := Hello{Version: Version, Release: "6.1.0", Notes: []string{"one", ""}}
	if got, err := DecodeHello(hello.Encode()); err != nil || !reflect.DeepEqual(got, hello) {
		t.Errorf("DecodeHello(Encode) = %+v, %v, want %+v", got, err, hello)
	}
	run := Run{Argv: []string{"sh", "-c", "\xff\x00bytes"}, Env: []string{"A=b"}, Dir: "/tmp"}
	if got, err := DecodeRun(run.Encode()); err != nil || !reflect.DeepEqual(got, run) {
		t.Errorf("DecodeRun(Encode) = %+v, %v, want %+v", got, err, run)
	}
	for _, exit := range []Exit{{0, 0}, {255, 0}, {-1, 9}} {
		if got, err := DecodeExit(exit.Encode()); err != nil || got != exit {
			t.Errorf("DecodeExit(Encode) = %+v, %v, want %+v", got, err, exit)
		}
	}
	file := WriteFile{Path: "/a b", Mode: 0o4755}
	if got, err := DecodeWriteFile(file.Encode()); err != nil || got != file {
		t.Errorf("DecodeWriteFile(Encode) = %+v, %v, want %+v", got, err, file)
	}
}

func TestMessagesRefuse(t *testing.T) {
	other := Hello{Version: Version + 1}.Encode()
	for _, tt := range []struct {
		name, want string
		err        error
	}{
		{"no hello", "does not begin", second(DecodeHello([]byte("login: ")))},
		{"other version", "protocol version 3, nvlab 2", second(DecodeHello(other))},
		{"no command", "no command", second(DecodeRun(Run{}.Encode()))},
		{"cut", "run frame", second(DecodeRun(Run{Argv: []string{"a"}}.Encode()[:1]))},
		{"rest", "after the last field", second(DecodeExit([]byte{1, 0, 0}))},
		{"exit without status", "exit frame", second(DecodeExit([]byte{0, 0}))},
		{"long string", "bad number", second(DecodeWriteFile([]byte{200, 1, 'a'}))},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: error = %v, want one with %q", tt.name, tt.err, tt.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func ready(t *testing.T) *Client {
	t.Helper()
	c := new(Client)
	if _, _, err := c.Start(Ping{}); err == nil {
		t.Fatal("Start before the hello = nil, want an error")
	}
	if err := c.Feed(AppendFrame(nil, 0, KindHello, Hello{Version: Version, Release: "r"}.Encode())); err != nil {
		t.Fatalf("Feed(hello) = %v, want nil", err)
	}
	if h, ok := c.Hello(); !ok || h.Release != "r" {
		t.Fatalf("Hello() = %+v, %v, want release r", h, ok)
	}
	return c
}

func start(t *testing.T, c *Client, r Request) uint32 {
	t.Helper()
	id, send, err := c.Start(r)
	if err != nil || len(send) == 0 {
		t.Fatalf("Start(%T) = %d bytes, %v, want a request", r, len(send), err)
	}
	return id
}

func TestClientAnswers(t *testing.T) {
	c := ready(t)
	run, read := start(t, c, Shell("x")), start(t, c, ReadPath{"/f"})
	var b []byte
	b = AppendFrame(b, run, KindStdout, []byte("out"))
	b = AppendFrame(b, read, KindData, []byte("da"))
	b = AppendFrame(b, run, KindStderr, []byte("err"))
	b = AppendFrame(b, read, KindData, []byte("ta"))
	b = AppendFrame(b, read, KindOK, nil)
	if err := c.Feed(b); err != nil {
		t.Fatalf("Feed = %v, want nil", err)
	}
	if _, done := c.Result(run); done {
		t.Error("Result(run) is there before the exit frame")
	}
	if got, done := c.Result(read); !done || string(got.Data) != "data" || got.Err != nil {
		t.Errorf("Result(read) = %+v, %v, want data", got, done)
	}
	if err := c.Feed(AppendFrame(nil, run, KindExit, Exit{Code: 3}.Encode())); err != nil {
		t.Fatalf("Feed(exit) = %v, want nil", err)
	}
	got, done := c.Result(run)
	if !done || string(got.Stdout) != "out" || string(got.Stderr) != "err" || got.Exit.Code != 3 || got.Err != nil {
		t.Errorf("Result(run) = %+v, %v, want out, err, 3", got, done)
	}
	if _, done := c.Result(run); done {
		t.Error("Result(run) is there twice")
	}
}

// TestFork: a client that is forked amid a command, and its fork, each get the rest of the
// answer, and nothing of the other's.
func TestFork(t *testing.T) {
	c := ready(t)
	id := start(t, c, Shell("x"))
	if err := c.Feed(AppendFrame(nil, id, KindStdout, []byte("before, "))); err != nil {
		t.Fatal(err)
	}
	f, err := c.Fork(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.State(); err == nil || !c.Busy() || !f.Busy() {
		t.Errorf("State() amid a command = nil, Busy() = %v, of its fork %v; want an error, and that both are", c.Busy(), f.Busy())
	}
	for after, c := range map[string]*Client{"mine": c, "the fork's": f} {
		b := AppendFrame(nil, id, KindStdout, []byte(after))
		if err := c.Feed(AppendFrame(b, id, KindExit, Exit{Code: len(after)}.Encode())); err != nil {
			t.Fatal(err)
		}
	}
	for after, c := range map[string]*Client{"mine": c, "the fork's": f} {
		if r, done := c.Result(id); !done || string(r.Stdout) != "before, "+after || r.Exit.Code != len(after) {
			t.Errorf("the command's result is %+v, %v; want output before, and %s after", r, done, after)
		}
	}
	start(t, c, Pull{"/t", &memoryTree{}})
	if _, err := c.Fork(nil); err == nil {
		t.Error("a client that brings back a tree is forked, which one sink cannot take twice")
	}
}

func TestClientStreamEnds(t *testing.T) {
	c := ready(t)
	id := start(t, c, Shell("x"))
	c.Feed(AppendFrame(nil, id, KindStdout, []byte("so far")))
	c.Close()
	got, done := c.Result(id)
	if !done || !errors.Is(got.Err, ErrStreamEnded) || string(got.Stdout) != "so far" {
		t.Errorf("Result after the stream's end = %+v, %v, want ErrStreamEnded and the output", got, done)
	}
	if _, _, err := c.Start(Ping{}); !errors.Is(err, ErrStreamEnded) {
		t.Errorf("Start after the stream's end = %v, want ErrStreamEnded", err)
	}
}

func TestClientRefusesProtocolErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame func(run, ping uint32) []byte
		want  string
	}{
		{"no such request", func(uint32, uint32) []byte { return AppendFrame(nil, 99, KindOK, nil) }, "request 99"},
		{"second hello", func(uint32, uint32) []byte { return AppendFrame(nil, 0, KindHello, nil) }, "hello frame"},
		{"ok for run", func(run, _ uint32) []byte { return AppendFrame(nil, run, KindOK, nil) }, "where exit was due"},
		{"output of ping", func(_, ping uint32) []byte { return AppendFrame(nil, ping, KindStdout, nil) }, "brings none"},
		{"bad exit", func(run, _ uint32) []byte { return AppendFrame(nil, run, KindExit, nil) }, "exit frame"},
		{"after the final frame", func(_, ping uint32) []byte {
			return AppendFrame(AppendFrame(nil, ping, KindOK, nil), ping, KindOK, nil)
		}, "not under way"},
	} {
		c := ready(t)
		run, ping := start(t, c, Shell("x")), start(t, c, Ping{})
		err := c.Feed(tt.frame(run, ping))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Feed = %v, want an error with %q", tt.name, err, tt.want)
		}
		if got, done := c.Result(run); !done || got.Err == nil {
			t.Errorf("%s: the request under way = %+v, %v, want an error", tt.name, got, done)
		}
	}
}

func TestClientLimitsOutput(t *testing.T) {
	c := ready(t)
	c.Limit = 10
	id := start(t, c, Shell("yes"))
	for range 5 {
		c.Feed(AppendFrame(nil, id, KindStdout, []byte("yyyy")))
	}
	c.Feed(AppendFrame(nil, id, KindExit, Exit{}.Encode()))
	got, done := c.Result(id)
	if !done || got.Err == nil || len(got.Stdout) > 10 {
		t.Errorf("Result over the limit = %d bytes, %v, want at most 10 and an error", len(got.Stdout), got.Err)
	}
}

func TestRequestTooLong(t *testing.T) {
	c := ready(t)
	if _, _, err := c.Start(Shell(strings.Repeat("x", MaxPayload))); err == nil {
		t.Error("Start with a command of 1 MiB = nil, want an error")
	}
	if _, _, err := c.Start(&Command{}); err == nil {
		t.Error("Start without a command = nil, want an error")
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add(AppendFrame(nil, 1, KindData, []byte("data")), 3)
	f.Add(AppendFrame(nil, 0, KindHello, Hello{Version: 1, Release: "6.1"}.Encode()), 1)
	f.Add([]byte("\xff\xff\xff\xff login:"), 5)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var d Decoder
		if cut < 1 {
			cut = 1
		}
		total := 0
		for rest := b; len(rest) > 0; {
			n := min(cut, len(rest))
			d.Feed(rest[:n])
			rest = rest[n:]
			for {
				fr, ok, err := d.Next()
				if err != nil || !ok {
					break
				}
				total += headerSize + len(fr.Payload)
				DecodeHello(fr.Payload)
				DecodeRun(fr.Payload)
				DecodeExit(fr.Payload)
				DecodeWriteFile(fr.Payload)
				DecodeAck(fr.Payload)
				DecodeExtent(fr.Payload)
				if e, err := DecodeEntry(fr.Payload); err == nil && !filepath.IsLocal("x/"+e.Path) {
					t.Fatalf("entry %+v leaves its tree", e)
				}
			}
			if len(d.buf)-d.off > headerSize+MaxPayload+cut {
				t.Fatalf("the decoder holds %d bytes", len(d.buf)-d.off)
			}
		}
		if total > len(b) {
			t.Fatalf("frames of %d bytes from %d", total, len(b))
		}
	})
}

// memoryTree is a sink that checks what the client promises it.
type memoryTree struct {
	entries []Entry
	data    string
}

func (m *memoryTree) Entry(e Entry) error {
	if !filepath.IsLocal("x/" + e.Path) {
		panic("an entry leaves its tree")
	}
	m.entries = append(m.entries, e)
	return nil
}

func (m *memoryTree) Extent(offset uint64, data []byte) error {
	if last := m.entries[len(m.entries)-1]; last.Mode&ModeType != ModeRegular || offset+uint64(len(data)) > last.Size {
		panic("an extent lies outside its file")
	}
	m.data += string(data)
	return nil
}

func TestPullBringsATree(t *testing.T) {
	c := ready(t)
	tree := &memoryTree{}
	id := start(t, c, Pull{"/t", tree})
	b := AppendFrame(nil, id, KindEntry, Entry{Path: "a\nb", Mode: ModeRegular | 0o600, Size: 1 << 40}.Encode())
	b = AppendFrame(b, id, KindExtent, AppendExtent(nil, 1<<39, []byte("x")))
	b = AppendFrame(b, id, KindOK, nil)
	if err := c.Feed(b); err != nil {
		t.Fatal(err)
	}
	if got, done := c.Result(id); !done || got.Err != nil || len(tree.entries) != 1 || tree.data != "x" {
		t.Errorf("Pull = %+v, %v, with %+v, want one file and its byte", got, done, tree)
	}
	for _, tt := range []struct {
		name  string
		kind  Kind
		frame []byte
	}{
		{"above", KindEntry, Entry{Path: "../x", Mode: ModeRegular}.Encode()},
		{"absolute", KindEntry, Entry{Path: "/x", Mode: ModeRegular}.Encode()},
		{"hidden above", KindEntry, Entry{Path: "a/../../x", Mode: ModeRegular}.Encode()},
		{"device", KindEntry, Entry{Path: "x", Mode: 0o020600}.Encode()},
		{"NUL", KindEntry, Entry{Path: "x\x00y", Mode: ModeRegular}.Encode()},
		{"long", KindEntry, Entry{Path: strings.Repeat("x", maxPath+1), Mode: ModeRegular}.Encode()},
		{"no file", KindExtent, AppendExtent(nil, 0, []byte("x"))},
		{"far away", KindExtent, AppendExtent(nil, 1<<63, []byte("x"))},
	} {
		c := ready(t)
		id := start(t, c, Pull{"/t", tree})
		if err := c.Feed(AppendFrame(nil, id, tt.kind, tt.frame)); err == nil {
			t.Errorf("%s: Feed = nil, want a broken protocol", tt.name)
		}
	}
}

// TestWindow: a guest that takes nothing is not sent everything.
func TestWindow(t *testing.T) {
	c := ready(t)
	id, send, err := c.Start(WritePath{Path: "/w", Data: make([]byte, 10*Window)})
	if err != nil || len(send) < Window || len(send) > Window+Window/8 {
		t.Fatalf("Start = %d bytes, %v, want about a window of %d", len(send), err, Window)
	}
	total := len(send)
	for taken := uint64(0); taken < 10*Window; {
		if more := c.Outgoing(); len(more) != 0 {
			t.Fatalf("%d more bytes without an ack", len(more))
		}
		taken += Window / 4
		if err := c.Feed(AppendFrame(nil, id, KindAck, EncodeAck(taken))); err != nil {
			t.Fatal(err)
		}
		total += len(c.Outgoing())
		if over := total - int(taken) - Window; over > total/1000+2*ChunkSize {
			t.Fatalf("%d bytes beyond the window", over)
		}
	}
	if total < 10*Window {
		t.Errorf("%d bytes went out, want %d", total, 10*Window)
	}
}

func TestFetch(t *testing.T) {
	c := ready(t)
	c.Files = func(name string) (io.Reader, error) {
		if name != "/a" {
			return nil, errors.New("no " + name)
		}
		return strings.NewReader("text"), nil
	}
	for id, tt := range map[uint32]struct {
		name string
		want []byte
	}{
		FetchID | 1: {"/a", AppendFrame(AppendFrame(nil, FetchID|1, KindData, []byte("text")), FetchID|1, KindEnd, nil)},
		FetchID | 2: {"/b", AppendFrame(nil, FetchID|2, KindError, []byte("no /b"))},
	} {
		if err := c.Feed(AppendFrame(nil, id, KindFetch, []byte(tt.name))); err != nil {
			t.Fatal(err)
		}
		if got := c.Outgoing(); !bytes.Equal(got, tt.want) {
			t.Errorf("fetch of %s = %q, want %q", tt.name, got, tt.want)
		}
	}
	if err := c.Feed(AppendFrame(nil, 1, KindFetch, []byte("/a"))); err == nil {
		t.Error("a fetch under an id of the host's = nil, want an error")
	}
}

func FuzzClient(f *testing.F) {
	var b []byte
	b = AppendFrame(b, 4, KindEntry, Entry{Path: "a", Mode: ModeRegular | 0o644, Size: 9}.Encode())
	b = AppendFrame(b, 4, KindExtent, AppendExtent(nil, 3, []byte("data")))
	b = AppendFrame(b, 5, KindAck, EncodeAck(1<<20))
	b = AppendFrame(b, FetchID|1, KindFetch, []byte("/x"))
	b = AppendFrame(b, 1, KindStdout, []byte("out"))
	b = AppendFrame(b, 2, KindData, []byte("data"))
	b = AppendFrame(b, 1, KindExit, Exit{Code: 1}.Encode())
	b = AppendFrame(b, 3, KindError, []byte("no"))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &Client{Limit: 1000}
		c.Feed(AppendFrame(nil, 0, KindHello, Hello{Version: Version}.Encode()))
		c.Files = func(string) (io.Reader, error) { return strings.NewReader("x"), nil }
		tree := &memoryTree{}
		for _, r := range []Request{Shell("x"), ReadPath{"/f"}, Ping{}, Pull{"/t", tree}, WritePath{Path: "/w", Data: make([]byte, 3<<20)}} {
			c.Start(r)
		}
		c.Feed(b)
		if out := c.Outgoing(); len(out) > 4*Window {
			t.Fatalf("%d bytes go out at once", len(out))
		}
		c.Close()
		for id := uint32(1); id <= 5; id++ {
			if _, done := c.Result(id); !done {
				t.Fatalf("request %d has no end", id)
			}
		}
	})
}
