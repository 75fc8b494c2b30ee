package guest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"nvlab/guest/debian"
	"nvlab/guest/internal/fake"
	"nvlab/guest/rootfs"
)

func TestDefaultDir(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/cache")
	t.Setenv("HOME", "/home/me")
	if got, err := DefaultDir(); got != "/cache/nvlab" || err != nil {
		t.Errorf("DefaultDir() = %q, %v, want /cache/nvlab", got, err)
	}
	for _, unset := range []string{"", "relative"} {
		t.Setenv("XDG_CACHE_HOME", unset)
		if got, err := DefaultDir(); got != "/home/me/.cache/nvlab" || err != nil {
			t.Errorf("DefaultDir() with XDG_CACHE_HOME=%q = %q, %v, want /home/me/.cache/nvlab", unset, got, err)
		}
	}
	t.Setenv("HOME", "")
	if _, err := DefaultDir(); err == nil {
		t.Error("DefaultDir() without HOME = nil, want an error")
	}
}

func TestOpenRefusesAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil {
		t.Error("Open of a file = nil, want an error")
	}
}

func TestLookupNames(t *testing.T) {
	r := newRepo(t)
	r.kernel("6.12.5-other", "6.12.5-2")
	s := open(t, t.TempDir())
	ensure(t, s, Spec{})
	ensure(t, s, Spec{Kernel: "linux-image-6.12.5-other"})
	ensure(t, s, Spec{Kernel: "6.12.5-other", Packages: []string{"fio"}})
	ensure(t, s, Spec{Kernel: "linux-image-6.12.5-other=6.12.5-2", Rebuild: true})
	for _, tt := range []struct {
		kernel string
		extra  []string
		want   string
	}{
		{"", nil, testRelease},
		{testRelease, nil, testRelease},
		{"linux-image-cloud-amd64", nil, testRelease},
		{"linux-image-" + testRelease, nil, testRelease},
		{"linux-image-" + testRelease + "=6.1.99-1", nil, testRelease},
		{"linux-image-" + testRelease + "=6.1.98-1", nil, ""},
		{"6.12.5-other=6.12.5-2", nil, "6.12.5-other=6.12.5-2"},
		{"6.12.5-other", []string{"fio"}, "6.12.5-other+fio"},
		{"6.12.5-other+fio", nil, "6.12.5-other+fio"},
		{"", []string{"fio"}, ""},
		{"6.6", nil, ""},
		{"..", nil, ""},
	} {
		im, err := s.Lookup(Spec{Kernel: tt.kernel, Packages: tt.extra})
		switch {
		case tt.want == "" && !errors.Is(err, ErrNoGuest):
			t.Errorf("Lookup(%q, %q) = %v, want ErrNoGuest", tt.kernel, tt.extra, err)
		case tt.want != "" && (err != nil || im.Name != tt.want):
			t.Errorf("Lookup(%q, %q) = %v, %v, want %s", tt.kernel, tt.extra, im, err, tt.want)
		}
	}
	var names []string
	list, err := s.List()
	for _, im := range list {
		names = append(names, im.Name)
	}
	want := "6.1.0-9-test 6.12.5-other 6.12.5-other+fio 6.12.5-other=6.12.5-2"
	if got := strings.Join(names, " "); err != nil || got != want {
		t.Errorf("List() = %q, %v, want %q", got, err, want)
	}
}

func TestPathAndRemove(t *testing.T) {
	r := newRepo(t)
	r.kernel("6.12.5-other", "6.12.5-2")
	s := open(t, t.TempDir())
	if list, err := s.List(); err != nil || len(list) > 0 {
		t.Errorf("List() of an empty store = %v, %v, want none", list, err)
	}
	im := ensure(t, s, Spec{})
	other := ensure(t, s, Spec{Kernel: "6.12.5-other"})
	if got, err := s.Path(""); err != nil || got != im.Dir() {
		t.Errorf("Path() = %q, %v, want %q", got, err, im.Dir())
	}
	if err := s.Remove("6.66"); !errors.Is(err, ErrNoGuest) {
		t.Errorf("Remove of no guest = %v, want ErrNoGuest", err)
	}
	if err := s.SetDefault(other.Name); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(im.Name); !errors.Is(err, ErrInUse) {
		t.Errorf("Remove of a guest in use = %v, want ErrInUse", err)
	}
	im.Close()
	other.Close()
	if err := s.Remove(im.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Path(im.Name); !errors.Is(err, ErrNoGuest) {
		t.Errorf("Path of a removed guest = %v, want ErrNoGuest", err)
	}
	if got, err := s.Path(""); err != nil || got != other.Dir() {
		t.Errorf("Path() = %q, %v, want the new default %q", got, err, other.Dir())
	}
	left, _ := filepath.Glob(filepath.Join(s.downloads(), "linux-image-*"))
	if len(left) != 1 || !strings.Contains(left[0], "6.12.5-other") {
		t.Errorf("downloads of kernels = %q, want the other guest's only", left)
	}
	if err := s.Remove(other.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Path(""); !errors.Is(err, ErrNoGuest) {
		t.Errorf("Path() of a store without a default = %v, want ErrNoGuest", err)
	}
}

// hostKernelFiles puts a kernel and tools where the tests' host has them.
func hostKernelFiles(t *testing.T, release string) (kernel string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	kernel = write("boot/vmlinuz-"+release, fake.Kernel(release+" (me@host) #7 SMP"))
	for _, m := range []string{"virtio_mmio", "virtio_console", "libnvdimm", "nfit", "nd_pmem"} {
		write("modules/"+release+"/kernel/"+m+".ko", fake.Module(release))
	}
	write("bin/busybox", fake.Busybox("ash", "cat", "dd", "echo", "ls", "modprobe", "mount", "sh", "tar"))
	write("bin/ndctl", fake.Program("libndctl.so.6"))
	write("lib/libndctl.so.6", fake.Library())
	write("lib64/ld-linux-x86-64.so.2", fake.Library())
	modulesRoot, hostKernelGlob = filepath.Join(dir, "modules"), filepath.Join(dir, "boot/vmlinuz-*")
	hostDirs.programs, hostDirs.libraries = []string{filepath.Join(dir, "bin")}, []string{filepath.Join(dir, "lib")}
	return kernel
}

func TestHostFallback(t *testing.T) {
	if _, err := os.Stat("/lib64/ld-linux-x86-64.so.2"); err != nil {
		t.Skip("the host has no x86-64 dynamic linker to take")
	}
	newRepo(t)
	t.Setenv(debian.MirrorVariable, "http://127.0.0.1:1/debian")
	s := open(t, t.TempDir())
	_, err := s.Ensure(t.Context(), Spec{}, nil)
	for _, want := range []string{"cannot fetch http://127.0.0.1:1/debian", "the host has no kernel of its own", "apt-get install linux-image-cloud-amd64", "copy the folder of guests"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Ensure with nothing to build from = %v, want an error with %q", err, want)
		}
	}
	hostKernelFiles(t, "6.9.0-host")
	programs := hostDirs.programs
	hostDirs.programs = nil
	if _, err := s.Ensure(t.Context(), Spec{}, nil); err == nil || !strings.Contains(err.Error(), "the host has no busybox and no ndctl") {
		t.Errorf("Ensure without tools = %v, want an error that names busybox and ndctl", err)
	}
	checkClean(t, s)
	hostDirs.programs = programs
	progress := &notes{}
	im, err := s.Ensure(t.Context(), Spec{}, progress)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(im.Name, "6.9.0-host@") || im.KernelVersion != "6.9.0" || im.Manifest.Kernel.Source != "host" || im.Manifest.Tools != "host" || !im.Default {
		t.Errorf("the host's guest = %+v, want release 6.9.0-host", im)
	}
	if got := paths(t, im.BaseInitrd); got["usr/lib/x86_64-linux-gnu/libndctl.so.6"].Path == "" || got["usr/lib64/ld-linux-x86-64.so.2"].Path == "" {
		t.Error("the host's libraries are not in the guest")
	}
	if !strings.Contains(progress.String(), "taking the host's own") {
		t.Errorf("notes = %q, want one that tells of the host's kernel", progress)
	}
	if again := ensure(t, s, Spec{}); again.Name != im.Name {
		t.Errorf("Ensure again = %s, want %s", again.Name, im.Name)
	}
}

func TestKernelOfAPath(t *testing.T) {
	newRepo(t)
	kernel := hostKernelFiles(t, "6.9.0-mine")
	s := open(t, t.TempDir())
	im := ensure(t, s, Spec{Kernel: kernel})
	if !strings.HasPrefix(im.Name, "6.9.0-mine@") || im.Manifest.Tools != "package" || im.Default {
		t.Errorf("guest of a path = %+v, want 6.9.0-mine with packaged tools", im)
	}
	if again := ensure(t, s, Spec{Kernel: kernel}); again.Manifest.Built != im.Manifest.Built {
		t.Error("the same kernel was built twice")
	}
	if with := ensure(t, s, Spec{Kernel: kernel, Packages: []string{"fio"}}); with.Name != im.Name+"+fio" {
		t.Errorf("guest of a path with fio = %s, want %s+fio", with.Name, im.Name)
	}
	if _, err := s.Lookup(Spec{Kernel: kernel, Packages: []string{"fio"}}); err != nil {
		t.Errorf("Lookup of a path with fio = %v, want the guest", err)
	}
	if err := os.WriteFile(kernel, fake.Kernel("6.9.0-mine (me@host) #8 SMP"), 0o644); err != nil {
		t.Fatal(err)
	}
	if next := ensure(t, s, Spec{Kernel: kernel}); next.Name == im.Name {
		t.Error("a kernel that was built again gave the same guest")
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("not a kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo") // nobody writes to it
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		text: "is no kernel", filepath.Dir(text): "is a folder", fifo: "is no regular file", "/dev/zero": "is no regular file", "/no/file": "no such file or directory",
	} {
		_, err := s.Ensure(t.Context(), Spec{Kernel: path}, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "kernel "+path+" is to be a bzImage or vmlinux") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Ensure(%s) = %v, want one line of what is wanted, with %q", path, err, want)
		}
	}
	alone := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(alone, fake.Kernel("5.5.5-alone #1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ensure(t.Context(), Spec{Kernel: alone}, nil); err == nil || !strings.Contains(err.Error(), "release 5.5.5-alone, whose modules are neither installed nor") {
		t.Errorf("Ensure of a kernel without modules = %v, want an error that says so", err)
	}
	tree := t.TempDir()
	if err := errors.Join(
		os.MkdirAll(filepath.Join(tree, "lib/modules"), 0o755),
		os.Rename(filepath.Join(modulesRoot, "6.9.0-mine"), filepath.Join(tree, "lib/modules/6.9.0-mine")),
		os.MkdirAll(filepath.Join(tree, "src/boot"), 0o755),
		os.WriteFile(filepath.Join(tree, "src/boot/bzImage"), fake.Kernel("6.9.0-mine (me@host) #9 SMP"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	if im := ensure(t, s, Spec{Kernel: filepath.Join(tree, "src/boot/bzImage")}); len(im.Manifest.Modules) != 5 {
		t.Errorf("a kernel with lib/modules in a folder above it gives a guest with modules %q, want the 5 there", im.Manifest.Modules)
	}
}

func TestKernelBanner(t *testing.T) {
	vmlinux := append([]byte("\x7fELF........"), "Linux version %s (%s)\n\x00 Linux version 6.1.0-9-test (me) #1 SMP Debian 6.1.99-1\n\x00"...)
	broken := fake.Kernel("x")
	copy(broken[0x20e:], "\xff\xff")
	for _, tt := range []struct {
		name, banner, version string
		in                    []byte
	}{
		{"bzImage", banner(testRelease, "6.1.99-1"), "6.1.99", fake.Kernel(banner(testRelease, "6.1.99-1"))},
		{"vmlinux", "6.1.0-9-test (me) #1 SMP Debian 6.1.99-1", "6.1.99", vmlinux},
		{"own kernel", "6.9.0-rc1+ (me@host) #1", "6.9.0", fake.Kernel("6.9.0-rc1+ (me@host) #1")},
		{"offset past the end", "", "", broken},
		{"ELF program", "", "", []byte("\x7fELF and no more")},
		{"text", "", "", []byte("text")},
		{"empty", "", "", nil},
	} {
		got, err := kernelBanner(tt.in)
		if got != tt.banner || (err == nil) != (tt.banner != "") {
			t.Errorf("%s: kernelBanner = %q, %v, want %q", tt.name, got, err, tt.banner)
		}
		if v := kernelVersion(got); v != tt.version {
			t.Errorf("%s: kernelVersion(%q) = %q, want %q", tt.name, got, v, tt.version)
		}
	}
}

func FuzzKernelBanner(f *testing.F) {
	f.Add(fake.Kernel(banner(testRelease, "6.1.99-1")))
	f.Add([]byte("\x7fELF Linux version 6.1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := kernelBanner(b); err == nil {
			kernelVersion(s)
		}
	})
}

func TestInitramfs(t *testing.T) {
	newRepo(t)
	s, agent := open(t, t.TempDir()), staticProgram(t)
	im := ensure(t, s, Spec{})
	for _, im := range []*Image{im, ensure(t, s, Spec{Packages: []string{"fio"}})} {
		initramfs, err := im.Initramfs(agent)
		if err != nil {
			t.Fatal(err)
		}
		defer initramfs.Close()
		file := filepath.Join(t.TempDir(), "initrd")
		if err := initramfs.WriteFile(file); err != nil {
			t.Fatal(err)
		}
		got := paths(t, file)
		if got["init"].Mode != rootfs.ModeRegular|0o755 || got["usr/bin/ndctl"].Path == "" {
			t.Errorf("the initramfs has init %+v, want the agent beside the guest's files", got["init"])
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(io.NewSectionReader(initramfs, 0, initramfs.Size()), want); err != nil {
			t.Error(err)
		}
		for p, e := range got {
			if e.Mode&rootfs.ModeType != rootfs.ModeRegular || p == "init" {
				continue
			}
			if f, err := initramfs.Open("/" + p); err != nil || f.Size() != e.Size {
				t.Errorf("Open(/%s) of %s = %v, %v; want its %d bytes", p, im.Name, f, err, e.Size)
			}
		}
	}
	dynamic := filepath.Join(t.TempDir(), "dynamic")
	if err := os.WriteFile(dynamic, fake.Program("libc.so.6"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := im.Initramfs(dynamic); !errors.Is(err, rootfs.ErrNotStatic) || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("Initramfs of a dynamic program = %v, want ErrNotStatic with CGO_ENABLED=0", err)
	}
	if _, err := im.Initramfs("/no/such/agent"); err == nil {
		t.Error("Initramfs of no file = nil, want an error")
	}
}

func TestProgressLines(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, false)
	p.Phase("updating", 0)
	p.Phase("downloading ndctl", 3<<20)
	p.Add(1 << 20)
	p.Note("a note")
	p.Done()
	if got, want := b.String(), "updating\ndownloading ndctl (3.0 MiB)\na note\n"; got != want {
		t.Errorf("progress = %q, want %q", got, want)
	}
}

func TestProgressBars(t *testing.T) {
	var b bytes.Buffer
	p := NewProgress(&b, true)
	p.Phase("downloading ndctl", 4<<20)
	p.Add(1 << 20)
	p.Note("a note")
	p.Done()
	p.Done()
	got := strings.ReplaceAll(b.String(), "\r\x1b[K", "|")
	want := "|downloading ndctl                ------------------------   0% of 4.0 MiB" +
		"|a note\n|downloading ndctl                ######------------------  25% of 4.0 MiB" +
		"|downloading ndctl                ######################## 100% of 4.0 MiB\n"
	if got != want {
		t.Errorf("progress = %q, want %q", got, want)
	}
}
