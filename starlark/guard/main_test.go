package guard

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets the heap grow more between collections than programs do: it
// is small most of the time, and deep values are made by the hundred.
func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
	os.Exit(m.Run())
}
