package lab

import (
	"fmt"
	"strings"
	"testing"

	"nvlab/guest"
)

func TestFits(t *testing.T) {
	for _, tt := range []struct{ kernel, initrd, want uint64 }{ // MiB
		{44, 14, 112}, {44, 1, 80}, {44, 40, 176}, {44, 127, 432}, {60, 400, 1280},
	} {
		if got := enough(tt.kernel<<20, tt.initrd<<20) >> 20; got != tt.want {
			t.Errorf("enough(kernel of %d MiB, initramfs of %d MiB) = %d MiB, want %d", tt.kernel, tt.initrd, got, tt.want)
		}
	}
}

// TestGuestsFitOrSaySo: with the memory that the refusal names a guest boots
// and runs; with less it is refused before anything starts.
func TestGuestsFitOrSaySo(t *testing.T) {
	x := vmExperiment(t)
	packages := []string{"coreutils", "util-linux", "mount", "grep", "sed", "gawk", "findutils", "procps", "tar", "gzip"}
	packagedVM(t, x, VMOptions{}, packages...)
	for _, spec := range []guest.Spec{{}, {Packages: packages}} {
		i, err := x.lab.image(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		size := i.initrd.Size()
		need := enough(i.kernel.MemorySize(), uint64(size))
		t.Logf("%s: kernel of %d MiB, initramfs of %d MiB: %d MiB", i.Name, i.kernel.MemorySize()>>20, size>>20, need>>20)
		v, err := x.VM(VMOptions{Memory: need - memoryStep, Packages: spec.Packages})
		if err != nil {
			t.Fatal(err)
		}
		err = v.Boot(t.Context(), DefaultTimeout)
		if want := fmt.Sprintf("memory=\"%dMiB\" is enough", need>>20); err == nil || !strings.Contains(err.Error(), want) || ClassOf(err) != ClassScenario || v.Console() != "" {
			t.Errorf("Boot() of %s in %d MiB = %v of class %v, want a refusal with %q before it starts", i.Name, (need-memoryStep)>>20, err, ClassOf(err), want)
		}
		if v, err = x.VM(VMOptions{Memory: need, Packages: spec.Packages}); err != nil {
			t.Fatal(err)
		}
		mustBoot(t, v)
		mustRun(t, v, "modprobe dm-mod && ndctl list && ls -l / | sort | tail -1")
		if err := v.PowerOff(t.Context()); err != nil {
			t.Errorf("PowerOff() = %v", err)
		}
	}
}

// TestLargeGuestInDefaultMemory: fio's packages have more than half of the
// default memory, and only what is used of them comes.
func TestLargeGuestInDefaultMemory(t *testing.T) {
	t.Parallel()
	x := vmExperiment(t)
	v := packagedVM(t, x, VMOptions{}, "fio")
	mustBoot(t, v)
	out := mustRun(t, v, "fio --name=job --filename=/tmp/job --size=1M --ioengine=sync --rw=randwrite --bs=4k | grep -o 'err= 0'; python3 -c 'print(6*7)'")
	if out != "err= 0\n42\n" {
		t.Errorf("fio and python3 in the default memory say %q", out)
	}
}
