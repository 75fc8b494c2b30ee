package gdb

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"nvlab/vmm"
)

// fake is a machine with two processors and a page of memory at 0x1000.
type fake struct {
	regs   [2]vmm.Registers
	memory []byte
	breaks []uint64
	step   int
	why    vmm.Broke
	kicks  chan bool
	loaded bool
	libs   []Library
}

func newFake() *fake {
	m := &fake{memory: make([]byte, 0x1000), step: -1, kicks: make(chan bool, 8), libs: []Library{{"/kernel", []byte("\x7fELF}#$*")}}}
	m.regs[1].R[0], m.regs[1].RIP = 0x1122334455667788, 0x1010
	m.memory[0x10] = 0x90
	return m
}

func (m *fake) CPUs() int                     { return 2 }
func (m *fake) CPU(int) string                { return "idle" }
func (m *fake) Turn() int                     { return 1 }
func (m *fake) Registers(n int) vmm.Registers { return m.regs[n] }
func (m *fake) SetRegisters(n int, r *vmm.Registers) error {
	if r.RIP == 0xbad {
		return errors.New("bad")
	}
	m.regs[n] = *r
	return nil
}
func (m *fake) at(addr uint64, p []byte) []byte {
	if addr < 0x1000 || addr >= 0x2000 {
		return nil
	}
	return m.memory[addr-0x1000:][:min(len(p), int(0x2000-addr))]
}
func (m *fake) ReadMemory(_ int, addr uint64, p []byte) int { return copy(p, m.at(addr, p)) }
func (m *fake) WriteMemory(_ int, addr uint64, p []byte) error {
	if copy(m.at(addr, p), p) < len(p) {
		return errors.New("no memory")
	}
	return nil
}
func (m *fake) Break(at []uint64, loads bool) { m.breaks = slices.Clone(at) }
func (m *fake) Step(cpu int)                  { m.step = cpu }
func (m *fake) Broke() (int, vmm.Broke) {
	why := m.why
	m.why = vmm.NotBroken
	return 1, why
}
func (m *fake) Loaded() bool         { was := m.loaded; m.loaded = false; return was }
func (m *fake) Libraries() []Library { return m.libs }
func (m *fake) Kick()                { m.kicks <- true }

// conversation is what gdb says and what it is answered, in this order.
var conversation = []struct{ packet, want string }{
	{"qSupported:multiprocess+;swbreak+", "PacketSize=4000;qXfer:features:read+;qXfer:exec-file:read+;qXfer:libraries-svr4:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak-;multiprocess-"},
	{"?", "T05thread:2;"},
	{"vMustReplyEmpty", ""},
	{"qC", "QC2"},
	{"qAttached", "1"},
	{"qfThreadInfo", "m1,2"},
	{"qsThreadInfo", "l"},
	{"qThreadExtraInfo,2", "69646c65"},
	{"T2", "OK"},
	{"T3", "E16"},
	{"p0", "8877665544332211"},
	{"p10", "1010000000000000"},
	{"pffff", "E16"},
	{"Hg1", "OK"},
	{"Hg3", "E16"},
	{"Hx1", "E16"},
	{"p0", "0000000000000000"},
	{"P0=0100000000000000", "OK"},
	{"p0", "0100000000000000"},
	{"P0=01", "E16"},
	{"P10=ad0b000000000000", "E16"},
	{"P12=01000000", "E16"}, // a selector
	{"Hg-1", "OK"},
	{"p0", "8877665544332211"},
	{"m1010,2", "9000"},
	{"m1fff,10", "00"},
	{"m3000,1", "E0e"},
	{"m1010", "E16"},
	{"M1010,2:cc01", "OK"},
	{"X1012,1:}", "OK"},
	{"m1010,3", "cc017d"},
	{"M1010,3:cc01", "E16"},
	{"M3000,1:cc", "E0e"},
	{"Z0,1010,1", "OK"},
	{"Z1,1020,1", "OK"},
	{"Z0,1010,1", "OK"},
	{"Z2,1010,1", ""},
	{"z1,1020,1", "OK"},
	{"Z0", "E16"},
	{"qXfer:exec-file:read::0,fff", "l/kernel"},
	{"qXfer:libraries-svr4:read::0,fff", `l<library-list-svr4 version="1.0"></library-list-svr4>`},
	{"qXfer:libraries-svr4:read::0,8", `m<library`},
	{"qXfer:features:read:target.xml:0,5", "m<?xml"},
	{"qXfer:features:read:target.xml:ffffff,5", "E16"},
	{"qXfer:auxv:read::0,5", ""},
	{"vFile:setfs:0", "F0"},
	{"vFile:open:2f6e6f6e65,0,0", "F-1,2"},
	{"vFile:open:2f6b65726e656c,0,0", "F1"},
	{"vFile:pread:1,4,0", "F4;\x7fELF"},
	{"vFile:pread:1,100,4", "F4;}#$*"},
	{"vFile:pread:1,100,400", "F0;"},
	{"vFile:pread:2,100,4", "F-1,9"},
	{"vFile:close:1", "F0"},
	{"vFile:close:1", "F-1,9"},
	{"vFile:unlink:2f", ""},
	{"vCont?", "vCont;c;C;s;S"},
	{"vCont;t", "E16"},
	{"vCont;s:7", "E16"},
	{"qOffsets", ""},
	{"", ""},
	{"!", ""},
}

// gdbOf is a connection to a server, as gdb has it.
type gdbOf struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, s *Server) *gdbOf {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &gdbOf{t, c, bufio.NewReader(c)}
}

func (g *gdbOf) say(packet string) { g.Write(appendPacket(nil, []byte(packet))) }

func (g *gdbOf) hear(after, want string) {
	g.t.Helper()
	got, _, err := readPacket(g.r)
	if err != nil || string(got) != want {
		g.t.Fatalf("after %q: %q, %v, want %q", after, got, err, want)
	}
}

func (g *gdbOf) ask(packet, want string) {
	g.t.Helper()
	g.say(packet)
	g.hear(packet, want)
}

// TestSession talks as gdb does: to a machine that waits, that is interrupted, stops at
// a breakpoint, after a step, with other libraries, and is left.
func TestSession(t *testing.T) {
	s, err := Listen("localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	m := newFake()
	between := make(chan error)
	run := func() { between <- s.Between(context.Background(), m) }
	go run()
	g := dial(t, s)
	for _, c := range conversation {
		g.ask(c.packet, c.want)
	}
	g.ask("QStartNoAckMode", "OK")
	g.say("vCont;s:1;c")
	if err := <-between; err != nil || m.step != 0 || !slices.Equal(m.breaks, []uint64{0x1010}) {
		t.Fatalf("after vCont;s:1;c: %v, step of processor %d, breakpoints at %#x; want one of 0, and 0x1010", err, m.step, m.breaks)
	}
	m.why = vmm.Stepped
	go run()
	g.hear("a step", "T05thread:2;")
	g.say("vCont;c")
	if err := <-between; err != nil || m.step != -1 {
		t.Fatalf("after vCont;c: %v, step of processor %d, want none", err, m.step)
	}
	m.why = vmm.Breakpoint
	go run()
	g.hear("a breakpoint", "T05thread:2;swbreak:;")
	g.say("c")
	<-between
	g.Write([]byte{interrupt})
	<-m.kicks
	go run()
	g.hear("an interrupt", "T02thread:2;")
	g.say("s")
	if <-between; m.step != 1 {
		t.Errorf("after s: step of processor %d, want 1, which stopped", m.step)
	}
	m.loaded = true
	if err := s.Between(context.Background(), m); err != nil { // the list is as gdb knows it
		t.Fatal(err)
	}
	m.loaded, m.libs = true, append(m.libs, Library{Name: "/modules&1"})
	go run()
	g.hear("a module", "T05thread:2;library:;")
	g.ask("qXfer:libraries-svr4:read::0,fff", `l<library-list-svr4 version="1.0"><library name="/modules&amp;1" lm="0x2" l_addr="0x0" l_ld="0x0" lmid="0x0"/></library-list-svr4>`)
	g.ask("D", "OK")
	if err := <-between; err != nil || len(m.breaks) > 0 {
		t.Fatalf("after D: %v, breakpoints at %#x, want none", err, m.breaks)
	}
	if err := s.Between(context.Background(), m); err != nil { // nobody is waited for any more
		t.Fatal(err)
	}
	again := dial(t, s)
	<-m.kicks
	go run()
	again.ask("?", "T05thread:2;")
	again.ask("Z0,1,1", "OK")
	again.Close()
	if err := <-between; err != nil || len(m.breaks) > 0 {
		t.Fatalf("after gdb went: %v, breakpoints at %#x, want none", err, m.breaks)
	}
	last := dial(t, s)
	<-m.kicks
	go run()
	last.say("c")
	<-between
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	last.hear("the end", "W00")
}

// TestKill: gdb's kill ends the run.
func TestKill(t *testing.T) {
	s, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := errors.New("ended")
	s.Killed = func() { cancel(ended) }
	between := make(chan error)
	go func() { between <- s.Between(ctx, newFake()) }()
	dial(t, s).say("k")
	if err := <-between; err != ended {
		t.Errorf("after k Between says %v, want the cause of the context's end", err)
	}
}

// TestNobodyComes: a machine waits no longer than its context lasts.
func TestNobodyComes(t *testing.T) {
	s, err := Listen(":0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if host, _, _ := net.SplitHostPort(s.Addr()); !net.ParseIP(host).IsLoopback() {
		t.Errorf("the address is %s, want one of this host alone", s.Addr())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Between(ctx, newFake()); err != context.Canceled {
		t.Errorf("Between says %v, want %v", err, context.Canceled)
	}
}

func TestListen(t *testing.T) {
	for addr, want := range map[string]string{
		"localhost":      "want HOST:PORT of this host",
		"0.0.0.0:0":      "want an address of this host alone",
		"192.0.2.1:1234": "want an address of this host alone",
		"example.org:1":  "want an address of this host alone",
		"localhost:x":    "lookup tcp/x",
	} {
		s, err := Listen(addr)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen(%q) says %v, want %q", addr, err, want)
		}
	}
}

// TestDescription: the target description is XML, and has what its registers' bytes are.
func TestDescription(t *testing.T) {
	var d struct {
		Feature []struct {
			Reg []struct {
				Name string `xml:"name,attr"`
				Bits int    `xml:"bitsize,attr"`
			} `xml:"reg"`
		} `xml:"feature"`
	}
	dec := xml.NewDecoder(strings.NewReader(description()))
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	bits, n := 0, 0
	for _, f := range d.Feature {
		for _, r := range f.Reg {
			if r.Name != registers[n].name {
				t.Errorf("register %d is %s in the description, want %s", n, r.Name, registers[n].name)
			}
			bits, n = bits+r.Bits, n+1
		}
	}
	var r vmm.Registers
	if all := getAll(&r); len(all) != bits/4 {
		t.Errorf("packet g is answered by %d digits, want %d", len(all), bits/4)
	}
	r.R[2], r.RIP, r.RFLAGS = 7, 8, 9
	var other vmm.Registers
	if err := putAll(&other, getAll(&r)); err != nil || other.R != r.R || other.RIP != r.RIP || other.RFLAGS != r.RFLAGS {
		t.Errorf("registers that were read and set are %+v, %v, want %+v", other, err, r)
	}
	r.CR3 = 1
	if err := putAll(&other, getAll(&r)); err == nil {
		t.Error("CR3 was set")
	}
}
