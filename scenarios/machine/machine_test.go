// Package machine has scenarios of machines: PCI, RAM in slots, NUMA nodes, address bits. Its test runs them.
package machine

import (
	"testing"

	"nvlab/internal/consoles"
)

// heard is what the guests' kernels say where a test provokes it.
var heard = consoles.Table{}

// TestScenarios runs every scenario, and reads what the guests' kernels said.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	heard.Run(t, "scenarios/machine", ".")
}
