package guest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"nvlab/guest/debian"
	"nvlab/guest/internal/fake"
	"nvlab/internal/gogc"
)

// buildHere makes this test program build the default guest in a store, in a
// process of its own, with files of at most fileLimit bytes.
const (
	buildHere = "NVLAB_TEST_BUILD"
	fileLimit = "NVLAB_TEST_FILE_LIMIT"
	keyFile   = "NVLAB_TEST_KEY"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(buildHere); dir != "" {
		if err := buildAlone(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	gogc.Default(400) // the heap is small, and packages are read into buffers of megabytes
	os.Exit(m.Run())
}

func buildAlone(dir string) error {
	if limit := os.Getenv(fileLimit); limit != "" {
		var n uint64
		fmt.Sscan(limit, &n)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	b, err := os.ReadFile(os.Getenv(keyFile))
	if err != nil {
		return err
	}
	keyring = func() (debian.Keyring, error) { return openpgp.ReadKeyRing(bytes.NewReader(b)) }
	modulesRoot, hostKernelGlob, hostDirs.programs, hostDirs.libraries = "/nonexistent", "/nonexistent/*", nil, nil
	s, err := Open(dir)
	if err != nil {
		return err
	}
	_, err = s.Ensure(context.Background(), Spec{}, nil)
	return err
}

const testRelease = "6.1.0-9-test"

// repo is a small archive of packages on a mirror of this process.
type repo struct {
	t *testing.T
	*fake.Archive
	mirror *httptest.Server

	mu   sync.Mutex
	mode string        // how the mirror misbehaves
	hung chan struct{} // closed when a download hangs
}

// newRepo makes the archive and its mirror, the only one that there is.
func newRepo(t *testing.T) *repo {
	t.Helper()
	r := &repo{t: t, Archive: fake.NewArchive(), hung: make(chan struct{})}
	r.mirror = httptest.NewServer(r)
	t.Cleanup(r.mirror.Close)
	t.Cleanup(r.mirror.CloseClientConnections)
	t.Setenv(debian.MirrorVariable, r.mirror.URL+"/debian")
	t.Setenv("NO_PROXY", "*")
	oldRing := keyring
	keyring = func() (debian.Keyring, error) { return debian.Keyring{r.Key}, nil }
	t.Cleanup(func() { keyring = oldRing })
	file := filepath.Join(t.TempDir(), "key")
	f, err := os.Create(file)
	if err == nil {
		err = r.Key.Serialize(f)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(keyFile, file)
	// The host must not help out.
	none := t.TempDir()
	oldRoot, oldGlob, oldDirs := modulesRoot, hostKernelGlob, hostDirs
	modulesRoot, hostKernelGlob = none, filepath.Join(none, "vmlinuz-*")
	hostDirs.programs, hostDirs.libraries = []string{none}, []string{none}
	t.Cleanup(func() { modulesRoot, hostKernelGlob, hostDirs = oldRoot, oldGlob, oldDirs })

	r.kernel(testRelease, "6.1.99-1")
	r.add("linux-image-cloud-amd64", "6.1.99-1", "linux-image-"+testRelease)
	r.add("busybox-static", "1.35", "", fake.File{Name: "bin/busybox", Data: fake.Busybox("ash", "cat", "dd", "echo", "ls", "mke2fs", "modprobe", "mount", "sh", "tar", "wc")})
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

// add puts a package into the host's release.
func (r *repo) add(name, version, depends string, files ...fake.File) {
	r.addTo(debian.HostRelease(), name, version, depends, files...)
}

func (r *repo) addTo(release, name, version, depends string, files ...fake.File) {
	r.t.Helper()
	var fields []string
	if depends != "" {
		fields = []string{"Depends: " + depends}
	}
	r.Add(release, name, version, fake.Deb(".gz", files...), fields...)
	r.Publish(release, time.Now().Truncate(time.Second))
}

// updates counts the times that the package lists were looked for.
func (r *repo) updates() int { return r.Asked("/dists/" + debian.HostRelease() + "/InRelease") }

// downloads counts the packages that were asked for whose name has a prefix.
func (r *repo) downloads(name string) int { return r.Asked("/pool/" + name) }

func (r *repo) behave(mode string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode = mode
}

func (r *repo) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	mode := r.mode
	r.mu.Unlock()
	b := r.Get(q.URL.Path)
	if !strings.HasSuffix(q.URL.Path, ".deb") || b == nil {
		r.Archive.ServeHTTP(w, q)
		return
	}
	switch mode {
	case "truncated":
		w.Write(b[:len(b)/2])
	case "wrong":
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
		w.Write(b)
	case "longer":
		w.Write(append(bytes.Clone(b), "and more"...))
	case "refused":
		http.Error(w, "not today", http.StatusForbidden)
	case "cut":
		if q.Header.Get("Range") == "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			w.Write(b[:len(b)/2])
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond) // the client sees that half
			panic(http.ErrAbortHandler)
		}
		r.Archive.ServeHTTP(w, q)
	case "hangs":
		w.Write(b[:len(b)/2])
		w.(http.Flusher).Flush()
		r.mu.Lock()
		select {
		case <-r.hung:
		default:
			close(r.hung)
		}
		r.mu.Unlock()
		<-q.Context().Done()
	case "slow":
		time.Sleep(20 * time.Millisecond)
		fallthrough
	default:
		r.Archive.ServeHTTP(w, q)
	}
}
