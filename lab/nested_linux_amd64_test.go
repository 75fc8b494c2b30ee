package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/guest"
	"nvlab/guest/rootfs"
	"nvlab/nvdimm/backend"
)

// TestGuestInAGuestOnDeviceDAX has nvlab boot a guest within a guest, whose
// NVDIMM is the outer guest's /dev/dax1.0: what the innermost ndctl does to it
// is in the outermost file.
func TestGuestInAGuestOnDeviceDAX(t *testing.T) {
	if os.Getenv("NVLAB_NESTED") == "" {
		t.Skip("takes half a minute: NVLAB_NESTED=1 runs it")
	}
	x := selfExperiment(t)
	cache := guestArchive(t, x)
	disk, err := x.FileBackend(FileBackendOptions{Path: "pmem1.img", Size: 66 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	var o VMOptions
	o.Memory, o.Slots, o.MaxMem = 1<<30, 2, 4<<30
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, plug := range []PlugOptions{{Backend: cache}, {Backend: disk, LabelSize: 128 << 10}} {
		if _, err := v.Plug(plug); err != nil {
			t.Fatal(err)
		}
	}
	mustBoot(t, v)
	mustRun(t, v, `set -e
		ndctl disable-region region1; ndctl init-labels -V 1.2 -f nmem1; ndctl enable-region region1
		ndctl create-namespace -m devdax -r region1 -s 64M
		mkdir /tmp/cache; cd /tmp/cache; cpio -id < /dev/pmem0`)
	inGuest(t, v, "TestWholeJobOnDeviceDAX", "/tmp/cache", "/dev/dax1.0")
	if err := v.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The device is the end of its namespace, which is the DIMM's first 64 MiB.
	bytes, err := disk.Bytes(2<<20, 7)
	if err != nil || string(bytes) != "nested\n" {
		t.Errorf("the file has %q, %v, want what the innermost guest wrote", bytes, err)
	}
}

// guestArchive is a backend with a cpio archive of the default guest, as a
// cache has it.
func guestArchive(t *testing.T, x *Experiment) *Backend {
	t.Helper()
	image, err := x.lab.image(t.Context(), guest.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Dir(image.KernelPath)
	name := filepath.Base(folder)
	tree := rootfs.NewTree()
	files := map[string][]byte{"default": []byte(name + "\n")}
	for _, f := range []string{"manifest.json", "initrd.cpio", "vmlinux", "kernel"} {
		if files[path.Join(name, f)], err = os.ReadFile(filepath.Join(folder, f)); err != nil {
			t.Fatal(err)
		}
	}
	for f, data := range files {
		if err := tree.AddFile(path.Join("guests", f), 0o644, data); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(x.Dir(), "cache.cpio"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := tree.WriteCPIO(f); err != nil {
		t.Fatal(err)
	}
	const size = 128 << 20
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	b, err := x.FileBackend(FileBackendOptions{Path: "cache.cpio", Size: size, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWholeJobOnDeviceDAX is what the outer guest runs for it: a boot, a
// namespace, some data.
func TestWholeJobOnDeviceDAX(t *testing.T) {
	cache, path := innerTest(t)
	size := sysfsSize(t, path)
	l, err := New(Options{Cache: cache, Engine: "soft", AllowPaths: []string{filepath.Dir(path)}})
	if err != nil {
		t.Fatal(err)
	}
	x := l.Experiment(t.Name(), t.TempDir())
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	b, err := x.FileBackend(FileBackendOptions{Path: path, Size: size, Share: true, Align: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if b.Durability() != backend.DeviceDAX {
		t.Errorf("durability is %v, want device-dax", b.Durability())
	}
	v := pluggedVM(t, x, b, 128<<10)
	mustBoot(t, v)
	mustRun(t, v, "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0")
	var made struct{ UUID, Blockdev string }
	out := mustRun(t, v, "ndctl create-namespace -m raw -r region0 -s 16M")
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err)
	}
	mustRun(t, v, fmt.Sprintf("echo nested | dd of=/dev/%s bs=512 count=1 conv=sync oflag=direct", made.Blockdev))
	if err := v.PowerOff(t.Context()); err != nil {
		t.Fatal(err)
	}
	area, err := b.Labels(0)
	if err != nil || len(area.Active) != 1 || !strings.EqualFold(area.Active[0].UUID.String(), made.UUID) {
		t.Errorf("the device has labels %+v, %v, want one of %s", area, err, made.UUID)
	}
}
