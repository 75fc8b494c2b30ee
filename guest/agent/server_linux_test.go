package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/guest/proto"
)

// The agent reaps every child of its process, so it runs in one of its own:
// this test program, started with serveEnv.
const serveEnv = "NVLAB_TEST_SERVE_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(serveEnv) != "" {
		os.Unsetenv(serveEnv)
		procs := newProcesses()
		go procs.signals()
		s := newServer(&port{3}, procs)
		s.shutdown = func(reboot bool, answer func()) error {
			if err := procs.shutdown(reboot, answer); err == nil || !strings.Contains(err.Error(), "not pid 1") {
				panic("shutdown would have ended the test's host")
			}
			answer()
			os.Exit(0)
			return nil
		}
		if err := s.hello("test", []string{"a note"}); err != nil {
			panic(err)
		}
		s.serve()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// host drives an agent over a socket pair.
type host struct {
	t      *testing.T
	conn   *os.File
	client proto.Client
	cmd    *exec.Cmd
	sends  chan []byte
}

func newHost(t *testing.T) *host {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "agent")
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	h := &host{t: t, conn: os.NewFile(uintptr(fds[0]), "host"), cmd: cmd, sends: make(chan []byte, 16)}
	go func() {
		for b := range h.sends {
			h.conn.Write(b)
		}
	}()
	t.Cleanup(func() {
		close(h.sends)
		h.conn.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	h.until(func() bool { _, ok := h.client.Hello(); return ok })
	return h
}

// until feeds the client till done.
func (h *host) until(done func() bool) {
	h.t.Helper()
	h.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 1<<16)
	for !done() {
		n, err := h.conn.Read(buf)
		if err != nil {
			h.client.Close()
			if !done() {
				h.t.Fatalf("the agent's stream: %v", err)
			}
			return
		}
		if err := h.client.Feed(buf[:n]); err != nil {
			h.t.Fatal(err)
		}
		if out := h.client.Outgoing(); len(out) > 0 {
			h.write(out)
		}
	}
}

func (h *host) start(r proto.Request) uint32 {
	h.t.Helper()
	id, send, err := h.client.Start(r)
	if err != nil {
		h.t.Fatal(err)
	}
	h.write(send)
	return id
}

// write does not block on an agent that is busy writing itself.
func (h *host) write(b []byte) { h.sends <- b }

func (h *host) finish(id uint32) *proto.Result {
	h.t.Helper()
	var res *proto.Result
	h.until(func() bool {
		if r, ok := h.client.Result(id); ok {
			res = r
		}
		return res != nil
	})
	return res
}

func (h *host) do(r proto.Request) *proto.Result {
	h.t.Helper()
	return h.finish(h.start(r))
}

func TestHello(t *testing.T) {
	h := newHost(t)
	got, _ := h.client.Hello()
	if got.Version != proto.Version || got.Release != "test" || len(got.Notes) != 1 {
		t.Errorf("Hello() = %+v, want version %d, release test, one note", got, proto.Version)
	}
}

func TestRun(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		name           string
		cmd            proto.Command
		code, signal   int
		stdout, stderr string
	}{
		{"both streams", *proto.Shell("echo out; echo err >&2"), 0, 0, "out\n", "err\n"},
		{"status", *proto.Shell("exit 42"), 42, 0, "", ""},
		{"signal", *proto.Shell("kill -TERM $$"), -1, 15, "", ""},
		{"list", proto.Command{Run: proto.Run{Argv: []string{"echo", "a  b", "$HOME"}}}, 0, 0, "a  b $HOME\n", ""},
		{"stdin", proto.Command{Run: proto.Run{Argv: []string{"cat"}}, Stdin: []byte("in\x00put")}, 0, 0, "in\x00put", ""},
		{"no stdin", proto.Command{Run: proto.Run{Argv: []string{"cat"}}}, 0, 0, "", ""},
		{"stdin unread", proto.Command{Run: proto.Run{Argv: []string{"true"}}, Stdin: make([]byte, 1<<20)}, 0, 0, "", ""},
		{"environment", proto.Command{Run: proto.Run{Argv: []string{"sh", "-c", "echo $A"}, Env: []string{"A=b c"}}}, 0, 0, "b c\n", ""},
		{"folder", proto.Command{Run: proto.Run{Argv: []string{"pwd"}, Dir: dir}}, 0, 0, dir + "\n", ""},
	} {
		got := h.do(&tt.cmd)
		if got.Err != nil || got.Exit != (proto.Exit{Code: tt.code, Signal: tt.signal}) || string(got.Stdout) != tt.stdout || string(got.Stderr) != tt.stderr {
			t.Errorf("%s: Run = %+v %q %q %v, want {%d %d} %q %q", tt.name, got.Exit, got.Stdout, got.Stderr, got.Err, tt.code, tt.signal, tt.stdout, tt.stderr)
		}
	}
}

// A program that cannot be run ends as it would under a shell.
func TestRunCannotStart(t *testing.T) {
	h := newHost(t)
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		argv []string
		dir  string
		code int
		want string
	}{
		{[]string{"no-such-program"}, "", 127, "cannot run no-such-program: "},
		{[]string{"/no/such/program"}, "", 127, "no such file"},
		{[]string{text}, "", 126, "exec format error"},
		{[]string{"/etc"}, "", 126, "permission denied"},
		{[]string{"true"}, "/no/such/folder", 127, "no such file"},
	} {
		got := h.do(&proto.Command{Run: proto.Run{Argv: tt.argv, Dir: tt.dir}})
		if got.Err != nil || got.Exit.Code != tt.code || !strings.Contains(string(got.Stderr), tt.want) {
			t.Errorf("Run(%q in %q) = status %d, %q, %v, want %d and %q", tt.argv, tt.dir, got.Exit.Code, got.Stderr, got.Err, tt.code, tt.want)
		}
	}
}

func TestRunLargeStreams(t *testing.T) {
	h := newHost(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	got := h.do(&proto.Command{Run: proto.Run{Argv: []string{"tee", "/dev/stderr"}}, Stdin: data})
	if got.Err != nil || !bytes.Equal(got.Stdout, data) || !bytes.Equal(got.Stderr, data) {
		t.Errorf("tee of %d bytes = %d and %d bytes, %v, want all twice", len(data), len(got.Stdout), len(got.Stderr), got.Err)
	}
}

func TestRunDoesNotWaitForBackground(t *testing.T) {
	h := newHost(t)
	begin := time.Now()
	got := h.do(proto.Shell("(sleep 3; echo late) & echo $!; exit 5"))
	if took := time.Since(begin); took > 2*time.Second || got.Exit.Code != 5 {
		t.Errorf("Run with a background child = %+v after %v, want status 5 at once", got.Exit, took)
	}
	pid := strings.TrimSpace(string(got.Stdout))
	if res := h.do(proto.Shell("kill -0 " + pid + " && kill " + pid)); res.Exit.Code != 0 {
		t.Errorf("the background child %s is gone: %s", pid, res.Stderr)
	}
}

func TestCancelKillsTheGroup(t *testing.T) {
	h := newHost(t)
	id := h.start(proto.Shell("sleep 60 & echo $!; wait"))
	h.until(func() bool { out, _ := h.client.Output(id); return bytes.HasSuffix(out, []byte("\n")) })
	h.write(h.client.Cancel(id))
	got := h.finish(id)
	if got.Exit.Signal != 9 {
		t.Errorf("cancelled Run = %+v, want signal 9", got.Exit)
	}
	// The child is the agent's to reap; until then kill finds its zombie.
	pid := strings.TrimSpace(string(got.Stdout))
	deadline := time.Now().Add(5 * time.Second)
	for h.do(proto.Shell("kill -0 "+pid+" 2>/dev/null && ! grep -q '^State:.Z' /proc/"+pid+"/status")).Exit.Code == 0 {
		if time.Now().After(deadline) {
			t.Fatalf("process %s of the cancelled group lives on", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestRequestsRunAtOnce(t *testing.T) {
	h := newHost(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader := h.start(proto.ReadPath{Path: fifo})
	if got := h.do(proto.Ping{}); got.Err != nil {
		t.Errorf("Ping beside a read that waits = %v, want nil", got.Err)
	}
	if got := h.do(proto.Shell("echo through > " + fifo)); got.Exit.Code != 0 {
		t.Errorf("writer = %+v, want 0", got.Exit)
	}
	if got := h.finish(reader); string(got.Data) != "through\n" {
		t.Errorf("ReadFile of a fifo = %q, %v, want what was written", got.Data, got.Err)
	}
	hung := h.start(proto.ReadPath{Path: fifo})
	h.write(h.client.Cancel(hung))
	if got := h.finish(hung); got.Err == nil || !strings.Contains(got.Err.Error(), "cancelled") {
		t.Errorf("cancelled ReadFile = %v, want cancelled", got.Err)
	}
}

func TestFiles(t *testing.T) {
	h := newHost(t)
	dir := t.TempDir()
	for _, size := range []int{0, 1, proto.ChunkSize, proto.ChunkSize + 1, 3 << 20} {
		name := filepath.Join(dir, fmt.Sprint(size))
		data := bytes.Repeat([]byte{0, 1, 254, 255, '\n'}, size/5+1)[:size]
		if got := h.do(proto.WritePath{Path: name, Data: data, Mode: 0o640}); got.Err != nil {
			t.Fatalf("WriteFile of %d bytes = %v, want nil", size, got.Err)
		}
		onHost, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(onHost, data) {
			t.Errorf("file of %d bytes came out as %d, %v", size, len(onHost), err)
		}
		if st, _ := os.Stat(name); st.Mode().Perm() != 0o640 {
			t.Errorf("file has mode %v, want 0640", st.Mode())
		}
		if got := h.do(proto.ReadPath{Path: name}); got.Err != nil || !bytes.Equal(got.Data, data) {
			t.Errorf("ReadFile of %d bytes = %d bytes, %v", size, len(got.Data), got.Err)
		}
	}
	if got := h.do(proto.WritePath{Path: filepath.Join(dir, "3145728"), Data: []byte("short")}); got.Err != nil {
		t.Errorf("WriteFile over a longer file = %v, want nil", got.Err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "3145728")); string(b) != "short" {
		t.Errorf("replaced file has %d bytes, want 5", len(b))
	}
	for _, r := range []proto.Request{proto.ReadPath{Path: dir + "/none"}, proto.ReadPath{Path: dir}, proto.WritePath{Path: dir + "/no/file"}, proto.WritePath{Path: "/dev/full", Data: []byte("x")}} {
		if got := h.do(r); got.Err == nil {
			t.Errorf("%T that cannot work = nil, want an error", r)
		}
	}
}

func TestPoweroffAnswers(t *testing.T) {
	for _, r := range []proto.Request{proto.Poweroff{}, proto.Reboot{}} {
		h := newHost(t)
		if got := h.do(r); got.Err != nil {
			t.Errorf("%T = %v, want nil", r, got.Err)
		}
	}
}

func TestStreamEndIsAnError(t *testing.T) {
	h := newHost(t)
	id := h.start(proto.Shell("sleep 60"))
	h.cmd.Process.Kill()
	if got := h.finish(id); !errors.Is(got.Err, proto.ErrStreamEnded) {
		t.Errorf("Run whose guest died = %v, want ErrStreamEnded", got.Err)
	}
}

func TestShutdownOnlyAsPid1(t *testing.T) {
	if err := newProcesses().shutdown(false, func() { t.Error("shutdown answered") }); err == nil {
		t.Error("shutdown of a process that is not pid 1 = nil, want an error")
	}
}
