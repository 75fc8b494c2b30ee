package releasetest

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"nvlab/guest"
	"nvlab/internal/require"
	"nvlab/lab"
	"nvlab/starlark/run"
	"nvlab/vmm/boot"
)

// releases are those of Debian whose guests the tests boot, and the version
// their kernel has. sid is left out: it changes every day.
var releases = []struct{ name, linux string }{
	{"bullseye", "5.10."}, {"bookworm", "6.1."}, {"trixie", "6.12."}, {"forky", "7."},
}

// TestReleases makes a guest of each release from Debian's archive, whatever
// the host is, and runs the quickstart and the labels' scenario on it.
func TestReleases(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	store, err := guest.Open("")
	if err != nil {
		t.Fatal(err)
	}
	store.Vmlinux = boot.Decompress
	states := t.TempDir()
	for _, r := range releases {
		t.Run(r.name, func(t *testing.T) {
			im, err := store.Ensure(t.Context(), guest.Spec{Release: r.name}, guest.NewProgress(os.Stderr, false))
			if guest.Unreachable(err) {
				require.Missing(t, "KERNELS", "the store has no guest of %s, and its packages cannot be had: %v", r.name, err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if im.Manifest.Debian != r.name || !strings.HasPrefix(im.KernelVersion, r.linux) {
				t.Errorf("the guest of %s is of %q and has Linux %s, want %s*", r.name, im.Manifest.Debian, im.KernelVersion, r.linux)
			}
			x, v := booted(t, r.name)
			defer x.Close()
			checkApplets(t, v, r.name)
			checkKernel(t, x, v, r.name)
			var out bytes.Buffer
			exit := run.Run(t.Context(), run.Options{
				Paths: []string{"../scenarios/quickstart.star", "../scenarios/labels.star"}, Engine: "auto", Release: r.name, Verbose: true, Artifacts: t.ArtifactDir(),
				Reuse: "on", States: states, // the two scenarios boot alike
				Stdout: &out, Stderr: &out, Progress: guest.Quiet,
				Ended: func(_, name string, x *lab.Experiment) {
					for _, v := range x.VMs() {
						if console := v.Console(); !strings.Contains(console, "Linux version "+im.KernelRelease+" ") {
							t.Errorf("%s: the guest does not say that it is %s", name, im.KernelRelease)
						}
					}
				},
			})
			if exit != 0 || strings.Contains(out.String(), "--- SKIP") {
				t.Errorf("quickstart and labels on %s end in status %d:\n%s", r.name, exit, out.Bytes())
			}
		})
	}
}

// booted is a machine with two CPUs that runs a release.
func booted(t *testing.T, release string) (*lab.Experiment, *lab.VM) {
	t.Helper()
	l, err := lab.New(lab.Options{Release: release, Progress: guest.Quiet})
	if err != nil {
		t.Fatal(err)
	}
	x := l.Experiment(t.Name(), t.TempDir())
	v, err := x.VM(lab.VMOptions{CPUs: 2})
	if err == nil {
		err = v.Boot(t.Context(), lab.DefaultTimeout)
	}
	if err != nil {
		x.Close()
		t.Fatal(err)
	}
	return x, v
}

// checkKernel has a CPU go and come back, where the second one starts at all, a
// program say what kernels say, and the kernel panic without a word.
func checkKernel(t *testing.T, x *lab.Experiment, v *lab.VM, release string) {
	t.Helper()
	run := func(command string) error {
		_, err := v.Run(t.Context(), lab.Command{Shell: command, Check: true, Timeout: lab.DefaultTimeout})
		return err
	}
	if err := run("set -e; cd /sys/devices/system/cpu; [ $(cat online) = 0-1 ] || exit 0; for i in 1 2 3; do echo 0 > cpu1/online; echo 1 > cpu1/online; done; " +
		"[ $(taskset -c 1 awk '{ print $39 }' /proc/self/stat) = 1 ]"); err != nil {
		t.Errorf("%s: a CPU that goes and comes back: %v", release, err)
	}
	if err := run("echo 'Oops: 0002 [#1] SMP' > /dev/kmsg; echo 'BUG: x' > /dev/console"); err != nil || x.GuestFault() != nil {
		t.Errorf("%s: text of a program: %v, fault %v; want neither", release, err, x.GuestFault())
	}
	err := run("echo 0 > /proc/sys/kernel/printk; echo c > /proc/sysrq-trigger")
	if lab.ClassOf(err) != lab.ClassGuest || !strings.Contains(err.Error(), "Kernel panic - not syncing: sysrq triggered crash") {
		t.Errorf("%s: a panic without a word is %v, class %v; want the panic, class guest", release, err, lab.ClassOf(err))
	}
}

// checkApplets holds the names that were found in busybox's file to those that
// it says it has, and what the static busybox does to what the dynamic one would.
func checkApplets(t *testing.T, v *lab.VM, release string) {
	t.Helper()
	r, err := v.Run(t.Context(), lab.Command{Shell: `for a in $(busybox --list); do [ -e /usr/bin/$a ] || echo lacks $a; done; busybox --list | wc -l`, Timeout: lab.DefaultTimeout, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscan(string(r.Stdout), &n); err != nil || n < 200 {
		t.Errorf("busybox of %s has %d applets, want some 270 and a name for each: %s", release, n, r.Stdout)
	}
	r, err = v.Run(t.Context(), lab.Command{Shell: `n=0; for a in $(busybox --list); do if [ /usr/bin/$a -ef /usr/bin/busybox-static ]; then
		[ "$(busybox $a --help 2>&1)" = "$(busybox-static $a --help 2>&1)" ] || echo $a has other options; n=$((n+1)); fi; done; echo $n`, Timeout: lab.DefaultTimeout, Check: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(r.Stdout), &n); err != nil || n < 100 {
		t.Errorf("in %s's guest %d applets are the static busybox's, want 100 or more that have the dynamic one's options: %s", release, n, r.Stdout)
	}
}

// TestKernelsPage holds docs/kernels.md to the scenario that it speaks of.
func TestKernelsPage(t *testing.T) {
	page, err := os.ReadFile("../docs/kernels.md")
	if err != nil {
		t.Fatal(err)
	}
	scenario, err := os.ReadFile("../scenarios/kernels.star")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| (\w+) \| ([\d.]+) \| (\d+) \|`).FindAllSubmatch(page, -1)
	if len(rows) != len(releases) {
		t.Fatalf("docs/kernels.md has rows of %d releases, want %d", len(rows), len(releases))
	}
	for i, row := range rows {
		name, linux, ndctl := string(row[1]), string(row[2]), string(row[3])
		if name != releases[i].name || !strings.HasPrefix(linux+".", releases[i].linux) {
			t.Errorf("docs/kernels.md says that %s has Linux %s, want %s with %s", name, linux, releases[i].name, releases[i].linux)
		}
		if !strings.Contains(string(scenario), fmt.Sprintf("%q: %q", name, ndctl)) {
			t.Errorf("docs/kernels.md says that %s has ndctl %s, which kernels.star does not find", name, ndctl)
		}
	}
}
