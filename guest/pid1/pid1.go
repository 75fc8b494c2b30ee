// Package pid1 finds the program that is pid 1 of guests, cmd/nvlab-agent, or
// builds it.
//
// Guests are linux/amd64 and have no C library to speak of, and nvlab is what
// its host is. So the agent is a program of its own: a file beside nvlab's, or
// one that the Go toolchain makes of the sources within nvlab.
package pid1

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"nvlab"
)

// Name is the agent's file name.
const Name = "nvlab-agent"

// keep is how many agents of other sources stay in the folder.
const keep = 3

// ErrNone says that there is no agent and no way to make one.
var ErrNone = errors.New("no agent for guests")

// key names what the sources give: the agent is built anew when they change.
var key = sync.OnceValues(func() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version())
	err := eachSource(func(name string, data []byte) error {
		fmt.Fprintf(h, "%s %d\n%s", name, len(data), data)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), err
})

// eachSource calls do with the files that a build takes, in order.
func eachSource(do func(name string, data []byte) error) error {
	return fs.WalkDir(nvlab.AgentSources, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		data, err := nvlab.AgentSources.ReadFile(name)
		if err != nil {
			return err
		}
		return do(name, data)
	})
}

// Find returns the path of the agent: a file of its name beside the running
// program, or one in dir, which is built if it is not there. building is called
// before that, for it takes a while.
func Find(ctx context.Context, dir string, building func()) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real // some systems tell of the link by which nvlab was started
	}
	return find(ctx, filepath.Dir(self), dir, building)
}

func find(ctx context.Context, beside, dir string, building func()) (string, error) {
	agent := filepath.Join(beside, Name)
	if st, err := os.Stat(agent); err == nil && st.Mode().IsRegular() {
		return agent, nil
	}
	name, err := key()
	if err != nil {
		return "", err
	}
	prefix := filepath.Join(dir, Name+"-"+name+"-")
	if made, ok := sound(prefix); ok {
		return made, nil
	}
	tool, err := toolchain()
	if err != nil {
		return "", fmt.Errorf("%w: there is no file %s, and %w. Where there is Go and nvlab's source, "+
			"CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build ./cmd/nvlab-agent makes one: put it beside nvlab, or name it with --agent", ErrNone, agent, err)
	}
	building()
	made, err := build(ctx, tool, dir, prefix)
	if err != nil {
		return "", fmt.Errorf("cannot build the guests' agent: %w", err)
	}
	prune(dir, made)
	return made, nil
}

// sound finds an agent that was built: the end of its name is its digest. One
// that was damaged is removed.
func sound(prefix string) (made string, ok bool) {
	list, err := filepath.Glob(prefix + "*")
	if err != nil {
		return "", false
	}
	for _, made := range list {
		program, err := os.ReadFile(made)
		if err == nil && made == prefix+digest(program) {
			return made, true
		}
		if err == nil {
			os.Remove(made)
		}
	}
	return "", false
}

// digest is as much of the SHA-256 as tells a damaged agent from a sound one.
func digest(program []byte) string {
	sum := sha256.Sum256(program)
	return hex.EncodeToString(sum[:8])
}

// toolchain is the go command: go run and go test show that there is one.
func toolchain() (string, error) {
	tool, err := exec.LookPath("go")
	if err == nil {
		return tool, nil
	}
	if root := os.Getenv("GOROOT"); root != "" {
		if tool, err := exec.LookPath(filepath.Join(root, "bin", "go")); err == nil {
			return tool, nil
		}
	}
	return "", errors.New("there is no go command in PATH to build it with")
}

// build makes the agent in a folder of its own and moves it to its place, whose
// path begins with prefix.
func build(ctx context.Context, tool, dir, prefix string) (made string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	err = eachSource(func(name string, data []byte) error {
		file := filepath.Join(work, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		return os.WriteFile(file, data, 0o644)
	})
	if err != nil {
		return "", err
	}
	out := filepath.Join(work, Name)
	cmd := exec.CommandContext(ctx, tool, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./cmd/nvlab-agent")
	cmd.Dir = work
	// The same file whatever the host: nothing of its settings goes in.
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off", "GOEXPERIMENT=", "PWD="+work)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	program, err := os.ReadFile(out)
	if err != nil {
		return "", err
	}
	made = prefix + digest(program)
	return made, os.Rename(out, made)
}

// prune removes what builds left that died, and all but the newest agents.
func prune(dir, made string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var old []fs.FileInfo
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil || e.Name() == filepath.Base(made) || time.Since(info.ModTime()) < time.Hour:
		case strings.HasPrefix(e.Name(), ".build-"):
			os.RemoveAll(filepath.Join(dir, e.Name()))
		case strings.HasPrefix(e.Name(), Name+"-"):
			old = append(old, info)
		}
	}
	slices.SortFunc(old, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, info := range old[min(keep, len(old)):] {
		os.Remove(filepath.Join(dir, info.Name()))
	}
}
