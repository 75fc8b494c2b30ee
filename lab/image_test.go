package lab

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"nvlab/guest"
)

// TestUnreachableKernelIsAskedForOnce: to find that a mirror does not answer
// takes its time.
func TestUnreachableKernelIsAskedForOnce(t *testing.T) {
	var asked atomic.Int32
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	}))
	defer mirror.Close()
	t.Setenv("NVLAB_MIRROR", mirror.URL+"/debian")
	l, err := New(Options{Engine: "soft", Cache: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var calls [2]int32
	for i := range calls {
		why, err := l.HasGuest(t.Context(), guest.Spec{Kernel: "linux-image-6.1.0-1-amd64"})
		if why == nil || err != nil {
			t.Fatalf("HasGuest() without a mirror = %v, %v, want the reason why not, and no error", why, err)
		}
		calls[i] = asked.Load()
	}
	if calls[0] == 0 || calls[1] != calls[0] {
		t.Errorf("the mirror is asked %d times, then %d in all, want none the second time", calls[0], calls[1])
	}
}

// TestWaitForAnImageCanBeCancelled: a mirror may take minutes, and a test that waits
// for another's guest ends when it is told to.
func TestWaitForAnImageCanBeCancelled(t *testing.T) {
	l := &Lab{}
	slow := guest.Spec{Kernel: "linux-image-slow"}
	building := &imageTry{done: make(chan struct{})}
	l.images.tries = map[string]*imageTry{slow.String(): building}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := l.image(ctx, slow)
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
	if i, err := l.image(t.Context(), slow); i != building.image || err != nil {
		t.Errorf("image() = %v, %v, want the guest that somebody else built", i, err)
	}
}
