package guard

import (
	"os"
	"testing"

	"nvlab/internal/gogc"
)

// TestMain lets the heap grow more between collections than programs do: it
// is small most of the time, and deep values are made by the hundred.
func TestMain(m *testing.M) {
	gogc.Default(200)
	os.Exit(m.Run())
}
