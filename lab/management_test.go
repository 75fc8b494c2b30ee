package lab

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"nvlab/nvdimm/firmware"
)

// TestForksKnowTheirFirmware: a fork in the middle of a scrub finds what the
// scrub finds, hears of its own DIMM's errors, and what it repairs is broken in
// the VM that it was forked from, which can go back to before.
func TestForksKnowTheirFirmware(t *testing.T) {
	x := vmExperiment(t)
	b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 64 << 20, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	v, err := x.VM(VMOptions{Slots: 1, MaxMem: 4 << 30, Engine: "soft", ARS: &firmware.ARSConfig{Duration: 5 * time.Second, Records: 10, ClearUnit: 512}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := v.Plug(PlugOptions{Backend: b, Family: "intel"})
	if err != nil {
		t.Fatal(err)
	}
	poison := func(d *NVDIMM, offset uint64, latent bool) {
		t.Helper()
		if err := d.Poison(firmware.PoisonedRange{Offset: offset, Length: 512, Latent: latent}); err != nil {
			t.Fatal(err)
		}
	}
	bad := func(v *VM) string {
		return mustRun(t, v, "ndctl wait-scrub >/dev/null; cat /sys/block/pmem0/badblocks")
	}
	poison(d, 0x1000, true)
	mustBoot(t, v) // which starts a scrub
	s, f := mustFork(t, v)
	if got := bad(f); got != "8 1\n" {
		t.Errorf("the scrub of the fork finds %q, want block 8", got)
	}
	own := f.NVDIMMs()[0]
	poison(own, 0x2000, false)
	if err := f.NotifyErrors(); err != nil {
		t.Fatal(err)
	}
	f.Wait(t.Context(), 3*time.Second)
	if got := bad(f); got != "8 1\n16 1\n" {
		t.Errorf("after the notification the fork knows %q, want blocks 8 and 16", got)
	}
	mustRun(t, f, "ndctl clear-errors namespace0.0")
	if len(own.Poisoned()) != 0 || len(d.Poisoned()) != 1 || !d.Poisoned()[0].Latent {
		t.Errorf("cleared in the fork, it has %+v and the VM that it is of %+v", own.Poisoned(), d.Poisoned())
	}
	if got := bad(v); got != "8 1\n" {
		t.Errorf("the scrub of the VM finds %q, want block 8", got)
	}
	if err := v.Restore(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if d := v.NVDIMMs()[0]; !d.Poisoned()[0].Latent {
		t.Errorf("restored, what the scrub found is known: %+v", d.Poisoned())
	}
	if got := bad(v); got != "8 1\n" {
		t.Errorf("the scrub that is restored finds %q, want block 8", got)
	}
}

// TestMachineCheckIsRefused: where poison cannot bite, that is said before the
// run.
func TestMachineCheckIsRefused(t *testing.T) {
	x := newExperiment(t)
	if _, err := x.VM(VMOptions{MachineCheck: true}); err == nil || !strings.Contains(err.Error(), "functions for errors of the media") {
		t.Errorf("VM(MachineCheck) without ARS = %v, want that nothing can be poisoned", err)
	}
	o := VMOptions{MachineCheck: true, ARS: &firmware.ARSConfig{Records: 1, ClearUnit: 256}}
	if err := o.bites("kvm"); err == nil || !strings.Contains(err.Error(), "the kvm engine cannot raise a machine check right at the load") {
		t.Errorf("on KVM: %v, want a refusal", err)
	}
	v, err := x.VM(o)
	if err != nil {
		t.Fatal(err)
	}
	err = v.Boot(t.Context(), 0)
	if want := "CONFIG_X86_MCE: it has no handler for machine checks"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("booting the cloud kernel of 6.1 = %v, want one with %q", err, want)
	}
}

// securedVM has an NVDIMM of 16 MiB with Intel's functions.
func securedVM(t *testing.T, x *Experiment) (*VM, *NVDIMM) {
	t.Helper()
	b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 16<<20 + 128<<10, Share: true})
	if err != nil {
		t.Fatal(err)
	}
	v, err := x.VM(VMOptions{Slots: 1, MaxMem: 4 << 30, Engine: "soft"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := v.Plug(PlugOptions{Backend: b, Family: "intel", LabelSize: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return v, d
}

// secure has the NVDIMM be locked after the next power-on.
func secure(t *testing.T, d *NVDIMM) {
	t.Helper()
	if err := d.Manage(func(s *firmware.State) error { s.Security.Enabled, s.Security.User[0] = true, 1; return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestLockedMemory: the memory of a locked DIMM is not there after a boot, one
// that a state was kept of and a fork alike, and is there once it is unlocked.
func TestLockedMemory(t *testing.T) {
	l := reusing(t)
	for _, recalled := range []bool{false, true} {
		x := l.Experiment(t.Name(), t.TempDir())
		v, d := securedVM(t, x)
		if err := d.Backend().Write(0, []byte("secret..")); err != nil {
			t.Fatal(err)
		}
		secure(t, d)
		mustBoot(t, v)
		if v.recalled != recalled {
			t.Errorf("the boot is from a kept state: %v, want %v", v.recalled, recalled)
		}
		s, f := mustFork(t, v)
		for _, v := range []*VM{v, f} {
			word := func() string { return mustRun(t, v, fmt.Sprintf("busybox devmem %#x 64", d.Addr())) }
			lock := func(locked bool) {
				t.Helper()
				if err := v.NVDIMMs()[0].Manage(func(s *firmware.State) error { s.Security.Locked = locked; return nil }); err != nil {
					t.Fatal(err)
				}
			}
			const ones, secret = "0xFFFFFFFFFFFFFFFF\n", "0x2E2E746572636573\n"
			if got := word(); got != ones {
				t.Errorf("a guest reads %q of a locked DIMM, want ones", got)
			}
			lock(false)
			if got := word(); got != secret {
				t.Errorf("after that it is unlocked, it reads %q, want %q", got, secret)
			}
			lock(true)
			if got := word(); got != ones {
				t.Errorf("locked again, it reads %q, want ones", got)
			}
		}
		if err := v.Restore(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if err := d.Manage(func(s *firmware.State) error { s.Security.Locked = false; return nil }); err != nil {
			t.Errorf("unlocking after a restore: %v", err)
		}
		x.Close()
	}
}

// TestPoisonBitesAfterBoots: the processors of a machine that was switched on again
// report poison that nobody read before, also those of one that is taken from the states.
func TestPoisonBitesAfterBoots(t *testing.T) {
	l := reusing(t)
	for _, recalled := range []bool{false, true} {
		x := l.Experiment(t.Name(), t.TempDir())
		v, err := x.VM(VMOptions{
			Slots: 1, MaxMem: 4 << 30, Engine: "soft", Kernel: "linux-image-amd64", Memory: 512 << 20,
			MachineCheck: true, ARS: &firmware.ARSConfig{Duration: time.Minute, Records: 10, ClearUnit: 512},
		})
		if err != nil {
			t.Fatal(err)
		}
		b, err := x.FileBackend(FileBackendOptions{Path: "pmem0.img", Size: 64 << 20, Share: true})
		if err != nil {
			t.Fatal(err)
		}
		d, err := v.Plug(PlugOptions{Backend: b, Family: "intel"})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Poison(firmware.PoisonedRange{Offset: 1 << 20, Length: 512, Latent: true}); err != nil {
			t.Fatal(err)
		}
		for boot := range 2 {
			mustBoot(t, v)
			if v.recalled != recalled {
				t.Errorf("boot %d is from a kept state: %v, want %v", boot+1, v.recalled, recalled)
			}
			if boot == 0 {
				if err := v.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := mustRun(t, v, "dd if=/dev/pmem0 of=/dev/null bs=4096 skip=256 count=1 2>&1 || true"); !strings.Contains(got, "Input/output error") {
			t.Errorf("after two boots, taken from the states: %v, a load of poison gives %q, want an error", recalled, got)
		}
		x.Close()
	}
}
