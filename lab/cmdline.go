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

// cmdline is the kernel's command line: the machine's words, the run's and the
// scenario's own, which come last, so that they win.
func (v *VM) cmdline() string {
	words := strings.Fields(boot.DefaultCmdline(vmm.TSCFrequency(v.engine)))
	for _, more := range []string{v.x.lab.opts.Cmdline, v.opts.Cmdline} {
		if more != "" {
			words = append(words, more)
		}
	}
	return strings.Join(words, " ")
}
