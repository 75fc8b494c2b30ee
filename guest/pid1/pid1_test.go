package pid1

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/guest/rootfs"
)

func unused(t *testing.T) func() {
	return func() { t.Helper(); t.Error("the agent is built, want none built") }
}

func TestBuildsOnce(t *testing.T) {
	dir, none := t.TempDir(), t.TempDir()
	built := 0
	first, err := find(t.Context(), none, dir, func() { built++ })
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rootfs.StripStatic(program); err != nil {
		t.Errorf("the agent that was built cannot be pid 1: %v", err)
	}
	if f, err := elf.NewFile(bytes.NewReader(program)); err != nil || f.Machine != elf.EM_X86_64 {
		t.Errorf("the agent is for %v, %v, want x86-64 whatever the host", f.Machine, err)
	}
	if bytes.Contains(program, []byte(dir)) {
		t.Error("the agent names the folder it was built in: two hosts would have two agents")
	}
	begin := time.Now()
	second, err := find(t.Context(), none, dir, unused(t))
	if took := time.Since(begin); err != nil || second != first || built != 1 || took > time.Second {
		t.Errorf("the second time the agent is %s, %v after %v, want %s at once", second, err, took, first)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("the folder of agents holds %v, %v, want the agent alone", left, err)
	}
	// One that was damaged is not used, and another is built.
	for what, damage := range map[string]func() error{
		"a byte changed": func() error {
			damaged := bytes.Clone(program)
			damaged[len(damaged)/2]++
			return os.WriteFile(first, damaged, 0o755)
		},
		"its end gone": func() error { return os.Truncate(first, int64(len(program)/2)) },
		"nothing left": func() error { return os.Truncate(first, 0) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		built = 0
		again, err := find(t.Context(), none, dir, func() { built++ })
		if err != nil || again != first || built != 1 {
			t.Errorf("with %s find = %s, %v, and built %d agents, want %s built anew", what, again, err, built, first)
		}
		if now, err := os.ReadFile(first); err != nil || !bytes.Equal(now, program) {
			t.Errorf("with %s the agent is not what it was (%v)", what, err)
		}
	}
	// Another build of the same sources is the same file.
	other, err := find(t.Context(), none, t.TempDir(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(other); err != nil || !bytes.Equal(again, program) {
		t.Errorf("two builds of the agent differ (%v)", err)
	}
}

func TestBesideNvlab(t *testing.T) {
	beside := t.TempDir()
	want := filepath.Join(beside, Name)
	if err := os.WriteFile(want, []byte("agent"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "/nonexistent")
	if got, err := find(t.Context(), beside, t.TempDir(), unused(t)); got != want || err != nil {
		t.Errorf("find = %s, %v, want the agent beside nvlab, %s", got, err, want)
	}
}

func TestNoToolchain(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	t.Setenv("GOROOT", "")
	_, err := find(t.Context(), t.TempDir(), t.TempDir(), unused(t))
	if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), "go build ./cmd/nvlab-agent") {
		t.Errorf("find without Go = %v, want ErrNone that says what to do", err)
	}
}

func TestInterruptedBuild(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	_, err := find(ctx, t.TempDir(), dir, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("find, cancelled = %v, want context.Canceled", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("a cancelled build leaves %v", left)
	}
}

// The sources within nvlab are those that the agent needs: no file too few.
func TestSourcesAreWhole(t *testing.T) {
	tool, err := toolchain()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(tool, "list", "-deps", "-f", `{{if not .Standard}}{{range .GoFiles}}{{$.ImportPath}}/{{.}}{{"\n"}}{{end}}{{end}}`, "nvlab/cmd/nvlab-agent")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var have []string
	if err := eachSource(func(name string, _ []byte) error { have = append(have, "nvlab/"+name); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, file := range strings.Fields(string(out)) {
		if strings.HasPrefix(file, "nvlab/") && !slices.Contains(have, file) {
			t.Errorf("the agent needs %s, which the embedded sources lack: see agent.go", file)
		}
	}
}
