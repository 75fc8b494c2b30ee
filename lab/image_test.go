package lab

import (
	"os"
	"path/filepath"
	"testing"
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
