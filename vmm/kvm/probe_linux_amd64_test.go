package kvm

import (
	"testing"
	"time"
)

// TestProbeIsQuick holds the probe to its time on this host: the least of a
// few, for others use the host, too.
func TestProbeIsQuick(t *testing.T) {
	least := time.Hour
	var r Report
	for range 5 {
		start := time.Now()
		got, end := probe(linux{})
		least = min(least, time.Since(start))
		end()
		r = got
	}
	if r.Err != nil {
		t.Skip(r.Err)
	}
	limit := 10 * time.Millisecond
	if r.Slow != "" {
		limit = 150 * time.Millisecond
	}
	if least > limit {
		t.Errorf("the probe takes %v, want %v at most where it says %q", least, limit, r.Why())
	}
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
