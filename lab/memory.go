package lab

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
)

// A memoryGate keeps the guests of parallel experiments within the host's
// memory. An experiment that holds memory already never waits: two that wait
// for each other's would wait for ever.
type memoryGate struct {
	mu     sync.Mutex
	free   int64         // may be negative: see above
	inUse  int           // experiments that hold some
	change chan struct{} // closed at each release
}

// newMemoryGate leaves a quarter of what is available to the host.
func newMemoryGate() *memoryGate {
	return &memoryGate{free: AvailableMemory() / 4 * 3, change: make(chan struct{})}
}

// acquire takes n bytes for an experiment that has reserved so many already. It
// waits while
// there is less, unless nobody else holds any: then waiting would not help.
func (g *memoryGate) acquire(ctx context.Context, n, reserved int64) error {
	for {
		g.mu.Lock()
		if reserved > 0 || n <= g.free || g.inUse == 0 {
			g.free -= n
			if reserved == 0 {
				g.inUse++
			}
			g.mu.Unlock()
			return nil
		}
		change := g.change
		g.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// room is how many bytes are free.
func (g *memoryGate) room() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.free
}

// release gives n bytes back; reserved is what the experiment keeps.
func (g *memoryGate) release(n, reserved int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.free += n
	if reserved == 0 {
		g.inUse--
	}
	close(g.change)
	g.change = make(chan struct{})
}

// AvailableMemory is MemAvailable of /proc/meminfo (proc(5)), in bytes; 4 GiB
// where the host has no such file.
func AvailableMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err == nil {
		for line := range strings.SplitSeq(string(text), "\n") {
			if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
				kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
				if err == nil {
					return kib << 10
				}
			}
		}
	}
	return 4 << 30
}
