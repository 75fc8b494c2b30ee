package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/nvdimm"
	"nvlab/nvdimm/backend"
)

// TestHugePages has nvlab itself in a guest that has a hugetlbfs.
func TestHugePages(t *testing.T) {
	t.Parallel()
	x := selfExperiment(t)
	v, err := x.VM(VMOptions{})
	if err != nil {
		t.Fatal(err)
	}
	mustBoot(t, v)
	mustRun(t, v, "mkdir /huge && mount -t hugetlbfs none /huge && echo 9 > /proc/sys/vm/nr_hugepages && grep -q 'HugePages_Total: *9$' /proc/meminfo")
	inGuest(t, v, "TestOnHugePages", "write", "/huge/backend")
}

// TestOnHugePages is what the guest runs for it: a backend of 8 MiB on pages
// of 2 MiB, of which there are 9.
func TestOnHugePages(t *testing.T) {
	_, path := innerTest(t)
	const mib = 1 << 20
	for _, c := range []struct {
		config backend.FileConfig
		want   string
	}{
		{backend.FileConfig{Size: 3 * mib}, "backend 'memory-backend-file' memory size must be multiple of 2MiB, the page size of its hugetlbfs: it is 3MiB, the nearest are 2MiB and 4MiB"},
		{backend.FileConfig{Size: 2 * mib, Offset: 4096}, "offset must be multiple of 2MiB, the page size of its hugetlbfs: it is 4KiB, the nearest are 0 and 2MiB"},
	} {
		c.config.Path = path
		if _, err := backend.OpenFile(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a backend on hugetlbfs with %+v: %v, want %q", c.config, err, c.want)
		}
	}
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) > 0 {
		t.Errorf("what was refused left %v, %v", list, err)
	}
	for _, share := range []bool{true, false} {
		b, err := backend.OpenFile(backend.FileConfig{Path: path, Size: 8 * mib, Share: share})
		if err != nil {
			t.Fatal(err)
		}
		if b.Align() != 2*mib {
			t.Errorf("align is %#x, want the page's 2 MiB", b.Align())
		}
		// Across a page, as the host and as a guest; the label is a guest's.
		host, guest := fmt.Sprintf("host, share %v", share), fmt.Sprintf("guest, share %v", share)
		if _, err := b.WriteAt([]byte(host), 2*mib-4); err != nil {
			t.Fatal(err)
		}
		d, err := newRoot(t).Plug(nvdimm.PlugConfig{Backend: b, LabelSize: daxLabelSize})
		if err != nil {
			t.Fatal(err)
		}
		mem, err := d.Map()
		if err != nil {
			t.Fatal(err)
		}
		if d.Size() != 6*mib || d.Addr()%(2*mib) != 0 || string(mem[2*mib-4:][:len(host)]) != host {
			t.Errorf("the guest has %#x bytes at %#x, which hold %q, want 6 MiB with %q", d.Size(), d.Addr(), mem[2*mib-4:][:len(host)], host)
		}
		copy(mem[4*mib-4:], guest)
		if err := d.Unmap(); err != nil {
			t.Fatal(err)
		}
		writeLabel(t, b)                 // and leaves it mapped
		const want = "guest, share true" // that of share=off ended with the power
		got := make([]byte, len(want))
		if _, err := b.ReadAt(got, 4*mib-4); err != nil || string(got) != want {
			t.Errorf("share %v: after power-off the file has %q, %v, want %q", share, got, err, want)
		}
		if _, err := b.SHA256(context.Background(), 0, b.Size()); err != nil {
			t.Error(err)
		}
	}
	// One page is left, and takes no 8 MiB.
	b, err := backend.OpenFile(backend.FileConfig{Path: path + "2", Size: 8 * mib, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := newRoot(t).Plug(nvdimm.PlugConfig{Backend: b})
	if err == nil {
		_, err = d.Map()
	}
	if err == nil || !strings.Contains(err.Error(), "hugetlbfs has less than 4 free pages of 2MiB") {
		t.Errorf("mapping more than there is: %v", err)
	}
}
