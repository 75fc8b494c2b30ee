package scenarios

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"

	"nvlab/guest"
	"nvlab/internal/require"
	"nvlab/lab"
	"nvlab/starlark/run"
	"nvlab/vmm/boot"
)

// newer are the metapackages of kernels that are newer than the release's own.
var newer = regexp.MustCompile(`^linux-image-[0-9]+\.[0-9]+(-cloud)?-amd64$`)

// TestStockKernels runs the quickstart on Debian's generic kernel, on each
// newer one, cloud and generic, that the host's package lists offer, and on a
// bzImage of the user's. Where packages are out of reach it takes those that
// the store of guests has.
func TestStockKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	store, err := guest.Open("")
	if err != nil {
		t.Fatal(err)
	}
	store.Vmlinux = boot.Decompress
	generic := ensureKernel(t, store, "linux-image-amd64")
	kernels := append([]string{"linux-image-amd64"}, newerKernels(t, store)...)
	if len(kernels) < 2 {
		t.Logf("the package lists offer no kernel newer than Linux %s", generic.KernelVersion)
	}
	for _, kernel := range kernels {
		t.Run(kernel, func(t *testing.T) {
			im := ensureKernel(t, store, kernel)
			quickstartOn(t, kernel, im.KernelRelease)
		})
	}
	t.Run("bzImage", func(t *testing.T) {
		im := ensureKernel(t, store, "linux-image-cloud-amd64")
		// Its guest goes to a store of its own; packages come from the user's.
		cache := t.TempDir()
		for _, shared := range []string{"lists", "downloads"} {
			if err := os.Symlink(filepath.Join(store.Dir(), shared), filepath.Join(cache, shared)); err != nil {
				t.Fatal(err)
			}
		}
		path := unpacked(t, im)
		own, err := guest.Open(cache)
		if err != nil {
			t.Fatal(err)
		}
		own.Vmlinux = boot.Decompress
		if _, err := own.Ensure(t.Context(), guest.Spec{Kernel: path}, nil); err != nil {
			t.Fatal(err)
		}
		quickstartOn(t, path, im.KernelRelease, func(o *run.Options) { o.Cache = cache })
	})
}

// ensureKernel builds a guest, if it can be.
func ensureKernel(t *testing.T, store *guest.Store, kernel string) *guest.Image {
	t.Helper()
	im, err := store.Ensure(t.Context(), guest.Spec{Kernel: kernel}, guest.NewProgress(os.Stderr, false))
	if guest.Unreachable(err) {
		require.Missing(t, "KERNELS", "the store of guests has no %s, and its package cannot be had: %v", kernel, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// newerKernels are those of the package lists, and of the store.
func newerKernels(t *testing.T, store *guest.Store) (names []string) {
	t.Helper()
	images, err := store.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, im := range images {
		names = append(names, im.Manifest.Kernel.Aliases...)
	}
	offered, err := store.Offered(t.Context(), guest.Spec{}, "linux-image-", guest.Quiet)
	if err != nil {
		t.Logf("no package lists: %v", err)
	}
	names = append(names, offered...)
	names = slices.DeleteFunc(names, func(name string) bool { return !newer.MatchString(name) })
	slices.Sort(names)
	return slices.Compact(names)
}

// quickstartOn runs the quickstart on a kernel, which has to say that it is
// that release.
func quickstartOn(t *testing.T, kernel, release string, change ...func(*run.Options)) {
	t.Helper()
	var out bytes.Buffer
	said := false
	o := run.Options{
		Paths: []string{"quickstart.star"}, Engine: "soft", Kernel: kernel, Verbose: true,
		Stdout: &out, Stderr: &out, Progress: guest.Quiet,
		Ended: func(_, name string, x *lab.Experiment) {
			var texts []string
			for _, v := range x.VMs() {
				texts = append(texts, v.Console())
				said = strings.Contains(v.Console(), "Linux version "+release+" ")
			}
			heard.Check(t, name+" on "+release, texts)
		},
	}
	for _, f := range change {
		f(&o)
	}
	if exit := run.Run(t.Context(), o); exit != 0 {
		t.Errorf("the quickstart on %s ends in status %d:\n%s", release, exit, out.Bytes())
	}
	if !said {
		t.Errorf("the guest's kernel does not say that it is %s", release)
	}
}

// unpacked puts a guest's bzImage and modules where a package has them, below a
// folder, and returns the bzImage's path.
func unpacked(t *testing.T, im *guest.Image) string {
	t.Helper()
	root := t.TempDir()
	put := func(name string, r io.Reader) string {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := io.Copy(f, r); err != nil {
			t.Fatal(err)
		}
		return path
	}
	initrd, err := os.Open(im.BaseInitrd)
	if err != nil {
		t.Fatal(err)
	}
	defer initrd.Close()
	modules := 0
	for r := cpio.NewReader(initrd); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(h.Name, "usr/lib/modules/"); ok && h.Mode.IsRegular() {
			put("lib/modules/"+name, r)
			modules++
		}
	}
	if modules == 0 {
		t.Fatalf("guest %s has no modules", im.Name)
	}
	kernel, err := os.Open(im.KernelPath)
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.Close()
	return put("boot/bzImage", kernel)
}
