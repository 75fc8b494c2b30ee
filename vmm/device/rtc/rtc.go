// Package rtc is the clock of a PC's CMOS (Motorola MC146818 datasheet):
// date and time, to be read. It has no alarm, interrupt or memory.
package rtc

import "time"

// Ports is the number of I/O ports: index and data.
const Ports = 2

// Registers.
const (
	regSeconds = 0x00
	regMinutes = 0x02
	regHours   = 0x04
	regWeekday = 0x06
	regDay     = 0x07
	regMonth   = 0x08
	regYear    = 0x09
	regA       = 0x0a
	regB       = 0x0b
	regD       = 0x0d
)

const (
	aDividers = 0x26 // 32.768 kHz; bit 7 clear: no update in progress
	b24Hours  = 0x02 // and BCD
	dValid    = 0x80
)

// A Clock is the device.
type Clock struct {
	State
	since func() time.Duration
}

// State is what a Clock remembers.
type State struct {
	Index byte      // the register that the data port shows
	Date  time.Time // at power-on
}

// New returns a clock that shows, in UTC, the date at power-on and the time
// since then.
func New(date time.Time, since func() time.Duration) *Clock {
	return &Clock{State{Date: date}, since}
}

func (c *Clock) In(port uint16, _ int) uint32 {
	if port%Ports == 0 {
		return 0xff
	}
	t := c.Date.Add(c.since()).UTC()
	switch c.Index {
	case regSeconds:
		return bcd(t.Second())
	case regMinutes:
		return bcd(t.Minute())
	case regHours:
		return bcd(t.Hour())
	case regWeekday:
		return bcd(int(t.Weekday()) + 1)
	case regDay:
		return bcd(t.Day())
	case regMonth:
		return bcd(int(t.Month()))
	case regYear:
		return bcd(t.Year() % 100)
	case regA:
		return aDividers
	case regB:
		return b24Hours
	case regD:
		return dValid
	}
	return 0
}

// Out selects a register. The clock cannot be set.
func (c *Clock) Out(port uint16, _ int, v uint32) {
	if port%Ports == 0 {
		c.Index = byte(v & 0x7f)
	}
}

func bcd(n int) uint32 { return uint32(n/10<<4 | n%10) }
