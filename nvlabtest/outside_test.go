package nvlabtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOutside makes a module of somebody else's, with the set-up that the
// package's documentation shows, and runs its suite.
func TestOutside(t *testing.T) {
	if testing.Short() {
		t.Skip("builds nvlab")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("nvlabtest.go")
	if err != nil {
		t.Fatal(err)
	}
	documented := ""
	for line := range strings.Lines(string(source)) {
		code, ok := strings.CutPrefix(line, "//\t")
		if strings.HasPrefix(line, "// Main makes") {
			break
		}
		if ok {
			documented += code
		}
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                        strings.Replace(string(mod), "module nvlab", "module outside", 1) + "\nrequire nvlab v0.0.0\n\nreplace nvlab => " + root + "\n",
		"go.sum":                        string(sum),
		"suite_test.go":                 "package outside\n\nimport (\n\"testing\"\n\n\"github.com/rogpeppe/go-internal/testscript\"\n\n\"nvlab/nvlabtest\"\n)\n\n" + documented,
		"testdata/script/version.txtar": "exec nvlab version\nstdout nvlab\nmkbackend pmem0.img 1M text=hello@0\nhexcmp pmem0.img 0 68656c6c6f\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "test", "-mod=mod", "-v", "-count=1", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestScripts/version") {
		t.Errorf("a suite outside of the module: %v\n%s", err, out)
	}
}
