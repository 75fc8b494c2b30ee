package units

import (
	"math"
	"testing"
)

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 1: "1", 1023: "1023", 1024: "1KiB", 1536: "1536", 64 << 20: "64MiB", 3 << 30: "3GiB", 1 << 50: "1024TiB", math.MaxUint64: "18446744073709551615",
	} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestUp(t *testing.T) {
	for _, c := range []struct {
		n, align, up uint64
		fits         bool
	}{{0, 4096, 0, true}, {1, 4096, 4096, true}, {4096, 4096, 4096, true}, {math.MaxUint64, 4096, 0, false}} {
		if up, fits := Up(c.n, c.align); fits != c.fits || fits && up != c.up {
			t.Errorf("Up(%d, %d) = %d, %v, want %d, %v", c.n, c.align, up, fits, c.up, c.fits)
		}
	}
}
