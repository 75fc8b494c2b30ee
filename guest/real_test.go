package guest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The real default guest, in the user's own store: it is built here if nothing
// built it before.
func TestRealGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a guest from Debian's packages")
	}
	s := open(t, "")
	im, err := s.Ensure(context.Background(), Spec{}, NewProgress(os.Stderr, false))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	ensure(t, s, Spec{})
	if took := time.Since(begin); took > 100*time.Millisecond {
		t.Errorf("the second Ensure took %v, want milliseconds", took)
	}
	got := paths(t, im.BaseInitrd)
	for _, want := range []string{"usr/bin/ndctl", "usr/bin/daxctl", "usr/bin/busybox", "usr/bin/sh", "usr/bin/mke2fs", "usr/bin/mkfs.ext4", "etc/mke2fs.conf", "etc/nvlab/modules"} {
		if _, ok := got[want]; !ok {
			t.Errorf("guest %s lacks %s", im.Name, want)
		}
	}
	list := " " + strings.Join(im.Manifest.Modules, " ") + " "
	for _, want := range []string{"virtio_mmio", "virtio_console", "libnvdimm", "nfit", "nd_pmem", "nd_btt", "dax_pmem"} {
		if !strings.Contains(list, " "+want+" ") {
			t.Errorf("guest %s lacks module %s", im.Name, want)
		}
	}
	const most = 24 << 20
	if im.Manifest.Initrd.Size > most {
		t.Errorf("the file tree of %s has %d bytes, want at most %d: every boot copies it", im.Name, im.Manifest.Initrd.Size, most)
	}
	t.Logf("%s (Linux %s): %d files, %d bytes", im.Name, im.KernelVersion, im.Manifest.Files, im.Manifest.Initrd.Size)
}

// The agent is static whatever the C compiler, so it keeps out of net and
// os/user.
func TestAgentIsStatic(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command on this host")
	}
	cmd := exec.Command(tool, "list", "-deps", "-f", "{{if .CgoFiles}}{{.ImportPath}}{{end}}", "nvlab/cmd/nvlab-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if list := strings.Fields(string(out)); len(list) > 0 {
		t.Errorf("the agent imports packages that use cgo: %q, want none", list)
	}
}
