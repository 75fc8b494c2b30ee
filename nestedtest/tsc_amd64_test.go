package nestedtest

import "testing"

// TestFrequency: two measurements agree to a thousandth.
func TestFrequency(t *testing.T) {
	a, b := tscKHz(), tscKHz()
	if d := max(a, b) - min(a, b); a < 100_000 || d > a/1000 {
		t.Errorf("the time-stamp counter's frequency is measured as %d and %d kHz", a, b)
	}
}
