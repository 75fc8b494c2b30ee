package persist

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets the heap grow more between collections than programs do: it
// is small, and journals and crash states are made by the thousand.
func TestMain(m *testing.M) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	os.Exit(m.Run())
}
