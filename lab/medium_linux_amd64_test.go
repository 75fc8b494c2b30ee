package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nvlab/nvdimm/backend"
	"nvlab/nvdimm/persist"
)

const mediumSize = 8 << 20

// TestLabelWritesReachTheMedium has nvlab itself in a guest, with a backend on
// a file system with DAX and one on a file system without, both on an NVDIMM.
// It writes a label, and when _DSM has returned the power fails.
func TestLabelWritesReachTheMedium(t *testing.T) {
	t.Parallel()
	x := selfExperiment(t)
	v, _ := daxVM(t, x, 128<<20)
	if v.Engine() != "soft" {
		t.Skip("only the software engine sees what has been flushed")
	}
	mustBoot(t, v)
	mustRun(t, v, `set -e
		ndctl disable-region region0; ndctl init-labels -V 1.2 -f nmem0; ndctl enable-region region0
		ndctl create-namespace -m fsdax -r region0 -s 64M
		ndctl create-namespace -m raw -r region0 -s 64M
		mkfs.ext4 -q -b 4096 /dev/pmem0; mkfs.ext4 -q -b 4096 /dev/pmem0.1; sync`)
	mount := "mkdir -p /map-sync /page-cache && mount -o dax=always /dev/pmem0 /map-sync && mount /dev/pmem0.1 /page-cache"
	mustRun(t, v, mount)
	files := []string{"/map-sync/backend", "/page-cache/backend"}
	for _, file := range files {
		inGuest(t, v, "TestOnAFileSystem", "write", file)
	}
	if err := v.PowerCut(persist.KeepNone, false); err != nil {
		t.Fatal(err)
	}
	mustBoot(t, v)
	mustRun(t, v, mount)
	for _, file := range files {
		inGuest(t, v, "TestOnAFileSystem", "read", file)
	}
}

// TestOnAFileSystem is what a guest runs for TestLabelWritesReachTheMedium.
// The backend's folder is named for what it has to guarantee.
func TestOnAFileSystem(t *testing.T) {
	mode, path := innerTest(t)
	b, err := backend.OpenFile(backend.FileConfig{Path: path, Size: mediumSize, Share: true, PMem: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Base(filepath.Dir(path)); b.Durability().String() != want || (b.Warning() != "") != (want == "page-cache") {
		t.Errorf("durability %v, warning %q, want %s", b.Durability(), b.Warning(), want)
	}
	if mode == "read" {
		got := make([]byte, len(daxLabel))
		if _, err := b.ReadAt(got, mediumSize-daxLabelSize); err != nil || string(got) != daxLabel {
			t.Errorf("after a power cut the label area has %q, %v, want %q", got, err, daxLabel)
		}
		return
	}
	writeLabel(t, b) // and leaves it mapped
	if maps, err := os.ReadFile("/proc/self/maps"); err != nil || !strings.Contains(string(maps), path) {
		t.Errorf("%s is not mapped, %v", path, err)
	}
}
