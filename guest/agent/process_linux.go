package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"nvlab/guest/proto"
)

// processes starts processes and reaps every child, those that others left
// behind included.
type processes struct {
	mu       sync.Mutex // held over fork, so that no child is reaped unknown
	children map[int]chan unix.WaitStatus
	stopping bool

	answers sync.WaitGroup // processes whose end is not told yet
}

func newProcesses() *processes {
	return &processes{children: map[int]chan unix.WaitStatus{}}
}

// signals reaps at every SIGCHLD and obeys what busybox's poweroff, halt and
// reboot send to pid 1 (init/halt.c: SIGUSR2, SIGUSR1, SIGTERM). Any other does
// nothing, as with an init that has no handler for it: Go's runtime has one for
// each, which would end the process. Ignored signals would be ignored by all
// children, too.
func (p *processes) signals() {
	c, others := make(chan os.Signal, 16), make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGCHLD, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM)
	for sig := unix.Signal(1); sig <= 64; sig++ {
		switch sig {
		case unix.SIGCHLD, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM, unix.SIGURG: // the last is the runtime's own
		default:
			signal.Notify(others, sig)
		}
	}
	p.reap() // children that ended before Notify
	for {
		var sig os.Signal
		select {
		case <-others:
			continue
		case sig = <-c:
		}
		switch sig {
		case unix.SIGCHLD:
			p.reap()
		default:
			go func() {
				if err := p.shutdown(sig == unix.SIGTERM, func() {}); err != nil {
					report(err)
				}
			}()
		}
	}
}

// reap takes every child that has ended, and reports whether others are left.
func (p *processes) reap() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return err == nil
		}
		if c := p.children[pid]; c != nil {
			delete(p.children, pid)
			c <- status
		}
	}
}

// start runs a program in a session of its own. The channel gets its status.
func (p *processes) start(argv []string, attr *syscall.ProcAttr) (int, <-chan unix.WaitStatus, error) {
	path, err := lookPath(argv[0], attr.Env)
	if err != nil {
		return 0, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping {
		return 0, nil, errors.New("the guest is shutting down")
	}
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot run %s: %w", path, err)
	}
	c := make(chan unix.WaitStatus, 1)
	p.children[pid] = c
	return pid, c, nil
}

func (p *processes) isStopping() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopping
}

// notStarted answers for a program that cannot be run as a shell would: status
// 127 if there is none, else 126.
func (r *request) notStarted(err error) {
	exit := proto.Exit{Code: 126}
	if errors.Is(err, fs.ErrNotExist) {
		exit.Code = 127
	}
	r.send(proto.KindStderr, []byte(err.Error()+"\n"))
	r.send(proto.KindExit, exit.Encode())
}

// lookPath finds a program in the PATH of env, as execvp does.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range strings.Split(path, ":") {
		file := dir + "/" + name
		if unix.Access(file, unix.X_OK) == nil {
			if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("cannot run %s: %w", name, unix.ENOENT)
}

// pipe is a pipe whose end for the agent does not block; the other does.
func pipe(agentReads bool) (ours *os.File, theirs int, err error) {
	var fd [2]int
	if err := unix.Pipe2(fd[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, err
	}
	our, their := fd[0], fd[1]
	if !agentReads {
		our, their = their, our
	}
	if err := unix.SetNonblock(our, true); err != nil {
		unix.Close(our)
		unix.Close(their)
		return nil, -1, err
	}
	return os.NewFile(uintptr(our), "pipe"), their, nil
}

// A killer ends a process, at once or as soon as it has begun.
type killer struct {
	mu     sync.Mutex
	pid    int // of the process, once it has begun
	killed bool
}

func (k *killer) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.killed = true
	if k.pid != 0 {
		unix.Kill(-k.pid, unix.SIGKILL)
	}
}

func (k *killer) began(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pid = pid
	if k.killed {
		unix.Kill(-pid, unix.SIGKILL)
	}
}

// run serves one Run request, whose input comes from in.
func (s *server) run(r *request, m proto.Run, in *inbox, k *killer) {
	dir := m.Dir
	if dir == "" {
		dir = "/"
	}
	env := append(os.Environ(), m.Env...)
	var ours [3]*os.File
	var theirs [3]int
	closeOurs := func() {
		for _, f := range ours {
			if f != nil {
				f.Close()
			}
		}
	}
	for i := range ours {
		f, fd, err := pipe(i != 0)
		if err != nil {
			closeOurs()
			for _, fd := range theirs[:i] {
				unix.Close(fd)
			}
			r.fail(err)
			return
		}
		ours[i], theirs[i] = f, fd
	}
	if path, err := lookPath(m.Argv[0], env); err == nil {
		if err := s.deferred.ensureProgram(path); err != nil {
			report(err) // and it will not run
		}
	}
	pid, exited, err := s.procs.start(m.Argv, &syscall.ProcAttr{
		Dir: dir, Env: env,
		Files: []uintptr{uintptr(theirs[0]), uintptr(theirs[1]), uintptr(theirs[2])},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	for _, fd := range theirs {
		unix.Close(fd)
	}
	if err != nil {
		closeOurs()
		if s.procs.isStopping() {
			r.fail(err)
			return
		}
		r.notStarted(err)
		return
	}
	k.began(pid)
	go feed(ours[0], in)
	var streams sync.WaitGroup
	streams.Go(func() { pump(r, ours[1], proto.KindStdout) })
	streams.Go(func() { pump(r, ours[2], proto.KindStderr) })
	s.procs.answers.Add(1)
	go func() {
		status := <-exited
		in.close(nil)
		ours[0].Close()
		// What the process wrote is in the pipes by now.
		for _, f := range ours[1:] {
			f.SetReadDeadline(time.Unix(1, 0))
		}
		streams.Wait()
		exit := proto.Exit{Code: status.ExitStatus()}
		if status.Signaled() {
			exit = proto.Exit{Code: -1, Signal: int(status.Signal())}
		}
		r.send(proto.KindExit, exit.Encode())
		s.procs.answers.Done()
		for _, f := range ours[1:] {
			f.SetReadDeadline(time.Time{})
			go func() {
				io.Copy(io.Discard, f)
				f.Close()
			}()
		}
	}()
}

// feed writes input to a process. One that does not want it has closed its
// end, or ends.
func feed(w *os.File, in *inbox) {
	defer w.Close()
	for {
		p, err := in.take()
		if err != nil {
			return
		}
		if _, err := w.Write(p.data); err != nil {
			return
		}
	}
}

// pump sends what comes out of a process until the stream ends, or the process
// does: then the deadline has passed, and what is in the pipe is all of it.
func pump(r *request, f *os.File, kind proto.Kind) {
	buf := make([]byte, proto.ChunkSize)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			r.send(kind, buf[:n])
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return
		}
	}
	f.SetReadDeadline(time.Time{})
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	for {
		n := 0
		err := conn.Read(func(fd uintptr) bool {
			n, _ = unix.Read(int(fd), buf)
			return true
		})
		if err != nil || n <= 0 {
			return
		}
		r.send(kind, buf[:n])
	}
}
