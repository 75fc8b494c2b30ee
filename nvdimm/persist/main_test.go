package persist

import (
	"os"
	"testing"

	"nvlab/internal/gogc"
)

// TestMain lets the heap grow more between collections than programs do: it
// is small, and journals and crash states are made by the thousand.
func TestMain(m *testing.M) {
	gogc.Default(400)
	os.Exit(m.Run())
}
