// Package held counts what a process holds of its host, for tests that nothing
// is left of what they made.
package held

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Count is what the process holds. Private memory without a name may be the
// runtime's, which comes and goes: of that there is the sum.
type Count struct {
	Threads, Files, Mappings int
	Private                  int64 // bytes of address space
}

// tolerance is how much more private memory the runtime may have.
const tolerance = 128 << 20

// spare is more threads than a test needs at a time.
const spare = 32

// ownThreads is how many threads the runtime may start for itself at any time: one
// from which others are made is due when a goroutine that is locked to its thread needs
// one, and one more may wait in a system call. Tests repeat what they do, so that a thread that
// each time leaves behind is seen.
const ownThreads = 2

// Now counts, once the runtime has idle threads to spare: it keeps those that
// it made, and a thread more after this is one that was left behind.
func Now(t testing.TB) Count {
	t.Helper()
	var all, started sync.WaitGroup
	release := make(chan struct{})
	started.Add(spare)
	for range spare {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			started.Done()
			<-release
		})
	}
	started.Wait() // each of them has a thread
	close(release)
	all.Wait()
	return count(t)
}

func count(t testing.TB) Count {
	t.Helper()
	entries := func(dir string) int {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Skipf("what this process holds cannot be counted here: %v", err)
		}
		return len(list)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skipf("what this process holds cannot be counted here: %v", err)
	}
	c := Count{Threads: entries("/proc/self/task"), Files: entries("/proc/self/fd")}
	for line := range strings.Lines(string(maps)) {
		// proc(5): address, permissions, offset, device, inode, name.
		f := strings.Fields(line)
		if len(f) < 6 && strings.HasSuffix(f[1], "-p") || strings.Contains(line, "[anon: Go:") {
			from, to, _ := strings.Cut(f[0], "-")
			low, _ := strconv.ParseUint(from, 16, 64)
			high, _ := strconv.ParseUint(to, 16, 64)
			c.Private += int64(high - low)
			continue
		}
		c.Mappings++
	}
	return c
}

// NoMore fails the test if the process holds more than c. It waits for what
// ends by itself in a moment: a thread outlives its goroutine a little.
func (c Count) NoMore(t testing.TB, after string) {
	t.Helper()
	var now Count
	for range 300 {
		if now = count(t); now.Threads <= c.Threads+ownThreads && now.Files <= c.Files && now.Mappings <= c.Mappings && now.Private <= c.Private+tolerance {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("after %s the process has %d threads, %d files, %d mappings and %d MiB of private memory; before it had %d, %d, %d and %d MiB",
		after, now.Threads, now.Files, now.Mappings, now.Private>>20, c.Threads, c.Files, c.Mappings, c.Private>>20)
}
