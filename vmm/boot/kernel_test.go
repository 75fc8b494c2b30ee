package boot

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDecompress(t *testing.T) {
	want := small()
	for _, c := range []struct {
		name    string
		payload []byte
	}{
		{"gzip", packGzip(t, want)},
		{"zstd", packZstd(t, want)},
		{"lz4", packLZ4(t, want)},
		{"xz with the x86 filter", packed(t, "xz")},
		{"bzip2", packed(t, "bz2")},
	} {
		got, err := Decompress(bzImage(c.payload, len(want)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("Decompress of a %s payload = %d bytes, %v, want the %d packed", c.name, len(got), err, len(want))
		}
	}
}

func TestParse(t *testing.T) {
	k, err := Parse(bzImage(packGzip(t, small()), len(small())))
	if err != nil {
		t.Fatal(err)
	}
	if k.Version != "6.1.0-test (a@b) #1" {
		t.Errorf("version = %q, want %q", k.Version, "6.1.0-test (a@b) #1")
	}
	if k.Entry != 0x100_0000 || k.End() != 0x200_5000 {
		t.Errorf("entry %#x, end %#x, want 0x1000000 and 0x2005000", k.Entry, k.End())
	}
	if k.CmdlineMax != 2047 || k.InitrdMax != 0x7fff_ffff {
		t.Errorf("command line up to %d, initramfs up to %#x, want 2047 and 0x7fffffff", k.CmdlineMax, k.InitrdMax)
	}
}

// TestErrors names what is wrong with each file.
func TestErrors(t *testing.T) {
	edit := func(b []byte, f func([]byte)) []byte {
		b = bytes.Clone(b)
		f(b)
		return b
	}
	good := small()
	image := bzImage(packGzip(t, good), len(good))
	none := "(want a bzImage or an x86-64 ELF vmlinux)"
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"nothing", nil, "not a kernel: an empty file " + none},
		{"text", []byte("#!/bin/sh\necho\n"), `not a kernel: starts with "#!/bin/s" ` + none},
		{"gzip", packGzip(t, good), "not a kernel: a gzip file " + none},
		{"an initramfs", []byte("070701000000"), "not a kernel: a cpio archive " + none},
		{"a package", []byte("!<arch>\ndebian-binary"), "not a kernel: an ar archive or a .deb package " + none},
		{"32-bit ELF", edit(good, func(b []byte) { b[4] = 1 }), "not a kernel: an ELF file that is not 64-bit little-endian " + none},
		{"ELF for ARM", edit(good, func(b []byte) { b[18] = 183 }), "not a kernel: an ELF file for machine 183, not for x86-64 " + none},
		{"a shared library", edit(good, func(b []byte) { b[16] = 3 }), "not a kernel: an ELF file of type 3, not an executable " + none},
		{"a user program", vmlinux(0x40_1000, part{0x40_0000, 0x1000, make([]byte, 0x100)}), "entry point 0x401000 is in no loaded segment's physical range"},
		{"low segment", vmlinux(0x1000, part{0x1000, 0x1000, make([]byte, 16)}), "a segment at physical address 0x1000, not between 1 MiB and 4 GiB"},
		{"ELF cut in its program headers", good[:100], "truncated kernel: program headers at 0x40 of a file of 100 bytes"},
		{"ELF cut in a segment", good[:len(good)-1], "truncated kernel: a segment is bytes 4272 to 4276 of a file of 4275"},
		{"half an ELF header", good[:20], "not a kernel: starts with"},
		{"old protocol", edit(image, func(b []byte) { b[offVersion] = 7; b[offVersion+1] = 2 }), "boot protocol 2.07 is too old"},
		{"cut bzImage", image[:len(image)-1], "truncated bzImage: its payload is bytes 2624 to"},
		{"unknown compression", bzImage([]byte("\x89LZO\x00payload"), 100), `unknown compression: the payload starts with "\x89LZO\x00p"`},
		{"damaged payload", edit(image, func(b []byte) { b[len(b)-20] ^= 0xff }), "gzip payload: "},
		{"payload that is too short", bzImage(packGzip(t, good), len(good)+1), "gzip payload: 4276 bytes, want 4277"},
		{"payload of 3 GiB", bzImage(packGzip(t, good), 3<<30), "gzip payload claims to unpack to 3221225472 bytes, more than 1 GiB"},
		{"payload that is no kernel", bzImage(packGzip(t, []byte("0123456789")), 10), "payload of the bzImage: not a kernel"},
	} {
		_, err := Parse(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error = %v, want one with %q", c.name, err, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, p := range []string{write("vmlinux", small()), write("vmlinuz", bzImage(packZstd(t, small()), len(small())))} {
		k, err := Load(p)
		if err != nil {
			t.Errorf("Load(%s): %v", filepath.Base(p), err)
			continue
		}
		if k.Path != p || k.End() != 0x200_5000 {
			t.Errorf("Load(%s) = path %s, end %#x", filepath.Base(p), k.Path, k.End())
		}
		if err := errors.Join(k.Close(), k.Close()); err != nil {
			t.Errorf("Close of %s: %v", filepath.Base(p), err)
		}
	}
	text := write("note", []byte("hello"))
	for _, c := range []struct{ path, want string }{
		{text, text + `: not a kernel: starts with "hello" (want a bzImage or an x86-64 ELF vmlinux)`},
		{dir, dir + ": not a kernel: a directory (want a bzImage or an x86-64 ELF vmlinux)"},
		{filepath.Join(dir, "none"), "open " + filepath.Join(dir, "none") + ": no such file or directory"},
	} {
		if _, err := Load(c.path); err == nil || err.Error() != c.want {
			t.Errorf("Load error = %v, want %s", err, c.want)
		}
	}
}

// TestRealKernel decompresses the kernel that NVLAB_TEST_KERNEL names.
func TestRealKernel(t *testing.T) {
	path := os.Getenv("NVLAB_TEST_KERNEL")
	if path == "" {
		t.Skip("NVLAB_TEST_KERNEL names no kernel")
	}
	k, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if k.Entry < LowMemory || k.Entry >= k.End() {
		t.Errorf("entry %#x is not between 1 MiB and the kernel's end %#x", k.Entry, k.End())
	}
	t.Logf("%s: version %q, entry %#x, end %#x", path, k.Version, k.Entry, k.End())
}

func FuzzBzImage(f *testing.F) {
	image := bzImage(packGzip(f, small()), len(small()))
	f.Add(image)
	f.Add(bzImage(packLZ4(f, small()), len(small())))
	f.Add(bzImage(packZstd(f, small()), len(small())))
	f.Add(image[:700])
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := Parse(b); err == nil && k.End() < LowMemory {
			t.Errorf("a kernel that ends at %#x", k.End())
		}
	})
}

func FuzzELF(f *testing.F) {
	f.Add(small())
	f.Add(small()[:ehdrSize+phdrSize])
	ram := make([]byte, 64<<20)
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := Parse(append([]byte(elfMagic), b[min(4, len(b)):]...))
		if err != nil {
			return
		}
		k.Place(ram, Params{Top: uint64(len(ram))})
	})
}
