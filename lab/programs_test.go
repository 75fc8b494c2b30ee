package lab

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"nvlab/guest"
)

// packagedVM is a machine, off, whose guest has packages of the archive.
func packagedVM(t testing.TB, x *Experiment, o VMOptions, packages ...string) *VM {
	t.Helper()
	o.Packages = packages
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.lab.image(t.Context(), guest.Spec{Packages: packages})
	if err != nil && guest.Unreachable(err) && os.Getenv("NVLAB_REQUIRE_KERNELS") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// builtins are what every shell does itself, as POSIX lets it.
var builtins = []string{"[", "echo", "false", "kill", "printf", "pwd", "test", "true"}

// TestProgramsArePackages: busybox fills gaps only. Whatever else brings a
// program is what runs, whether a shell starts it or not.
func TestProgramsArePackages(t *testing.T) {
	x := vmExperiment(t)
	v := packagedVM(t, x, VMOptions{}, "coreutils", "util-linux", "mount", "grep", "sed", "gawk", "findutils", "procps", "tar", "gzip")
	mustBoot(t, v)
	links := strings.Fields(mustRun(t, v, "cd /usr/bin && for n in $(busybox --list); do case $(readlink -f $n) in /usr/bin/busybox|/usr/bin/busybox-static) ;; *) echo $n ;; esac; done"))
	for _, want := range []string{"awk", "blkid", "dd", "dmesg", "env", "find", "fsfreeze", "grep", "gzip", "head", "losetup", "ls", "mkswap", "mount", "ps", "sed", "sort", "stat", "tar", "umount", "xargs", "zcat"} {
		if !slices.Contains(links, want) {
			t.Errorf("/usr/bin/%s is busybox, want its package's", want)
		}
	}
	if len(links) < 110 {
		t.Fatalf("packages bring %d of busybox's applets, want 110 or more: %q", len(links), links)
	}
	const events = "/sys/kernel/tracing/events/sched/sched_process_exec/"
	mustRun(t, v, "echo 1 > "+events+"enable")
	var all strings.Builder
	for _, n := range links {
		fmt.Fprintf(&all, "%s --help\nbusybox env %[1]s --help\n", n)
		if _, err := v.Run(t.Context(), Command{Args: []string{n, "--help"}, Timeout: 5 * time.Second}); err != nil {
			t.Fatalf("%s --help: %v", n, err)
		}
	}
	mustRun(t, v, all.String()+"true")
	trace := mustRun(t, v, "cat /sys/kernel/tracing/trace")
	for _, n := range links {
		want := 3
		if slices.Contains(builtins, n) {
			want = 2
		}
		if got := strings.Count(trace, fmt.Sprintf("filename=/usr/bin/%s pid=", n)); got < want {
			t.Errorf("/usr/bin/%s was run %d times by a string, by a list, and by a program of busybox's; want %d", n, got, want)
		}
	}
}

// TestBaseProgramsAreReal: the programs that every guest has are not busybox's
// either.
func TestBaseProgramsAreReal(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	for _, n := range []string{"ndctl", "daxctl", "mke2fs", "mkfs.ext4", "tune2fs", "e2fsck", "mkfs.xfs"} {
		if got := mustRun(t, v, "command -v "+n+"; readlink -f $(command -v "+n+")"); strings.Contains(got, "busybox") || got == "" {
			t.Errorf("%s is %q, want its own package's", n, got)
		}
	}
}

// TestMountFindsTheFileSystem: no -t is needed, and the file system may be a
// module.
func TestMountFindsTheFileSystem(t *testing.T) {
	t.Parallel()
	x := vmExperiment(t)
	b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 512 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	v := pluggedVM(t, x, b, 128<<10)
	mustBoot(t, v)
	mustRun(t, v, "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0 && ndctl create-namespace -m fsdax")
	for _, tt := range []struct{ mkfs, want string }{
		{"mkfs.xfs -q -f -m reflink=0", "type xfs"},
		{"mkfs.ext4 -q -F -b 4096", "type ext4"},
	} {
		mustRun(t, v, tt.mkfs+" /dev/pmem0")
		if got := mustRun(t, v, "mount -o dax /dev/pmem0 /mnt && mount | grep /mnt && umount /mnt"); !strings.Contains(got, tt.want) || !strings.Contains(got, "dax=always") {
			t.Errorf("after %s, mount -o dax gives %q, want %s with dax=always", tt.mkfs, got, tt.want)
		}
	}
}
