package backend

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nvlab/internal/expect"
	"nvlab/nvdimm/label"
)

func snapshot(t testing.TB, b *Backend) *Snapshot {
	t.Helper()
	s, err := b.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// brief is a change in a line.
type brief struct {
	offset, length uint64
	what           string
}

func diff(t testing.TB, b *Backend, s *Snapshot) (list []brief) {
	t.Helper()
	changes, err := b.Diff(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if uint64(len(c.Before)) != c.Length || uint64(len(c.After)) != c.Length || bytes.Equal(c.Before, c.After) {
			t.Errorf("change at %#x of %d bytes has %d bytes before, %d after", c.Offset, c.Length, len(c.Before), len(c.After))
		}
		list = append(list, brief{c.Offset, c.Length, c.What})
	}
	return list
}

func TestDiff(t *testing.T) {
	for _, c := range []struct {
		name string
		open func() (*Backend, error)
	}{
		{"share=on", func() (*Backend, error) {
			return OpenFile(FileConfig{Path: filepath.Join(t.TempDir(), "f"), Size: 8 * mib, Share: true})
		}},
		{"share=off", func() (*Backend, error) {
			return OpenFile(FileConfig{Path: filepath.Join(t.TempDir(), "f"), Size: 8 * mib})
		}},
		{"RAM", func() (*Backend, error) { return NewRAM(RAMConfig{Size: 8 * mib, Align: 4096}) }},
	} {
		b, err := c.open()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		b.WriteAt(bytes.Repeat([]byte("old"), 4000), 2*mib)
		b.SetLabelSize(128 * kib)
		m := mapped(t, b)
		mem := m.Bytes()
		before := snapshot(t, b)
		if got := diff(t, b, before); got != nil {
			t.Errorf("%s: diff of nothing = %v", c.name, got)
		}
		mem[0] = 1
		copy(mem[100:], "abcd")
		copy(mem[108:], "e")                                 // 4 equal bytes between
		copy(mem[117:], "f")                                 // 8 equal bytes between
		copy(mem[1*mib-2:], "over")                          // two pages, and two pieces of reading
		copy(mem[2*mib:], bytes.Repeat([]byte{0}, 12000))    // pages that were data
		copy(mem[6*mib:], bytes.Repeat([]byte("z"), 3*4096)) // pages that were a hole
		want := []brief{{0, 1, "data"}, {100, 9, "data"}, {117, 1, "data"}, {mib - 2, 4, "data"}, {2 * mib, 12000, "data"}, {6 * mib, 3 * 4096, "data"}}
		if got := diff(t, b, before); !slices.Equal(got, want) {
			t.Errorf("%s: diff = %v, want %v", c.name, got, want)
		}
		changes, _ := b.Diff(context.Background(), before)
		if got := string(changes[4].Before[:6]) + string(changes[3].After); got != "oldoldover" {
			t.Errorf("%s: contents of changes = %q", c.name, got)
		}
		m.Close()
		want = nil
		if b.Share() {
			want = diff(t, b, before)
		} else if c.name == "RAM" {
			want = []brief{{2 * mib, 12000, "data"}} // what the host wrote went with the power
		}
		if got := diff(t, b, before); !slices.Equal(got, want) {
			t.Errorf("%s: diff after power-off = %v, want %v", c.name, got, want)
		}
	}
}

// TestDiffNames names structures before and after the change.
func TestDiffNames(t *testing.T) {
	b := newRAM(t, 64*mib)
	b.SetLabelSize(128 * kib)
	labels := int64(64*mib - 128*kib)
	write := func(p []byte, off int64) {
		t.Helper()
		if _, err := b.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
	area := make([]byte, 128*kib)
	update := func(f func()) {
		t.Helper()
		b.ReadAt(area, labels)
		f()
		write(area, labels)
	}
	names := func(before *Snapshot) (list []string) {
		for _, c := range diff(t, b, before) {
			if len(list) == 0 || list[len(list)-1] != c.what {
				list = append(list, c.what)
			}
		}
		return list
	}
	check := func(what string, before *Snapshot, want ...string) {
		t.Helper()
		if got := names(before); !slices.Equal(got, want) {
			t.Errorf("%s changes %v, want %v", what, got, want)
		}
	}

	empty := snapshot(t, b)
	update(func() { label.Init(area, label.V12) })
	check("init-labels", empty, "index[0]", "index[1]")

	fresh := snapshot(t, b)
	update(func() { label.Add(area, label.Label{DPA: 16 * mib, RawSize: 16 * mib}) })
	check("a new namespace", fresh, "index[1]", "label[0]")

	// An fsdax namespace in it, in the terms of its info block.
	info := make([]byte, 4096)
	copy(info, "NVDIMM_PFN_INFO")
	binary.LittleEndian.PutUint64(info[56:], 2*mib)
	binary.LittleEndian.PutUint64(info[4088:], label.Fletcher64(info))
	raw := snapshot(t, b)
	write(info, 16*mib+4096)
	write([]byte("page structures"), 16*mib+8192)
	write([]byte("file system"), 18*mib)
	write([]byte("elsewhere"), 40*mib)
	check("fsdax", raw, "pfn.info", "pfn.pages", "data")

	full := snapshot(t, b)
	write(make([]byte, 8192), 16*mib+4096)
	check("zeroing the info block", full, "pfn.info", "pfn.pages")

	before := snapshot(t, b)
	update(func() { area[len(area)-1] = 1; label.Remove(area, 0) })
	check("removal", before, "index[0]", "label[509]")
	if got := b.What(uint64(labels) + 0x300); got != "label[1]" {
		t.Errorf("What of the second label = %s", got)
	}
	if got := b.What(5); got != "data" {
		t.Errorf("What(5) = %s", got)
	}
}

// TestDiffNoLabels: without labels, Linux makes one namespace of the DIMM.
func TestDiffNoLabels(t *testing.T) {
	b := newRAM(t, 4*mib)
	before := snapshot(t, b)
	info := make([]byte, 4096)
	copy(info, "BTT_ARENA_INFO")
	le := binary.LittleEndian
	le.PutUint64(info[96:], 2*mib)
	le.PutUint64(info[104:], 2*mib+8192)
	le.PutUint64(info[112:], 2*mib+12288)
	le.PutUint64(info[4088:], label.Fletcher64(info))
	b.WriteAt(info, 4096)
	b.WriteAt([]byte("1"), 4096+2*mib)
	b.WriteAt([]byte("1"), 4096+2*mib+8192)
	var names []string
	for _, c := range diff(t, b, before) {
		names = append(names, c.what)
	}
	if got := slices.Compact(names); !slices.Equal(got, []string{"btt.info", "btt.map", "btt.log"}) {
		t.Errorf("changes of %v", got)
	}
}

func TestDiffOther(t *testing.T) {
	small, large := newRAM(t, mib), newRAM(t, 2*mib)
	_, err := large.Diff(context.Background(), snapshot(t, small))
	expect.Error(t, "Diff with a snapshot of another backend", err, "", "memory-backend-ram: the snapshot has 0x100000 bytes, the backend 0x200000: it is of another one")
}

// TestSparse: reading, hashing aside, of a large backend with little in it
// costs neither time nor memory, mapped or not.
func TestSparse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, share := range []bool{false, true} {
		b := openFile(t, FileConfig{Path: path, Size: 16 * gib, Share: share})
		b.SetLabelSize(128 * kib)
		mem := mapped(t, b).Bytes()
		start := time.Now()
		before := snapshot(t, b)
		copy(mem[9*gib:], strings.Repeat("x", 100))
		got := diff(t, b, before)
		if want := []brief{{9 * gib, 100, "data"}}; !slices.Equal(got, want) {
			t.Errorf("share %v: diff = %v, want %v", share, got, want)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("share %v: snapshot and diff of 16 GiB of nothing took %v", share, took)
		}
		if len(before.pages) > 0 {
			t.Errorf("share %v: the snapshot holds %d pages", share, len(before.pages))
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if blocks := info.Sys().(*syscall.Stat_t).Blocks; blocks > 1024 {
			t.Errorf("share %v: the file takes %d blocks of 512 bytes", share, blocks)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	backend, err := NewRAM(RAMConfig{Size: 256 * mib})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	backend.WriteAt(bytes.Repeat([]byte("data"), 16*mib), 64*mib)
	b.SetBytes(64 * mib)
	for b.Loop() {
		s, err := backend.Snapshot(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := backend.Diff(context.Background(), s); err != nil {
			b.Fatal(err)
		}
	}
}
