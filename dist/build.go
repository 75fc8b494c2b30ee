package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// A builder compiles the sources in the working folder.
type builder struct {
	version string
	work    string // folder for what it makes
}

// environment has nothing that would make another program of the same sources.
func environment(goos, goarch string) []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		switch name {
		case "GOFLAGS", "GOEXPERIMENT", "GOAMD64", "GOARM64", "GOWORK", "GOFIPS140":
			return true
		}
		return false
	})
	return append(env, "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch, "GOWORK=off")
}

// program is where build puts one.
func (b *builder) program(goos, goarch, pkg string) string {
	return filepath.Join(b.work, fmt.Sprintf("%s-%s-%s", filepath.Base(pkg), goos, goarch))
}

// build compiles one program, without paths of this host and without the state
// of its checkout.
func (b *builder) build(ctx context.Context, goos, goarch, pkg string) ([]byte, error) {
	out := b.program(goos, goarch, pkg)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -X main.release="+b.version, "-o", out, pkg)
	cmd.Env = environment(goos, goarch)
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building %s for %s/%s: %w\n%s", pkg, goos, goarch, err, text)
	}
	return os.ReadFile(out)
}

// manualName is where Debian looks for the manual page, which the archive has
// likewise.
const manualName = "share/man/man1/nvlab.1.gz"

// words are the arguments with which nvlab writes texts, by their place.
var words = map[string][]string{
	manualName: {"help", "-man"},
	"share/bash-completion/completions/nvlab":    {"completion", "bash"},
	"share/zsh/vendor-completions/_nvlab":        {"completion", "zsh"},
	"share/fish/vendor_completions.d/nvlab.fish": {"completion", "fish"},
}

// common are the files that are the same on each platform: what nvlab itself writes,
// built for this host, the documentation, and the agent, which is a linux/amd64
// program everywhere, beside nvlab, where nvlab looks for it.
func (b *builder) common(ctx context.Context) (list []file, err error) {
	if _, err := b.build(ctx, runtime.GOOS, runtime.GOARCH, "./cmd/nvlab"); err != nil {
		return nil, err
	}
	program := b.program(runtime.GOOS, runtime.GOARCH, "./cmd/nvlab")
	for name, args := range words {
		text, err := exec.CommandContext(ctx, program, args...).Output()
		if err != nil {
			return nil, fmt.Errorf("nvlab %s: %w", strings.Join(args, " "), err)
		}
		if name == manualName {
			if text, err = compress(text); err != nil {
				return nil, err
			}
		}
		list = append(list, file{name, text, false})
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		return nil, err
	}
	for _, name := range append([]string{"README.md"}, pages...) {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("want nvlab's folder as the working folder: %w", err)
		}
		list = append(list, file{"share/doc/nvlab/" + filepath.ToSlash(name), text, false})
	}
	agent, err := b.build(ctx, "linux", "amd64", "./cmd/nvlab-agent")
	if err != nil {
		return nil, err
	}
	return append(list, file{"bin/nvlab-agent", agent, true}), nil
}

// files are those of a platform.
func (b *builder) files(ctx context.Context, p platform, common []file) ([]file, error) {
	nvlab, err := b.build(ctx, p.os, p.arch, "./cmd/nvlab")
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(common), file{"bin/nvlab", nvlab, true}), nil
}

// compress is gzip without name and date.
func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
