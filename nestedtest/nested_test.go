package nestedtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// scenarios run on the nested KVM as they are.
var scenarios = []string{
	"quickstart.star", "labels.star", "persistence.star", "capabilities.star", "document/hotplug.star",
}

// timeout is for all that level 1 does: minutes where the host is busy.
const timeout = 20 * time.Minute

// step is a command of level 1 that must succeed.
type step struct{ name, command string }

func steps() []step {
	list := []step{
		{"doctor", "/nvlab doctor | grep 'ok  *engine kvm'"},
		{"engine", "/kvm.test -test.v -test.timeout 5m"},
		{"machine", "/vmm.test -test.v -test.timeout 5m -test.run /kvm"},
		{"bytes", "/nvlab run -v --engine=kvm /scenarios/bytes.star"},
	}
	for _, s := range scenarios {
		list = append(list, step{s, "/nvlab run -v --engine=kvm /scenarios/" + s})
	}
	return list
}

// script runs all steps and says how each ended. One processor of level 1
// would have Go's runtime take turns with the guest at every exit.
func script(list []step) string {
	var b strings.Builder
	fmt.Fprintln(&b, "#!/bin/sh\nexport XDG_CACHE_HOME=/cache GOMAXPROCS=4\ncd /")
	for _, m := range kvmModules {
		fmt.Fprintf(&b, "insmod /kvm/%s.ko\n", m)
	}
	for _, s := range list {
		fmt.Fprintf(&b, "echo '== %s'; a=$(cut -d. -f1 /proc/uptime); %s; echo \"== %s: status $?, $(($(cut -d. -f1 /proc/uptime) - a)) s\"\n", s.name, s.command, s.name)
	}
	return b.String()
}

func TestNested(t *testing.T) {
	if os.Getenv("NVLAB_NESTED") != "1" {
		t.Skip("takes minutes: NVLAB_NESTED=1 runs it")
	}
	const program = "qemu-system-x86_64"
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("NVLAB_REQUIRE_QEMU") == "1" {
			t.Fatalf("%s is not there (Debian package qemu-system-x86), and NVLAB_REQUIRE_QEMU=1: %v", program, err)
		}
		t.Skipf("%s is not there: install Debian's qemu-system-x86", program)
	}
	dir, list := programs(t), steps()
	l := newLevel1(t, dir, script(list))

	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	start := time.Now()
	// Level 1 keeps a periodic tick: QEMU 7.2 loses a one-shot timer now and
	// then in the turns between the levels, and an idle kernel waits for ever.
	out, err := exec.CommandContext(ctx, program,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-machine", "q35,accel=tcg", "-cpu", "EPYC,+svm,+npt", "-m", "3G",
		"-kernel", l.image.KernelPath, "-initrd", l.initrd,
		"-append", "console=ttyS0 quiet cryptomgr.notests panic=-1 nohz=off highres=off nvlab.script=/script",
	).CombinedOutput()
	console := strings.ReplaceAll(string(out), "\r", "")
	if err != nil {
		t.Errorf("%s: %v", program, err)
	}
	t.Logf("level 1 took %v", time.Since(start).Round(time.Second))
	for _, s := range list {
		_, rest, ok := strings.Cut(console, "== "+s.name+"\n")
		text, rest, ended := strings.Cut(rest, "== "+s.name+": status ")
		status, _, _ := strings.Cut(rest, "\n")
		switch {
		case !ok || !ended:
			t.Errorf("%s: it did not end:\n%s", s.name, tail(text))
		case !strings.HasPrefix(status, "0,"):
			t.Errorf("%s: status %s:\n%s", s.name, status, tail(text))
		default:
			t.Logf("%s: status %s", s.name, status)
			for _, skipped := range skips.FindAllString(text, -1) {
				t.Logf("%s: %s", s.name, strings.TrimSpace(skipped))
			}
		}
	}
	if t.Failed() && !strings.Contains(console, "== ") {
		t.Logf("console:\n%s", tail(console))
	}
	sameBytes(t, dir, console)
}

// skips are what Go's tests say of those that the host cannot do.
var skips = regexp.MustCompile(`(?m)^.*--- SKIP: .*$`)

// sums are what testdata/bytes.star prints.
var sums = regexp.MustCompile(`(?m)\b(data|all) [0-9a-f]{64}$`)

// sameBytes holds that the software engine leaves the same in a backend.
func sameBytes(t *testing.T, dir, console string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "nvlab"), "run", "-v", "--engine=soft", "testdata/bytes.star")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the software engine: %v\n%s", err, out)
	}
	got, want := sums.FindAllString(console, -1), sums.FindAllString(string(out), -1)
	if len(want) != 2 || !slices.Equal(got, want) {
		t.Errorf("the backend's sums on KVM are %q, in software %q", got, want)
	}
}

func tail(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}
