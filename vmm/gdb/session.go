package gdb

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"nvlab/vmm"
)

// Signals, as gdb numbers them.
const (
	sigINT  = 2
	sigTRAP = 5
)

// A session is gdb, from its coming to its going.
type session struct {
	server *Server
	conn   net.Conn
	noAcks atomic.Bool
	write  sync.Mutex

	packets chan []byte   // closed with the connection
	gone    chan struct{} // closed when nobody reads them any more
	closing sync.Once

	// What follows is for Between.
	resumed bool // gdb waits for a stop
	swbreak bool // gdb wants to be told that a stop is at a breakpoint
	thread  int  // processor that registers and memory are of
	step    int  // processor that is to do one instruction; -1 is none
	stopped stopped
	files   files
	known   []string // names of the libraries that gdb knows
	main    string   // name of the one that it takes for the program; "" if none
}

// stopped is what gdb is told of a stop.
type stopped struct {
	cpu    int
	signal int
	broke  bool // at a breakpoint
	loaded bool // libraries are others
}

func newSession(s *Server, c net.Conn) *session {
	return &session{server: s, conn: c, packets: make(chan []byte), gone: make(chan struct{}), step: -1}
}

// close ends the connection.
func (n *session) close() {
	n.closing.Do(func() {
		close(n.gone)
		_ = n.conn.Close()
	})
}

// read hands on packets until the connection ends. An interrupt stops the
// machine that runs.
func (n *session) read() {
	defer n.server.left(n)
	defer n.close()
	defer close(n.packets)
	r := bufio.NewReader(n.conn)
	for {
		data, interrupted, err := readPacket(r)
		switch {
		case interrupted:
			n.server.askStop()
			continue
		case errors.Is(err, errChecksum):
			n.raw("-")
			continue
		case err != nil:
			return
		}
		if !n.noAcks.Load() {
			n.raw("+")
		}
		select {
		case n.packets <- data:
		case <-n.gone:
			return
		}
	}
}

// raw writes to the connection. That this fails is found out by read.
func (n *session) raw(text string) {
	n.write.Lock()
	defer n.write.Unlock()
	_, _ = n.conn.Write([]byte(text))
}

// send sends a packet.
func (n *session) send(data string) { n.raw(string(appendPacket(nil, []byte(data)))) }

// stop is why a machine stands still that gdb is to be told of.
func (n *session) stop(t Target, cpu int, why vmm.Broke) stopped {
	switch {
	case why != vmm.NotBroken:
		return stopped{cpu: cpu, signal: sigTRAP, broke: why == vmm.Breakpoint}
	case n.resumed:
		return stopped{cpu: t.Turn(), signal: sigINT}
	}
	return stopped{cpu: t.Turn(), signal: sigTRAP} // gdb came to a machine that stands still
}

// outdated says that there are other libraries than those that gdb knows.
func (n *session) outdated(t Target) bool {
	return !slices.EqualFunc(t.Libraries(), n.known, func(l Library, name string) bool { return l.Name == name })
}

// serve answers gdb about a machine that stopped, until that is to run on or gdb
// is gone. The error is ctx's, or that the run is to end.
func (n *session) serve(ctx context.Context, t Target, why stopped) error {
	n.stopped = why
	n.thread = n.stopped.cpu
	if n.resumed {
		n.send(n.stopReply())
	}
	n.resumed = false
	q := &query{session: n, target: t}
	for {
		select {
		case data, ok := <-n.packets:
			if !ok {
				n.leave()
				return nil
			}
			reply, next := q.answer(string(data))
			if next != resumes {
				n.send(reply)
			}
			switch next {
			case resumes:
				n.resumed = true
				return nil
			case detaches:
				n.leave()
				return nil
			case kills:
				n.leave()
				if n.server.Killed != nil {
					n.server.Killed()
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				return errors.New("gdb ended the run")
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leave ends the session.
func (n *session) leave() {
	n.server.left(n)
	n.close()
}
