package main

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	nvrun "nvlab/starlark/run"
)

// Where a guest gets programs of the host, and what they need.
const (
	guestPrograms  = "/tmp"
	guestLibraries = "/tmp/lib"
)

// A delivery is what a guest has to be given so that it has programs of the host:
// files, by pairs of a path on the host and one in the guest, and shell commands.
type delivery struct {
	files [][2]string
	after []string
	has   map[string]string // host's file by the guest's
}

// program adds a program, with its libraries unless the guest's own are to do,
// and returns its path in the guest.
func (d *delivery) program(ctx context.Context, host string, withLibraries bool) (string, error) {
	host, err := filepath.Abs(host)
	if err != nil {
		return "", err
	}
	name := filepath.Base(host)
	guest := path.Join(guestPrograms, name)
	interpreter, err := interpreterOf(host)
	if err != nil {
		return "", fmt.Errorf("%s: %w", host, err)
	}
	if interpreter == "" || !withLibraries {
		return guest, d.file(host, guest)
	}
	libraries, err := librariesOf(ctx, interpreter, host)
	if err != nil {
		return "", fmt.Errorf("%s: %w", host, err)
	}
	for _, l := range append(libraries, interpreter) {
		if err := d.file(l, path.Join(guestLibraries, filepath.Base(l))); err != nil {
			return "", err
		}
	}
	inside := path.Join(guestLibraries, "of", name)
	if err := d.file(host, inside); err != nil {
		return "", err
	}
	// The host's interpreter, by a link that the process is named for.
	link := path.Join(guestLibraries, "run", name)
	d.after = append(d.after,
		fmt.Sprintf("mkdir -p %s && ln -sf %s %s", path.Dir(link), path.Join(guestLibraries, filepath.Base(interpreter)), nvrun.ShellQuote(link)),
		fmt.Sprintf("printf '%%s\\n' '#!/bin/sh' %s >%s && chmod +x %[2]s", nvrun.ShellQuote(fmt.Sprintf(`exec %s --library-path %s %s "$@"`, nvrun.ShellQuote(link), guestLibraries, nvrun.ShellQuote(inside))), nvrun.ShellQuote(guest)))
	return guest, nil
}

// file adds a file, once.
func (d *delivery) file(host, guest string) error {
	if d.has == nil {
		d.has = map[string]string{}
	}
	switch other, ok := d.has[guest]; {
	case ok && other == host:
		return nil
	case ok:
		return fmt.Errorf("%s and %s have the same name: one would take the other's place in the guest", other, host)
	}
	d.has[guest] = host
	d.files = append(d.files, [2]string{host, guest})
	return nil
}

// interpreterOf is what a program of the host names to load it, "" if it needs
// none: a static one, or a script. One of another processor is an error.
func interpreterOf(host string) (string, error) {
	info, err := os.Stat(host)
	switch {
	case err != nil:
		return "", errors.Unwrap(err)
	case !info.Mode().IsRegular():
		return "", errors.New("it is no regular file")
	}
	f, err := elf.Open(host)
	var format *elf.FormatError
	if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "", nil // what it is, the guest's kernel decides
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 {
		return "", fmt.Errorf("it is of %v, %v: guests run 64-bit x86 programs", f.Machine, f.Class)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text := make([]byte, min(p.Filesz, 4096))
			if _, err := p.ReadAt(text, 0); err != nil {
				return "", err
			}
			name, _, _ := bytes.Cut(text, []byte{0})
			return string(name), nil
		}
	}
	return "", nil
}

// librariesOf asks the interpreter where the libraries of a program are (ld.so(8),
// --list). It runs nothing of the program.
func librariesOf(ctx context.Context, interpreter, host string) ([]string, error) {
	out, err := exec.CommandContext(ctx, interpreter, "--list", host).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s does not say which libraries it needs (%w: %s): link it statically, or take the guest's with --libraries guest",
			interpreter, err, strings.TrimSpace(string(out)))
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		name, at, found := strings.Cut(strings.TrimSpace(line), " => ")
		if !found { // the interpreter itself, or the kernel's
			continue
		}
		if at, _, _ = strings.Cut(at, " ("); !filepath.IsAbs(at) {
			return nil, fmt.Errorf("it needs %s, which this host has not", name)
		}
		if at != interpreter {
			list = append(list, at)
		}
	}
	return list, nil
}
