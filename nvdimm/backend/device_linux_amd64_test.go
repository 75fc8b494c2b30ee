package backend

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"nvlab/internal/expect"
)

// fakeDAX is a sysfs that takes /dev/zero, which can be mapped, for a
// device-DAX device.
func fakeDAX(t *testing.T, files map[string]string) string {
	t.Helper()
	sysfs := t.TempDir()
	dir := filepath.Join(sysfs, "dev/char/1:5")
	bus := filepath.Join(sysfs, "bus", files["subsystem"])
	for _, d := range []string{dir, bus} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(bus, filepath.Join(dir, "subsystem")); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if name != "subsystem" {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return sysfs
}

func TestDeviceDAX(t *testing.T) {
	sysfs := fakeDAX(t, map[string]string{"subsystem": "dax", "size": "67108864\n", "align": "2097152\n"})
	b := openFile(t, FileConfig{Path: "/dev/zero", Size: 64 * mib, Share: true, Align: 2 * mib, sysfs: sysfs})
	if b.Durability() != DeviceDAX || b.Align() != 2*mib || b.Warning() != "" {
		t.Errorf("durability %v, align %#x, warning %q", b.Durability(), b.Align(), b.Warning())
	}
	if _, err := b.WriteAt([]byte("host"), 100); err != nil {
		t.Fatal(err)
	}
	m := mapped(t, b)
	copy(m.Bytes()[200:], "guest")
	if err := b.Put([]byte("label"), 64*mib-128*kib); err != nil {
		t.Errorf("writing a label: %v", err)
	}
	m.Close()
	if got := readBack(t, b, 100, 4) + readBack(t, b, 200, 5) + readBack(t, b, 64*mib-128*kib, 5); got != "hostguestlabel" {
		t.Errorf("the device has %q", got)
	}
	if again := mapped(t, b).Bytes(); string(again[200:205]) != "guest" {
		t.Errorf("the next mapping has %q", again[200:205])
	}
	if _, err := b.Snapshot(context.Background()); err != nil {
		t.Errorf("Snapshot: %v", err)
	}

	part := openFile(t, FileConfig{Path: "/dev/zero", Size: 4 * mib, Offset: 2 * mib, Partial: true, Share: true, Align: 2 * mib, sysfs: sysfs})
	if _, err := part.WriteAt([]byte("x"), 4*mib-1); err != nil {
		t.Errorf("the last byte of a part: %v", err)
	}
}

func TestDeviceDAXRefuses(t *testing.T) {
	sysfs := fakeDAX(t, map[string]string{"subsystem": "dax", "size": "67108864\n", "align": "0x200000\n"})
	for _, c := range []struct {
		config FileConfig
		want   string
	}{
		{FileConfig{Size: 64 * mib, Share: true, sysfs: sysfs}, "/dev/zero: backing store align 0x200000 is larger than 'align' option 0x1000: give align=2MiB"},
		{FileConfig{Size: 64 * mib, Align: 2 * mib, sysfs: sysfs}, "/dev/zero: a device-DAX device can only be shared"},
		{FileConfig{Size: 63 * mib, Align: 2 * mib, Share: true, sysfs: sysfs}, "/dev/zero: size 0x3f00000 must be a multiple of the device's alignment 0x200000"},
		{FileConfig{Size: 62 * mib, Offset: mib, Align: 2 * mib, Share: true, sysfs: sysfs}, "/dev/zero: offset 0x100000 must be a multiple of the device's alignment 0x200000"},
		{FileConfig{Size: 128 * mib, Align: 2 * mib, Share: true, sysfs: sysfs}, "/dev/zero: backing store size 0x4000000 does not match 'size' option 0x8000000: a device has the size it has; give size 64MiB"},
		{FileConfig{Size: 62 * mib, Align: 2 * mib, Share: true, sysfs: sysfs}, "/dev/zero: backing store size 0x4000000 does not match 'size' option 0x3e00000: the file has data and is never truncated; give size 64MiB, or partial to use a part of it"},
		{FileConfig{Size: 64 * mib, Align: 2 * mib, Share: true, sysfs: fakeDAX(t, map[string]string{"subsystem": "mem"})}, "/dev/zero: is no device-DAX device: path must name a regular file or one like /dev/dax0.0"},
		{FileConfig{Size: 64 * mib, Align: 2 * mib, Share: true, sysfs: t.TempDir()}, "/dev/zero: is no device-DAX device: path must name a regular file or one like /dev/dax0.0"},
	} {
		c.config.Path = "/dev/zero"
		_, err := OpenFile(c.config)
		expect.Error(t, "OpenFile", err, "", c.want)
	}
	sysfs = fakeDAX(t, map[string]string{"subsystem": "dax", "size": "x"})
	_, err := OpenFile(FileConfig{Path: "/dev/zero", Size: 64 * mib, Share: true, sysfs: sysfs})
	expect.Error(t, "OpenFile", err, sysfs, `/dev/zero: its size is not known: {dir}/dev/char/1:5/size holds "x", which is no number`)
}

// TestDAXAlign: where kernels tell the alignment, and what is taken if they
// do not.
func TestDAXAlign(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		want  uint64
	}{
		{map[string]string{"align": "4096\n"}, 4096},
		{map[string]string{"../dax_region/align": "1073741824\n"}, gib},
		{map[string]string{}, 2 * mib},
		{map[string]string{"align": "0"}, 2 * mib},
		{map[string]string{"align": "3000000"}, 2 * mib},
	} {
		c.files["subsystem"], c.files["size"] = "dax", "67108864\n"
		d, err := readDAX(fakeDAX(t, c.files), "/dev/zero", 1, 5)
		if err != nil || d.align != c.want || d.size != 64*mib {
			t.Errorf("readDAX of %v = %+v, %v, want align %#x", c.files, d, err, c.want)
		}
	}
}
