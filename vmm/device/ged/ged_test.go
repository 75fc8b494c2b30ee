package ged

import "testing"

func TestEvents(t *testing.T) {
	var line bool
	g := New(func(high bool) { line = high })
	g.Raise(0)
	g.Raise(31)
	if !line {
		t.Error("the line is low with events pending")
	}
	for _, c := range []struct {
		port uint16
		size int
	}{{0x604, 1}, {0x604, 2}, {0x605, 4}} {
		if got := g.In(c.port, c.size); got != 0 {
			t.Errorf("In(%#x, %d) = %#x, want 0: only a whole read takes events", c.port, c.size, got)
		}
	}
	g.Out(0x604, 4, 0)
	if got := g.In(0x604, 4); got != 0x8000_0001 {
		t.Errorf("In(0x604, 4) = %#x, want 0x80000001", got)
	}
	if line {
		t.Error("the line is high after the events were taken")
	}
	if got := g.In(0x604, 4); got != 0 {
		t.Errorf("second In(0x604, 4) = %#x, want 0", got)
	}
}
