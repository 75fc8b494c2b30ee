package run

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFoldersOfKilledRuns: a run removes what killed ones left, and nothing else.
func TestFoldersOfKilledRuns(t *testing.T) {
	parent := t.TempDir()
	t.Setenv("TEST_TMPDIR", parent)
	dead, fresh, kept := filepath.Join(parent, tempPrefix+"1"), filepath.Join(parent, tempPrefix+"2"), filepath.Join(parent, "nvlab-3")
	live, done, err := newTempFolder(false)
	if err != nil {
		t.Fatal(err)
	}
	link, target := filepath.Join(parent, tempPrefix+"4"), t.TempDir()
	for _, dir := range []string{dead, fresh, kept} {
		if err := os.MkdirAll(filepath.Join(dir, "scenario-0/test"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * young)
	for _, dir := range []string{dead, live, kept, target} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	ours, end, err := newTempFolder(true)
	if err != nil {
		t.Fatal(err)
	}
	end()
	for _, c := range []struct {
		what, dir string
		there     bool
	}{
		{"of a killed run", dead, false}, {"that was just made", fresh, true}, {"of another run that goes on", live, true},
		{"that was kept", kept, true}, {"that a link leads to", target, true}, {"of this run, which is to be kept", ours, true},
	} {
		if _, err := os.Stat(c.dir); (err == nil) != c.there {
			t.Errorf("the folder %s is there: %v, want %v", c.what, err == nil, c.there)
		}
	}
	done()
	if _, err := os.Stat(live); err == nil {
		t.Error("a run leaves its folder")
	}
}
