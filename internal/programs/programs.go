// Package programs has programs to run natively and in a guest: compiled by Go
// and by gcc, each prints a checksum of its work, which must be the same on
// both.
package programs

import (
	"embed"
	"nvlab/internal/require"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed source
var source embed.FS

// A Program is a source file. Its one argument is how many rounds it does.
type Program struct {
	Name string // of the file
	// Rounds take a third of a second or so, natively.
	Rounds string
	// Few take some ten million instructions.
	Few string
}

// All are the programs there are.
var All = []Program{
	{"sort.go", "100", "4"},
	{"matmul.go", "600", "8"},
	{"matmul.c", "2000", "12"},
	{"mix.go", "250", "4"},
	{"mix.c", "6000", "60"},
}

// Stress are programs that ask much of a kernel. They write to the current
// folder.
var Stress = []Program{
	{"stress.go", "100", "2"},
	{"stress.c", "100", "4"},
}

// Find returns the program of a name.
func Find(t testing.TB, name string) Program {
	t.Helper()
	for _, p := range All {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("there is no program %s", name)
	return Program{}
}

// compiler is the command that compiles p.
func (p Program) compiler() string {
	if filepath.Ext(p.Name) == ".go" {
		return "go"
	}
	return "gcc"
}

// Compiles says that p's compiler is there.
func (p Program) Compiles() bool {
	_, err := exec.LookPath(p.compiler())
	return err == nil
}

// Build compiles p for linux/amd64, static, and returns the executable's path.
// It skips the test where the compiler is missing, or fails it with
// NVLAB_REQUIRE_GCC=1.
func (p Program) Build(t testing.TB) string {
	t.Helper()
	text, err := source.ReadFile("source/" + p.Name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	from, to := filepath.Join(dir, p.Name), filepath.Join(dir, strings.ReplaceAll(p.Name, ".", "-"))
	if err := os.WriteFile(from, text, 0o600); err != nil {
		t.Fatal(err)
	}
	compiler, args := p.compiler(), []string{"-O2", "-static", "-o", to, from, "-lm"}
	if compiler == "go" {
		args = []string{"build", "-trimpath", "-o", to, from}
	}
	if !p.Compiles() {
		require.Missing(t, "GCC", "%s takes %s, which is missing", p.Name, compiler)
	}
	c := exec.Command(compiler, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GO111MODULE=off", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", c, err, out)
	}
	return to
}

// Native runs an executable that Build made on this machine, and returns what
// it printed.
func Native(t testing.TB, path, rounds string) string {
	t.Helper()
	out, err := exec.Command(path, rounds).Output()
	if err != nil {
		t.Fatalf("%s %s: %v", path, rounds, err)
	}
	return string(out)
}
