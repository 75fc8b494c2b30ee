package lab

import (
	"strings"
	"testing"
)

// TestModulesAreAtHand: whatever asks for a module gets it: the kernel, busybox
// and kmod, by name, by alias and by file; and a run with modules repeats.
func TestModulesAreAtHand(t *testing.T) {
	const ask = `
		losetup -f /bin/busybox && grep -q ^loop /proc/modules
		modprobe dm-writecache
		modprobe fs-xfs
		insmod /lib/modules/$(uname -r)/kernel/drivers/md/dm-delay.ko # its folder was not there before
		modprobe -q no-such-thing || true
		modinfo dm_crypt | grep -q ^filename
		cat /proc/sys/kernel/tainted
		sort /proc/modules | cut -d' ' -f1 | tr '\n' ' '`
	type end struct {
		out     string
		console string
		clock   int64
	}
	var ends []end
	for range 2 {
		x := vmExperiment(t)
		v, err := x.VM(VMOptions{})
		if err != nil {
			t.Fatal(err)
		}
		mustBoot(t, v)
		r, err := v.Run(t.Context(), Command{Shell: ask, ErrExit: true, Check: true, Timeout: DefaultTimeout})
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end{string(r.Stdout), v.Console(), int64(v.Clock())})
		for _, want := range []string{"0\n", " dm_delay ", " dm_writecache ", " loop ", " xfs "} {
			if !strings.Contains(" "+string(r.Stdout), want) {
				t.Errorf("after modprobe and insmod the modules are %q, want %q among them", r.Stdout, want)
			}
		}
		if data, err := v.ReadFile(t.Context(), "/lib/modules/"+x.VMs()[0].release(t)+"/kernel/drivers/md/faulty.ko"); err != nil || !strings.HasPrefix(string(data), "\x7fELF") {
			t.Errorf("ReadFile(faulty.ko) = %d bytes, %v, want the module", len(data), err)
		}
		if v.Engine() != "soft" {
			return
		}
	}
	if ends[0] != ends[1] {
		t.Errorf("two runs that load modules end at %d ns and %d ns of guest time, and differ", ends[0].clock, ends[1].clock)
	}
}

func (v *VM) release(t *testing.T) string { return strings.TrimSpace(mustRun(t, v, "uname -r")) }

// TestKmodFindsModules: the indices are such as kmod's own modprobe reads.
func TestKmodFindsModules(t *testing.T) {
	t.Parallel()
	x := vmExperiment(t)
	v := packagedVM(t, x, VMOptions{}, "kmod")
	mustBoot(t, v)
	out := mustRun(t, v, "readlink -f /sbin/modprobe && modprobe -v dm-writecache && modprobe -a fs-xfs ext4 && modprobe --show-depends dm-crypt && grep -c -E '^(dm_writecache|xfs) ' /proc/modules")
	if !strings.HasPrefix(out, "/usr/bin/kmod\n") || !strings.HasSuffix(out, "\n2\n") || !strings.Contains(out, "drivers/md/dm-mod.ko") {
		t.Errorf("kmod's modprobe says %q, want dm-writecache and xfs loaded", out)
	}
}
