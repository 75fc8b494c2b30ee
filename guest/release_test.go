package guest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"nvlab/guest/debian"
	"nvlab/guest/internal/fake"
)

// otherRelease is one that is not the host's.
func otherRelease() string {
	return debian.Releases()[(slices.Index(debian.Releases(), debian.HostRelease())+1)%3]
}

// splitKernel adds a kernel whose parts are in packages of any names, as
// Debian's are since 2026: image, modules, the rest.
func (r *repo) splitKernel(suite, release, version string) {
	m := "usr/lib/modules/" + release + "/"
	module := func(name string, entries ...string) fake.File {
		return fake.File{Name: m + "kernel/" + name + ".ko.gz", Data: fake.Compress(".gz", fake.Module(release, entries...))}
	}
	r.addTo(suite, "linux-image-cloud-amd64", version, "linux-image-"+release+" (= "+version+")")
	r.addTo(suite, "linux-image-"+release, version, "dracut | initramfs-tools, odd-rest (= "+version+"), odd-image (= "+version+"), odd-modules")
	r.addTo(suite, "odd-image", version, "odd-rest", fake.File{Name: m + "vmlinuz", Data: fake.Kernel(banner(release, version))})
	r.addTo(suite, "odd-modules", version, "kmod, odd-rest", module("virtio"), module("virtio_ring"), module("virtio_mmio", "depends=virtio,virtio_ring"),
		module("virtio_console", "depends=virtio,virtio_ring"), module("nfit", "depends=libnvdimm"), module("nd_pmem", "depends=libnvdimm"))
	r.addTo(suite, "odd-rest", version, "", fake.File{Name: m + "modules.builtin", Data: []byte("kernel/drivers/nvdimm/libnvdimm.ko\n")},
		fake.File{Name: m + "config", Data: []byte("CONFIG_X=y\n")}, fake.File{Name: m + "System.map", Data: []byte("0 a b\n")})
}

// tools adds to a release what every guest has.
func (r *repo) tools(suite, version string) {
	r.addTo(suite, "busybox", version, "", fake.File{Name: "usr/bin/busybox", Data: fake.Busybox("ash", "cat", "dd", "echo", "ls", "mke2fs", "modprobe", "mount", "sh", "tar")})
	r.addTo(suite, "ndctl", version, "libc6", fake.File{Name: "usr/bin/ndctl", Data: fake.Program("libc.so.6")})
	r.addTo(suite, "daxctl", version, "libc6", fake.File{Name: "usr/bin/daxctl", Data: fake.Program("libc.so.6")})
	r.addTo(suite, "e2fsprogs", version, "")
	r.addTo(suite, "xfsprogs", version, "")
	r.addTo(suite, "libc6", version, "", fake.File{Name: "usr/lib/x86_64-linux-gnu/libc.so.6", Data: fake.Library()}, fake.File{Name: "usr/lib64/ld-linux-x86-64.so.2", Data: fake.Library()})
}

func TestReleases(t *testing.T) {
	r := newRepo(t)
	other := otherRelease()
	r.tools(other, "99-1")
	r.splitKernel(other, "7.2.0-new", "7.2.0-1")
	s := open(t, t.TempDir())
	own := ensure(t, s, Spec{})
	im := ensure(t, s, Spec{Release: other})
	if im.Name != "7.2.0-new" || im.Default || im.Manifest.Debian != other || im.Manifest.Kernel.Archive != other {
		t.Errorf("the guest of %s is %s of %s, default %v, want 7.2.0-new", other, im.Name, im.Manifest.Debian, im.Default)
	}
	k := im.Manifest.Kernel
	if k.Package != "linux-image-7.2.0-new" || !slices.Equal(k.Aliases, []string{"linux-image-cloud-amd64"}) {
		t.Errorf("its kernel's package is %s, led to by %q, want linux-image-7.2.0-new, which needs all parts", k.Package, k.Aliases)
	}
	var parts []string
	for _, p := range im.Manifest.Packages {
		parts = append(parts, p.Name)
	}
	for _, want := range []string{"odd-image", "odd-modules", "odd-rest"} {
		if !slices.Contains(parts, want) {
			t.Errorf("it is made of %q, want %s too", parts, want)
		}
	}
	if !slices.Contains(im.Manifest.Boot, "nfit") || slices.Contains(im.Manifest.Boot, "libnvdimm") {
		t.Errorf("its modules at boot are %q, want nfit, and no libnvdimm, which is built in", im.Manifest.Boot)
	}
	if again, err := s.Lookup(Spec{}); err != nil || again.Name != own.Name {
		t.Errorf("the default is %v, %v, want %s as before", again, err, own.Name)
	}
	for _, tt := range []struct {
		spec Spec
		want string
	}{
		{Spec{Release: other}, im.Name},
		{Spec{Release: debian.HostRelease()}, own.Name},
		{Spec{Kernel: "linux-image-cloud-amd64"}, own.Name},
		{Spec{Kernel: "linux-image-cloud-amd64", Release: other}, im.Name},
		{Spec{Kernel: "linux-image-7.2.0-new=7.2.0-1", Release: other}, im.Name},
		{Spec{Kernel: "7.2.0-new"}, im.Name},
		{Spec{Kernel: "7.2.0-new", Release: debian.HostRelease()}, ""},
		{Spec{Kernel: own.Name, Release: other}, ""},
	} {
		got, err := s.Lookup(tt.spec)
		if tt.want == "" && !errors.Is(err, ErrNoGuest) || tt.want != "" && (err != nil || got.Name != tt.want) {
			t.Errorf("Lookup(%s) = %v, %v, want %q", tt.spec, got, err, tt.want)
		}
	}
	// One release's kernel under another's tools.
	cross := ensure(t, s, Spec{Kernel: "linux-image-cloud-amd64@" + other})
	if want := "7.2.0-new@" + debian.HostRelease(); cross.Name != want || cross.KernelRelease != "7.2.0-new" {
		t.Errorf("the guest of %s's kernel and the host's tools is %s, want %s", other, cross.Name, want)
	}
	if got, err := s.Lookup(Spec{Kernel: "linux-image-cloud-amd64@" + other}); err != nil || got.Name != cross.Name {
		t.Errorf("Lookup of it = %v, %v, want %s", got, err, cross.Name)
	}
}

// TestOldBusybox: where busybox's dd knows no oflag=direct, coreutils' is there.
func TestOldBusybox(t *testing.T) {
	r := newRepo(t)
	here := debian.HostRelease()
	old := bytes.Replace(fake.Busybox("ash", "cat", "dd", "echo", "ls", "mke2fs", "modprobe", "mount", "sh", "tar"), []byte("direct"), []byte("append"), 1)
	r.add("busybox", "1.36", "", fake.File{Name: "bin/busybox", Data: old})
	s := open(t, t.TempDir())
	if _, err := s.Ensure(context.Background(), Spec{}, nil); err == nil || !strings.Contains(err.Error(), "Debian "+here+" has no package coreutils") {
		t.Errorf("Ensure without coreutils = %v, want an error that names it", err)
	}
	r.add("coreutils", "9", "libc6, libattr1", fake.File{Name: "bin/dd", Data: fake.Program("libattr.so.1", "libc.so.6")}, fake.File{Name: "bin/cat", Data: fake.Program("libc.so.6")})
	r.add("libattr1", "2", "libc6", fake.File{Name: "usr/lib/x86_64-linux-gnu/libattr.so.1", Data: fake.Library()})
	files := paths(t, ensure(t, s, Spec{}).BaseInitrd)
	if files["usr/bin/dd"].Link != "" || files["usr/bin/cat"].Link != "busybox-static" {
		t.Errorf("dd is a link to %q, cat to %q, want coreutils' dd and nothing else of it", files["usr/bin/dd"].Link, files["usr/bin/cat"].Link)
	}
	if _, ok := files["usr/lib/x86_64-linux-gnu/libattr.so.1"]; !ok {
		t.Error("the guest lacks the library that dd needs")
	}
}

func TestKernelIsFoundByContent(t *testing.T) {
	r := newRepo(t)
	here := debian.HostRelease()
	r.splitKernel(here, "7.2.0-new", "7.2.0-1")
	image := fake.File{Name: "boot/vmlinuz-1.0-one", Data: fake.Kernel(banner("1.0-one", "1.0-1"))}
	r.addTo(here, "two-kernels", "1", "linux-image-7.2.0-new", image)
	r.addTo(here, "bare-kernel", "1", "", image)
	r.addTo(here, "no-image", "1", "", fake.File{Name: "boot/vmlinuz-2.0", Data: []byte("not at all")})
	r.addTo(here, "needs-nothing-there", "1", "libabsent7", image)
	s := open(t, t.TempDir())
	for kernel, want := range map[string]string{
		"two-kernels":         "name one of 1.0-one, 7.2.0-new",
		"bare-kernel":         "cannot be a guest's",
		"no-image":            "boot/vmlinuz-2.0 is no kernel",
		"odd-modules":         "holds a kernel",
		"needs-nothing-there": "it depends on libabsent7, which Debian " + here + " does not have",
	} {
		if _, err := s.Ensure(context.Background(), Spec{Kernel: kernel}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Ensure of kernel %s = %v, want an error with %q", kernel, err, want)
		}
	}
	// A mirror may lack the file of a metapackage.
	r.Put("/debian/pool/linux-image-cloud-amd64_7.2.0-1_amd64.deb", nil)
	progress := &notes{}
	im, err := s.Ensure(context.Background(), Spec{}, progress)
	if err != nil || im.Name != "7.2.0-new" || !strings.Contains(progress.String(), "going on without it") {
		t.Errorf("Ensure without the metapackage's file = %v, %v, notes %q, want 7.2.0-new and a warning", im, err, progress)
	}
}
