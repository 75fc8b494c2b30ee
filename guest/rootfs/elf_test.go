package rootfs

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"nvlab/guest/internal/fake"
)

func TestReadLinkage(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   []byte
		ok   bool
		want Linkage
	}{
		{"program", fake.Program("libndctl.so.6", "libc.so.6"), true, Linkage{"/lib64/ld-linux-x86-64.so.2", []string{"libndctl.so.6", "libc.so.6"}}},
		{"library", fake.Library("libc.so.6"), true, Linkage{"", []string{"libc.so.6"}}},
		{"static", fake.Busybox("cat"), true, Linkage{}},
		{"script", []byte("#!/bin/sh\n"), false, Linkage{}},
		{"short", []byte("\x7f"), false, Linkage{}},
		{"other machine", fake.ELF{Machine: elf.EM_AARCH64, Load: []byte("x")}.Bytes(), false, Linkage{}},
	} {
		got, ok, err := ReadLinkage(bytes.NewReader(tt.in))
		if err != nil || ok != tt.ok || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: ReadLinkage = %+v, %v, %v, want %+v, %v", tt.name, got, ok, err, tt.want, tt.ok)
		}
	}
	if _, _, err := ReadLinkage(strings.NewReader("\x7fELF broken")); err == nil {
		t.Error("ReadLinkage of a broken file = nil, want an error")
	}
}

func TestStripStatic(t *testing.T) {
	program := fake.ELF{Type: elf.ET_EXEC, Load: []byte("code"), Tail: bytes.Repeat([]byte("debug"), 1000)}.Bytes()
	got, err := StripStatic(program)
	if err != nil || len(got) > 200 {
		t.Fatalf("StripStatic = %d bytes, %v, want the header and 4 bytes of code", len(got), err)
	}
	f, err := elf.NewFile(bytes.NewReader(got))
	if err != nil || len(f.Sections) != 0 || len(f.Progs) != 1 {
		t.Errorf("the stripped program = %v, %v, want one segment and no section", f, err)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"dynamic", fake.Program("libc.so.6"), "CGO_ENABLED=0"},
		{"library for another machine", fake.ELF{Machine: elf.EM_AARCH64, Load: []byte("x")}.Bytes(), "EM_AARCH64"},
		{"module", fake.Module("6.1"), "ET_REL"},
		{"script", []byte("#!/bin/sh\n"), "no ELF file"},
		{"cut", program[:130], "no ELF file"},
	} {
		if _, err := StripStatic(tt.in); !errors.Is(err, ErrNotStatic) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: StripStatic = %v, want ErrNotStatic with %q", tt.name, err, tt.want)
		}
	}
}

func TestStrippedProgramRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "main.go")
	if err := os.WriteFile(src, []byte("package main\nfunc main() { println(\"runs\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", "whole", src)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "whole"))
	if err != nil {
		t.Fatal(err)
	}
	stripped, err := StripStatic(whole)
	if err != nil || len(stripped) >= len(whole) {
		t.Fatalf("StripStatic of %d bytes = %d bytes, %v, want fewer", len(whole), len(stripped), err)
	}
	file := filepath.Join(dir, "stripped")
	if err := os.WriteFile(file, stripped, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(file).CombinedOutput()
	if err != nil || string(out) != "runs\n" {
		t.Errorf("the stripped program: %q, %v, want runs", out, err)
	}
}

func FuzzELF(f *testing.F) {
	f.Add(fake.Program("libc.so.6"))
	f.Add(fake.Busybox("cat", "ls"))
	f.Add(fake.Module("6.1", "depends=a,b", "softdep=pre: c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ReadLinkage(bytes.NewReader(b))
		ReadModuleInfo(b)
		if out, err := StripStatic(b); err == nil && len(out) > len(b) {
			t.Fatalf("StripStatic made %d bytes of %d", len(out), len(b))
		}
		Applets(b)
	})
}
