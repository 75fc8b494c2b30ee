package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nvlab/guest/debian"
	"nvlab/guest/internal/fake"
	"nvlab/guest/rootfs"
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ensure(t *testing.T, s *Store, spec Spec) *Image {
	t.Helper()
	im, err := s.Ensure(context.Background(), spec, nil)
	if err != nil {
		t.Fatalf("Ensure(%s) = %v, want a guest", spec, err)
	}
	return im
}

// paths lists what a guest's file tree holds.
func paths(t *testing.T, file string) map[string]rootfs.Entry {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(filepath.Join(filepath.Dir(file), ownArchive))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	list, err := rootfs.ListCPIO(bytes.NewReader(append(b, own...)))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]rootfs.Entry{}
	for _, e := range list {
		m[e.Path] = e
	}
	return m
}

// checkClean fails if a failed build left anything that looks like a guest, or
// scratch files.
func checkClean(t *testing.T, s *Store) {
	t.Helper()
	if list, err := s.List(); err != nil || len(list) > 0 {
		t.Errorf("List() = %d guests, %v, want none", len(list), err)
	}
	if entries, _ := os.ReadDir(s.guests()); len(entries) > 0 {
		t.Errorf("guests/ holds %v, want nothing", entries)
	}
	if _, err := os.Stat(s.tmp()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("tmp/ is there after the build: %v", err)
	}
}

func TestEnsureBuildsTheDefault(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	im := ensure(t, s, Spec{})
	if im.Name != testRelease || im.KernelRelease != testRelease || im.KernelVersion != "6.1.99" || !im.Default || im.VmlinuxPath != "" {
		t.Errorf("Ensure(default) = %+v, want %s of 6.1.99", im, testRelease)
	}
	got := paths(t, im.BaseInitrd)
	for _, want := range []string{
		"usr/bin/busybox", "usr/bin/ndctl", "usr/bin/daxctl", "usr/bin/mke2fs", "usr/bin/mkfs.ext4", "usr/bin/mkfs.xfs", "etc/mke2fs.conf", "etc/ndctl/keys/readme",
		"usr/lib/x86_64-linux-gnu/libndctl.so.6", "usr/lib/x86_64-linux-gnu/libndctl.so.6.1", "usr/lib/x86_64-linux-gnu/libudev.so.1",
		"usr/lib/x86_64-linux-gnu/libcrypto.so.3", "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/lib64/ld-linux-x86-64.so.2",
		"usr/lib/modules/" + testRelease + "/kernel/nfit.ko", "usr/lib/modules/" + testRelease + "/modules.dep", "etc/nvlab/modules", "usr/bin/sh", "proc", "dev", "tmp",
	} {
		if _, ok := got[want]; !ok {
			t.Errorf("the guest lacks %s", want)
		}
	}
	for p := range got {
		if strings.Contains(p, "share/doc") || strings.Contains(p, "unrelated") || strings.HasPrefix(p, "boot") {
			t.Errorf("the guest has %s, which nothing needs", p)
		}
	}
	if e := got["usr/bin/mke2fs"]; e.Link != "" {
		t.Errorf("mke2fs is a link to %s, want the package's program before busybox's", e.Link)
	}
	for name, want := range map[string]string{"cat": "busybox-static", "mount": "busybox-static", "sh": "busybox", "tar": "busybox", "wc": ""} {
		if e := got["usr/bin/"+name]; e.Link != want {
			t.Errorf("%s is a link to %q, want %q: what runs other programs is the dynamic busybox's, and what that lacks is not there", name, e.Link, want)
		}
	}
	m := im.Manifest
	if want := []string{"virtio", "virtio_ring", "virtio_mmio", "virtio_console", "libnvdimm", "nfit", "nd_pmem"}; !reflect.DeepEqual(m.Boot, want) {
		t.Errorf("modules at boot = %q, want %q", m.Boot, want)
	}
	if m.Kernel.Package != "linux-image-"+testRelease || m.Kernel.Debian != "6.1.99-1" || len(m.Kernel.Aliases) != 1 || m.Tools != "package" {
		t.Errorf("Manifest.Kernel = %+v, tools %s", m.Kernel, m.Tools)
	}
	for _, p := range m.Packages {
		if p.Name == "python3" {
			t.Error("python3 was fetched, which no program of the guest needs")
		}
	}
}

func TestEnsureTwice(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	first := ensure(t, s, Spec{})
	t.Setenv(debian.MirrorVariable, "http://127.0.0.1:1/debian") // nothing there
	begin := time.Now()
	second := ensure(t, s, Spec{})
	if took := time.Since(begin); took > 100*time.Millisecond {
		t.Errorf("the second Ensure took %v, want milliseconds", took)
	}
	if first.Manifest.Content != second.Manifest.Content {
		t.Error("the second Ensure gave another guest")
	}
}

func TestStoreMayBeCopied(t *testing.T) {
	newRepo(t)
	dir := t.TempDir()
	s := open(t, dir)
	im := ensure(t, s, Spec{})
	if _, err := im.Initramfs(staticProgram(t)); err != nil {
		t.Fatal(err)
	}
	filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if b, _ := os.ReadFile(p); strings.Contains(string(b), dir) {
			t.Errorf("%s names the store's folder", p)
		}
		return nil
	})
	moved := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.CopyFS(moved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	t.Setenv(debian.MirrorVariable, "http://127.0.0.1:1/debian")
	if got := ensure(t, open(t, moved), Spec{}); got.Manifest.Content != im.Manifest.Content || !strings.HasPrefix(got.KernelPath, moved) {
		t.Errorf("the copied store's guest = %+v, want the same", got)
	}
}

func TestBuildsAreEqual(t *testing.T) {
	newRepo(t)
	a, b := ensure(t, open(t, t.TempDir()), Spec{}), ensure(t, open(t, t.TempDir()), Spec{})
	if a.Manifest.Content != b.Manifest.Content {
		t.Error("two builds of the same packages differ")
	}
}

func TestBrokenBuildsLeaveNothing(t *testing.T) {
	for _, tt := range []struct{ mode, want string }{
		{"truncated", "again and again"},
		{"wrong", "SHA256"},
		{"longer", "the signed lists say"},
		{"refused", "403 Forbidden"},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			r := newRepo(t)
			s := open(t, t.TempDir())
			r.behave(tt.mode)
			im, err := s.Ensure(context.Background(), Spec{}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Ensure = %v, %v, want an error with %q", im, err, tt.want)
			}
			checkClean(t, s)
			if entries, _ := os.ReadDir(s.downloads()); len(entries) > 0 {
				for _, e := range entries {
					if !strings.HasSuffix(e.Name(), ".part") {
						t.Errorf("downloads/ keeps %s, which is not what the lists name", e.Name())
					}
				}
			}
			r.behave("")
			ensure(t, s, Spec{})
		})
	}
}

// A connection that is lost costs what is not there yet.
func TestDownloadsAreResumed(t *testing.T) {
	r := newRepo(t)
	r.behave("cut")
	s := open(t, t.TempDir())
	im := ensure(t, s, Spec{})
	// Only requests for the rest are whole, and in the log. A metapackage is
	// fetched too.
	if n, want := r.downloads(""), len(im.Manifest.Packages)+1; n != want {
		t.Errorf("the rest was asked for %d times, want once for each of %d packages", n, want)
	}
}

func TestNoNetwork(t *testing.T) {
	newRepo(t)
	t.Setenv(debian.MirrorVariable, "http://127.0.0.1:1/debian")
	s := open(t, t.TempDir())
	_, err := s.Ensure(context.Background(), Spec{}, nil)
	for _, want := range []string{"cannot fetch http://127.0.0.1:1/debian", "the host has no kernel", s.dir, debian.MirrorVariable, "http_proxy"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Ensure without a network = %v, want an error with %q", err, want)
		}
	}
	if !Unreachable(err) || Mistaken(err) {
		t.Errorf("Unreachable = %v, Mistaken = %v, want the network's fault, not the user's", Unreachable(err), Mistaken(err))
	}
	checkClean(t, s)
}

// TestOffline: lists and packages of before serve where no mirror is reached.
func TestOffline(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	ensure(t, s, Spec{})
	hourAgo := time.Now().Add(-2 * freshLists)
	if err := os.Chtimes(filepath.Join(s.inside("lists"), debian.HostRelease()+".checked"), hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	t.Setenv(debian.MirrorVariable, "http://127.0.0.1:1/debian")
	progress := &notes{}
	if _, err := s.Ensure(context.Background(), Spec{Rebuild: true}, progress); err != nil {
		t.Errorf("Ensure again, without a network, = %v, want the guest of what is there", err)
	}
	if !strings.Contains(progress.String(), "as it was on") {
		t.Errorf("notes = %q, want one that names the lists' date", progress)
	}
}

// notes is a Progress that remembers its notes.
type notes struct {
	quiet
	mu   sync.Mutex
	text []string
}

func (n *notes) Note(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = append(n.text, s)
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.text, "\n")
}

// A download that was broken on disk meanwhile is fetched again.
func TestDownloadsAreVerified(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	ensure(t, s, Spec{})
	files, err := filepath.Glob(filepath.Join(s.downloads(), "ndctl_*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("downloads of ndctl = %q, %v, want one", files, err)
	}
	if err := os.Truncate(files[0], 100); err != nil {
		t.Fatal(err)
	}
	ensure(t, s, Spec{Rebuild: true})
	if st, err := os.Stat(files[0]); err != nil || st.Size() == 100 {
		t.Errorf("the broken download is still there: %v", err)
	}
}

func (r *repo) waitUntilItHangs() {
	r.t.Helper()
	select {
	case <-r.hung:
	case <-time.After(20 * time.Second):
		r.t.Fatal("no download hangs")
	}
}

func TestCancelledBuildLeavesNothing(t *testing.T) {
	r := newRepo(t)
	s := open(t, t.TempDir())
	r.behave("hangs")
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() {
		_, err := s.Ensure(ctx, Spec{}, nil)
		result <- err
	}()
	r.waitUntilItHangs()
	begin := time.Now()
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Ensure = %v, want context.Canceled", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("the cancelled build went on for %v", took)
	}
	checkClean(t, s)
}

func TestTwoBuildersBuildOnce(t *testing.T) {
	r := newRepo(t)
	dir := t.TempDir()
	r.behave("slow")
	var group sync.WaitGroup
	var progress [2]notes
	var images [2]*Image
	for i := range 2 {
		group.Go(func() {
			im, err := open(t, dir).Ensure(context.Background(), Spec{}, &progress[i])
			if err != nil {
				t.Errorf("builder %d: %v", i, err)
			}
			images[i] = im
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	if images[0].Manifest.Built != images[1].Manifest.Built {
		t.Error("two builders made two guests")
	}
	if n := r.downloads("linux-image-6"); n != 1 {
		t.Errorf("the kernel was downloaded %d times, want once", n)
	}
	if all := progress[0].String() + progress[1].String(); strings.Count(all, "waiting for it") != 1 {
		t.Errorf("notes = %q, want one that says it waits", all)
	}
}

func TestWaitingBuilderCanBeCancelled(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	lock, err := lockFile(s.inside("lock"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Ensure(ctx, Spec{}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ensure behind a lock = %v, want the context's error", err)
	}
}

// builderProcess starts a build in a process of its own.
func builderProcess(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), buildHere+"="+dir), env...)
	return cmd
}

func TestKilledBuildIsCleanedUp(t *testing.T) {
	r := newRepo(t)
	s := open(t, t.TempDir())
	r.behave("hangs")
	cmd := builderProcess(t, s.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.waitUntilItHangs()
	cmd.Process.Kill()
	cmd.Wait()
	r.behave("")
	if _, err := os.Stat(s.tmp()); err != nil {
		t.Fatalf("the killed build left no scratch files (%v): the test shows nothing", err)
	}
	if _, err := s.Lookup(Spec{}); !errors.Is(err, ErrNoGuest) {
		t.Errorf("Lookup after a killed build = %v, want ErrNoGuest", err)
	}
	ensure(t, s, Spec{})
	if _, err := os.Stat(s.tmp()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("scratch files of the killed build are still there: %v", err)
	}
}

func TestOutOfReach(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{&debian.UnknownError{Name: "ndctl"}, false},
		{fmt.Errorf("package ndctl: %w", &debian.FetchError{URL: "http://example.org", Err: errors.New("no such host")}), true},
		{fmt.Errorf("%w: ndctl", debian.ErrBroken), false},
		{syscall.ENOSPC, false},
	} {
		if got := outOfReach(tt.err); got != tt.want {
			t.Errorf("outOfReach(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
	if err := fmt.Errorf("cannot build: %w", &debian.UnknownError{}); !Unreachable(err) || !Mistaken(err) {
		t.Error("Unreachable and Mistaken of a package that is not there = false, want true")
	}
}

// A file size limit stands for a full disk: writes fail at some point.
func TestFullDiskLeavesNothing(t *testing.T) {
	newRepo(t)
	whole := ensure(t, open(t, t.TempDir()), Spec{}).Manifest.Initrd.Size
	for _, limit := range []int64{100, 1000, whole / 2, whole - 1} {
		s := open(t, t.TempDir())
		out, err := builderProcess(t, s.dir, fmt.Sprintf("%s=%d", fileLimit, limit)).Output()
		if err == nil {
			t.Errorf("a build with files of at most %d bytes = nil, want an error", limit)
		}
		if !strings.Contains(string(out), "cannot build the guest") {
			t.Errorf("a build with files of at most %d bytes says %q", limit, out)
		}
		checkClean(t, s)
	}
}

func TestHalfCopiedGuestIsNone(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	im := ensure(t, s, Spec{})
	if err := os.Truncate(im.BaseInitrd, im.Manifest.Initrd.Size/2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(Spec{}); !errors.Is(err, ErrNoGuest) || !strings.Contains(err.Error(), "is damaged: its initrd.cpio has") {
		t.Errorf("Lookup of a cut guest = %v, want ErrNoGuest that says why", err)
	}
	if again := ensure(t, s, Spec{}); again.Manifest.Content != im.Manifest.Content {
		t.Error("the guest built again differs")
	}
}

func TestExtraPackages(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	ensure(t, s, Spec{})
	im := ensure(t, s, Spec{Packages: []string{"fio", "fio"}})
	if im.Name != testRelease+"+fio" || im.Default {
		t.Errorf("guest with fio = %s, default %v", im.Name, im.Default)
	}
	got := paths(t, im.BaseInitrd)
	for _, want := range []string{"usr/bin/fio", "usr/share/fio/job", "usr/lib/x86_64-linux-gnu/libfio.so.1", "usr/bin/ndctl"} {
		if _, ok := got[want]; !ok {
			t.Errorf("the guest with fio lacks %s", want)
		}
	}
	if _, ok := got["usr/share/doc/fio/README"]; ok {
		t.Error("the guest has fio's documentation")
	}
	t.Setenv(debian.MirrorVariable, "http://127.0.0.1:1/debian")
	if again := ensure(t, s, Spec{Packages: []string{"fio"}}); again.Name != im.Name {
		t.Errorf("Ensure again = %s, want %s", again.Name, im.Name)
	}
	if base := ensure(t, s, Spec{}); base.Name != testRelease {
		t.Errorf("the default guest is %s now, want %s", base.Name, testRelease)
	}
}

func TestSources(t *testing.T) {
	r := newRepo(t)
	r.AddSource(debian.HostRelease(), "ndctl", "76.1-1", "ndctl_76.1.orig.tar.gz", fake.Compress(".gz", fake.Tar(
		fake.File{Name: "ndctl-76.1/"}, fake.File{Name: "ndctl-76.1/test/create.sh", Data: []byte("exit 0\n"), Mode: 0o755})))
	r.Publish(debian.HostRelease(), time.Now().Truncate(time.Second))
	s := open(t, t.TempDir())
	for _, packages := range []string{"src:ndctl", "fio src:ndctl", "src:ndctl"} {
		im := ensure(t, s, Spec{Packages: strings.Fields(packages)})
		if e := paths(t, im.BaseInitrd)["usr/src/ndctl/test/create.sh"]; e.Mode&0o111 == 0 {
			t.Errorf("a guest with %s has a test of mode %o, want one that can be run", packages, e.Mode)
		}
	}
	if n := r.Asked("ndctl_76.1.orig"); n != 1 {
		t.Errorf("the source was fetched %d times, want once", n)
	}
	_, err := s.Ensure(context.Background(), Spec{Packages: []string{"src:fio"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "no source package fio") || !Mistaken(err) {
		t.Errorf("Ensure of a source package that is not there = %v, want an error that says so", err)
	}
}

func TestMissingPackage(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	for _, tt := range []struct {
		spec Spec
		want string
	}{
		{Spec{Packages: []string{"ndtcl"}}, "Debian " + debian.HostRelease() + " has no package ndtcl (did you mean ndctl?)"},
		{Spec{Kernel: "linux-image-clod-amd64"}, "has no kernel linux-image-clod-amd64 (did you mean linux-image-cloud-amd64?)"},
		{Spec{Kernel: "6.1.0-8-test"}, "has no kernel 6.1.0-8-test (did you mean 6.1.0-9-test?)"},
		{Spec{Kernel: "linux-image-" + testRelease + "=6.1.98-1"}, "did you mean"},
		{Spec{Release: "trixi"}, "did you mean trixie?"},
		{Spec{Release: "buster"}, "want bullseye, bookworm, trixie, forky, sid"},
		{Spec{Packages: []string{"no such"}}, "is no name of a Debian package"},
		{Spec{Packages: []string{"src:"}}, "package \"src:\": of which source? want its name as well, such as src:ndctl"},
		{Spec{Packages: []string{"ndctl-"}}, "has no package ndctl-"}, // "remove it" to apt
		{Spec{Packages: []string{"ndctl+"}}, "has no package ndctl+"},
		{Spec{Packages: []string{"nd..."}}, "has no package nd..."},
		{Spec{Packages: []string{"ndct."}}, "has no package ndct."},
		{Spec{Packages: []string{"~nndctl"}}, "is no name of a Debian package"},
		{Spec{Packages: []string{"?name(ndctl)"}}, "is no name of a Debian package"},
		{Spec{Packages: []string{"ndctl*"}}, "is no name of a Debian package"},
		{Spec{Packages: []string{"ndctl^"}}, "is no name of a Debian package"},
		{Spec{Packages: []string{"ndctl:amd64"}}, "is no name of a Debian package"},
		{Spec{Packages: []string{"ndctl=1"}}, "is no name of a Debian package"},
		{Spec{Packages: []string{"ndctl/testing"}}, "no such file"},
		{Spec{Packages: []string{"--reinstall"}}, "has no package --reinstall"},
		{Spec{Kernel: "linux-image-no-such"}, "has no kernel linux-image-no-such"},
		{Spec{Kernel: "-o"}, "neither the name of a guest"},
		{Spec{Kernel: "ndctl"}, "holds a kernel"},
		{Spec{Kernel: "/no/such/vmlinuz"}, "no such file"},
	} {
		if _, err := s.Ensure(context.Background(), tt.spec, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Ensure(%v) = %v, want an error with %q", tt.spec, err, tt.want)
		}
	}
	checkClean(t, s)
}

// phases is a Progress that remembers its phases.
type phases struct {
	quiet
	names []string
}

func (p *phases) Phase(name string, total int64) { p.names = append(p.names, name) }

// TestPackagesAreResolvedFirst: a package that is not there is said before a
// kernel is fetched and unpacked, however often the lists are asked.
func TestPackagesAreResolvedFirst(t *testing.T) {
	r := newRepo(t)
	s := open(t, t.TempDir())
	ensure(t, s, Spec{})
	downloads := r.downloads("")
	var p phases
	_, err := s.Ensure(context.Background(), Spec{Packages: []string{"no-such-package"}}, &p)
	if err == nil || !strings.Contains(err.Error(), "no-such-package") {
		t.Errorf("Ensure of a package that is not there = %v, want an error with its name", err)
	}
	if n := r.downloads(""); n != downloads || len(p.names) != 1 {
		t.Errorf("it downloads %d times and says %q, want nothing fetched nor unpacked", n-downloads, p.names)
	}
	if n := r.updates(); n != 2 {
		t.Errorf("the lists are fetched %d times in all, want twice", n)
	}
}

func TestStaleListsAreFetchedAgain(t *testing.T) {
	r := newRepo(t)
	s := open(t, t.TempDir())
	ensure(t, s, Spec{})
	if n := r.updates(); n != 1 {
		t.Fatalf("the first build updated %d times, want once", n)
	}
	ensure(t, s, Spec{Kernel: testRelease, Packages: []string{"fio"}})
	if n := r.updates(); n != 1 {
		t.Errorf("a build with fresh lists updated: %d times in all, want once", n)
	}
	if _, err := s.Ensure(context.Background(), Spec{Kernel: "linux-image-later"}, nil); err == nil {
		t.Error("Ensure of a missing kernel = nil, want an error")
	}
	if n := r.updates(); n != 2 {
		t.Errorf("a build that failed with lists of before updated %d times in all, want twice", n)
	}
}

func TestVmlinux(t *testing.T) {
	newRepo(t)
	s := open(t, t.TempDir())
	if im := ensure(t, s, Spec{}); im.VmlinuxPath != "" {
		t.Errorf("VmlinuxPath = %q without a function, want none", im.VmlinuxPath)
	}
	s.Vmlinux = func(b []byte) ([]byte, error) { return append([]byte("ELF of "), b[0x300:0x310]...), nil }
	check := func(im *Image) {
		t.Helper()
		if b, err := os.ReadFile(im.VmlinuxPath); err != nil || !strings.HasPrefix(string(b), "ELF of "+testRelease) {
			t.Errorf("vmlinux = %q, %v, want the function's result", b, err)
		}
	}
	check(ensure(t, s, Spec{}))
	check(ensure(t, s, Spec{Rebuild: true}))
	bad := open(t, t.TempDir())
	bad.Vmlinux = func([]byte) ([]byte, error) { return nil, errors.New("payload is rubbish") }
	if _, err := bad.Ensure(context.Background(), Spec{}, nil); err == nil || !strings.Contains(err.Error(), "payload is rubbish") {
		t.Errorf("Ensure with a Vmlinux that fails = %v, want its error", err)
	}
	checkClean(t, bad)
}

func staticProgram(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(name, fake.Busybox("a"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}
