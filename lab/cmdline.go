package lab

import (
	"strings"
	"time"

	"nvlab/vmm"
	"nvlab/vmm/boot"
)

// Epoch is the guest's wall clock at power-on, on every engine: a run must not
// depend on the host's.
var Epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// cmdline is the kernel's command line; a scenario's own words come last, so
// that they win.
func (v *VM) cmdline() string {
	return strings.TrimSpace(boot.DefaultCmdline(vmm.TSCFrequency(v.engine)) + " " + v.opts.Cmdline)
}
