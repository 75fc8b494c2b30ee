package serial

import (
	"slices"
	"testing"
)

const base = 0x3f8

// port is a UART with what it sent and its interrupt line.
type port struct {
	*UART
	sent  []byte
	line  bool
	edges int // rises of the line
}

func newPort() *port {
	p := &port{}
	p.UART = New(func(b byte) { p.sent = append(p.sent, b) }, func(high bool) {
		if high && !p.line {
			p.edges++
		}
		p.line = high
	})
	return p
}

func (p *port) get(reg uint16) byte    { return byte(p.In(base+reg, 1)) }
func (p *port) put(reg uint16, v byte) { p.Out(base+reg, 1, uint32(v)) }

func TestSend(t *testing.T) {
	p := newPort()
	for _, b := range []byte("hi\n") {
		if p.get(regLSR)&lsrEmpty != lsrEmpty {
			t.Fatalf("LSR before %q = %#x, want room to send", b, p.get(regLSR))
		}
		p.put(regData, b)
	}
	if string(p.sent) != "hi\n" {
		t.Errorf("sent %q, want %q", p.sent, "hi\n")
	}
	if p.edges != 0 {
		t.Errorf("the line rose %d times with interrupts off, want 0", p.edges)
	}
}

func TestTransmitInterrupt(t *testing.T) {
	p := newPort()
	p.put(regIER, ierTransmit)
	if p.edges != 1 {
		t.Fatalf("the line rose %d times when the interrupt was enabled, want 1", p.edges)
	}
	if got := p.get(regIIR); got != iirTransmit {
		t.Errorf("IIR = %#x, want %#x", got, iirTransmit)
	}
	if got := p.get(regIIR); got != iirNone {
		t.Errorf("IIR after its identity was read = %#x, want %#x", got, iirNone)
	}
	if p.line {
		t.Error("the line is high with no interrupt pending")
	}
	p.put(regData, 'x')
	p.put(regData, 'y')
	if p.edges != 3 {
		t.Errorf("the line rose %d times, want 3: once more for each byte", p.edges)
	}
	// Linux, serial8250_do_startup: disabling and enabling must raise it again.
	p.put(regIER, 0)
	if p.line {
		t.Error("the line is high with interrupts off")
	}
	p.put(regIER, ierTransmit)
	if !p.line {
		t.Error("the line is low after the interrupt was enabled again")
	}
}

func TestReceive(t *testing.T) {
	p := newPort()
	p.Input([]byte("ab"))
	if p.line {
		t.Error("the line is high with interrupts off")
	}
	p.put(regIER, ierReceive)
	p.put(2, fcrEnable)
	var got []byte
	for p.get(regLSR)&lsrData != 0 {
		if id := p.get(regIIR); id != iirReceive|iirFIFO {
			t.Errorf("IIR with data = %#x, want %#x", id, iirReceive|iirFIFO)
		}
		got = append(got, p.get(regData))
	}
	if string(got) != "ab" {
		t.Errorf("received %q, want %q", got, "ab")
	}
	if p.line {
		t.Error("the line is high after all was read")
	}
	if got := p.get(regData); got != 0 {
		t.Errorf("RBR of an empty FIFO = %#x, want 0", got)
	}
}

func TestClearReceiveFIFO(t *testing.T) {
	p := newPort()
	p.Input(slices.Repeat([]byte("x"), fifoSize))
	p.Input([]byte("y"))
	p.put(2, fcrEnable|fcrClearReceive)
	if got := p.get(regData); got != 'y' {
		t.Errorf("first byte behind a cleared FIFO = %q, want 'y', which was not in it yet", got)
	}
}

func TestReceiveComesBeforeTransmit(t *testing.T) {
	p := newPort()
	p.put(regIER, ierReceive|ierTransmit)
	p.Input([]byte("z"))
	if got := p.get(regIIR); got != iirReceive {
		t.Errorf("IIR = %#x, want %#x", got, iirReceive)
	}
	p.get(regData)
	if got := p.get(regIIR); got != iirTransmit {
		t.Errorf("IIR behind the byte = %#x, want %#x", got, iirTransmit)
	}
}

// TestAutoconfig follows Linux's detection of a 16550A (drivers/tty/serial/
// 8250/8250_port.c, autoconfig).
func TestAutoconfig(t *testing.T) {
	p := newPort()
	p.put(regIER, 0)
	if got := p.get(regIER); got&0x0f != 0 {
		t.Errorf("IER after writing 0 = %#x, want 0", got)
	}
	p.put(regIER, 0x0f)
	if got := p.get(regIER); got != 0x0f {
		t.Errorf("IER after writing 0x0f = %#x, want 0x0f", got)
	}
	p.put(regIER, 0)
	p.put(regMCR, mcrLoop|0x0a)
	if got := p.get(regMSR) & 0xf0; got != 0x90 {
		t.Errorf("MSR in loopback with RTS and OUT2 = %#x, want 0x90", got)
	}
	p.put(regMCR, 0)
	p.put(2, fcrEnable)
	if got := p.get(regIIR) >> 6; got != 3 {
		t.Errorf("FIFO bits of IIR = %d, want 3, a 16550A", got)
	}
	p.put(regLCR, 0xbf)
	if got := p.get(2); got == 0 {
		t.Error("register 2 with LCR 0xbf = 0, which means an enhanced feature register")
	}
	p.put(regLCR, 0)
	p.put(regSCR, 0x5a)
	if got := p.get(regSCR); got != 0x5a {
		t.Errorf("SCR = %#x, want 0x5a", got)
	}
}

func TestLoopback(t *testing.T) {
	p := newPort()
	p.put(regMCR, mcrLoop)
	p.put(regData, 'q')
	if len(p.sent) != 0 {
		t.Errorf("sent %q in loopback, want nothing", p.sent)
	}
	if got := p.get(regData); got != 'q' {
		t.Errorf("received %q in loopback, want 'q'", got)
	}
}

func TestDivisorLatch(t *testing.T) {
	p := newPort()
	p.put(regLCR, lcrDLAB)
	p.put(0, 0x34)
	p.put(1, 0x12)
	if lo, hi := p.get(0), p.get(1); lo != 0x34 || hi != 0x12 {
		t.Errorf("divisor latch = %#x %#x, want 0x34 0x12", lo, hi)
	}
	p.put(regLCR, 0x03)
	if len(p.sent) != 0 || p.get(regIER) != 0 {
		t.Errorf("the divisor went to the data or interrupt enable register: sent %q, IER %#x", p.sent, p.get(regIER))
	}
}

func TestWideAccess(t *testing.T) {
	p := newPort()
	p.put(regSCR, 0x11)
	if got := p.In(base+regSCR, 4); got != 0xffffff11 {
		t.Errorf("4-byte read of SCR = %#x, want 0xffffff11", got)
	}
}
