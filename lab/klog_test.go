package lab

import (
	"encoding/hex"
	"strings"
	"testing"

	"nvlab/guest/introspect"
)

// TestSilentPanics has guests panic that print nothing of it.
func TestSilentPanics(t *testing.T) {
	t.Parallel()
	quiet := "echo 0 > /proc/sys/kernel/printk; "
	tests := []struct{ name, cmdline, command, want string }{
		{"sysrq", "", quiet + "echo c > /proc/sysrq-trigger", "sysrq triggered crash"},
		{"out of memory", "", quiet + "echo 1 > /proc/sys/vm/panic_on_oom; tail -n 1 /dev/zero", "panic_on_oom is enabled"},
		{"an oops that is a panic", "", "oops", "Fatal exception"},
		{"by a child, with loglevel=0", "loglevel=0", "(sleep 1; echo c > /proc/sysrq-trigger) & sleep 9", "sysrq triggered crash"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x := vmExperiment(t)
			v, _ := labelledVM(t, x)
			v.opts.Cmdline = test.cmdline
			mustBoot(t, v)
			if test.command == "oops" {
				breakKernel(t, v)
				test.command = quiet + "echo 1 > /proc/sys/kernel/panic_on_oops; cat /proc/cmdline > /dev/null"
				test.want = "invalid opcode: 0000 [#1]"
			}
			_, err := v.Run(t.Context(), Command{Shell: test.command, Timeout: DefaultTimeout})
			if ClassOf(err) != ClassGuest || !strings.Contains(err.Error(), test.want) || v.State() != Crashed {
				t.Errorf("Run(%s) = %v, class %v, state %v; want class guest, %q, crashed", test.command, err, ClassOf(err), v.State(), test.want)
			}
			if strings.Contains(v.Console(), test.want) {
				t.Errorf("the guest printed of its panic:\n%s", v.Console())
			}
			if c := err.(*Error).Console; !strings.Contains(c, test.want) || !strings.Contains(c, "Call Trace") {
				t.Errorf("the error's text of the kernel is %q, want the log's last lines", c)
			}
			if x.GuestFault() == nil {
				t.Error("the test passes")
			}
		})
	}
}

func TestSilentPanicAtBoot(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	v.opts.Cmdline = "loglevel=0 rdinit=/nothing"
	err := v.Boot(t.Context(), DefaultTimeout)
	if ClassOf(err) != ClassBoot || !strings.Contains(err.Error(), "Kernel panic - not syncing: ") {
		t.Errorf("Boot() = %v, class %v; want class boot and the panic's reason", err, ClassOf(err))
	}
}

// breakKernel makes the kernel hit an invalid instruction when somebody reads
// /proc/cmdline.
func breakKernel(t *testing.T, v *VM) {
	t.Helper()
	if err := v.readSymbols(t.Context()); err != nil {
		t.Fatal(err)
	}
	const function = "cmdline_proc_show"
	addr, ok := v.symbols.Find(function)
	if !ok {
		t.Skip("this kernel has no " + function)
	}
	v.readLog()
	at, ok := introspect.Translate(v.m.Memory(), v.klog.log.Root(), addr)
	if !ok {
		t.Fatal("no memory at " + function)
	}
	if _, err := v.m.Memory().WriteAt([]byte{0x0f, 0x0b}, int64(at)); err != nil { // ud2
		t.Fatal(err)
	}
}

// TestSilentOops has a kernel fail that goes on, and prints nothing of it.
func TestSilentOops(t *testing.T) {
	const command = "echo 0 > /proc/sys/kernel/printk; cat /proc/cmdline > /dev/null; "
	boot := func(t *testing.T, oops string) (*Experiment, *VM) {
		x := vmExperiment(t)
		v, _ := labelledVM(t, x)
		v.opts.AllowOops = oops == "allow"
		mustBoot(t, v)
		breakKernel(t, v)
		return x, v
	}
	t.Run("is an error of the call", func(t *testing.T) {
		_, v := boot(t, "fail")
		_, err := v.Run(t.Context(), Command{Shell: command, Timeout: DefaultTimeout})
		if ClassOf(err) != ClassGuest || !strings.Contains(err.Error(), "invalid opcode: 0000 [#1]") {
			t.Errorf("Run() = %v, class %v; want the oops", err, ClassOf(err))
		}
	})
	t.Run("may be allowed", func(t *testing.T) {
		x, v := boot(t, "allow")
		if r, err := v.Run(t.Context(), Command{Shell: command + "echo on", Timeout: DefaultTimeout}); err != nil || string(r.Stdout) != "on\n" || x.GuestFault() != nil {
			t.Errorf("oops=allow: Run() = %+v, %v, fault %v; want the command's output", r, err, x.GuestFault())
		}
	})
	t.Run("fails the test after the last call", func(t *testing.T) {
		x, v := boot(t, "fail")
		mustRun(t, v, "echo 0 > /proc/sys/kernel/printk; (sleep 1; cat /proc/cmdline) >/dev/null 2>&1 &")
		if _, err := v.m.Run(t.Context(), v.m.Clock()+2e9, nil); err != nil {
			t.Fatal(err)
		}
		if err := v.Kill(); err != nil {
			t.Fatal(err)
		}
		mustBoot(t, v)
		if err := x.GuestFault(); err == nil || !strings.Contains(err.Error(), "invalid opcode") {
			t.Errorf("after a kill and another boot GuestFault() = %v, want the oops of the first", err)
		}
	})
	t.Run("is seen though the log lost it", func(t *testing.T) {
		_, v := boot(t, "fail")
		// Each call of sysrq-t logs some hundred lines: the ring has 128 KiB.
		_, err := v.Run(t.Context(), Command{Shell: command + "for i in $(seq 20); do echo t > /proc/sysrq-trigger; done", Timeout: DefaultTimeout})
		if ClassOf(err) != ClassGuest || !strings.Contains(err.Error(), "overwritten in its log") {
			t.Errorf("Run() = %v, class %v; want that an oops was overwritten", err, ClassOf(err))
		}
	})
}

// TestUserTextIsNoFault has programs say what a kernel says that fails.
func TestUserTextIsNoFault(t *testing.T) {
	x := vmExperiment(t)
	v, _ := labelledVM(t, x)
	mustBoot(t, v)
	lines := []string{
		"Oops: 0002 [#1] PREEMPT SMP", "BUG: kernel NULL pointer dereference", "kernel BUG at mm/slub.c:1!", "general protection fault: 0000 [#1]",
		"Kernel panic - not syncing: x", "---[ end Kernel panic - not syncing: x ]---", "---[ end trace 0 ]---", "INFO: task x", "watchdog: BUG: soft lockup",
	}
	var script strings.Builder
	script.WriteString("echo 'on' > /proc/sys/kernel/printk_devkmsg\n")
	for _, to := range []string{"/dev/kmsg", "/dev/console", "/dev/ttyS0"} {
		for _, prefix := range []string{"", "<0>", "<7>", "[    1.000000] "} {
			for _, line := range lines {
				script.WriteString("echo '" + prefix + line + "' > " + to + "\n")
			}
		}
	}
	// The kernel tells of a process by a name of its choice.
	for _, name := range []string{"BUG: x", "Oops: x", "a: 0000 [#1]", "INFO: task x"} {
		script.WriteString("cp /tmp/crash '/tmp/" + name + "'; '/tmp/" + name + "'\n")
	}
	script.WriteString("echo 3 > /proc/sys/vm/drop_caches; echo -n 'BUG: y' > /proc/self/comm; echo 3 > /proc/sys/vm/drop_caches\n")
	if err := v.WriteFile(t.Context(), "/tmp/crash", crashProgram(t)); err != nil {
		t.Fatal(err)
	}
	mustRun(t, v, "chmod +x /tmp/crash")
	mustRun(t, v, script.String()+"true")
	if got := mustRun(t, v, "dmesg | grep -c -e segfault -e drop_caches"); got != "6\n" {
		t.Errorf("the kernel told %s times of processes, want 6:\n%s", got, mustRun(t, v, "dmesg | tail -40"))
	}
	if err := x.GuestFault(); err != nil {
		t.Errorf("text of programs fails the test: %v", err)
	}
	for _, line := range lines {
		if !strings.Contains(v.Console(), line) {
			t.Errorf("the console has no %q: this tests nothing", line)
		}
	}
	if err := v.PowerOff(t.Context()); err != nil {
		t.Error(err)
	}
}

// crashProgram is the smallest program that reads address 0.
func crashProgram(t *testing.T) []byte {
	t.Helper()
	b, err := hex.DecodeString("7f454c4602010100000000000000000002003e0001000000780040000000000040000000000000000000000000000000000000004000380001000000000000000100000005000000000000000000000000004000000000000000400000000000800000000000000080000000000000000010000000000000" +
		"31c08b00ebfe0000") // xor eax, eax; mov eax, [rax]
	if err != nil {
		t.Fatal(err)
	}
	return b
}
