// Package gogc sets how much heaps grow between collections.
package gogc

import (
	"os"
	"runtime/debug"
)

// Default makes that percent of what is alive the growth of the heap between two
// collections, unless GOGC in the environment says how much it is. It is for tests
// whose heap is small, and who make much that is soon of no use.
func Default(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}
