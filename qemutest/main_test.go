package qemutest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"nvlab/guest"
	"nvlab/internal/require"
	"nvlab/lab"
	"nvlab/vmm/boot"
)

// TestMain lets the test binary be the process that the benchmark compares
// with QEMU's.
func TestMain(m *testing.M) {
	if text := os.Getenv(jobVariable); text != "" {
		os.Exit(runJob(&job{}, text))
	}
	if text := os.Getenv(reusedVariable); text != "" {
		os.Exit(runJob(&reusedJob{}, text))
	}
	status := m.Run()
	os.RemoveAll(stockDir)
	os.Exit(status)
}

// stockDir holds the guest's initramfs as QEMU wants it, in a file.
var stockDir string

// startsMachines skips with -short.
func startsMachines(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts machines")
	}
}

// needQEMU skips where QEMU is absent, or fails where it has to be there.
func needQEMU(t testing.TB) {
	t.Helper()
	startsMachines(t)
	if _, err := exec.LookPath(Program); err != nil {
		require.Missing(t, "QEMU", "%s is not there (Debian package qemu-system-x86): %v", Program, err)
	}
}

// stock is the default guest, with this program as its agent.
type stock struct {
	*guest.Image
	initrd string
}

var stockGuest = sync.OnceValues(func() (*stock, error) {
	store, err := guest.Open("")
	if err != nil {
		return nil, err
	}
	store.Vmlinux = boot.Decompress
	image, err := store.Ensure(context.Background(), guest.Spec{}, guest.NewProgress(os.Stderr, false))
	if err != nil {
		return nil, err
	}
	agent, err := store.Agent(context.Background(), guest.NewProgress(os.Stderr, false))
	if err != nil {
		return nil, err
	}
	initrd, err := image.Initramfs(agent)
	if err != nil {
		return nil, err
	}
	defer initrd.Close()
	if stockDir, err = os.MkdirTemp("", "nvlab-qemutest-"); err != nil {
		return nil, err
	}
	file := filepath.Join(stockDir, "initrd")
	return &stock{image, file}, initrd.WriteFile(file)
})

func mustGuest(t testing.TB) *stock {
	t.Helper()
	g, err := stockGuest()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var sharedLab = sync.OnceValues(func() (*lab.Lab, error) {
	return lab.New(lab.Options{Progress: guest.NewProgress(os.Stderr, false)})
})
