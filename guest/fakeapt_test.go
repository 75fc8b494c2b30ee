package guest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nvlab/guest/internal/fake"
)

// The tests' apt-get and apt-cache are this test program under another name.
// fakeRepo names a folder of packages and their index, fakeMode a misbehaviour.
const (
	fakeRepo  = "NVLAB_TEST_REPO"
	fakeMode  = "NVLAB_TEST_APT"
	buildHere = "NVLAB_TEST_BUILD" // build the default guest in this store, in a process of its own
	fileLimit = "NVLAB_TEST_FILE_LIMIT"
)

func TestMain(m *testing.M) {
	switch tool := filepath.Base(os.Args[0]); tool {
	case "apt-get", "apt-cache":
		os.Exit(fakeApt(os.Args[1:]))
	}
	if dir := os.Getenv(buildHere); dir != "" {
		if limit := os.Getenv(fileLimit); limit != "" {
			var n uint64
			fmt.Sscan(limit, &n)
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
				panic(err)
			}
		}
		s, err := Open(dir)
		if err == nil {
			_, err = s.Ensure(context.Background(), Spec{}, nil)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func fakeApt(args []string) int {
	repo, mode := os.Getenv(fakeRepo), os.Getenv(fakeMode)
	var words []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "-c" || args[i] == "-o":
			i++
		case !strings.HasPrefix(args[i], "-"):
			words = append(words, args[i])
		}
	}
	log, err := os.OpenFile(filepath.Join(repo, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(log, strings.Join(words, " "))
	log.Close()
	index, err := os.ReadFile(filepath.Join(repo, "index"))
	if err != nil {
		panic(err)
	}
	stanza := func(want string) string {
		name, version, _ := strings.Cut(want, "=")
		for _, s := range strings.Split(string(index), "\n\n") {
			if strings.HasPrefix(s, "Package: "+name+"\n") && (version == "" || strings.Contains(s, "\nVersion: "+version+"\n")) {
				return s
			}
		}
		return ""
	}
	switch command := words[0]; command {
	case "update":
		if mode == "no network" {
			fmt.Fprintln(os.Stderr, "E: Failed to fetch http://example.org/InRelease  Could not resolve 'example.org'\nE: Some index files failed to download. They have been ignored, or old ones used instead.")
			return 100
		}
	case "show":
		found := false
		for _, w := range words[1:] {
			if s := stanza(w); s != "" && mode != "no network" {
				fmt.Printf("%s\n\n", s)
				found = true
			} else {
				fmt.Fprintf(os.Stderr, "W: Unable to locate package %s\n", w)
			}
		}
		if !found {
			fmt.Fprintln(os.Stderr, "E: No packages found")
			return 100
		}
	case "install":
		var all []string
		for i, queue := 0, slices.Clone(words[1:]); i < len(queue); i++ {
			s := stanza(queue[i])
			if s == "" {
				fmt.Fprintf(os.Stderr, "E: Unable to locate package %s\n", queue[i])
				return 100
			}
			all = append(all, s)
			if _, deps, ok := strings.Cut(s, "\nDepends: "); ok {
				deps, _, _ = strings.Cut(deps, "\n")
				for _, d := range strings.Split(deps, ", ") {
					if !slices.Contains(queue, d) {
						queue = append(queue, d)
					}
				}
			}
		}
		for _, s := range all {
			var name, version string
			fmt.Sscanf(s, "Package: %s\nVersion: %s\n", &name, &version)
			fmt.Printf("'http://example.org/%s.deb' %s_%s_amd64.deb 1 MD5Sum:0\n", name, name, version)
		}
	case "download":
		for _, w := range words[1:] {
			name, version, _ := strings.Cut(w, "=")
			file := name + "_" + version + "_amd64.deb"
			b, err := os.ReadFile(filepath.Join(repo, file))
			if err != nil {
				fmt.Fprintf(os.Stderr, "E: Failed to fetch http://example.org/%s  404  Not Found\n", file)
				return 100
			}
			switch {
			case mode == "truncated":
				b = b[:len(b)/2]
			case mode == "wrong":
				b = slices.Clone(b)
				b[len(b)-1] ^= 1
			case mode == "killed":
				os.WriteFile(file, b[:len(b)/2], 0o644)
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
			case mode == "hangs":
				os.WriteFile(file, b[:len(b)/2], 0o644)
				os.WriteFile(filepath.Join(repo, "hangs"), fmt.Append(nil, os.Getpid()), 0o644)
				time.Sleep(time.Minute)
			case mode == "slow":
				time.Sleep(20 * time.Millisecond)
			}
			if err := os.WriteFile(file, b, 0o644); err != nil {
				panic(err)
			}
		}
	default:
		panic("fake apt: " + strings.Join(words, " "))
	}
	return 0
}

const testRelease = "6.1.0-9-test"

// repo is a small archive of packages.
type repo struct {
	t   *testing.T
	dir string
}

// newRepo makes the archive and puts the fake apt first in PATH.
func newRepo(t *testing.T) *repo {
	t.Helper()
	r := &repo{t, t.TempDir()}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for _, tool := range []string{"apt-get", "apt-cache"} {
		if err := os.Symlink(self, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	t.Setenv(fakeRepo, r.dir)
	t.Setenv(fakeMode, "")
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or each fake apt takes a second to end
	// Nothing of the real host gets into a test.
	oldRoot, oldGlob, oldDirs := modulesRoot, hostKernelGlob, hostDirs
	none := t.TempDir()
	modulesRoot, hostKernelGlob = none, filepath.Join(none, "vmlinuz-*")
	hostDirs.programs, hostDirs.libraries = []string{none}, []string{none}
	t.Cleanup(func() { modulesRoot, hostKernelGlob, hostDirs = oldRoot, oldGlob, oldDirs })

	r.kernel(testRelease, "6.1.99-1")
	r.add("linux-image-cloud-amd64", "6.1.99-1", "linux-image-"+testRelease)
	r.add("busybox", "1.35", "", fake.File{Name: "bin/busybox", Data: fake.Busybox("ash", "cat", "dd", "echo", "ls", "mke2fs", "modprobe", "mount", "sh", "tar")})
	r.add("ndctl", "76.1-1", "libc6, libndctl6", fake.File{Name: "usr/bin/ndctl", Data: fake.Program("libndctl.so.6", "libc.so.6")},
		fake.File{Name: "etc/ndctl/keys/readme", Data: []byte("keys"), Mode: 0o644}, fake.File{Name: "usr/share/doc/ndctl/copyright", Data: []byte("text")})
	r.add("daxctl", "76.1-1", "libc6", fake.File{Name: "usr/bin/daxctl", Data: fake.Program("libc.so.6")})
	r.add("e2fsprogs", "1.47", "libc6", fake.File{Name: "sbin/mke2fs", Data: fake.Program("libc.so.6")}, fake.File{Name: "sbin/mkfs.ext4", Link: "mke2fs"},
		fake.File{Name: "etc/mke2fs.conf", Data: []byte("[defaults]\n"), Mode: 0o644})
	r.add("xfsprogs", "6.1", "libc6, python3", fake.File{Name: "sbin/mkfs.xfs", Data: fake.Program("libc.so.6")})
	r.add("libndctl6", "76.1-1", "libc6, libssl3, libudev1", fake.File{Name: "usr/lib/x86_64-linux-gnu/libndctl.so.6", Link: "libndctl.so.6.1"},
		fake.File{Name: "usr/lib/x86_64-linux-gnu/libndctl.so.6.1", Data: fake.Library("libudev.so.1", "libcrypto.so.3")})
	r.add("libudev1", "252", "libc6", fake.File{Name: "lib/x86_64-linux-gnu/libudev.so.1", Data: fake.Library()})
	r.add("libssl3", "3.0", "libc6", fake.File{Name: "usr/lib/x86_64-linux-gnu/libcrypto.so.3", Data: fake.Library("libc.so.6")})
	r.add("libc6", "2.36", "", fake.File{Name: "lib/x86_64-linux-gnu/libc.so.6", Data: fake.Library("ld-linux-x86-64.so.2")},
		fake.File{Name: "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", Data: fake.Library()},
		fake.File{Name: "lib64/ld-linux-x86-64.so.2", Link: "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"})
	r.add("fio", "3.33", "libc6, libfio", fake.File{Name: "usr/bin/fio", Data: fake.Program("libfio.so.1")}, fake.File{Name: "usr/share/doc/fio/README", Data: []byte("doc")},
		fake.File{Name: "usr/share/fio/job", Data: []byte("job")})
	r.add("libfio", "3.33", "libc6", fake.File{Name: "usr/lib/x86_64-linux-gnu/libfio.so.1", Data: fake.Library()}, fake.File{Name: "usr/lib/x86_64-linux-gnu/fio/plugin.so", Data: fake.Library("libabsent.so.1")})
	return r
}

// kernel adds the package of a kernel.
func (r *repo) kernel(release, version string) {
	m := "lib/modules/" + release + "/"
	module := func(name string, entries ...string) fake.File {
		return fake.File{Name: m + "kernel/" + name + ".ko.gz", Data: fake.Compress(".gz", fake.Module(release, entries...))}
	}
	r.add("linux-image-"+release, version, "kmod, linux-base",
		fake.File{Name: "boot/vmlinuz-" + release, Data: fake.Kernel(banner(release, version))},
		fake.File{Name: m + "modules.builtin", Data: []byte("kernel/fs/ext4/ext4.ko\n")},
		module("virtio"), module("virtio_ring"), module("virtio_mmio", "depends=virtio,virtio_ring"), module("virtio_console", "depends=virtio,virtio_ring"),
		module("libnvdimm"), module("nfit", "depends=libnvdimm", "alias=acpi*:ACPI0012:*"), module("nd_pmem", "depends=libnvdimm"),
		module("xfs", "alias=fs-xfs"), module("unrelated"),
	)
}

func banner(release, version string) string {
	return release + " (kernel@example.org) #1 SMP PREEMPT_DYNAMIC Debian " + version + " (2026-01-01)"
}

// add puts a package into the archive.
func (r *repo) add(name, version, depends string, files ...fake.File) {
	r.t.Helper()
	deb := fake.Deb(".gz", files...)
	if err := os.WriteFile(filepath.Join(r.dir, name+"_"+version+"_amd64.deb"), deb, 0o644); err != nil {
		r.t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(r.dir, "index"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "Package: %s\nVersion: %s\nArchitecture: amd64\n", name, version)
	if depends != "" {
		fmt.Fprintf(f, "Depends: %s\n", depends)
	}
	fmt.Fprintf(f, "Size: %d\nSHA256: %x\n\n", len(deb), sha256.Sum256(deb))
}

// commands counts the times a command of apt's was run.
func (r *repo) commands(name string) int {
	b, err := os.ReadFile(filepath.Join(r.dir, "log"))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, name) {
			n++
		}
	}
	return n
}
