package backend

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/internal/expect"
)

func TestOffset(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, share := range []bool{true, false} {
		data := append(bytes.Repeat([]byte("h"), 64*kib), make([]byte, mib)...)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		b := openFile(t, FileConfig{Path: path, Size: mib, Offset: 64 * kib, Share: share})
		b.WriteAt([]byte("start"), 0)
		b.WriteAt([]byte("end"), mib-3)
		m := mapped(t, b)
		mem := m.Bytes()
		if string(mem[:5]) != "start" {
			t.Errorf("share=%v: the guest sees %q", share, mem[:5])
		}
		before, err := b.Snapshot(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		copy(mem[8192:], "guest")
		b.Put([]byte("label"), mib-100)
		if got := readBack(t, b, 8192, 5) + readBack(t, b, mib-100, 5) + readBack(t, b, mib-3, 3); got != "guestlabelend" {
			t.Errorf("share=%v: the backend has %q", share, got)
		}
		changes, err := b.Diff(context.Background(), before)
		if err != nil || len(changes) != 2 || changes[0].Offset != 8192 || string(changes[0].After) != "guest" {
			t.Errorf("share=%v: changes %+v, %v", share, changes, err)
		}
		m.Close()
		got, _ := os.ReadFile(path)
		want := "\x00\x00\x00\x00\x00"
		if share {
			want = "guest"
		}
		if string(got[64*kib:64*kib+5]) != "start" || string(got[64*kib+8192:][:5]) != want || len(got) != len(data) || strings.Trim(string(got[:64*kib]), "h") != "" {
			t.Errorf("share=%v: the file has %q at the backend's start, %q at 8192, %d bytes", share, got[64*kib:64*kib+5], got[64*kib+8192:][:5], len(got))
		}
	}
	for _, c := range []struct {
		config FileConfig
		want   string
	}{
		{FileConfig{Offset: 100, Size: mib}, "{dir}/file: offset 0x64 must be a multiple of page size 0x1000: the nearest are 0 and 4KiB"},
		{FileConfig{Offset: 1 << 63, Size: mib}, "{dir}/file: offset 0x8000000000000000 is beyond any file: the largest is 256TiB"},
		{FileConfig{Offset: 128 * kib, Size: mib}, "{dir}/file: backing store size 0x110000 does not match 'size' option 0x100000 plus 'offset' option 0x20000: the file has data and is never extended; give size 960KiB"},
		{FileConfig{Offset: 4 * mib, Size: mib}, "{dir}/file: backing store size 0x110000 does not match 'size' option 0x100000 plus 'offset' option 0x400000: the file has data and is never extended; give another path or offset"},
		{FileConfig{Offset: 4096, Size: mib}, "{dir}/file: backing store size 0x110000 does not match 'size' option 0x100000 plus 'offset' option 0x1000: the file has data and is never truncated; give size 1084KiB, or partial to use a part of it"},
	} {
		c.config.Path = path
		_, err := OpenFile(c.config)
		expect.Error(t, "OpenFile", err, dir, c.want)
	}
	openFile(t, FileConfig{Path: path, Size: mib, Offset: 4096, Partial: true})
	openFile(t, FileConfig{Path: dir + "/new", Size: mib, Offset: 8192})
	if info, err := os.Stat(dir + "/new"); err != nil || info.Size() != mib+8192 {
		t.Errorf("a new file with an offset: %v, %v", info, err)
	}
}

// TestPMem: without DAX below, QEMU warns and goes on; so does this. On a DAX
// file system there is nothing to warn of.
func TestPMem(t *testing.T) {
	dir := t.TempDir()
	b := openFile(t, FileConfig{Path: dir + "/file", Size: mib, Share: true, PMem: true})
	warning := "requesting persistence across crashes for backend file " + dir + "/file failed. Continue without persistence. Data might become corrupted in case of host crash."
	switch b.Durability() {
	case MapSync:
		warning = ""
	case PageCache:
	default:
		t.Errorf("durability %v", b.Durability())
	}
	if b.Warning() != warning {
		t.Errorf("warning %q, want %q", b.Warning(), warning)
	}
	mapped(t, b).Bytes()[0] = 1
	if private := openFile(t, FileConfig{Path: dir + "/private", Size: mib, PMem: true}); private.Durability() != Volatile || private.Warning() == "" {
		t.Errorf("pmem with share=off: %v, warning %q", private.Durability(), private.Warning())
	}
	if plain := openFile(t, FileConfig{Path: dir + "/plain", Size: mib, Share: true}); plain.Durability() != PageCache || plain.Warning() != "" {
		t.Errorf("no pmem: %v, warning %q", plain.Durability(), plain.Warning())
	}
}

func TestDurabilityWords(t *testing.T) {
	for d, want := range map[Durability]string{
		Volatile: "volatile false are lost", PageCache: "page-cache false survive the VM, but not", MapSync: "map-sync true survive a crash", DeviceDAX: "device-dax true survive a crash",
	} {
		if got := d.String() + map[bool]string{true: " true ", false: " false "}[d.Persistent()] + d.Promise(); !strings.HasPrefix(got, want) {
			t.Errorf("durability %d is %q, want %q", d, got, want)
		}
	}
}

// TestOddFile: a file that is not made of whole pages can be used in two ways,
// and every error names both: no size that is named is refused in its turn.
func TestOddFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	const have = 189744
	if err := os.WriteFile(path, make([]byte, have), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, size := range []uint64{have, 184 * kib, 188 * kib} {
		_, err := OpenFile(FileConfig{Path: path, Size: size})
		const want = "the file has 189744 bytes, no multiple of 4 KiB: give size 184KiB and partial to use its whole pages, or make it 188KiB long first"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenFile(size %d of a file of %d bytes): error %v, want %q in it", size, have, err, want)
		}
	}
	b, err := OpenFile(FileConfig{Path: path, Size: 184 * kib, Partial: true})
	if err != nil {
		t.Fatalf("what the error says first: %v", err)
	}
	b.Close()
	if err := os.Truncate(path, 188*kib); err != nil {
		t.Fatal(err)
	}
	if b, err = OpenFile(FileConfig{Path: path, Size: 188 * kib}); err != nil {
		t.Fatalf("what the error says last: %v", err)
	}
	b.Close()
}
