package nvdimm

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"nvlab/internal/expect"
	"nvlab/nvdimm/backend"
)

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	data := bytes.Repeat([]byte("data"), mib/4)
	if err := os.WriteFile(path, data, 0o444); err != nil {
		t.Fatal(err)
	}
	_, err := backend.OpenFile(backend.FileConfig{Path: dir + "/absent", Size: mib, ReadOnly: true})
	expect.Error(t, "backend.OpenFile of an absent file", err, dir, "stat {dir}/absent: no such file or directory")
	if _, err := os.Stat(dir + "/absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("readonly created a file")
	}
	os.WriteFile(dir+"/empty", nil, 0o644)
	_, err = backend.OpenFile(backend.FileConfig{Path: dir + "/empty", Size: mib, ReadOnly: true})
	expect.Error(t, "backend.OpenFile of an empty file", err, dir, "{dir}/empty: backing store size 0x0 does not match 'size' option 0x100000: an empty file cannot be opened read-only; give another path")

	// All four combinations with unarmed (QEMU once had the error inverted).
	for _, share := range []bool{true, false} {
		for _, c := range []struct {
			readOnly, unarmed, ok bool
		}{{false, false, true}, {false, true, true}, {true, true, true}, {true, false, false}} {
			b := openFile(t, backend.FileConfig{Path: path, Size: mib, Share: share, ReadOnly: c.readOnly})
			r := newRoot(t, Config{})
			d, err := r.Plug(PlugConfig{Backend: b, LabelSize: 128 * kib, Unarmed: c.unarmed})
			if !c.ok {
				expect.Error(t, "Plug of a read-only backend", err, dir, "'unarmed' property must be 'on' since memdev {dir}/file is read-only")
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
			expect.Error(t, "WriteAt", err, dir, "{dir}/file: the backend is read-only")
		}
	}
	if got, _ := os.ReadFile(path); !bytes.Equal(got, data) {
		t.Errorf("the file changed")
	}
}
