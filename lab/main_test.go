package lab

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"nvlab/guest"
	"nvlab/guest/agent"
)

// TestMain lets the test binary be the guest's pid 1.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		agent.Main()
	}
	if args := os.Getenv(bandwidthVariable); args != "" {
		if err := bandwidthMain(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// shared is the Lab of all tests that start a machine: the guest is made once.
// NVLAB_ENGINE names its engine.
var shared = sync.OnceValues(func() (*Lab, error) {
	return New(Options{Engine: os.Getenv("NVLAB_ENGINE"), Cmdline: os.Getenv("NVLAB_CMDLINE"), Progress: guest.NewProgress(os.Stderr, false)})
})

// vmExperiment is an experiment that may start machines.
func vmExperiment(t testing.TB) *Experiment {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a machine")
	}
	l, err := shared()
	if err == nil {
		err = l.Prepare(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	x := l.Experiment(t.Name(), t.TempDir())
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return x
}

// labelledVM is a machine with one labelled DIMM on a shared file.
func labelledVM(t testing.TB, x *Experiment) (*VM, *Backend) {
	t.Helper()
	b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 64 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	return pluggedVM(t, x, b, 128<<10), b
}

// pluggedVM is a machine whose one DIMM has a backend.
func pluggedVM(t testing.TB, x *Experiment, b *Backend, labelSize uint64) *VM {
	t.Helper()
	var o VMOptions
	o.Slots, o.MaxMem = 1, 4<<30
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Plug(PlugOptions{Backend: b, ID: "nvdimm1", LabelSize: labelSize}); err != nil {
		t.Fatal(err)
	}
	return v
}

func mustBoot(t testing.TB, v *VM) {
	t.Helper()
	if err := v.Boot(t.Context(), DefaultTimeout); err != nil {
		t.Fatalf("Boot() = %v\n%s", err, v.Console())
	}
}

func mustRun(t testing.TB, v *VM, command string) string {
	t.Helper()
	r, err := v.Run(t.Context(), Command{Shell: command, Timeout: DefaultTimeout, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Stdout)
}
