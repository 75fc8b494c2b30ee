// Package explore has scenarios that run a recovery on crash states. Its test runs them.
package explore

import (
	"regexp"
	"testing"

	"nvlab/internal/consoles"
)

// heard is what the guests' kernels say where a test provokes it.
var heard = consoles.Table{Tolerated: map[string]*regexp.Regexp{
	"operations.star/test_xfs": regexp.MustCompile(`DAX enabled. Warning: EXPERIMENTAL|Torn write \(CRC failure\) detected at log block`),
	// Some of its states have a torn header of a record, which XFS refuses: docs/faults.md.
	"operations.star/test_check_sum": regexp.MustCompile(`DAX enabled. Warning: EXPERIMENTAL|Torn write \(CRC failure\) detected at log block|` +
		`Internal error (hlen <= 0 \|\| hlen > bufsize|xlog_recover_process) at line \d+ of file fs/xfs/xfs_log_recover.c|log mount(/recovery)? failed`),
}, Machines: 4}

// TestScenarios runs every scenario of this folder, and reads what the guests'
// kernels said. What is below it takes longer: see CONTRIBUTING.md.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	heard.Run(t, "scenarios/explore", "mark.star", "operations.star", "workloads.star")
}
