package nvdimm

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	data := bytes.Repeat([]byte("data"), mib/4)
	if err := os.WriteFile(path, data, 0o444); err != nil {
		t.Fatal(err)
	}
	_, err := OpenFile(FileConfig{Path: dir + "/absent", Size: mib, ReadOnly: true})
	sentence(t, "OpenFile of an absent file", err, dir, "stat {dir}/absent: no such file or directory")
	if _, err := os.Stat(dir + "/absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("readonly created a file")
	}
	os.WriteFile(dir+"/empty", nil, 0o644)
	_, err = OpenFile(FileConfig{Path: dir + "/empty", Size: mib, ReadOnly: true})
	sentence(t, "OpenFile of an empty file", err, dir, "{dir}/empty: backing store size 0x0 does not match 'size' option 0x100000: an empty file cannot be opened read-only; give another path")

	// All four combinations with unarmed (QEMU once had the error inverted).
	for _, share := range []bool{true, false} {
		for _, c := range []struct {
			readOnly, unarmed, ok bool
		}{{false, false, true}, {false, true, true}, {true, true, true}, {true, false, false}} {
			b := openFile(t, FileConfig{Path: path, Size: mib, Share: share, ReadOnly: c.readOnly})
			r := newRoot(t, Config{})
			d, err := r.Plug(PlugConfig{Backend: b, LabelSize: 128 * kib, Unarmed: c.unarmed})
			if !c.ok {
				sentence(t, "Plug of a read-only backend", err, dir, "'unarmed' property must be 'on' since memdev {dir}/file is read-only: give unarmed=True")
				continue
			}
			if err != nil {
				t.Errorf("readonly=%v, unarmed=%v: %v", c.readOnly, c.unarmed, err)
				continue
			}
			if !c.readOnly {
				continue
			}
			mem := mapped(t, d)
			if string(mem[:4]) != "data" {
				t.Errorf("share=%v: the guest sees %q", share, mem[:4])
			}
			g := newGuest(t, r)
			if code, got := g.send(t, 1, 1, FuncGetLabel, words(0, 4)); code != 0 || string(got) != "data" {
				t.Errorf("share=%v: reading a label = %d, %q", share, code, got)
			}
			if code, _ := g.send(t, 1, 1, FuncSetLabel, words(0, 4, 1)); code != statusNotSupported {
				t.Errorf("share=%v: writing a label = %d, want %d", share, code, statusNotSupported)
			}
			d.Unmap()
			_, err = b.WriteAt([]byte("x"), 0)
			sentence(t, "WriteAt", err, dir, "{dir}/file: the backend is read-only")
		}
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Errorf("the file changed")
	}
}

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
		d := plugged(t, b, 128*kib)
		mem := mapped(t, d)
		if string(mem[:5]) != "start" {
			t.Errorf("share=%v: the guest sees %q", share, mem[:5])
		}
		before, err := b.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		copy(mem[8192:], "guest")
		b.put([]byte("label"), mib-100)
		if got := readBack(t, b, 8192, 5) + readBack(t, b, mib-100, 5) + readBack(t, b, mib-3, 3); got != "guestlabelend" {
			t.Errorf("share=%v: the backend has %q", share, got)
		}
		changes, err := b.Diff(before)
		if err != nil || len(changes) != 2 || changes[0].Offset != 8192 || string(changes[0].After) != "guest" {
			t.Errorf("share=%v: changes %+v, %v", share, changes, err)
		}
		d.Unmap()
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
		sentence(t, "OpenFile", err, dir, c.want)
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
	mapped(t, plugged(t, b, 0))[0] = 1
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
