package lab

import (
	"strings"
	"testing"

	"nvlab/nvdimm"
	"nvlab/vmm/soft"
)

// TestCmdline: what is more particular comes later, so that it wins.
func TestCmdline(t *testing.T) {
	for _, c := range []struct{ run, vm, want string }{
		{"", "", "panic=-1"},
		{"loglevel=5", "", "panic=-1 loglevel=5"},
		{"", "loglevel=8", "panic=-1 loglevel=8"},
		{"loglevel=5 quiet", "loglevel=8", "panic=-1 loglevel=5 quiet loglevel=8"},
	} {
		v := &VM{x: &Experiment{lab: &Lab{opts: Options{Cmdline: c.run}}}, root: &nvdimm.Root{}, engine: soft.Engine{}, vmState: vmState{opts: VMOptions{Cmdline: c.vm}}}
		if got := v.cmdline(); !strings.HasSuffix(got, c.want) || !strings.HasPrefix(got, "console=ttyS0 ") {
			t.Errorf("the command line with %q for the run and %q for the VM is %q, want its end to be %q", c.run, c.vm, got, c.want)
		}
	}
}
