package run

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	nvstar "nvlab/starlark"
)

// A syncBuffer is written while it is read.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestWatch: scenarios run again when one of them, or what it loads, changes, comes
// or goes, and not before.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, text string) {
		t.Helper()
		// As editors do.
		if err := os.WriteFile(name+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		os.Remove(name)
		time.Sleep(2 * watchEvery)
		if err := os.Rename(name+".new", name); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll("lib", 0o755); err != nil {
		t.Fatal(err)
	}
	write("lib/values.star", "V = 1")
	write("tests.star", "load('./lib/values.star', 'V')\ndef test_v(t):\n    check.eq(V, 1)\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	var out syncBuffer
	done := make(chan int)
	go func() {
		done <- Watch(ctx, Options{Paths: []string{"."}, Stdout: &out, Stderr: &out, Parallel: 1, Cache: filepath.Join(dir, "cache"), Artifacts: t.TempDir()})
	}()
	await := func(runs int, want string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); strings.Count(out.String(), "watching ") < runs; time.Sleep(watchEvery / 4) {
			if time.Now().After(end) {
				t.Fatalf("run %d did not come:\n%s", runs, out.String())
			}
		}
		parts := strings.Split(out.String(), "watching ")
		if !strings.Contains(parts[runs-1], want) {
			t.Errorf("run %d tells\n%s\nwant %q in it", runs, parts[runs-1], want)
		}
	}
	await(1, "ok    tests.star")
	write("tests.star", "load('./lib/values.star', 'V')\ndef test_v(t):\n    check.eq(V, 2)\n")
	await(2, "--- FAIL: test_v")
	write("lib/values.star", "V = 2")
	await(3, "ok    tests.star")
	write("more.star", "def test_more(t):\n    check.true(True)\n")
	await(4, "ok    more.star")
	write("more.star", "def test_more(t:\n")
	await(5, "cannot load")
	os.Remove("more.star")
	await(6, "ok    tests.star")
	os.Rename("lib/values.star", "lib/other.star")
	await(7, "lib/values.star")
	os.Rename("lib/other.star", "lib/values.star")
	await(8, "ok    tests.star")
	time.Sleep(4 * watchEvery)
	cancel(nvstar.ErrInterrupted)
	if status := <-done; status != 130 {
		t.Errorf("it ends with %d, want 130", status)
	}
	if n := strings.Count(out.String(), "watching "); n != 8 {
		t.Errorf("there were %d runs, want 8:\n%s", n, out.String())
	}
}
