package lab

import (
	"context"
	"errors"
	"nvlab/guest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestUnreachableIsTriedOnce: apt takes a minute to find that there is no
// network, and a scenario may ask for the same kernel in every test.
func TestUnreachableIsTriedOnce(t *testing.T) {
	bin := t.TempDir()
	log := filepath.Join(bin, "log")
	script := "#!/bin/sh\necho \"$0 $*\" >> " + log + "\necho 'E: Failed to fetch http://example.org/InRelease' >&2\nexit 100\n"
	for _, tool := range []string{"apt-get", "apt-cache"} {
		if err := os.WriteFile(filepath.Join(bin, tool), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	l, err := New(Options{Engine: "soft", Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var calls [2]int
	for i := range calls {
		why, err := l.HasKernel(t.Context(), "linux-image-6.1.0-1-amd64")
		if why == nil || err != nil {
			t.Fatalf("HasKernel() without a network = %v, %v, want the reason why not, and no error", why, err)
		}
		said, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		calls[i] = len(said)
	}
	if calls[1] != calls[0] {
		t.Error("the second HasKernel() of a kernel that cannot be had asks apt again")
	}
}

// TestWaitForAnImageCanBeCancelled: apt may take minutes, and a test that waits
// for another's guest ends when it is told to.
func TestWaitForAnImageCanBeCancelled(t *testing.T) {
	l := &Lab{}
	building := &imageTry{done: make(chan struct{})}
	l.images.tries = map[string]*imageTry{(guest.Spec{Kernel: "linux-image-slow"}).String(): building}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := l.image(ctx, "linux-image-slow", nil)
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("image() = %v, want %v", err, context.Canceled)
		}
	case <-time.After(10 * time.Second):
		t.Error("image() waits for a guest that is being built although it was cancelled")
	}
	building.image = &image{}
	close(building.done)
	if i, err := l.image(t.Context(), "linux-image-slow", nil); i != building.image || err != nil {
		t.Errorf("image() = %v, %v, want the guest that somebody else built", i, err)
	}
}
