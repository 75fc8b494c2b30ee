// Package serial is a 16550A UART (National Semiconductor PC16550D, 1995;
// sections cited are of its datasheet). It sends a byte at once and has no
// baud rate.
package serial

// Ports is the number of I/O ports of a UART.
const Ports = 8

// Register offsets (table II). The first two are the divisor latch while
// LCR.DLAB is set.
const (
	regData = 0 // RBR, THR, DLL
	regIER  = 1 // and DLM
	regIIR  = 2 // FCR when written
	regLCR  = 3
	regMCR  = 4
	regLSR  = 5
	regMSR  = 6
	regSCR  = 7
)

const (
	ierReceive  = 0x01
	ierTransmit = 0x02

	iirNone     = 0x01
	iirTransmit = 0x02
	iirReceive  = 0x04
	iirFIFO     = 0xc0

	fcrEnable       = 0x01
	fcrClearReceive = 0x02

	lcrDLAB = 0x80

	mcrLoop = 0x10

	lsrData  = 0x01
	lsrEmpty = 0x60 // holding and shift register

	msrCTS, msrDSR, msrRI, msrDCD = 0x10, 0x20, 0x40, 0x80
)

// fifoSize is the depth of the receive FIFO, in bytes.
const fifoSize = 16

// A UART is the device. Its zero State is that after a reset.
type UART struct {
	State
	out  func(byte)
	line func(bool)
}

// State is what a UART remembers.
type State struct {
	IER, FCR, LCR, MCR, SCR byte
	DLL, DLM                byte
	Sent                    bool   // a transmit interrupt is pending
	Received                []byte // read by the guest in this order
}

// Clone returns a state that shares nothing with s.
func (s State) Clone() State {
	s.Received = append([]byte(nil), s.Received...)
	return s
}

// New returns a UART that hands sent bytes to out and drives an interrupt
// line.
func New(out func(byte), line func(bool)) *UART { return &UART{out: out, line: line} }

// Input queues bytes for the guest. They wait behind the FIFO, so that none
// is lost.
func (u *UART) Input(p []byte) {
	u.Received = append(u.Received, p...)
	u.update()
}

func (u *UART) In(port uint16, size int) uint32 {
	v := uint32(u.read(port % Ports))
	for i := 1; i < size; i++ {
		v |= 0xff << (8 * i)
	}
	return v
}

func (u *UART) Out(port uint16, _ int, v uint32) { u.write(port%Ports, byte(v)) }

func (u *UART) read(reg uint16) byte {
	switch reg {
	case regData:
		if u.LCR&lcrDLAB != 0 {
			return u.DLL
		}
		if len(u.Received) == 0 {
			return 0
		}
		b := u.Received[0]
		u.Received = u.Received[1:]
		u.update()
		return b
	case regIER:
		if u.LCR&lcrDLAB != 0 {
			return u.DLM
		}
		return u.IER
	case regIIR:
		id := u.pending()
		if id == iirTransmit {
			// 8.6.5: reading its identity ends a transmit interrupt.
			u.Sent = false
			u.update()
		}
		if u.FCR&fcrEnable != 0 {
			id |= iirFIFO
		}
		return id
	case regLCR:
		return u.LCR
	case regMCR:
		return u.MCR
	case regLSR:
		if len(u.Received) > 0 {
			return lsrEmpty | lsrData
		}
		return lsrEmpty
	case regMSR:
		return u.modem()
	default:
		return u.SCR
	}
}

func (u *UART) write(reg uint16, v byte) {
	switch reg {
	case regData:
		if u.LCR&lcrDLAB != 0 {
			u.DLL = v
			return
		}
		if u.MCR&mcrLoop != 0 {
			if len(u.Received) < fifoSize {
				u.Received = append(u.Received, v)
			}
		} else {
			u.out(v)
		}
		// The line falls and rises again: it may be edge-triggered.
		u.Sent = false
		u.update()
		u.Sent = true
	case regIER:
		if u.LCR&lcrDLAB != 0 {
			u.DLM = v
			return
		}
		if v&^u.IER&ierTransmit != 0 {
			u.Sent = true
		}
		u.IER = v & 0x0f
	case regIIR:
		u.FCR = v & (fcrEnable | 0xc0)
		if v&fcrClearReceive != 0 {
			u.Received = u.Received[min(len(u.Received), fifoSize):]
		}
	case regLCR:
		u.LCR = v
	case regMCR:
		u.MCR = v & 0x1f
	case regSCR:
		u.SCR = v
	}
	u.update()
}

// pending is the identity of the interrupt of highest priority (table IV).
func (u *UART) pending() byte {
	switch {
	case u.IER&ierReceive != 0 && len(u.Received) > 0:
		return iirReceive
	case u.IER&ierTransmit != 0 && u.Sent:
		return iirTransmit
	}
	return iirNone
}

// modem is MSR: a peer that is always there, or in loopback MCR's own lines
// (8.7).
func (u *UART) modem() byte {
	if u.MCR&mcrLoop == 0 {
		return msrCTS | msrDSR | msrDCD
	}
	dtr, rts, out1, out2 := u.MCR&1, u.MCR>>1&1, u.MCR>>2&1, u.MCR>>3&1
	return rts*msrCTS | dtr*msrDSR | out1*msrRI | out2*msrDCD
}

func (u *UART) update() { u.line(u.pending() != iirNone) }
