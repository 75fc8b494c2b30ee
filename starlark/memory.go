package nvstar

import (
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"go.starlark.net/starlark"

	"nvlab/lab"
)

// memoryLimit is how many bytes the values of a process may take: an eighth of
// what the host has left at the first look, as one step may treble them, or
// what GOMEMLIMIT says. Guests' memory is not among them.
var memoryLimit = sync.OnceValue(func() uint64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return uint64(n)
	}
	return max(1<<30, uint64(lab.AvailableMemory()/8))
})

// held is how many bytes the process has allocated and not freed.
func held() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// A memoryLimitError says that a scenario makes values without bound.
type memoryLimitError struct{ held, limit uint64 }

func (e *memoryLimitError) Error() string {
	return fmt.Sprintf("nvlab holds %d MiB, more than %d MiB: does a value grow without end? (GOMEMLIMIT sets the limit)", e.held>>20, e.limit>>20)
}

// watch stops the activity when the process holds too much. Steps cannot tell:
// a string doubled in 40 of them is a terabyte.
func (a *activity) watch(thread *starlark.Thread) {
	limit := memoryLimit()
	if held() > limit {
		runtime.GC() // what the test before left is not this one's
	}
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-a.ctx.Done():
				return
			case <-tick.C:
			}
			if n := held(); n > limit {
				err := &memoryLimitError{n, limit}
				a.stop(err)
				thread.Cancel(err.Error())
				return
			}
		}
	}()
}
