package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"nvlab/guest"
	"nvlab/guest/agent"
	"nvlab/guest/rootfs"
	"nvlab/internal/states"
)

// TestMain lets the test binary be the guest's pid 1: see selfShared.
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
	status := m.Run()
	for _, file := range removeAtEnd.files {
		os.RemoveAll(file)
	}
	os.Exit(status)
}

// shared is the Lab of the tests that start a machine: the guest is made once.
// NVLAB_ENGINE names its engine.
var shared = sync.OnceValues(func() (*Lab, error) {
	return New(Options{Engine: os.Getenv("NVLAB_ENGINE"), Cmdline: os.Getenv("NVLAB_CMDLINE"), Progress: guest.NewProgress(os.Stderr, false)})
})

// reuseShared is like shared, and computes no boot twice.
var reuseShared = sync.OnceValues(func() (*Lab, error) {
	l, err := shared()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "nvlab-lab-test-")
	if err != nil {
		return nil, err
	}
	removeLater(dir)
	return l.withStates(dir), nil
})

// withStates is a Lab like another, that keeps states in a folder.
func (l *Lab) withStates(dir string) *Lab {
	return &Lab{opts: l.opts, engine: l.engine, memory: l.memory, translations: l.translations, states: states.Open(dir, 0)}
}

// selfShared is like shared, and this test program is pid 1 of its guests,
// where its tests can run. No boot is computed twice.
var selfShared = sync.OnceValues(func() (*Lab, error) {
	l, err := shared()
	if err != nil {
		return nil, err
	}
	opts := l.opts
	if opts.Agent, err = staticSelf(); err != nil {
		return nil, err
	}
	self, err := New(opts)
	if err != nil {
		return nil, err
	}
	reused, err := reuseShared()
	if err != nil {
		return nil, err
	}
	self.states = reused.states
	return self, nil
})

// staticSelf is this test program as a static one: itself, or built anew where
// it is linked with the host's C library.
func staticSelf() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	if _, err := rootfs.StripStatic(program); err == nil {
		return self, nil
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("lab-static-%d.test", os.Getpid()))
	removeLater(file)
	build := exec.Command("go", "test", "-c", "-ldflags=-s -w", "-o", file, "nvlab/lab")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", build.Args, err, out)
	}
	return file, nil
}

// removeAtEnd are files that the test binary removes when its tests are done.
var removeAtEnd struct {
	mu    sync.Mutex
	files []string
}

func removeLater(file string) {
	removeAtEnd.mu.Lock()
	defer removeAtEnd.mu.Unlock()
	removeAtEnd.files = append(removeAtEnd.files, file)
}

// vmExperiment is an experiment that may start machines. A boot like one of
// another test is not computed again.
func vmExperiment(t testing.TB) *Experiment {
	t.Helper()
	return experimentOf(t, reuseShared)
}

// bootExperiment is one whose boots are all computed: a test's of what a boot
// does, or of an engine of its own.
func bootExperiment(t testing.TB) *Experiment {
	t.Helper()
	return experimentOf(t, shared)
}

// selfExperiment is one whose guests can run tests of this program.
func selfExperiment(t testing.TB) *Experiment {
	t.Helper()
	return experimentOf(t, selfShared)
}

func experimentOf(t testing.TB, lab func() (*Lab, error)) *Experiment {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a machine")
	}
	l, err := lab()
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

// ramVM is a machine whose one DIMM has memory of a size, and no label area.
func ramVM(t testing.TB, x *Experiment, size uint64) (*VM, *Backend) {
	t.Helper()
	b, err := x.RAMBackend(RAMBackendOptions{Size: size})
	if err != nil {
		t.Fatal(err)
	}
	return pluggedVM(t, x, b, 0), b
}

func mustBoot(t testing.TB, v *VM) {
	t.Helper()
	if err := v.Boot(t.Context(), DefaultTimeout); err != nil {
		t.Fatalf("Boot() = %v\n%s", err, v.Console())
	}
}

// mustFork takes a snapshot of v, and makes a VM of it.
func mustFork(t testing.TB, v *VM) (*VMSnapshot, *VM) {
	t.Helper()
	s, err := v.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Fork(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, f
}

func mustRun(t testing.TB, v *VM, command string) string {
	t.Helper()
	r, err := v.Run(t.Context(), Command{Shell: command, Timeout: DefaultTimeout, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Stdout)
}
