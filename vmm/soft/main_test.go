package soft

import (
	"os"
	"testing"

	"nvlab/internal/gogc"
)

// TestMain lets the heap grow more between collections than programs do: it
// is small, and programs are translated by the thousand.
func TestMain(m *testing.M) {
	gogc.Default(400)
	os.Exit(m.Run())
}
