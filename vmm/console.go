package vmm

import "io"

// console gathers what the serial port sends into writes of a line.
type console struct {
	w    io.Writer
	line []byte
	err  error
}

const consoleLine = 4096

func (c *console) flush() {
	if len(c.line) == 0 {
		return
	}
	if c.w != nil && c.err == nil {
		_, c.err = c.w.Write(c.line)
	}
	c.line = c.line[:0]
}

func (m *Machine) consoleByte(b byte) {
	m.console.line = append(m.console.line, b)
	if b == '\n' || len(m.console.line) >= consoleLine {
		m.console.flush()
		m.Attention()
	}
}

// ConsoleInput types bytes at the serial console.
func (m *Machine) ConsoleInput(p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.devices.serial.Input(p)
}
