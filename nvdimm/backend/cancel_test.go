package backend

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// TestCancel: whatever goes through all of a backend ends with its context,
// however large the backend is and whether it holds anything.
func TestCancel(t *testing.T) {
	b, err := OpenFile(FileConfig{Path: filepath.Join(t.TempDir(), "sparse.img"), Size: 400 << 30})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	before, err := b.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off < 400<<30; off += 40 << 30 {
		if _, err := b.WriteAt([]byte("data"), off); err != nil {
			t.Fatal(err)
		}
	}
	over := errors.New("the test is over")
	for name, do := range map[string]func(context.Context) error{
		"SHA256":   func(ctx context.Context) error { _, err := b.SHA256(ctx, 0, b.Size()); return err },
		"Snapshot": func(ctx context.Context) error { _, err := b.Snapshot(ctx); return err },
		"Diff":     func(ctx context.Context) error { _, err := b.Diff(ctx, before); return err },
		"Restore":  func(ctx context.Context) error { return b.Restore(ctx, before) },
		"UseCopy":  b.UseCopy,
		"Save":     func(ctx context.Context) error { return b.Save(ctx, filepath.Join(t.TempDir(), "saved.img")) },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(over)
		if err := do(ctx); !errors.Is(err, over) {
			t.Errorf("%s after its context ended = %v, want why it ended", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := b.SHA256(ctx, 0, b.Size()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hashing 400 GiB of holes for 20 ms = %v, want that the time is over", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("hashing 400 GiB of holes ended %v after it began, want it soon after 20 ms", took)
	}
	if changes, err := b.Diff(t.Context(), before); err != nil || len(changes) != 10 {
		t.Errorf("what was cancelled left %d changes of 10: %v", len(changes), err)
	}
}
