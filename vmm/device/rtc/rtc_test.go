package rtc

import (
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	zone := time.FixedZone("east", 3600)
	c := New(time.Date(2031, time.December, 24, 23, 58, 47, 999, zone), func() time.Duration { return time.Hour })
	for _, r := range []struct {
		name string
		reg  byte
		want uint32
	}{
		{"seconds", regSeconds, 0x47}, {"minutes", regMinutes, 0x58}, {"hours", regHours, 0x23},
		{"weekday", regWeekday, 0x04}, {"day", regDay, 0x24}, {"month", regMonth, 0x12}, {"year", regYear, 0x31},
		{"status A", regA, 0x26}, {"status B", regB, 0x02}, {"status D", regD, 0x80}, {"memory", 0x40, 0},
	} {
		c.Out(0x70, 1, uint32(r.reg)|0x80) // bit 7 masks NMIs
		if got := c.In(0x71, 1); got != r.want {
			t.Errorf("%s = %#x, want %#x", r.name, got, r.want)
		}
	}
	c.Out(0x71, 1, 0x11)
	c.Out(0x70, 1, regYear)
	if got := c.In(0x71, 1); got != 0x31 {
		t.Errorf("year after writes = %#x, want 0x31", got)
	}
}
