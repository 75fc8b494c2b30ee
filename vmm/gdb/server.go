package gdb

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"

	"nvlab/vmm"
)

// A Target is a machine that is stopped. All but Kick is called within
// [Server.Between] only. Processors are numbered from 0.
type Target interface {
	CPUs() int
	// CPU says what a processor is doing, for people.
	CPU(cpu int) string
	Turn() int
	Registers(cpu int) vmm.Registers
	SetRegisters(cpu int, r *vmm.Registers) error
	// ReadMemory fills p from a virtual address of a processor, and returns how
	// many bytes could be read.
	ReadMemory(cpu int, addr uint64, p []byte) int
	WriteMemory(cpu int, addr uint64, p []byte) error

	// Break sets all breakpoints. With loads the machine also stops where what
	// Libraries says changes.
	Break(at []uint64, loads bool)
	Step(cpu int)
	Broke() (cpu int, why vmm.Broke)
	// Loaded says, once, that Libraries may say something else than before.
	Loaded() bool
	// Libraries are files with symbols of what is in memory.
	Libraries() []Library

	// Kick makes the machine stop soon. Any goroutine may call it.
	Kick()
}

// A Library is an ELF file whose symbols are at the addresses that it says. Two of
// one name are the same.
type Library struct {
	Name    string // absolute
	Content []byte
}

// A Server is where gdb comes to.
type Server struct {
	listener net.Listener
	arrived  chan struct{} // holds one if a session came since somebody waited

	// Killed is called when gdb ends the run.
	Killed func()
	// Waits is called when a machine begins to wait for gdb.
	Waits func()

	breakpoints []uint64 // sorted
	once        bool     // a machine has waited for gdb

	mu      sync.Mutex
	running Target   // that is to be kicked; nil while none runs
	stop    bool     // the next chance is to be taken
	session *session // nil if gdb is not there
	closed  bool
}

// Listen makes a server at a TCP address of this host alone.
func Listen(addr string) (*Server, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%q: want HOST:PORT of this host, such as localhost:1234: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && host != "" && !ip.IsLoopback() {
		return nil, fmt.Errorf("%q: gdb may read and change guests: want an address of this host alone, such as localhost:1234", addr)
	}
	if host == "" {
		addr = "localhost" + addr
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, arrived: make(chan struct{}, 1)}
	go s.accept()
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close ends what there is of a session. gdb is told that what it looked at has
// ended.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	session := s.session
	s.session = nil
	s.mu.Unlock()
	if session != nil {
		session.send("W00")
		session.close()
	}
	return err
}

// accept takes one connection after the other. Each asks for a stop, and is served
// until it ends.
func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		n := newSession(s, c)
		s.mu.Lock()
		if s.closed || s.session != nil {
			s.mu.Unlock()
			n.close() // one gdb at a time
			continue
		}
		s.session = n
		s.mu.Unlock()
		s.askStop()
		go n.read()
		select { // wakes a machine that waits
		case s.arrived <- struct{}{}:
		default:
		}
	}
}

// askStop has the machine that runs, or the next one, stop.
func (s *Server) askStop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = true
	if s.running != nil {
		s.running.Kick()
	}
}

// left notes that a session has ended.
func (s *Server) left(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == n {
		s.session = nil
	}
}

// Between is called before a machine runs on. It returns when it may.
func (s *Server) Between(ctx context.Context, t Target) error {
	cpu, why := t.Broke()
	for {
		n, stop := s.next()
		if n == nil && !s.once {
			if err := s.wait(ctx); err != nil {
				return err
			}
			continue
		}
		s.once = true
		switch {
		case n == nil:
			s.breakpoints = nil
			t.Step(-1)
		case stop || why != vmm.NotBroken:
			t.Step(-1)
			if err := n.serve(ctx, t, n.stop(t, cpu, why)); err != nil {
				return err
			}
			cpu, why = 0, vmm.NotBroken
			continue // gdb may have gone, or another come
		case t.Loaded() && n.outdated(t):
			// gdb looks at the libraries, and goes on.
			if err := n.serve(ctx, t, stopped{cpu: t.Turn(), signal: sigTRAP, loaded: true}); err != nil {
				return err
			}
			continue
		}
		t.Break(s.breakpoints, n != nil)
		if n != nil && n.step >= 0 {
			t.Step(n.step)
			n.step = -1
		}
		if s.release(t) {
			return nil
		}
	}
}

// next is the session, nil if there is none, and whether it wants the machine to
// stop.
func (s *Server) next() (*session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = nil
	stop := s.stop
	s.stop = false
	return s.session, stop
}

// wait returns when gdb is there for the first time.
func (s *Server) wait(ctx context.Context) error {
	if s.Waits != nil {
		s.Waits()
	}
	for {
		s.mu.Lock()
		s.once = s.session != nil
		s.mu.Unlock()
		if s.once {
			return nil
		}
		select {
		case <-s.arrived:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// release lets a machine run, unless somebody asked for a stop meanwhile.
func (s *Server) release(t Target) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop && s.session != nil {
		return false
	}
	s.running = t
	return true
}

// insert and remove change the breakpoints.
func (s *Server) insert(at uint64) {
	if i, found := slices.BinarySearch(s.breakpoints, at); !found {
		s.breakpoints = slices.Insert(s.breakpoints, i, at)
	}
}

func (s *Server) remove(at uint64) {
	if i, found := slices.BinarySearch(s.breakpoints, at); found {
		s.breakpoints = slices.Delete(s.breakpoints, i, i+1)
	}
}
