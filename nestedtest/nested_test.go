package nestedtest

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"nvlab/internal/require"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// full asks for all steps, those that take long as well.
const full = "full"

// only picks steps, for those who work on one.
var only = flag.String("steps", "", "run only the steps whose name matches `RE`")

// timeout is for all that level 1 does: a third of it on a host with nothing
// else to do.
func timeout() time.Duration {
	if os.Getenv("NVLAB_NESTED") == full {
		return 80 * time.Minute
	}
	return 25 * time.Minute
}

// step is a command of level 1 that must succeed.
type step struct{ name, command string }

// scenarios run on the nested KVM as they are; the rest of them in a full run.
var scenarios = []string{
	"quickstart.star", "labels.star", "persistence.star", "capabilities.star", "smp.star", "document/hotplug.star", "machine/slots.star", "machine/e820.star",
}

func steps(t *testing.T) []step {
	t.Helper()
	list := []step{
		{"doctor", "/nvlab doctor | grep 'ok  *engine kvm'"},
		{"engine", "/kvm.test -test.v -test.timeout 5m -test.skip ProbeIsQuick"}, // its time is of hardware
		{"machine", "/vmm.test -test.v -test.timeout 5m -test.run /kvm"},
		{"lab", lab + "-test.run 'CommandsEnd|PanicIs|GuestMay|Truncated'"},
		{"leaks", "NVLAB_BOOTS=3,30 " + lab + "-test.run NothingIsLeft"},
		{"exits", "/kvm.test -test.run '^$' -test.bench . -test.benchtime 100x"},
		{"bandwidth", lab + "-test.run '^$' -test.bench Bandwidth/kvm -test.benchtime 1x"},
		{"quickstart timed", lab + "-test.run '^$' -test.bench Quickstart/kvm -test.benchtime 1x"},
		{"bytes", run + "/scenarios/bytes.star"},
		{"snapshots", run + "/scenarios/snapshots.star"},
	}
	names := slices.Clone(scenarios)
	if os.Getenv("NVLAB_NESTED") == full {
		for _, dir := range []string{"document", "beyond", "machine"} {
			files, err := filepath.Glob("../scenarios/" + dir + "/*.star")
			if err != nil || len(files) == 0 {
				t.Fatalf("scenarios/%s: %d files, %v", dir, len(files), err)
			}
			for _, f := range files {
				if name := path.Join(dir, filepath.Base(f)); !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	for _, name := range names {
		list = append(list, step{name, run + "/scenarios/" + name})
	}
	if *only == "" {
		return list
	}
	re, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(s step) bool { return !re.MatchString(s.name) })
}

// lab runs tests of package lab.
const lab = "NVLAB_ENGINE=kvm NVLAB_CMDLINE=loglevel=5 /lab.test -test.v -test.timeout 10m "

// run is a run of scenarios. A byte on level 2's console takes two exits, each
// a flush of what QEMU has translated, so its kernel tells warnings only.
const run = "/nvlab run -v -parallel 1 --engine=kvm --cmdline loglevel=5 "

// script runs all steps and says how each ended. Level 2's memory and its
// backends lie in large pages: each page is a fault of the nested tables, and
// small ones are most of a boot. Were there one thread for Go, it would take
// turns with the guest at every exit.
func script(list []step) string {
	var b strings.Builder
	fmt.Fprintln(&b, "#!/bin/sh\nexport XDG_CACHE_HOME=/cache GOMAXPROCS=4\ncd /")
	for _, m := range kvmModules {
		fmt.Fprintf(&b, "insmod /kvm/%s.ko\n", m)
	}
	fmt.Fprintln(&b, "echo always > /sys/kernel/mm/transparent_hugepage/shmem_enabled\nmount -t tmpfs -o huge=always tmpfs /tmp")
	for _, s := range list {
		fmt.Fprintf(&b, "echo '== %s'; a=$(cut -d. -f1 /proc/uptime); %s; echo \"== %s: status $?, $(($(cut -d. -f1 /proc/uptime) - a)) s\"\n", s.name, s.command, s.name)
	}
	return b.String()
}

func TestNested(t *testing.T) {
	if how := os.Getenv("NVLAB_NESTED"); how != "1" && how != full {
		t.Skip("takes minutes: NVLAB_NESTED=1 runs it, NVLAB_NESTED=full all of it")
	}
	const program = "qemu-system-x86_64"
	if _, err := exec.LookPath(program); err != nil {
		require.Missing(t, "QEMU", "%s is not there (Debian package qemu-system-x86): %v", program, err)
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("nvlab's engines are for x86-64")
	}
	dir, list := programs(t), steps(t)
	l := newLevel1(t, dir, script(list))

	ctx, cancel := context.WithTimeout(context.Background(), timeout())
	defer cancel()
	start := time.Now()
	// Level 1 keeps a periodic tick. Without it, it was seen to stand still now
	// and then, idle, with a timer of its own overdue: as if QEMU 7.2 lost a
	// one-shot timer in a turn between the levels. That is what it looks like,
	// not what was shown; the tick ends it.
	cmd := exec.CommandContext(ctx, program,
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-machine", "q35,accel=tcg", "-cpu", "EPYC,+svm,+npt", "-m", "3G",
		"-kernel", l.image.KernelPath, "-initrd", l.initrd,
		"-append", fmt.Sprintf("console=ttyS0 quiet cryptomgr.notests panic=-1 nohz=off highres=off tsc=reliable tsc_early_khz=%d nvlab.script=/script", tscKHz()),
	)
	out := &follower{t: t}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	console := strings.ReplaceAll(out.all.String(), "\r", "")
	if err != nil {
		t.Errorf("%s: %v", program, err)
	}
	took := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	t.Logf("level 1 took %v, and %v of processor time", time.Since(start).Round(time.Second), took.Round(time.Second))
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
			for _, line := range told.FindAllString(text, -1) {
				t.Logf("%s: %s", s.name, strings.TrimSpace(line))
			}
		}
	}
	if t.Failed() && !strings.Contains(console, "== ") {
		t.Logf("console:\n%s", tail(console))
	}
	if strings.Contains(console, "== bytes\n") {
		sameBytes(t, dir, console)
	}
}

// A follower keeps level 1's console, and tells which step it is at.
type follower struct {
	t    *testing.T
	all  bytes.Buffer
	told int // bytes of all
}

func (f *follower) Write(b []byte) (int, error) {
	f.all.Write(b)
	for {
		line, _, whole := bytes.Cut(f.all.Bytes()[f.told:], []byte("\n"))
		if !whole {
			return len(b), nil
		}
		f.told += len(line) + 1
		if bytes.HasPrefix(line, []byte("== ")) {
			f.t.Logf("%s", bytes.TrimSpace(line))
		}
	}
}

// told are lines of Go's tests that are worth telling: what the host cannot
// do, and measurements.
var told = regexp.MustCompile(`(?m)^.*(--- SKIP: |Benchmark.* \d.*/op|machines on the engine).*$`)

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

// tail is the end of a step: of one that tells which tests failed, theirs.
func tail(s string) string {
	const most = 60
	var failed []string
	for i, test := range strings.Split(s, "=== RUN ") {
		if i > 0 && strings.Contains(test, "--- FAIL: ") {
			failed = append(failed, strings.Split(test, "\n")...)
		}
	}
	if failed != nil {
		return strings.Join(failed[:min(len(failed), most)], "\n")
	}
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}
