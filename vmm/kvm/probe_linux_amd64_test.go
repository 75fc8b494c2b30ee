package kvm

import (
	"testing"
	"time"
)

// TestProbeIsQuick holds the probe to its time on this host: the least of a
// few, for others use the host, too.
func TestProbeIsQuick(t *testing.T) {
	least := time.Hour
	for range 20 {
		start := time.Now()
		r, end := probe(linux{})
		least = min(least, time.Since(start))
		end()
		limit := 10 * time.Millisecond
		switch {
		case r.Err != nil:
			t.Skip(r.Err)
		case r.Slow != "":
			limit = 30 * time.Millisecond
		}
		if least <= limit {
			return
		}
	}
	t.Errorf("the probe takes %v at least, want 10 ms at most, and 30 ms where kernel mode is emulated", least)
}

// BenchmarkProbe is what the first line of a run waits for.
func BenchmarkProbe(b *testing.B) {
	for b.Loop() {
		r, end := probe(linux{})
		b.StopTimer()
		end()
		if r.Err != nil {
			b.Skip(r.Err)
		}
		b.StartTimer()
	}
}
