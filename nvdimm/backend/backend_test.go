package backend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"nvlab/internal/expect"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

func openFile(t testing.TB, c FileConfig) *Backend {
	t.Helper()
	return expect.Opened[*Backend](t)(OpenFile(c))
}

func newRAM(t testing.TB, size uint64) *Backend {
	t.Helper()
	return expect.Opened[*Backend](t)(NewRAM(RAMConfig{Size: size}))
}

func TestOpenFileRefuses(t *testing.T) {
	dir := t.TempDir()
	data := bytes.Repeat([]byte("data"), 16*kib/4)
	file := filepath.Join(dir, "file")
	for name, p := range map[string][]byte{"file": data, "tiny": data[:5]} {
		if err := os.WriteFile(filepath.Join(dir, name), p, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		config FileConfig
		want   string
	}{
		{"no path", FileConfig{Size: mib}, "'mem-path' property is not set: path must name a file"},
		{"size 0", FileConfig{Path: dir + "/new"}, "{dir}/new: property 'size' of memory-backend-file doesn't take value '0': the smallest is 4KiB"},
		{"size 100", FileConfig{Path: dir + "/new", Size: 100}, "{dir}/new: memory size 0x64 must be equal to or larger than page size 0x1000: the nearest is 4KiB"},
		{"size 5000", FileConfig{Path: dir + "/new", Size: 5000}, "{dir}/new: backend 'memory-backend-file' memory size must be multiple of 4 KiB: size is 5000, the nearest are 4KiB and 8KiB"},
		{"size 2^63", FileConfig{Path: dir + "/new", Size: 1 << 63}, "{dir}/new: memory size 0x8000000000000000 is larger than an address space: the largest is 256TiB"},
		{"align 1000", FileConfig{Path: dir + "/new", Size: mib, Align: 1000}, "{dir}/new: alignment 0x3e8 must be multiples of page size 0x1000: the nearest power of two is 4KiB"},
		{"align 2048", FileConfig{Path: dir + "/new", Size: mib, Align: 2048}, "{dir}/new: alignment 0x800 must be multiples of page size 0x1000: the nearest power of two is 4KiB"},
		{"align 3 MiB", FileConfig{Path: dir + "/new", Size: mib, Align: 3 * mib}, "{dir}/new: alignment 0x300000 must be a power of two: the nearest below is 2MiB"},
		{"file smaller", FileConfig{Path: file, Size: 32 * kib}, "{dir}/file: backing store size 0x4000 does not match 'size' option 0x8000: the file has data and is never extended; give size 16KiB"},
		{"file larger", FileConfig{Path: file, Size: 8 * kib}, "{dir}/file: backing store size 0x4000 does not match 'size' option 0x2000: the file has data and is never truncated; give size 16KiB, or partial to use a part of it"},
		{"file smaller, partial", FileConfig{Path: file, Size: 32 * kib, Partial: true}, "{dir}/file: backing store size 0x4000 does not match 'size' option 0x8000: the file has data and is never extended; give size 16KiB"},
		{"file below a page", FileConfig{Path: dir + "/tiny", Size: 4 * kib}, "{dir}/tiny: backing store size 0x5 does not match 'size' option 0x1000: the file has data and is never extended; give another path or offset"},
		{"directory", FileConfig{Path: dir, Size: mib}, "{dir}: is a directory: path must name a regular file"},
		{"FIFO", FileConfig{Path: dir + "/fifo", Size: mib}, "{dir}/fifo: is not a regular file: path must name one"},
		{"no such directory", FileConfig{Path: dir + "/no/file", Size: mib}, "open {dir}/no/file: no such file or directory"},
	} {
		_, err := OpenFile(c.config)
		expect.Error(t, "OpenFile with "+c.name, err, dir, c.want)
	}
	if got, _ := os.ReadFile(file); !bytes.Equal(got, data) {
		t.Errorf("a refused file has %d bytes now, or other ones", len(got))
	}
	if _, err := os.Stat(dir + "/new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused configuration left a file behind: %v", err)
	}
}

func TestOpenFileWithoutPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may open any file")
	}
	dir := t.TempDir()
	os.WriteFile(dir+"/file", make([]byte, 4096), 0)
	_, err := OpenFile(FileConfig{Path: dir + "/file", Size: 4096})
	expect.Error(t, "OpenFile without permission", err, dir, "open {dir}/file: permission denied")
}

func TestNewRAMRefuses(t *testing.T) {
	for _, c := range []struct {
		config RAMConfig
		want   string
	}{
		{RAMConfig{}, "property 'size' of memory-backend-ram doesn't take value '0': the smallest is 4KiB"},
		{RAMConfig{Size: 4097}, "backend 'memory-backend-ram' memory size must be multiple of 4 KiB: size is 4097, the nearest are 4KiB and 8KiB"},
		{RAMConfig{Size: mib, Align: 3 * mib}, "memory-backend-ram: alignment 0x300000 must be a power of two: the nearest below is 2MiB"},
	} {
		_, err := NewRAM(c.config)
		expect.Error(t, "NewRAM", err, "", c.want)
	}
}

// TestOpenFileKeepsData: the data loss of QEMU before 2.8.
func TestOpenFileKeepsData(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	data := bytes.Repeat([]byte("keep"), 20*kib/4)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b := openFile(t, FileConfig{Path: path, Size: 8 * kib, Share: true, Partial: true})
	if _, err := b.WriteAt([]byte("x"), 8*kib-1); err != nil {
		t.Fatal(err)
	}
	if _, err := b.WriteAt([]byte("x"), 8*kib); err == nil {
		t.Errorf("a write behind the backend's part of the file succeeded")
	}
	data[8*kib-1] = 'x'
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Errorf("the file has %d bytes or other ones, want its %d", len(got), len(data))
	}
}

func TestOpenFileCreatesSparse(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(dir+"/empty", nil, 0o644)
	for _, name := range []string{"new", "empty"} {
		path := filepath.Join(dir, name)
		openFile(t, FileConfig{Path: path, Size: 4*gib + 4096})
		info, err := os.Stat(path)
		if err != nil || info.Size() != 4*gib+4096 || info.Mode().Perm()&^0o644 != 0 {
			t.Fatalf("%s: %v, %v", name, info, err)
		}
		if blocks := info.Sys().(*syscall.Stat_t).Blocks; blocks > 64 {
			t.Errorf("%s: a new file takes %d blocks of 512 bytes, want a sparse one", name, blocks)
		}
	}
}

// mapped is a mapping of b until the test ends.
func mapped(t testing.TB, b *Backend) *Mapping {
	t.Helper()
	m, err := b.Map()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func readBack(t testing.TB, b *Backend, off int64, n int) string {
	t.Helper()
	p := make([]byte, n)
	if _, err := b.ReadAt(p, off); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// TestLifetimes: where the guest's writes go, by kind of backend.
func TestLifetimes(t *testing.T) {
	for _, c := range []struct {
		name           string
		open           func(path string) (*Backend, error)
		fileAfterWrite string
		afterPowerOff  string
		revocable      bool
		durability     Durability
	}{
		{"share=on", func(path string) (*Backend, error) {
			return OpenFile(FileConfig{Path: path, Size: mib, Share: true})
		}, "guest", "guest", true, PageCache},
		{"share=off", func(path string) (*Backend, error) {
			return OpenFile(FileConfig{Path: path, Size: mib})
		}, "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00", true, Volatile},
		{"RAM", func(string) (*Backend, error) { return NewRAM(RAMConfig{Size: mib, Align: 4096}) }, "", "\x00\x00\x00\x00\x00", false, Volatile},
	} {
		path := filepath.Join(t.TempDir(), "file")
		b, err := c.open(path)
		if err != nil {
			t.Fatal(err)
		}
		m := mapped(t, b)
		copy(m.Bytes()[5000:], "guest")
		if got := readBack(t, b, 5000, 5); got != "guest" {
			t.Errorf("%s: read while mapped = %q, want what the guest wrote", c.name, got)
		}
		if c.fileAfterWrite != "" {
			file, _ := os.ReadFile(path)
			if got := string(file[5000:5005]); got != c.fileAfterWrite {
				t.Errorf("%s: the file has %q, want %q", c.name, got, c.fileAfterWrite)
			}
		}
		if _, err := b.WriteAt([]byte("host"), 0); err == nil {
			t.Errorf("%s: a write while a VM runs succeeded", c.name)
		}
		if err := m.Close(); err != nil {
			t.Errorf("%s: Close of the mapping: %v", c.name, err)
		}
		if got := readBack(t, b, 5000, 5); got != c.afterPowerOff {
			t.Errorf("%s: after power-off the backend has %q, want %q", c.name, got, c.afterPowerOff)
		}
		if _, err := b.WriteAt([]byte("host"), 100); err != nil {
			t.Errorf("%s: a write after power-off: %v", c.name, err)
		}
		m = mapped(t, b)
		if got := string(m.Bytes()[100:104]); got != "host" {
			t.Errorf("%s: the next mapping has %q, want what the host wrote", c.name, got)
		}
		if b.Revocable() != c.revocable || b.Durability() != c.durability {
			t.Errorf("%s: revocable %v, durability %v", c.name, b.Revocable(), b.Durability())
		}
		if err := errors.Join(m.Close(), m.Close(), b.Close()); err != nil {
			t.Errorf("%s: Close: %v", c.name, err)
		}
		if _, err := b.Map(); err == nil {
			t.Errorf("%s: a closed backend was mapped", c.name)
		}
	}
}

// TestTwoGuests: writes of one guest are visible to another on the same file,
// over one handle or two, only with share=on.
func TestTwoGuests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	one := openFile(t, FileConfig{Path: path, Size: mib, Share: true})
	two := openFile(t, FileConfig{Path: path, Size: mib, Share: true})
	alone := openFile(t, FileConfig{Path: path, Size: mib})
	first, same, other, private := mapped(t, one).Bytes(), mapped(t, one).Bytes(), mapped(t, two).Bytes(), mapped(t, alone).Bytes()
	copy(private[8192:], "private") // takes the page for itself
	copy(first[8200:], "shared")
	if got := string(same[8200:8206]) + string(other[8200:8206]); got != "sharedshared" {
		t.Errorf("the other guests see %q", got)
	}
	if got := string(private[8192:8206]); got != "private\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("the guest with share=off sees %q", got)
	}
	if got := readBack(t, one, 8192, 7); got != "\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("the file has %q of the guest with share=off", got)
	}
	_, err := alone.Map()
	expect.Error(t, "mapping a share=off backend for two machines", err, path, "can't use already busy memdev: {dir}: another running VM maps it, and only a file with share=on has room for two")
}

// TestTruncated: someone truncates the file while a guest runs.
func TestTruncated(t *testing.T) {
	for _, share := range []bool{true, false} {
		path := filepath.Join(t.TempDir(), "file")
		b := openFile(t, FileConfig{Path: path, Size: mib, Share: share})
		b.SetLabelSize(128 * kib)
		m := mapped(t, b)
		if err := os.Truncate(path, 64*kib); err != nil {
			t.Fatal(err)
		}
		want := path + ": backing store was truncated to 0x10000 of 0x100000 bytes by someone else"
		check := func(what string, err error) {
			t.Helper()
			if !errors.Is(err, ErrTruncated) || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("share %v: %s of a truncated file gave %v, want %s...", share, what, err, want)
			}
		}
		_, err := b.ReadAt(make([]byte, 100), 512*kib)
		check("ReadAt", err)
		check("Put", b.Put([]byte("label"), mib-5))
		_, err = b.SHA256(context.Background(), 0, mib)
		check("SHA256", err)
		_, err = b.Snapshot(context.Background())
		check("Snapshot", err)
		_, err = b.Labels(0)
		check("Labels", err)
		if info, _ := os.Stat(path); info.Size() != 64*kib {
			t.Errorf("share %v: the file was extended to %d bytes", share, info.Size())
		}
		if got := readBack(t, b, 0, 4); got != "\x00\x00\x00\x00" {
			t.Errorf("share %v: what is left reads as %q", share, got)
		}
		m.Close()
		_, err = b.Map()
		check("Map", err)
		_, err = b.WriteAt([]byte("x"), mib-1)
		check("WriteAt", err)
	}
}

func TestOutside(t *testing.T) {
	b := newRAM(t, mib)
	for _, c := range []struct {
		off int64
		n   int
	}{{-1, 1}, {mib, 1}, {mib - 1, 2}, {1 << 62, 0}} {
		if _, err := b.ReadAt(make([]byte, c.n), c.off); err == nil {
			t.Errorf("ReadAt(%d bytes, %d) of %d bytes succeeded", c.n, c.off, mib)
		}
		if _, err := b.WriteAt(make([]byte, c.n), c.off); err == nil {
			t.Errorf("WriteAt(%d bytes, %d) of %d bytes succeeded", c.n, c.off, mib)
		}
	}
	_, err := b.SHA256(context.Background(), 4096, 1<<63)
	expect.Error(t, "SHA256", err, "", "memory-backend-ram: offset 0x1000 with length 0x8000000000000000 is outside of the backend, which has 0x100000 bytes")
}

func TestSHA256(t *testing.T) {
	for _, share := range []bool{true, false} {
		b := openFile(t, FileConfig{Path: filepath.Join(t.TempDir(), "file"), Size: 8 * mib, Share: share})
		want := make([]byte, 8*mib)
		for _, off := range []int{0, 3*mib + 77, 8*mib - 3} {
			copy(want[off:], "abc")
			b.WriteAt([]byte("abc"), int64(off))
		}
		check := func(off, length uint64) {
			t.Helper()
			got, err := b.SHA256(context.Background(), off, length)
			if err != nil || got != sha256.Sum256(want[off:off+length]) {
				t.Errorf("share %v: SHA256(%#x, %#x) = %x, %v, want %x", share, off, length, got, err, sha256.Sum256(want[off:off+length]))
			}
		}
		check(0, 8*mib)
		check(1, 8*mib-1)
		check(3*mib+78, 5)
		check(5, 0)
		mem := mapped(t, b).Bytes()
		copy(mem[5*mib+1:], "guest")
		copy(want[5*mib+1:], "guest")
		check(0, 8*mib)
		check(5*mib+3, mib)
	}
}

func TestLabelSizeUnknown(t *testing.T) {
	b := newRAM(t, 4*mib)
	_, err := b.Labels(0)
	expect.Error(t, "Labels before plugging", err, "", "memory-backend-ram: the size of its label area is not known until it is plugged: give label_size")
	if a, err := b.Labels(128 * kib); err != nil || a.Geometry.Size != 128*kib {
		t.Errorf("Labels(128K) = %v, %v", a, err)
	}
	_, err = b.Labels(5 * mib)
	expect.Error(t, "Labels beyond the backend", err, "", "memory-backend-ram: label_size 0x500000 is not within the backend, which has 0x400000 bytes")
	b.SetLabelSize(0)
	_, err = b.Labels(0)
	expect.Error(t, "Labels after plugging without", err, "", "memory-backend-ram: it was plugged without a label area: give label_size to read one")
}

func TestCloseMapped(t *testing.T) {
	b := newRAM(t, 4*mib)
	m := mapped(t, b)
	expect.Error(t, "Close while mapped", b.Close(), "", "memory-backend-ram: a running VM maps this backend: power it off before closing")
	m.Close()
	if err := errors.Join(b.Close(), b.Close()); err != nil {
		t.Errorf("Close twice: %v", err)
	}
	_, err := b.ReadAt(nil, 0)
	expect.Error(t, "ReadAt after Close", err, "", "memory-backend-ram: the backend is closed")
}
