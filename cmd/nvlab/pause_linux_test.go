package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A typist sits at a pseudo-terminal that a program has as its own.
type typist struct {
	t      *testing.T
	master *os.File
	ended  chan error

	mu   sync.Mutex
	text []byte // that was shown
	seen int    // of it, bytes that were waited for
}

// sitDown starts a program on a pseudo-terminal of that size.
func sitDown(t *testing.T, rows, cols uint16, cmd *exec.Cmd) *typist {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals: %v", err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	var slave *os.File
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	p := &typist{t: t, master: master, ended: make(chan error, 1)}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.text = append(p.text, buf[:n]...)
			p.mu.Unlock()
			if err != nil { // EIO once nobody has the other end
				p.ended <- cmd.Wait()
				return
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		master.Close()
	})
	return p
}

// await waits for a text beyond what was waited for before, and returns what came up
// to its end.
func (p *typist) await(want string) string {
	p.t.Helper()
	for range 1200 {
		p.mu.Lock()
		if i := bytes.Index(p.text[p.seen:], []byte(want)); i >= 0 {
			shown := string(p.text[p.seen : p.seen+i+len(want)])
			p.seen += i + len(want)
			p.mu.Unlock()
			return shown
		}
		p.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t.Fatalf("the terminal never showed %q after %q; beyond that %q", want, p.text[:p.seen], p.text[p.seen:])
	return ""
}

// enter types a line once there is a prompt that ends so.
func (p *typist) enter(prompt, line string) {
	p.t.Helper()
	p.await(prompt)
	p.keys(line + "\r")
}

func (p *typist) keys(s string) {
	if _, err := p.master.Write([]byte(s)); err != nil {
		p.t.Error(err)
	}
}

// end is the exit status of the program.
func (p *typist) end() int {
	p.t.Helper()
	select {
	case err := <-p.ended:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			p.t.Fatal(err)
		}
		if exit != nil {
			return exit.ExitCode()
		}
	case <-time.After(time.Minute):
		p.t.Fatalf("the program did not end; the terminal shows %q", p.text)
	}
	return 0
}

// TestShellWhereItFailed: at the prompt of a test that failed the shell is in the
// guest that the test left, with its mounts and processes, on a terminal of this
// one's size; after it there is the prompt again. Before, the terminal shows what the
// test is about, and outcomes have colours.
func TestShellWhereItFailed(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a machine")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "mounted.star")
	if err := os.WriteFile(file, []byte(`
def test_mounted(t):
    where = "/mnt"
    off = t.vm()
    vm = t.vm()
    vm.boot()
    vm.run("mount -t tmpfs mine /mnt && echo kept >/mnt/file; sleep 4321 >/dev/null & echo $! >/mnt/pid")
    check.eq(where, "elsewhere")
`), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nvlab", "run", "-reuse", "off", "-pause", "-artifacts", filepath.Join(dir, "left"), file)
	cmd.Env = append(os.Environ(), "TERM=xterm")
	p := sitDown(t, 33, 77, cmd)
	p.await("[1/1] test_mounted: vm.boot, ")
	const prompt, root = "nvlab> ", "~ # "
	p.enter(prompt, "where")
	p.await(`"/mnt"`)
	p.enter(prompt, "shell off")
	p.await("shell off: the VM is off: boot() it first")
	p.enter(prompt, "shell")
	p.enter(root, "cat /mnt/file /proc/$(cat /mnt/pid)/comm; stty size; echo $TERM")
	for _, want := range []string{"\nkept\r", "\nsleep\r", "\n33 77\r", "\nxterm\r"} {
		p.await(want)
	}
	p.enter(root, "(sleep 99; touch /mnt/late)")
	p.await("\n")
	p.keys("\x03")
	p.enter(root, "mkdir /mnt/made; exit")
	p.enter(prompt, "!ls /mnt")
	if shown := p.await("\nmade\r") + p.await("\n"); strings.Contains(shown, "late") {
		t.Errorf("ls shows %q, want no file that is made after what Ctrl-C ended", shown)
	}
	p.enter(prompt, "shell vm")
	p.enter(root, "sh -c 'echo $$ >/mnt/front; echo again; exec sleep 98'")
	p.await("\nagain\r")
	p.keys("\x01x") // leaves, and ends what is in the foreground
	p.enter(prompt, "!ls /proc/$(cat /mnt/front); cat /mnt/file")
	p.await("kept")
	p.await("No such file")
	p.enter(prompt, "shell")
	p.enter(root, "poweroff -f")
	p.await("shell vm: a shell on the console: the guest's machine ended in a power-off")
	p.enter(prompt, "vm.state")
	p.await(`"off"`)
	p.enter(prompt, "continue")
	p.await("\x1b[31m--- FAIL: test_mounted")
	if status := p.end(); status != 1 {
		t.Errorf("exit status %d, want 1: a test failed", status)
	}
}
