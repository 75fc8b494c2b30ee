package lab

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// makeNamespace is what a user of labels does first.
const makeNamespace = "ndctl disable-region region0 && ndctl init-labels -f nmem0 && ndctl enable-region region0 && " +
	"ndctl create-namespace -m raw -r region0 -s 16M && dd if=/dev/urandom of=/dev/pmem0 bs=4096 count=4 oflag=direct"

// TestCommandsEndAsTheyShould runs commands on one machine.
func TestCommandsEndAsTheyShould(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	ctx := t.Context()

	r, err := v.Run(ctx, Command{Shell: "cat; echo err >&2; exit 3", Stdin: []byte("in"), Timeout: DefaultTimeout})
	if err != nil || r.ExitCode != 3 || string(r.Stdout) != "in" || string(r.Stderr) != "err\n" || !r.Ended {
		t.Errorf("Run(exit 3) = %+v, %v", r, err)
	}
	r, err = v.Run(ctx, Command{Args: []string{"sh", "-c", "kill -SEGV $$"}, Timeout: DefaultTimeout})
	if err != nil || r.Signal != "SIGSEGV" {
		t.Errorf("Run(kill -SEGV) = %+v, %v", r, err)
	}
	_, err = v.Run(ctx, Command{Shell: "echo out; false", Timeout: DefaultTimeout, Check: true})
	var bad *CommandError
	if !errors.As(err, &bad) || ClassOf(err) != ClassScenario {
		t.Errorf("Run(false) with check = %v, want a CommandError of class scenario", err)
	}
	if err := v.WriteFile(ctx, "/tmp/a b", []byte("x\x00y")); err != nil {
		t.Errorf("WriteFile() = %v", err)
	}
	if data, err := v.ReadFile(ctx, "/tmp/a b"); err != nil || string(data) != "x\x00y" {
		t.Errorf("ReadFile() = %q, %v", data, err)
	}
	if _, err := v.ReadFile(ctx, "/nowhere"); err == nil || !strings.Contains(err.Error(), "no such file") || ClassOf(err) != ClassScenario {
		t.Errorf("ReadFile(/nowhere) = %v, want no such file", err)
	}

	before := v.Clock()
	if err := v.Wait(ctx, 250*time.Millisecond); err != nil {
		t.Errorf("Wait() = %v", err)
	}
	if d := v.Clock() - before; d < 250*time.Millisecond || v.Engine() == "soft" && d != 250*time.Millisecond {
		t.Errorf("Wait(250ms) took %v of guest time", d)
	}

	_, err = v.Run(ctx, Command{Shell: "while :; do :; done", Timeout: oneTenth, Check: true})
	if ClassOf(err) != ClassGuest || !strings.Contains(err.Error(), "no end within 100ms") {
		t.Errorf("a command that hangs = %v, class %v; want class guest", err, ClassOf(err))
	}
	if got := mustRun(t, v, "echo still here"); got != "still here\n" {
		t.Errorf("after a command that hung the guest says %q", got)
	}
	if date := mustRun(t, v, "date +%Y-%m-%d"); date != Epoch.Format(time.DateOnly)+"\n" {
		t.Errorf("the guest's date is %q, want %s", date, Epoch.Format(time.DateOnly))
	}
}

// TestInitIsNotKilled sends pid 1 every signal but those that switch a guest
// off, and children must not inherit that it ignores them.
func TestInitIsNotKilled(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	mustRun(t, v, "for s in $(seq 64); do case $s in 10|12|15) ;; *) kill -$s 1;; esac; done; sleep 1")
	r, err := v.Run(t.Context(), Command{Args: []string{"grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"}, Timeout: DefaultTimeout})
	if want := "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"; err != nil || string(r.Stdout) != want {
		t.Errorf("a child blocks and ignores %q, %v; want %q", r.Stdout, err, want)
	}
	if err := x.GuestFault(); err != nil {
		t.Error(err)
	}
}

const oneTenth = 100 * time.Millisecond

func TestPanicIsTheGuests(t *testing.T) {
	for _, oops := range []string{"fail", "allow"} {
		x := vmExperiment(t)
		v, _ := labelledVM(t, x)
		v.opts.AllowOops = oops == "allow"
		mustBoot(t, v)
		r, err := v.Run(t.Context(), Command{Shell: "echo c > /proc/sysrq-trigger", Timeout: DefaultTimeout})
		if v.State() != Crashed {
			t.Errorf("oops=%s: after a panic the state is %q, want %q", oops, v.State(), Crashed)
		}
		fault := x.GuestFault()
		if oops == "allow" {
			if err != nil || r.Ended || fault != nil {
				t.Errorf("oops=allow: a panic gives %+v, %v, fault %v; want a result without an end", r, err, fault)
			}
			if err := v.Kill(); err != nil {
				t.Error(err)
			}
			mustBoot(t, v)
			continue
		}
		if ClassOf(err) != ClassGuest || !strings.Contains(err.Error(), "sysrq triggered crash") || fault == nil {
			t.Errorf("oops=fail: a panic gives %v, class %v, fault %v; want class guest", err, ClassOf(err), fault)
		}
	}
}

// TestGuestMayLeave has the guest power off and reset its machine by itself.
func TestGuestMayLeave(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	leave := func(command string, check bool) (*Result, error) {
		return v.Run(t.Context(), Command{Shell: command, Timeout: DefaultTimeout, Check: check})
	}
	if r, err := leave("echo so far > /tmp/before; sync; reboot -f; sleep 9", false); err != nil || r.Ended || v.State() != Running {
		t.Errorf("reboot -f = %+v, %v, state %q; want no end, no error, running", r, err, v.State())
	}
	if got := mustRun(t, v, "test ! -e /tmp/before && cut -d. -f1 /proc/uptime"); got != "0\n" && v.Engine() == "soft" {
		t.Errorf("after a reset the guest is up for %q, want 0 seconds", got)
	}
	if r, err := leave("poweroff -f; sleep 9", false); err != nil || r.Ended || v.State() != Off {
		t.Errorf("poweroff -f = %+v, %v, state %q; want no end, no error, off", r, err, v.State())
	}
	mustBoot(t, v)
	if _, err := leave("poweroff -f; sleep 9", true); err == nil || ClassOf(err) != ClassScenario || !strings.Contains(err.Error(), "power-off") {
		t.Errorf("poweroff -f with check = %v, want an error of class scenario", err)
	}
}

// TestTruncatedBackendStopsTheVM takes the file away under a running guest.
func TestTruncatedBackendStopsTheVM(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	if err := os.Truncate(filepath.Join(x.Dir(), "pmem0.img"), 4096); err != nil {
		t.Fatal(err)
	}
	_, err := v.Run(t.Context(), Command{Shell: "dd if=/dev/pmem0 of=/dev/null bs=1M", Timeout: DefaultTimeout})
	if ClassOf(err) != ClassHost || !strings.Contains(err.Error(), "truncated") {
		t.Errorf("reading from a truncated backend = %v, class %v; want class infrastructure", err, ClassOf(err))
	}
	if v.State() != Crashed {
		t.Errorf("the state is %q, want %q", v.State(), Crashed)
	}
	other, _ := labelledVM(t, vmExperiment(t))
	mustBoot(t, other)
	if got := mustRun(t, other, "head -c 4096 /dev/pmem0 | wc -c"); got != "4096\n" {
		t.Errorf("another machine reads %q bytes of its NVDIMM, want 4096", got)
	}
}

// TestNoGuestBootsFromRubbish gives what is no kernel, and a machine too small
// for its initramfs.
func TestNoGuestBootsFromRubbish(t *testing.T) {
	x := vmExperiment(t)
	path := filepath.Join(x.Dir(), "rubbish")
	if err := os.WriteFile(path, []byte(strings.Repeat("no kernel", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*VMOptions)
		want   string
	}{
		{"rubbish", func(o *VMOptions) { o.Kernel = path }, "rubbish"},
		{"no such guest", func(o *VMOptions) { o.Kernel = "linux-image-9.9.9-none" }, "linux-image-9.9.9-none"},
		{"too small", func(o *VMOptions) { o.Memory = 64 << 20 }, "initramfs"},
	}
	for _, test := range tests {
		var o VMOptions
		test.change(&o)
		v, err := x.VM(o)
		if err != nil {
			t.Fatal(err)
		}
		err = v.Boot(t.Context(), DefaultTimeout)
		if err == nil || ClassOf(err) == ClassBug || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: Boot() = %v (class %v), want one line with %q", test.name, err, ClassOf(err), test.want)
		}
		if v.State() != Off {
			t.Errorf("%s: the state is %q, want off", test.name, v.State())
		}
	}
}

// noisy are lines that a healthy guest does not print.
var noisy = regexp.MustCompile(`(?i)ACPI[^:]* (error|warning|exception)|(bios|firmware) (bug|error)|(nfit|nd_|nvdimm|pmem).*(error|warn|unknown|fail|invalid)|unstable|stall|lockup|\bWARNING:`)

// TestDmesgIsClean looks at the log of a guest that used its DIMM.
func TestDmesgIsClean(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	mustRun(t, v, makeNamespace)
	log, err := v.Dmesg(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(log, "\n") {
		if noisy.MatchString(line) {
			t.Errorf("dmesg: %s", line)
		}
	}
	if !strings.Contains(log, "ACPI: NFIT") {
		t.Error("dmesg does not tell of an NFIT: is this the kernel's log?")
	}
}
